//! Signed strings in parts, so that one part can be changed at a time. A draft without changes is base.rs's string, byte for byte (a
//! test holds them together); unlike there, what is missing is filled in, because the search only looks for a hint.

use std::borrow::Cow;

use crate::base::Fields;
use crate::digest::BASE64;
use crate::input::Input;
use crate::{Profile, Reading, Twist};
use base64::Engine as _;

/// What a part of the signed string is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Method,
    Path,
    Query,
    /// `@request-target`.
    Target,
    Digest,
    Type,
    Length,
    Host,
    /// Any other header.
    Other,
    /// `@signature-params`.
    Params,
    /// What follows the last part.
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) part: Part,
    /// What an explanation and, in `scribe` and `rfc9421`, the string itself calls it.
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
}

/// Values for some parts; `None` leaves the part out.
pub(crate) type Sets = Vec<(Part, Option<Vec<u8>>)>;

/// One reading's string of one message.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) reading: Reading,
    /// The label of Signature-Input that it is of, in `rfc9421`.
    pub(crate) label: Option<String>,
    pub(crate) slots: Vec<Slot>,
    join: &'static [u8],
    named: bool,
}

/// The body's side of a draft.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyFacts<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) sha256: [u8; 32],
    /// Put in the place of the length, whatever the header or the body say.
    pub(crate) length: Option<usize>,
}

impl Draft {
    pub(crate) fn slot(&self, part: Part) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.part == part)
    }

    /// The string with these changes; of two for one part the later counts.
    pub(crate) fn render(&self, changes: &[&Sets]) -> Vec<u8> {
        let set = |part: Part| changes.iter().rev().flat_map(|sets| sets.iter()).find(|(of, _)| *of == part);
        let mut out = Vec::with_capacity(self.slots.iter().map(|slot| slot.name.len() + slot.value.len() + 8).sum());
        let mut first = true;
        for slot in &self.slots {
            let value = match set(slot.part) {
                Some((_, None)) => continue,
                Some((_, Some(value))) => value,
                None => &slot.value,
            };
            if !std::mem::take(&mut first) {
                out.extend_from_slice(self.join);
            }
            if self.named {
                out.push(b'"');
                out.extend_from_slice(slot.name.as_bytes());
                out.extend_from_slice(b"\": ");
            }
            out.extend_from_slice(value);
        }
        if let Some((_, Some(end))) = set(Part::End) {
            out.extend_from_slice(end);
        }
        out
    }

    /// What stands for that query in this reading's string.
    pub(crate) fn query_text(&self, query: &str) -> Vec<u8> {
        match self.reading.profile() {
            Profile::Guide => query.as_bytes().to_vec(),
            Profile::Scribe if !query.is_empty() && !self.reading.has(Twist::SingleQuery) => {
                [b"??", query.as_bytes()].concat()
            }
            Profile::Scribe | Profile::Rfc9421 => [b"?", query.as_bytes()].concat(),
        }
    }

    /// What stands for that Content-Digest in this reading's string.
    pub(crate) fn digest_text(&self, header: &[u8]) -> Vec<u8> {
        if self.reading.profile() != Profile::Guide {
            return header.to_vec();
        }
        let equals = |text: &[u8]| text.iter().position(|b| *b == b'=');
        let rest = &header[equals(header).map_or(0, |at| at + 1)..];
        let end = if self.reading.has(Twist::NoPadding) { equals(rest) } else { None };
        rest[..end.unwrap_or(rest.len())].to_vec()
    }
}

/// The strings of every reading that differ from each other, likeliest first.
pub(crate) fn drafts(fields: &Fields<'_>, body: &BodyFacts<'_>, inputs: &[Input], order: [Profile; 3]) -> Vec<Draft> {
    let mut out: Vec<Draft> = Vec::new();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for profile in order {
        for reading in Reading::all_of(profile).filter(|r| *r == r.encoded_as(Reading::plain(profile).encoding())) {
            let built = match profile {
                Profile::Rfc9421 => inputs.iter().filter_map(|input| rfc9421(fields, body, input)).collect(),
                _ => vec![lines(reading, fields, body)],
            };
            for draft in built {
                let string = draft.render(&[]);
                if !seen.contains(&string) {
                    seen.push(string);
                    out.push(draft);
                }
            }
        }
    }
    out
}

fn slot(part: Part, name: &str, value: impl Into<Vec<u8>>) -> Slot {
    Slot { part, name: name.to_owned(), value: value.into() }
}

/// A header of the body's, or what it would be.
fn content<'a>(fields: &'a Fields<'_>, body: &BodyFacts<'_>, profile: Profile, part: Part) -> Cow<'a, [u8]> {
    let field = match part {
        Part::Digest => &fields.content_digest,
        Part::Type => &fields.content_type,
        _ => &fields.content_length,
    };
    match (field, part) {
        (_, Part::Length) if body.length.is_some() => Cow::Owned(body.length.unwrap_or_default().to_string().into()),
        (Some(field), _) => Cow::Borrowed(&field.value),
        (None, Part::Digest) if profile == Profile::Guide => {
            Cow::Owned(format!("SHA-256={}", BASE64.encode(body.sha256)).into())
        }
        (None, Part::Digest) => Cow::Owned(format!("sha-256=:{}:", BASE64.encode(body.sha256)).into()),
        (None, Part::Type) => Cow::Borrowed(b"application/json"),
        (None, _) => Cow::Owned(body.bytes.len().to_string().into()),
    }
}

