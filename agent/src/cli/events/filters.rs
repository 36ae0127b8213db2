//! Filters as they are written on the command line: in the query language, by options, or both.

use clap::Args;
use tunnel_delivery::{AnswerClass, SignatureStatus, TunnelName};

use super::super::style::deliveries;
use super::super::{Failure, arguments, inspect};
use crate::control::Filter;
use crate::query::Saved;
use crate::safe_text::SafeText;
use crate::settings::{Moment, Settings};

/// Which deliveries are meant: what the words say and what the options say must hold together.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// What must hold, in the language of the inspector's filter, such as 'status:failed event:appointment.*' (`healthie-tunnel inspect
    /// --help` has all of it); the options below must hold too
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

impl Wanted {
    /// Whether there is any condition.
    pub(crate) fn any(&self) -> bool {
        !self.filter.is_empty() || self.filters.any()
    }

    /// Both as one.
    ///
    /// # Errors
    /// The words have a mistake, and the message shows where; or one of them is empty.
    pub(crate) fn filter(self, settings: &Settings) -> Result<Filter, Failure> {
        some_words(&self.filter)?;
        let words = self.filter.join(" ");
        // Only who names filters needs them to be readable.
        let query = if words.is_empty() { words } else { check(&words, &inspect::saved(settings)?.0)? };
        Ok(Filter { query, ..self.filters.filter() })
    }
}

/// Refuses a word without anything in it, such as a variable that was not set: it would mean everything.
pub(crate) fn some_words(words: &[String]) -> Result<(), Failure> {
    match words.iter().any(|word| word.trim().is_empty()) {
        true => Err(Failure::usage("the filter is empty").hint("since:beginning means all")),
        false => Ok(()),
    }
}

/// Refuses a filter with a mistake, and shows where that is. Gives it with saved filters written out.
pub(crate) fn check(query: &str, saved: &Saved) -> Result<String, Failure> {
    let e = match saved.read(query, arguments::now()) {
        Ok((_, written_out)) => return Ok(written_out),
        Err(e) => e,
    };
    let before = SafeText::new(query.get(..e.at.start).unwrap_or("")).to_string();
    let mistake = SafeText::new(query.get(e.at.clone()).unwrap_or("")).to_string();
    let marks = "^".repeat(mistake.chars().count().max(1));
    let blanks = " ".repeat(before.chars().count());
    Err(Failure::usage(format!("the filter has a mistake\n  {}\n  {blanks}{marks} {}", SafeText::new(query), e.why)))
}

/// Which deliveries are meant; all conditions must hold.
#[derive(Debug, Default, Args)]
pub(crate) struct Filters {
    /// Events of this pattern, such as 'appointment.*'; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = some)]
    event: Vec<String>,
    /// A resource type, or one resource: Appointment or Appointment:123
    #[arg(long, value_name = "TYPE[:ID]", value_parser = some)]
    resource: Option<String>,
    /// valid, invalid, unsigned or no-secret; may be repeated
    #[arg(long, value_name = "STATUS", value_parser = signature)]
    signature: Vec<SignatureStatus>,
    /// What the last attempt came to: 2xx, 3xx, 4xx, 5xx, error, queued or none; may be repeated
    #[arg(long, value_name = "CLASS", value_parser = class)]
    status: Vec<AnswerClass>,
    /// Received since then: 24h, 2026-11-21T09:30:00Z
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    since: Option<Moment>,
    /// Received before then
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    until: Option<Moment>,
    /// Of this tunnel
    #[arg(long, value_name = "NAME")]
    tunnel: Option<TunnelName>,
    /// The body has this text; letter case does not count
    #[arg(long, value_name = "TEXT", value_parser = some)]
    text: Option<String>,
}

impl Filters {
    /// Whether there is any condition.
    pub(crate) fn any(&self) -> bool {
        let Filters { event, resource, signature, status, since, until, tunnel, text } = self;
        !event.is_empty()
            || !signature.is_empty()
            || !status.is_empty()
            || resource.is_some()
            || since.is_some()
            || until.is_some()
            || tunnel.is_some()
            || text.is_some()
    }

    pub(crate) fn filter(self) -> Filter {
        let now = arguments::now();
        let (resource_type, resource_id) = match self.resource {
            None => (None, None),
            Some(text) => match text.split_once(':') {
                None => (Some(text), None),
                Some((kind, id)) => ((!kind.is_empty()).then(|| kind.to_owned()), Some(id.to_owned())),
            },
        };
        Filter {
            events: self.event,
            resource_type,
            resource_id,
            signature: self.signature,
            status: self.status,
            since: self.since.map(|m| m.timestamp(now)),
            until: self.until.map(|m| m.timestamp(now)),
            tunnel: self.tunnel,
            text: self.text,
            ..Filter::default()
        }
    }
}

/// An empty text is in every body.
fn some(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("it is empty; leave the option out, or --since beginning means all")
    } else {
        Ok(text.to_owned())
    }
}

fn signature(text: &str) -> Result<SignatureStatus, String> {
    let all = SignatureStatus::ALL;
    all.into_iter()
        .find(|s| s.as_str() == text)
        .ok_or_else(|| format!("choose of {}", all.map(SignatureStatus::as_str).join(", ")))
}

fn class(text: &str) -> Result<AnswerClass, String> {
    let all = AnswerClass::ALL;
    all.into_iter()
        .find(|c| c.as_str() == text)
        .ok_or_else(|| format!("choose of {}", all.map(AnswerClass::as_str).join(", ")))
}

/// What is said where a follower was too far behind.
pub(crate) fn missed(n: u64) -> String {
    let came = deliveries(n);
    format!("{came} came that are left out here, because this command was too far behind; `events list` shows them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_word_is_not_everything() {
        let refused = |words: &[&str]| some_words(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).is_err();
        assert!(refused(&[""]) && refused(&[" \t"]) && refused(&["status:5xx", ""]));
        assert!(!refused(&[]) && !refused(&["status:5xx", "a"]));
        assert!(some("").is_err() && some(" ").is_ok());
        assert!(check("\"\"", &Saved::default()).is_err() && check("-\"\"", &Saved::default()).is_err());
    }

    #[test]
    fn a_mistake_is_marked() {
        let mut saved = Saved::default();
        saved.insert("bad", "status:5xx").unwrap();
        assert_eq!(check("@bad env:staging", &saved).unwrap(), "status:5xx env:staging");
        let message = check("a sig:vald", &saved).unwrap_err().message;
        assert_eq!(
            message,
            "the filter has a mistake\n  a sig:vald\n        ^^^^ choose of valid, invalid, unsigned, no-secret"
        );
    }
}
