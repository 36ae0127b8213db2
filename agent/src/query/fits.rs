//! Whether a delivery fits a query, and what of the query an index can answer.

use tunnel_delivery::{AnswerClass, Summary};

use super::{Mark, Query, Status, What};
use crate::control::Filter;

/// The characters of names and ids that a summary has.
const NAME_CHARS: usize = 200;

impl Query {
    /// What a list can be asked for: everything that fits the query fits this, and more may.
    pub fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        for term in &self.terms {
            if let What::Is(marks) = &term.what
                && marks[..] == [Mark::Repeat]
            {
                filter.duplicates = filter.duplicates.or(Some(!term.negated));
            }
        }
        for term in self.terms.iter().filter(|t| !t.negated) {
            match &term.what {
                What::Event(patterns) if filter.events.is_empty() => filter.events = patterns.clone(),
                What::Type(types) => one(&mut filter.resource_type, types),
                What::Resource(ids) => one(&mut filter.resource_id, ids),
                What::Status(all) if filter.status.is_empty() => {
                    filter.status = all.iter().map(|s| s.class()).collect();
                    filter.status.dedup();
                }
                What::Signature(all) if filter.signature.is_empty() => filter.signature = all.clone(),
                What::Tunnel(names) => one(&mut filter.tunnel, names),
                What::Since(at) => filter.since = filter.since.max(Some(*at)),
                What::Until(at) => filter.until = Some(filter.until.map_or(*at, |until| until.min(*at))),
                What::Text(text) if filter.text.is_none() => filter.text = Some(text.clone()),
                _ => {}
            }
        }
        filter
    }

    /// Whether it fits, as far as a line of a list tells: everything but the texts.
    pub fn fits(&self, s: &Summary) -> bool {
        self.terms.iter().all(|term| match term.what.holds(s) {
            Some(holds) => holds != term.negated,
            None => true,
        })
    }

    /// Whether the body has every text that it must have, and none that it must not.
    pub fn fits_body(&self, body: &[u8]) -> bool {
        self.texts().all(|(negated, text)| contains(body, text) != negated)
    }

    /// Whether a delivery that does not fit may do so later, by an attempt.
    pub fn changes(&self) -> bool {
        self.terms.iter().any(|term| match &term.what {
            What::Status(_) => true,
            What::Is(marks) => marks.contains(&Mark::Retried),
            _ => false,
        })
    }

    /// The texts, and whether the body must not have them.
    pub fn texts(&self) -> impl Iterator<Item = (bool, &str)> {
        self.terms.iter().filter_map(|term| match &term.what {
            What::Text(text) => Some((term.negated, text.as_str())),
            _ => None,
        })
    }
}

fn one<T: Clone>(place: &mut Option<T>, of: &[T]) {
    if let ([only], None) = (of, &place) {
        *place = Some(only.clone());
    }
}

/// Whether the body has the text, ASCII letters in any case, as the archive compares it.
fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()))
}

fn same(wanted: &str, found: Option<&str>) -> bool {
    found.is_some_and(|found| found.chars().eq(wanted.chars().take(NAME_CHARS)))
}

impl Status {
    /// The class it belongs to.
    pub fn class(self) -> AnswerClass {
        match self {
            Status::Class(class) => class,
            Status::Code(200..=299) => AnswerClass::Success,
            Status::Code(300..=399) => AnswerClass::Redirect,
            Status::Code(400..=499) => AnswerClass::Refused,
            Status::Code(_) => AnswerClass::Failed,
        }
    }
}

impl What {
    /// `None` where a line of a list does not tell.
    fn holds(&self, s: &Summary) -> Option<bool> {
        Some(match self {
            What::Event(patterns) => {
                let name = s.event_type.as_deref();
                patterns.iter().any(|p| name.is_some_and(|n| tunnel_catalogue::matches(p, n) || same(p, Some(n))))
            }
            What::Type(types) => types.iter().any(|t| same(t, s.resource_id_type.as_deref())),
            What::Resource(ids) => ids.iter().any(|id| same(id, s.resource_id.as_deref())),
            What::Status(all) => all.iter().any(|status| match status {
                Status::Class(class) => *class == s.answer.class,
                Status::Code(code) => s.answer.class == status.class() && s.answer.status == Some(*code),
            }),
            What::Signature(all) => all.contains(&s.signature),
            What::Environment(all) => all.contains(&s.environment),
            What::Tunnel(names) => names.contains(&s.tunnel),
            // To the millisecond, as the archive's ids have it.
            What::Since(at) => s.received_at.as_micros() / 1000 >= at.as_micros() / 1000,
            What::Until(at) => s.received_at.as_micros() / 1000 <= at.as_micros() / 1000,
            What::Is(marks) => marks.iter().any(|mark| match mark {
                Mark::Pinned => s.pinned,
                Mark::Repeat => s.duplicate_of.is_some(),
                Mark::Retried => s.attempts > 1,
            }),
            What::Text(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::{Answer, Environment, SignatureStatus, Timestamp};

    const NOW: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

    fn line() -> Summary {
        Summary {
            event_type: Some("appointment.created".into()),
            resource_id_type: Some("Appointment".into()),
            resource_id: Some("42".into()),
            environment: Environment::Staging,
            signature: SignatureStatus::Valid,
            attempts: 2,
            answer: Answer { class: AnswerClass::Failed, status: Some(503), duration_us: 1 },
            ..crate::tui::sample::line(0)
        }
    }

    #[test]
    fn what_fits_and_what_does_not() {
        for (text, wanted) in [
            ("", true),
            ("event:appointment.* type:Appointment resource:42", true),
            ("event:goal.*|*.created", true),
            ("-event:goal.*", true),
            ("-event:appointment.*", false),
            ("type:Goal", false),
            ("status:5xx", true),
            ("status:failed", true),
            ("status:503", true),
            ("status:500", false),
            ("-status:2xx", true),
            ("sig:valid|unsigned env:staging", true),
            ("env:production", false),
            ("is:pinned", false),
            ("-is:pinned is:retried", true),
            ("is:repeat|retried", true),
            ("since:1h", true),
            ("until:1h", false),
            ("-until:1h", true),
            ("tunnel:team", true),
            ("tunnel:other", false),
            ("anything", true),
            ("-is:repeat", true),
            ("is:repeat", false),
        ] {
            let query = Query::read(text, NOW).unwrap();
            assert_eq!(query.fits(&line()), wanted, "{text}");
            if wanted {
                assert!(query.filter().matches(&line()), "{text}: the index would leave it out");
            }
        }
    }

    #[test]
    fn what_an_attempt_may_change_is_known() {
        for (text, changes) in
            [("status:2xx", true), ("-status:2xx", true), ("is:retried", true), ("is:pinned a", false)]
        {
            assert_eq!(Query::read(text, NOW).unwrap().changes(), changes, "{text}");
        }
    }

    #[test]
    fn texts_are_looked_for_in_the_body() {
        let query = Query::read("Show -\"gone away\" text:a", NOW).unwrap();
        assert!(query.fits_body(b"no sHOW at all"));
        assert!(!query.fits_body(b"no show at all, gone Away"));
        assert!(!query.fits_body(b"nothing"));
        assert_eq!(query.filter().text.as_deref(), Some("Show"));
    }
}