fn lines(reading: Reading, fields: &Fields<'_>, body: &BodyFacts<'_>) -> Draft {
    let (message, profile) = (&fields.message, reading.profile());
    let guide = profile == Profile::Guide;
    let join: &[u8] = match () {
        () if guide => b" ",
        () if reading.has(Twist::BackslashN) => br"\n",
        () if reading.has(Twist::TwoBackslashesN) => br"\\n",
        () => b"\n",
    };
    let mut draft = Draft { reading, label: None, slots: Vec::with_capacity(6), join, named: !guide };
    let method = if guide { message.method.to_ascii_lowercase() } else { message.method.to_owned() };
    let digest = draft.digest_text(&content(fields, body, profile, Part::Digest));
    let length = if !guide {
        content(fields, body, profile, Part::Length).into_owned()
    } else if let Some(length) = body.length {
        length.to_string().into_bytes()
    } else {
        let units = |bytes| std::str::from_utf8(bytes).ok().map(|text| text.encode_utf16().count());
        let utf16 = if reading.has(Twist::Utf16Length) { units(body.bytes) } else { None };
        utf16.unwrap_or(body.bytes.len()).to_string().into_bytes()
    };
    draft.slots = vec![
        slot(Part::Method, "@method", method),
        slot(Part::Path, "@path", message.path()),
        slot(Part::Query, "@query", draft.query_text(message.query())),
        slot(Part::Digest, "content-digest", digest),
        slot(Part::Type, "content-type", content(fields, body, profile, Part::Type)),
        slot(Part::Length, "content-length", length),
    ];
    draft
}

/// `None` if it covers what is not there or cannot be built.
fn rfc9421(fields: &Fields<'_>, body: &BodyFacts<'_>, input: &Input) -> Option<Draft> {
    let (message, profile) = (&fields.message, Profile::Rfc9421);
    if input.parameterized.is_some() {
        return None;
    }
    let mut slots = Vec::with_capacity(input.params.components.len() + 1);
    for name in &input.params.components {
        let (part, value) = match name.as_str() {
            "@method" => (Part::Method, Cow::Borrowed(message.method.as_bytes())),
            "@path" => (Part::Path, Cow::Borrowed(message.path().as_bytes())),
            "@query" => (Part::Query, Cow::Owned([b"?", message.query().as_bytes()].concat())),
            "@request-target" => (Part::Target, Cow::Borrowed(message.target.as_bytes())),
            "@authority" => (Part::Host, Cow::Owned(message.field("host")?.value.to_ascii_lowercase())),
            "content-digest" => (Part::Digest, content(fields, body, profile, Part::Digest)),
            "content-type" => (Part::Type, content(fields, body, profile, Part::Type)),
            "content-length" => (Part::Length, content(fields, body, profile, Part::Length)),
            derived if derived.starts_with('@') => return None,
            header => (Part::Other, message.field(header)?.value),
        };
        slots.push(slot(part, name, value));
    }
    slots.push(slot(Part::Params, "@signature-params", input.serialized.as_bytes()));
    let label = Some(input.label.clone());
    Some(Draft { reading: Reading::plain(profile), label, slots, join: b"\n", named: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, base, input};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn without_changes_it_is_the_string_that_is_verified(
            target in "/[a-z/%.]{0,12}(\\?[a-z=&?%]{0,12})?",
            digest in "(SHA-256=|sha-256=:)?[a-z]{1,4}={0,2}:?",
            body in "[a-zäöü😀]{0,9}",
            content_type in "[a-z]{1,9}/[a-z]{1,9}",
            components in prop::sample::subsequence(
                vec!["@method", "@path", "@query", "@request-target", "@authority", "content-digest", "content-type", "content-length", "x"], 9),
        ) {
            let length = body.len().to_string();
            let names: Vec<_> = components.iter().map(|name| format!("\"{name}\"")).collect();
            let sent = format!("s=({});created=1", names.join(" "));
            let headers: Vec<(&[u8], &[u8])> = vec![
                (b"content-digest", digest.as_bytes()),
                (b"content-type", content_type.as_bytes()),
                (b"content-length", length.as_bytes()),
                (b"signature-input", sent.as_bytes()),
                (b"host", b"H:80"),
                (b"x", b" 1"),
                (b"x", b"2 "),
            ];
            let message = Message { method: "POST", target: &target, headers: &headers, body: body.as_bytes() };
            let fields = Fields::of(&message);
            let facts = BodyFacts { bytes: body.as_bytes(), sha256: crate::sha256(body.as_bytes()), length: None };
            let built = drafts(&fields, &facts, &input::inputs(sent.as_bytes()).unwrap(), Profile::ALL);
            for draft in &built {
                let Ok(expected) = base::base_string(draft.reading, &message) else { continue };
                prop_assert_eq!(draft.render(&[]), expected, "{:?}", draft.reading);
            }
            prop_assert!(built.len() >= 3);
        }
    }
}
