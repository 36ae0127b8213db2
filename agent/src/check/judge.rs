//! What a case's answers are worth, in sentences. Pure: answers in, verdict out.

use tunnel_delivery::ErrorKind;

use super::case::{Case, How, Wants};
use super::report::{Answered, Class, Line, Mark};
use crate::forward::Exchange;

/// From here on an answer is slow, in milliseconds. No document names Healthie's own limit; senders of webhooks wait 5 to 10 s.
pub(super) const SLOW_MS: f64 = 5000.0;

/// The most of an answer's body that a report has, in bytes.
pub(super) const ANSWER: usize = 512;

/// How many requests of a case are named, and how many different things are said.
const NAMED: usize = 5;

/// A case that has not been run.
pub(super) fn not_run(case: &Case) -> Line {
    Line {
        case: case.name,
        sends: case.sends,
        right: match case.wants {
            Wants::Accepted => "accept",
            Wants::Refused(_) => "refuse",
        },
        mark: Mark::NotRun,
        why: Vec::new(),
        advice: None,
        class: None,
        slowest_ms: 0.0,
        crashed: false,
        requests: Vec::new(),
    }
}

/// What one exchange came to.
pub(super) fn answered(label: String, exchange: &Exchange) -> Answered {
    let class = match (&exchange.error, exchange.status) {
        (Some(e), _) => match e.kind {
            ErrorKind::Connect | ErrorKind::Resolve | ErrorKind::Tls => Class::Unreachable,
            ErrorKind::Timeout => Class::TimedOut,
            _ => Class::Closed,
        },
        (None, Some(200..=299)) => Class::Accepted,
        (None, Some(300..=399)) => Class::Redirected,
        (None, Some(400..=499)) => Class::Refused,
        (None, _) => Class::Failed,
    };
    let text = |bytes: &[u8]| crate::safe_text::bytes_as_text(&bytes[..bytes.len().min(ANSWER)]);
    Answered {
        label,
        class,
        status: exchange.status,
        error: exchange.error.as_ref().map(|e| e.message.clone()),
        location: exchange.headers.get("location").filter(|_| class == Class::Redirected).map(text),
        answer: text(&exchange.body),
        duration_ms: exchange.duration.as_micros() as f64 / 1000.0,
    }
}

/// The verdict on one answer: its mark, and what is wrong with it.
fn verdict(case: &Case, a: &Answered) -> (Mark, Option<String>) {
    let status = a.status.map_or_else(|| "no status".to_owned(), |s| s.to_string());
    let error = || a.error.clone().unwrap_or_default();
    let (mark, why) = match (case.wants, a.class) {
        (Wants::Accepted, Class::Accepted) | (Wants::Refused(_), Class::Refused) => (Mark::Pass, None),
        // RFC 9110, section 15.6.2: what a server says that knows no such method at all.
        (Wants::Refused(_), Class::Failed) if a.status == Some(501) && case.name == "wrong-method" => {
            (Mark::Pass, None)
        }
        (Wants::Refused(mark), Class::Accepted) => (mark, Some(format!("answered {status} to what it must refuse"))),
        (Wants::Refused(_), Class::Failed) => {
            let why = format!("refused with {status}, so that Healthie sends it again for days; answer 401 or 400");
            (Mark::Warn, Some(why))
        }
        (Wants::Refused(_), Class::Redirected) => {
            (Mark::Warn, Some(format!("answered {status} instead of refusing; answer 401 or 400")))
        }
        (Wants::Refused(_), Class::TimedOut | Class::Closed) => {
            let why = format!("{}: Healthie sends it again for days; answer 401 or 400", error());
            (Mark::Warn, Some(why))
        }
        (Wants::Accepted, Class::Refused) => {
            (Mark::Fail, Some(format!("refused a valid delivery with {status}: Healthie may never send it again")))
        }
        // Under load this is the honest answer, and it is sent again.
        (Wants::Accepted, Class::Failed) if a.status == Some(503) && case.how == How::AtOnce => {
            (Mark::Warn, Some("answered 503 under load".to_owned()))
        }
        (Wants::Accepted, Class::Failed) => {
            let why = format!(
                "failed on a valid delivery with {status}: Healthie sends it again and then disables the webhook"
            );
            (Mark::Fail, Some(why))
        }
        (Wants::Accepted, Class::Redirected) => {
            let to = a.location.as_deref().map(|to| format!(" to {to:?}")).unwrap_or_default();
            (Mark::Fail, Some(format!("redirected a valid delivery with {status}{to}, which counts as a failure")))
        }
        (Wants::Accepted, Class::TimedOut | Class::Closed) | (_, Class::Unreachable) => (Mark::Fail, Some(error())),
    };
    if mark == Mark::Pass && a.duration_ms > SLOW_MS {
        return (Mark::Warn, Some(format!("took longer than {:.0} s to answer", (a.duration_ms / 1000.0).floor())));
    }
    (mark, why)
}

