//! What a list asks for, and whether a summary is part of it. Pure; how the answer is found is `reader`'s work.

use std::fmt;
use std::str::FromStr;

use tunnel_delivery::{AnswerClass, DeliveryId, Environment, IdError, SignatureStatus, Summary, Timestamp, TunnelName};

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest delivery first.
    #[default]
    NewestFirst,
    /// The earliest delivery first.
    OldestFirst,
}

impl Order {
    /// Whether a key comes after the last one in this order.
    pub(crate) fn follows(self, key: &[u8], last: Option<&[u8]>) -> bool {
        last.is_none_or(|last| match self {
            Order::NewestFirst => key < last,
            Order::OldestFirst => key > last,
        })
    }
}

/// Where the next page begins: opaque, and valid as long as the archive is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) DeliveryId);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        s.parse().map(Cursor)
    }
}

/// An event's name, where `*` stands for any characters: `appointment.created`, `appointment.*`, `*.deleted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern(String);

impl EventPattern {
    /// Any text is a pattern.
    pub fn new(pattern: impl Into<String>) -> EventPattern {
        EventPattern(pattern.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every matching name begins with, and whether that is the whole name.
    pub(crate) fn beginning(&self) -> (&str, bool) {
        self.0.split_once('*').map_or((&self.0, true), |(beginning, _)| (beginning, false))
    }

    /// Whether this name matches.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        // The leftmost place of each part leaves most room for what follows.
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// What a list asks for. Conditions that are empty or `None` hold for everything; all others must hold together.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which end comes first.
    pub order: Order,
    /// How many items a page has at most.
    pub limit: usize,
    /// Where to go on: [`Page::next`] of the page before.
    pub cursor: Option<Cursor>,
    /// Received at this time or later, to the millisecond.
    pub from: Option<Timestamp>,
    /// Received at this time or earlier, to the millisecond.
    pub until: Option<Timestamp>,
    /// One of these events.
    pub events: Vec<EventPattern>,
    /// This resource type. Names and ids are compared by their first 200 characters, which is what a [`Summary`] has.
    pub resource_type: Option<String>,
    /// This resource.
    pub resource_id: Option<String>,
    /// One of these signature statuses.
    pub signature: Vec<SignatureStatus>,
    /// The last attempt came to one of these.
    pub answer: Vec<AnswerClass>,
    /// One of these environments.
    pub environment: Vec<Environment>,
    /// This tunnel.
    pub tunnel: Option<TunnelName>,
    /// Pinned, or not pinned.
    pub pinned: Option<bool>,
    /// Seems to repeat an earlier delivery, or does not.
    pub duplicates: Option<bool>,
    /// Seems to repeat this delivery.
    pub repeats_of: Option<DeliveryId>,
    /// The body contains these bytes; the letter case of ASCII letters does not count.
    pub text: Option<String>,
    /// How many deliveries are looked at for one page at most. A page that ends here has a cursor to go on from.
    pub scan_limit: usize,
    /// Whether a delivery whose line cannot be read is passed over and named in [`Page::damaged`]. Else the whole list fails.
    pub past_damage: bool,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            order: Order::NewestFirst,
            limit: 100,
            cursor: None,
            from: None,
            until: None,
            events: Vec::new(),
            resource_type: None,
            resource_id: None,
            signature: Vec::new(),
            answer: Vec::new(),
            environment: Vec::new(),
            tunnel: None,
            pinned: None,
            duplicates: None,
            repeats_of: None,
            text: None,
            scan_limit: 20_000,
            past_damage: false,
        }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The deliveries found, in the query's order.
    pub items: Vec<Summary>,
    /// Where to go on; `None` at the end. There may be a cursor even if fewer items than the limit were found, or none
    /// ([`Query::scan_limit`]).
    pub next: Option<Cursor>,
    /// About how many deliveries were looked at or, by their sketches, passed over.
    pub scanned: usize,
    /// Those that may belong to it and whose line cannot be read, with the reason ([`Query::past_damage`]).
    pub damaged: Vec<(DeliveryId, String)>,
}

/// The characters of a name that a summary has.
pub(crate) const NAME_CHARS: usize = 200;

pub(crate) fn cut(name: &str) -> &str {
    cut_to(name, NAME_CHARS)
}

pub(crate) fn cut_to(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

impl Query {
    /// Whether this delivery is part of the list, as far as its summary tells ([`Query::text`] is about its body).
    pub fn matches(&self, summary: &Summary) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| found.as_deref() == Some(cut(wanted)))
        };
        let event = summary.event_type.as_deref();
        (self.events.is_empty() || event.is_some_and(|e| self.events.iter().any(|p| p.matches_cut(e))))
            && same(&self.resource_type, &summary.resource_id_type)
            && same(&self.resource_id, &summary.resource_id)
            && (self.signature.is_empty() || self.signature.contains(&summary.signature))
            && (self.answer.is_empty() || self.answer.contains(&summary.answer.class))
            && (self.environment.is_empty() || self.environment.contains(&summary.environment))
            && self.tunnel.as_ref().is_none_or(|t| *t == summary.tunnel)
            && self.pinned.is_none_or(|p| p == summary.pinned)
            && self.duplicates.is_none_or(|d| d == summary.duplicate_of.is_some())
            && self.repeats_of.is_none_or(|of| summary.duplicate_of == Some(of))
            && self.id_range().contains(&summary.id)
    }

    /// The ids within the time range; the cursor is not part of this.
    pub(crate) fn id_range(&self) -> std::ops::RangeInclusive<DeliveryId> {
        let low = self.from.map_or(DeliveryId::from_bytes([0; 16]), DeliveryId::first_at);
        let high = self.until.map_or(DeliveryId::from_bytes([255; 16]), DeliveryId::last_at);
        low..=high
    }
}

