//! Faults by name: what several cases' verdicts mean together. Pure.
//!
//! A diagnosis never changes a verdict; where one explains a case, weaker ones about the same case are left out.

mod forgeries;

use tunnel_signature::{Profile, Reading, Twist};

use super::case::Place;
use super::judge::SLOW_MS;
use super::report::{Class, Diagnosis, Line, Mark};

/// What a handler that refuses every valid delivery accepted all the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    /// A delivery that was signed for this path.
    pub(super) path: Option<String>,
    /// A delivery that was signed in this reading.
    pub(super) reading: Option<Reading>,
    /// How many were sent to find out.
    pub(super) sent: usize,
}

/// A case that must be accepted, and the name of the fault where it is not though others are.
const STUMBLES: [(&str, &str, &str); 13] = [
    ("changed-fields-empty", "empty-changed-fields", "it does not take an empty changed_fields"),
    ("changed-fields-absent", "needs-changed-fields", "it does not take an event without changed_fields"),
    ("query", "drops-query", "it does not take a delivery whose URL has a query"),
    ("lower-case-headers", "header-letter-case", "it finds headers only in the letter case that it was written for"),
    ("large-body", "large-bodies", "it does not take a large body"),
    ("slow-client", "partial-bodies", "it does not wait for a body that comes in pieces"),
    ("other-profiles", "other-profiles", "it does not verify in every profile that was named"),
    ("resource-types", "resource-types", "it does not take every documented event"),
    ("repeats", "refuses-repeats", "it does not take a delivery that it has seen before"),
    ("out-of-order", "order-dependent", "it does not take the events of a resource in another order"),
    ("burst", "burst", "it does not take many deliveries at once"),
    ("valid", "refuses-usual-deliveries", "it does not take the usual delivery, though it takes others"),
    ("valid-at-the-end", "lasting-damage", "it takes valid deliveries no more after what it was sent before"),
];

/// The findings, gravest first.
pub(super) fn diagnose(lines: &[Line], probed: &Probed, place: &Place) -> Vec<Diagnosis> {
    let mut findings = Findings { lines, found: Vec::new() };
    findings.crashes();
    findings.forgeries();
    if findings.takes_none() {
        findings.refuses_all(probed, place);
    } else if !findings.strings_refused() {
        findings.bodies();
        findings.events();
        for (case, name, what) in STUMBLES {
            findings.stumbles(case, name, what);
        }
    }
    findings.refusals();
    findings.slowness();
    findings.found.sort_by_key(|d| std::cmp::Reverse(d.mark));
    findings.found
}

struct Findings<'a> {
    lines: &'a [Line],
    found: Vec<Diagnosis>,
}