/// What was wrong, once for all requests of which the same can be said.
fn told(judged: &[(&Answered, (Mark, Option<String>))]) -> Vec<String> {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for (a, (_, why)) in judged {
        let Some(why) = why else { continue };
        match said.iter_mut().find(|(text, _)| text == why) {
            Some((_, labels)) => labels.push(&a.label),
            None => said.push((why, vec![&a.label])),
        }
    }
    let left_out = said.len().saturating_sub(NAMED);
    let mut why: Vec<String> = Vec::new();
    for (text, labels) in said.into_iter().take(NAMED) {
        why.push(match labels.len() {
            1 if labels[0].is_empty() => text.to_owned(),
            all if all == judged.len() && all > 1 => format!("all {all}: {text}"),
            n if n > NAMED => {
                format!("{} and {} more of {}: {text}", labels[..NAMED].join(", "), n - NAMED, judged.len())
            }
            _ => format!("{}: {text}", labels.join(", ")),
        });
    }
    if left_out > 0 {
        why.push(format!("and {left_out} more like these"));
    }
    why
}

/// The verdict on a case. `crashed`: nothing accepted connections afterwards.
pub(super) fn judge(case: &Case, requests: Vec<Answered>, crashed: bool) -> Line {
    let judged: Vec<_> = requests.iter().map(|a| (a, verdict(case, a))).collect();
    let worst = judged.iter().max_by_key(|(_, (mark, _))| *mark);
    let mut mark = worst.map_or(Mark::NotRun, |(_, (mark, _))| *mark);
    // Of equally bad ones the first, because what comes after a fault is often only its echo.
    let class = judged.iter().find(|(_, (m, _))| *m == mark).map(|(a, _)| a.class);
    let mut why = told(&judged);
    if crashed {
        mark = Mark::Fail;
        why.push("nothing accepts connections any more: this case ended the handler".to_owned());
    }
    let slowest_ms = judged.iter().map(|(a, _)| a.duration_ms).fold(0.0, f64::max);
    let advice = (mark > Mark::NotRun).then_some(case.advice);
    Line { mark, why, class, slowest_ms, crashed, advice, requests, ..not_run(case) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn case(name: &'static str, wants: Wants) -> Case {
        Case { name, sends: "x", wants, advice: "do", how: How::InTurn, steps: Vec::new() }
    }

    fn answer(status: u16, ms: f64) -> Answered {
        let mut exchange = Exchange::default();
        exchange.status = Some(status);
        exchange.body = Bytes::from_static(b"no");
        Answered { duration_ms: ms, ..answered(String::new(), &exchange) }
    }

    #[test]
    fn each_answer_has_its_mark() {
        let refuse = Wants::Refused(Mark::Fail);
        for (name, wants, status, ms, mark) in [
            ("valid", Wants::Accepted, 204, 1.0, Mark::Pass),
            ("valid", Wants::Accepted, 200, 5001.0, Mark::Warn),
            ("valid", Wants::Accepted, 401, 1.0, Mark::Fail),
            ("valid", Wants::Accepted, 500, 1.0, Mark::Fail),
            ("valid", Wants::Accepted, 308, 1.0, Mark::Fail),
            ("unsigned", refuse, 401, 1.0, Mark::Pass),
            ("unsigned", refuse, 200, 1.0, Mark::Fail),
            ("unsigned", Wants::Refused(Mark::Warn), 200, 1.0, Mark::Warn),
            ("unsigned", refuse, 500, 1.0, Mark::Warn),
            ("unsigned", refuse, 501, 1.0, Mark::Warn),
            ("wrong-method", refuse, 501, 1.0, Mark::Pass),
        ] {
            let line = judge(&case(name, wants), vec![answer(status, ms)], false);
            assert_eq!(line.mark, mark, "{name} {status}");
            assert_eq!(line.why.is_empty(), mark == Mark::Pass, "{name} {status}");
            assert_eq!(line.advice.is_some(), mark != Mark::Pass);
        }
    }

    #[test]
    fn the_worst_of_several_counts_and_few_are_named() {
        let labelled = |n: usize, status| Answered { label: n.to_string(), ..answer(status, 1.0) };
        let many = (0..9).map(|n| labelled(n, if n == 0 { 200 } else { 500 })).collect();
        let line = judge(&case("burst", Wants::Accepted), many, false);
        assert_eq!((line.mark, line.class, line.why.len()), (Mark::Fail, Some(Class::Failed), 1));
        assert!(line.why[0].starts_with("1, 2, 3, 4, 5 and 3 more of 9: failed"), "{:?}", line.why);
        let line = judge(&case("burst", Wants::Accepted), (0..3).map(|n| labelled(n, 500)).collect(), false);
        assert!(line.why[0].starts_with("all 3: failed"), "{:?}", line.why);
        let line =
            judge(&case("burst", Wants::Accepted), (0..20).map(|n| labelled(n, 400 + n as u16)).collect(), false);
        assert_eq!((line.why.len(), line.why[NAMED].as_str()), (NAMED + 1, "and 15 more like these"));
        let line = judge(&case("valid", Wants::Accepted), vec![answer(200, 1.0)], true);
        assert_eq!((line.mark, line.crashed), (Mark::Fail, true));
    }
}