impl EventPattern {
    fn matches_cut(&self, name: &str) -> bool {
        match self.beginning() {
            (whole, true) => cut(whole) == name,
            _ => self.matches(name),
        }
    }
}

/// A text that bodies are searched for, ASCII letters in any case.
pub(crate) struct Needle<'t> {
    text: &'t [u8],
    /// Where in the text the byte is that is looked for first, and that byte in both cases.
    at: usize,
    either: (u8, u8),
}

/// Letters by how often they are met, the most frequent first.
const FREQUENT: &[u8] = b"etaoinsrhldcumfpgwybvkxjqz";

impl<'t> Needle<'t> {
    pub(crate) fn new(text: &'t str) -> Needle<'t> {
        let text = text.as_bytes();
        // What is no letter is in every JSON many times; of letters the rarest, of digits any.
        let rank = |byte: u8| match byte {
            b'0'..=b'9' => 13,
            _ => FREQUENT.iter().position(|letter| *letter == byte.to_ascii_lowercase()).map_or(5, |rank| rank + 6),
        };
        let at = (0..text.len()).max_by_key(|at| rank(text[*at])).unwrap_or(0);
        let byte = text.get(at).copied().unwrap_or(0);
        Needle { text, at, either: (byte.to_ascii_lowercase(), byte.to_ascii_uppercase()) }
    }

    /// Whether it is in there.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let Some(last) = bytes.len().checked_sub(self.text.len()) else { return false };
        if self.text.is_empty() {
            return true;
        }
        let places = &bytes[self.at..=last + self.at];
        memchr::memchr2_iter(self.either.0, self.either.1, places)
            .any(|from| bytes[from..from + self.text.len()].eq_ignore_ascii_case(self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("appointment.created", "appointment.created", true),
            ("appointment.created", "appointment.created2", false),
            ("appointment.*", "appointment.created", true),
            ("appointment.*", "appointments.created", false),
            ("*.deleted", "goal.deleted", true),
            ("*.deleted", "goal.deleted.x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("**", "x", true),
        ] {
            assert_eq!(EventPattern::new(pattern).matches(name), wanted, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_any_part_of_it_starred(name in "[a-z.]{0,12}", from in 0usize..12, to in 0usize..12) {
            prop_assert!(EventPattern::new(name.clone()).matches(&name));
            let (from, to) = (from.min(name.len()), to.min(name.len()));
            if from <= to {
                let starred = format!("{}*{}", &name[..from], &name[to..]);
                prop_assert!(EventPattern::new(starred).matches(&name));
            }
        }
    }

    #[test]
    fn text_is_found_in_any_letter_case() {
        let contains = |body: &[u8], text| Needle::new(text).is_in(body);
        assert!(contains(b"{\"Event_Type\":1}", "event_type"));
        assert!(contains(b"\xff\x00ab", "AB"));
        assert!(!contains(b"ab", "abc"));
        assert!(contains(b"", ""));
    }

    proptest! {
        #[test]
        fn a_needle_is_found_where_a_window_equals_it(body in "[aAzZ0\"é]{0,14}", text in "[aAzZ0\"é]{0,4}") {
            let window = body.as_bytes().windows(text.len().max(1)).any(|w| w.eq_ignore_ascii_case(text.as_bytes()));
            prop_assert_eq!(Needle::new(&text).is_in(body.as_bytes()), window || text.is_empty());
        }
    }
}