impl<'a> Findings<'a> {
    fn line(&self, case: &str) -> Option<&'a Line> {
        self.lines.iter().find(|l| l.case == case)
    }

    fn class(&self, case: &str) -> Option<Class> {
        self.line(case).and_then(|l| l.class)
    }

    fn accepted(&self, case: &str) -> bool {
        self.class(case) == Some(Class::Accepted)
    }

    /// Whether it was sent and not accepted.
    fn missed(&self, case: &str) -> bool {
        self.class(case).is_some_and(|c| c != Class::Accepted)
    }

    fn explained(&self, case: &str) -> bool {
        self.found.iter().any(|d| d.name != "crash" && d.cases.contains(&case))
    }

    fn to_be_accepted(&self) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(|l| l.right == "accept" && l.class.is_some())
    }

    fn takes_none(&self) -> bool {
        let mut all = self.to_be_accepted().peekable();
        all.peek().is_some() && all.all(|l| l.class != Some(Class::Accepted))
    }

    /// Adds a finding about those of the cases that were sent; without any there is none.
    fn add(&mut self, name: &'static str, cases: &[&str], what: impl Into<String>, todo: impl Into<String>) {
        let cases: Vec<&Line> = cases.iter().filter_map(|c| self.line(c)).filter(|l| l.class.is_some()).collect();
        if let Some(mark) = cases.iter().map(|l| l.mark).max() {
            let cases = cases.iter().map(|l| l.case).collect();
            // A finding is at least something to mend.
            self.found.push(Diagnosis {
                name,
                mark: mark.max(Mark::Warn),
                what: what.into(),
                todo: todo.into(),
                cases,
            });
        }
    }

    fn crashes(&mut self) {
        for line in self.lines.iter().filter(|l| l.crashed) {
            let what = format!("{} ended the handler: nothing accepts connections any more", line.sends);
            let todo = format!("catch what goes wrong for one request; `--skip {}` shows the rest", line.case);
            self.add("crash", &[line.case], what, todo);
        }
    }

    /// Nothing valid is accepted.
    fn refuses_all(&mut self, probed: &Probed, place: &Place) {
        let cases: Vec<&str> = self.to_be_accepted().map(|l| l.case).collect();
        let signed = &place.signed;
        if let Some(path) = &probed.path {
            if path.trim_end_matches('/') == signed.trim_end_matches('/') {
                let what = format!("it verifies for {path:?}, Healthie signs {signed:?}: the slash at the end counts");
                self.add(
                    "trailing-slash",
                    &cases,
                    what,
                    "take the path letter by letter from the URL registered with Healthie",
                );
            } else {
                let what = format!(
                    "it verifies for {path:?}, the path behind its mount point or proxy; Healthie signs {signed:?}"
                );
                let todo = "put the path of the URL registered with Healthie into the signed string (Express: originalUrl instead of url)";
                self.add("mounted-path", &cases, what, todo);
            }
        } else if let Some(reading) = probed.reading {
            let plain = Reading::plain(Profile::Guide);
            if place.reading == plain && reading.profile() == Profile::Guide && reading.variant().has(Twist::NoPadding)
            {
                let what = "it splits Content-Digest at every `=` and so loses the padding at the digest's end";
                let todo = format!(
                    "take all that follows the first `=`. Healthie's own sample loses it too, so a live delivery decides; \
                     `--profile {reading}` checks this handler as it is"
                );
                self.add("strips-padding", &cases, what, todo);
            } else {
                let what = format!("it verifies in the profile {reading}, and was checked in {}", place.reading);
                self.add(
                    "other-profile",
                    &cases,
                    what,
                    format!("check it with --profile {reading}, if that is what is meant"),
                );
            }
        } else {
            self.refuses_all_in_one_way(&cases);
        }
    }

    fn refuses_all_in_one_way(&mut self, cases: &[&str]) {
        let first = self.to_be_accepted().next();
        let (name, what, todo) = match first.and_then(|l| l.class) {
            Some(Class::Redirected) => {
                let to = first.and_then(|l| l.requests.first()).and_then(|a| a.location.clone()).unwrap_or_default();
                let what = format!("it redirects to {to:?}: a redirect is not a 2xx");
                ("redirects", what, "register the URL that it redirects to, and check that one")
            }
            Some(Class::Refused) => (
                "refuses-everything",
                "it refuses every valid delivery, whatever path and profile it is signed for".to_owned(),
                "check that the handler has the secret that this check signs with (--secret), and that the path is right (--path)",
            ),
            Some(Class::TimedOut) => (
                "no-answers",
                "it does not answer within the time limit".to_owned(),
                "answer first and work afterwards; --timeout gives it longer",
            ),
            _ => (
                "fails-everything",
                "it fails on every valid delivery".to_owned(),
                "look into the handler's own log for what went wrong",
            ),
        };
        self.add(name, cases, what, todo);
    }

    /// Whether only the integer id was accepted; then all else says nothing, because all else has a string.
    fn strings_refused(&mut self) -> bool {
        let accepted = |l: &&Line| l.class == Some(Class::Accepted);
        let only = self.to_be_accepted().all(|l| accepted(&l) == (l.case == "integer-id"));
        let missed: Vec<&str> = self.to_be_accepted().filter(|l| !accepted(l)).map(|l| l.case).collect();
        if !only || missed.is_empty() {
            return false;
        }
        let what = "it does not take resource_id as a string";
        self.add("string-ids", &missed, what, "take strings and integers: the documents disagree");
        true
    }

    /// What becomes of the bytes.
    fn bodies(&mut self) {
        // Python's json.dumps puts blanks in, JSON.stringify takes them out: either way one of the two is refused.
        let written_again = ["valid", "spaced-json"].iter().filter(|c| self.accepted(c)).count() == 1
            && (self.missed("valid") || self.missed("spaced-json"))
            || self.accepted("valid") && self.missed("escaped-json");
        if written_again {
            let all = ["valid", "spaced-json", "escaped-json", "non-ascii"];
            let cases: Vec<&str> = all.into_iter().filter(|c| self.missed(c)).collect();
            let what = "it parses the body and writes it again, and verifies over what it wrote: blanks and escapes come out otherwise";
            let todo = "verify over the raw bytes (express.raw, request.body before json, request.get_data())";
            self.add("re-serialises", &cases, what, todo);
        } else if self.missed("non-ascii") {
            let what =
                "it counts characters or UTF-16 units where bytes are signed, or decodes the body before it verifies";
            let todo = "count the raw body's bytes (Buffer.byteLength, len(request.body))";
            self.add("counts-characters", &["non-ascii"], what, todo);
        }
    }

    fn events(&mut self) {
        if self.missed("integer-id") && self.accepted("valid") {
            let what = "it does not take resource_id as an integer";
            self.add("integer-ids", &["integer-id"], what, "take strings and integers: the documents disagree");
        }
        let (name, what) = match self.class("unknown-event") {
            Some(Class::Failed) => ("unknown-events-500", "it fails on an event that it does not know"),
            Some(Class::Accepted) | None => return,
            Some(_) => ("unknown-events-refused", "it does not take an event that it does not know"),
        };
        self.add(name, &["unknown-event"], what, "new events appear over time: answer 2xx and do nothing");
    }

    fn stumbles(&mut self, case: &'static str, name: &'static str, what: &str) {
        if !self.missed(case) || self.explained(case) {
            return;
        }
        let Some(line) = self.line(case) else { return };
        let how = match line.class {
            Some(Class::Refused) => "refuses it with 4xx, so that it may be lost",
            Some(Class::Failed) => "fails with 5xx",
            Some(Class::TimedOut) => "does not answer within the time limit",
            Some(Class::Redirected) => "redirects",
            _ => "closes the connection",
        };
        self.add(name, &[case], format!("{what}: it {how}"), line.advice.unwrap_or_default());
    }

    /// Refusals that do not say so.
    fn refusals(&mut self) {
        let by = |classes: &[Class]| -> Vec<&'static str> {
            let of = |l: &&Line| {
                l.right == "refuse" && l.mark == Mark::Warn && l.class.is_some_and(|c| classes.contains(&c))
            };
            self.lines.iter().filter(of).map(|l| l.case).collect()
        };
        let (failed, silent) = (by(&[Class::Failed, Class::Redirected]), by(&[Class::Closed, Class::TimedOut]));
        let what = "it answers what it refuses with 5xx or 3xx: Healthie takes that for a failure, sends again for days and then disables \
                    the webhook";
        self.add("refuses-with-5xx", &failed, what, "answer 401 or 400");
        let what = "it closes the connection or says nothing where it should refuse: Healthie takes that for a failure and sends again";
        self.add("refuses-silently", &silent, what, "catch what goes wrong in verifying, and answer 401 or 400");
    }

    fn slowness(&mut self) {
        let slow = |l: &&Line| l.slowest_ms > SLOW_MS && l.class != Some(Class::TimedOut);
        let cases: Vec<&str> = self.lines.iter().filter(slow).map(|l| l.case).filter(|c| !self.explained(c)).collect();
        let (burst, usual): (Vec<&str>, Vec<&str>) = cases.into_iter().partition(|c| *c == "burst");
        let what = format!("it takes longer than {:.0} s to answer", SLOW_MS / 1000.0);
        self.add("slow-answers", &usual, what.clone(), "store the event, answer, and work on it afterwards");
        let todo = "let the server take more connections at once (a longer listen queue, more workers)";
        self.add("burst", &burst, format!("{what} when many deliveries come at once"), todo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::battery::battery;
    use crate::check::case::{Case, Wants};
    use crate::check::judge;
    use crate::check::report::Answered;
    use tunnel_signature::Secret;

    fn place() -> Place {
        Place {
            reading: Reading::plain(Profile::Guide),
            secret: Secret::new("whsec_x").unwrap(),
            host: "h".into(),
            signed: "/api/hook".into(),
            sent: "/hook".into(),
        }
    }

    /// The verdicts of a handler that answers as told (right where nothing is told), in milliseconds too.
    fn lines(told: impl Fn(&Case) -> Option<(u16, f64)>) -> Vec<Line> {
        let answer = |case: &Case| {
            let right = if case.wants == Wants::Accepted { 200 } else { 401 };
            let (status, duration_ms) = told(case).unwrap_or((right, 1.0));
            let mut exchange = crate::forward::Exchange::default();
            exchange.status = Some(status);
            vec![Answered { duration_ms, ..judge::answered(String::new(), &exchange) }]
        };
        battery(&place(), &[], 1).iter().map(|case| judge::judge(case, answer(case), false)).collect()
    }

    fn names(lines: &[Line], probed: &Probed) -> Vec<&'static str> {
        let mut names: Vec<_> = diagnose(lines, probed, &place()).iter().map(|d| d.name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn nothing_is_found_where_all_is_right() {
        assert!(names(&lines(|_| None), &Probed::default()).is_empty());
    }

    #[test]
    fn every_case_that_is_not_right_is_in_a_finding() {
        for case in battery(&place(), &[Reading::plain(Profile::Scribe)], 1) {
            for wrong in [200, 302, 400, 500] {
                let lines = lines(|c| (c.name == case.name).then_some((wrong, 1.0)));
                let found = diagnose(&lines, &Probed::default(), &place());
                for line in lines.iter().filter(|l| l.mark > Mark::NotRun) {
                    let of_it: Vec<_> = found.iter().filter(|d| d.cases.contains(&line.case)).collect();
                    assert!(!of_it.is_empty(), "{} answered {wrong}: {found:?}", line.case);
                    assert!(of_it.iter().any(|d| d.mark >= line.mark), "{} answered {wrong}: {found:?}", line.case);
                    assert!(of_it.iter().all(|d| !d.what.is_empty() && !d.todo.is_empty()), "{of_it:?}");
                }
            }
        }
    }

    #[test]
    fn single_faults_have_their_names() {
        for (case, status, ms, name) in [
            ("path-changed", 200, 1.0, "path-unchecked"),
            ("query-changed", 200, 1.0, "query-unchecked"),
            ("digest-changed", 200, 1.0, "digest-unchecked"),
            ("another-s-signature", 204, 1.0, "signature-unchecked"),
            ("empty-body", 200, 1.0, "empty-body-unchecked"),
            ("no-digest", 200, 1.0, "accepts-unsigned"),
            ("valid", 200, 6000.0, "slow-answers"),
            ("burst", 200, 6000.0, "burst"),
            ("burst", 503, 1.0, "burst"),
            ("slow-client", 400, 1.0, "partial-bodies"),
            ("valid-at-the-end", 500, 1.0, "lasting-damage"),
            ("query", 401, 1.0, "drops-query"),
        ] {
            let lines = lines(|c| (c.name == case).then_some((status, ms)));
            assert_eq!(names(&lines, &Probed::default()), [name], "{case} {status}");
        }
    }

    #[test]
    fn what_refuses_everything_is_told_by_what_it_accepts() {
        let all = |status| lines(move |c| (c.wants == Wants::Accepted).then_some((status, 1.0)));
        let path = |path: &str| Probed { path: Some(path.into()), ..Probed::default() };
        let reading = |text: &str| Probed { reading: Some(text.parse().unwrap()), ..Probed::default() };
        for (probed, name) in [
            (path("/hook"), "mounted-path"),
            (path("/api/hook/"), "trailing-slash"),
            (reading("guide:no-padding"), "strips-padding"),
            (reading("scribe"), "other-profile"),
            (Probed::default(), "refuses-everything"),
        ] {
            assert_eq!(names(&all(401), &probed), [name]);
        }
        assert_eq!(names(&all(500), &Probed::default()), ["fails-everything"]);
        assert_eq!(names(&all(301), &Probed::default()), ["redirects"]);
    }
}
