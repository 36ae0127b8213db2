//! Every small change of one signed string that is worth a try: what integrators, proxies and frameworks are known to do to a request.
//! Owns which they are and how many; trying them is search.rs.

use base64::Engine as _;

use crate::digest::BASE64;
use crate::doctor::bodies;
use crate::doctor::cause::{Cause, Counted, DigestText, Percent, QueryText, Signed, TypeText};
use crate::doctor::draft::{Draft, Part, Sets};
use crate::doctor::loose::BASE64_URL;
use crate::message::Field;
use crate::{Profile, base::Fields};

/// The most targets of other deliveries that are tried; the caller gives the likeliest first.
pub(crate) const MAX_OTHER_TARGETS: usize = 32;
/// The most segments that are taken off the front of a path.
const MAX_SEGMENTS: usize = 6;
/// The most lines of one header that are tried by themselves.
const MAX_LINES: usize = 4;
/// The most changes of one string, by which the work of all pairs is bounded.
pub(crate) const MAX_CHANGES: usize = 120;

/// One change, and what is wrong if it is the right one.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) cause: Cause,
    pub(crate) sets: Sets,
}

impl Change {
    /// Whether the two can be made together without one undoing the other.
    pub(crate) fn goes_with(&self, other: &Change) -> bool {
        self.sets.iter().all(|(part, _)| other.sets.iter().all(|(of, _)| part != of))
    }
}

/// What the changes are made of.
pub(crate) struct Source<'a> {
    pub(crate) fields: &'a Fields<'a>,
    pub(crate) prefix: Option<&'a str>,
    pub(crate) other_targets: &'a [&'a str],
    /// Lengths of the body that senders may count, less the one in bytes.
    pub(crate) lengths: &'a [(Counted, usize)],
    /// The digest that was sent, decoded.
    pub(crate) digest: &'a [u8],
}

/// The lengths that a body may be said to have.
pub(crate) fn lengths(body: &[u8], content_length: Option<usize>) -> Vec<(Counted, usize)> {
    let mut out = vec![(Counted::Bytes, body.len())];
    if let Ok(text) = std::str::from_utf8(body) {
        out.push((Counted::Utf16, text.encode_utf16().count()));
        out.push((Counted::Characters, text.chars().count()));
    }
    if let Some(json) = bodies::compact(body) {
        out.push((Counted::JsonUtf16, json.encode_utf16().count()));
        out.push((Counted::JsonBytes, json.len()));
    }
    out.extend(content_length.map(|length| (Counted::Header, length)));
    let mut seen = Vec::new();
    out.retain(|(_, length)| {
        !seen.contains(length) && {
            seen.push(*length);
            true
        }
    });
    out
}

/// The changes of one draft that make it another string, plainest first.
pub(crate) fn changes(draft: &Draft, source: &Source<'_>) -> Vec<Change> {
    let mut out = Collector { draft, changes: Vec::new() };
    targets(&mut out, source);
    queries(&mut out, source);
    contents(&mut out, source);
    repeated(&mut out, source.fields);
    let method = source.fields.message.method;
    for text in [method.to_ascii_uppercase(), method.to_ascii_lowercase()] {
        out.set(Cause::MethodCase, Part::Method, text);
    }
    for other in ["POST", "PUT", "GET"].into_iter().filter(|other| !other.eq_ignore_ascii_case(method)) {
        let text =
            if draft.reading.profile() == Profile::Guide { other.to_ascii_lowercase() } else { other.to_owned() };
        out.set(Cause::OtherMethod(other.to_owned()), Part::Method, text);
    }
    if let Some(host) = draft.slot(Part::Host).and_then(|slot| std::str::from_utf8(&slot.value).ok()) {
        let bare =
            host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map(|(host, _)| host);
        let forwarded = source.fields.message.field("x-forwarded-host");
        let forwarded = forwarded.and_then(|field| String::from_utf8(field.value.to_ascii_lowercase()).ok());
        let ports = ["443", "80"].map(|port| bare.is_none().then(|| format!("{host}:{port}")));
        for text in [bare.map(str::to_owned), forwarded].into_iter().chain(ports).flatten() {
            out.set(Cause::Host(text.clone()), Part::Host, text);
        }
    }
    if let Some(slot) = draft.slot(Part::Params) {
        // Names of components hold no quotes, and nothing but the list is before the first closing bracket outside of one.
        if let Some(end) = slot.value.windows(2).position(|w| w == b");") {
            out.set(Cause::ParametersDropped, Part::Params, &slot.value[..=end]);
        }
        out.push(Cause::ParametersLineMissing, vec![(Part::Params, None)]);
    }
    out.push(Cause::TrailingNewline, vec![(Part::End, Some(b"\n".to_vec()))]);
    out.changes.truncate(MAX_CHANGES);
    out.changes
}

struct Collector<'d> {
    draft: &'d Draft,
    changes: Vec<Change>,
}

impl Collector<'_> {
    /// Keeps what changes something, and of two that do the same the first.
    fn push(&mut self, cause: Cause, mut sets: Sets) {
        sets.retain(|(part, value)| match self.draft.slot(*part) {
            Some(slot) => value.as_ref() != Some(&slot.value),
            None => *part == Part::End,
        });
        if !sets.is_empty() && self.changes.iter().all(|other| other.sets != sets) {
            self.changes.push(Change { cause, sets });
        }
    }

    fn set(&mut self, cause: Cause, part: Part, value: impl Into<Vec<u8>>) {
        self.push(cause, vec![(part, Some(value.into()))]);
    }

    /// Another target, in all parts that hold something of it.
    fn target(&mut self, cause: Cause, target: &str) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = self.draft.query_text(query);
        let target = Some(target.as_bytes().to_vec());
        let sets = vec![(Part::Path, Some(path.into())), (Part::Query, Some(query)), (Part::Target, target)];
        self.push(cause, sets);
    }
}

fn targets(out: &mut Collector<'_>, source: &Source<'_>) {
    let message = &source.fields.message;
    let (target, path) = (message.target, message.path());
    let rest = &target[path.len()..]; // the query with its `?`
    if let Some(prefix) = source.prefix.map(|prefix| prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty()) {
        if let Some(bare) = path.strip_prefix(prefix).filter(|bare| bare.is_empty() || bare.starts_with('/')) {
            let cause = |signed| Cause::PathPrefix { prefix: prefix.to_owned(), signed };
            out.target(cause(Signed::Without), &format!("{}{rest}", if bare.is_empty() { "/" } else { bare }));
        }
        let cause = Cause::PathPrefix { prefix: prefix.to_owned(), signed: Signed::With };
        out.target(cause, &format!("{prefix}{target}"));
    }
    match path.strip_suffix('/') {
        Some(bare) => out.target(Cause::TrailingSlash(Signed::Without), &format!("{bare}{rest}")),
        None => out.target(Cause::TrailingSlash(Signed::With), &format!("{path}/{rest}")),
    }
    for other in source.other_targets.iter().take(MAX_OTHER_TARGETS) {
        out.target(Cause::OtherTarget((*other).to_owned()), other);
    }
    if let Some(after) = target.split_once("://").map(|(_, after)| after) {
        let origin = after.find('/').map_or("/", |at| &after[at..]);
        out.target(Cause::AbsoluteUrl(Signed::Without), origin);
    } else if let Some(host) = message.field("host").and_then(|host| String::from_utf8(host.value.into_owned()).ok()) {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}{path}");
            out.set(Cause::AbsoluteUrl(Signed::With), Part::Path, url);
        }
    }
    let slashes = path.char_indices().skip(1).filter(|(_, c)| *c == '/').take(MAX_SEGMENTS);
    for (at, _) in slashes.filter(|(at, _)| *at + 1 < path.len()) {
        out.target(Cause::LeadingSegments(path[..at].to_owned()), &target[at..]);
    }
    let decoded = percent_decoded(target);
    if decoded != target.as_bytes() {
        let (path, query) = (percent_decoded(path), percent_decoded(message.query()));
        let query = String::from_utf8(query).map(|query| out.draft.query_text(&query)).ok();
        let mut sets = vec![(Part::Path, Some(path)), (Part::Target, Some(decoded))];
        sets.extend(query.map(|query| (Part::Query, Some(query))));
        out.push(Cause::Percent(Percent::Decoded), sets);
    }
    for also in ["", "[]{}|\"<>^`\\", "[]{}|\"<>^`\\,:;@!$'()*+~"] {
        out.target(Cause::Percent(Percent::Encoded), &percent_encoded(target, also));
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

fn percent_encoded(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn queries(out: &mut Collector<'_>, source: &Source<'_>) {
    let message = &source.fields.message;
    let query = message.query();
    if !query.is_empty() {
        out.target(Cause::Query(QueryText::Dropped), message.path());
    }
    for (form, marks) in [(QueryText::NoMark, ""), (QueryText::OneMark, "?"), (QueryText::TwoMarks, "??")] {
        if !(query.is_empty() && form == QueryText::TwoMarks) {
            out.set(Cause::Query(form), Part::Query, format!("{marks}{query}"));
        }
    }
    if query.is_empty() {
        out.push(Cause::Query(QueryText::PlaceOmitted), vec![(Part::Query, None)]);
    }
    if message.target.contains('?') {
        let nothing = out.draft.query_text("");
        for rest in [Some(nothing), Some(Vec::new()), None] {
            let sets = vec![(Part::Path, Some(message.target.into())), (Part::Query, rest)];
            out.push(Cause::Query(QueryText::InPath), sets);
        }
    }
}

fn contents(out: &mut Collector<'_>, source: &Source<'_>) {
    let (digest, base64) = (source.digest, BASE64.encode(source.digest));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    for (form, text) in [
        (DigestText::Unpadded, base64.trim_end_matches('=').to_owned()),
        (DigestText::Base64, base64.clone()),
        (DigestText::Hex, hex.clone()),
        (DigestText::Base64Url, BASE64_URL.encode(digest)),
        (DigestText::HexInBase64, BASE64.encode(&hex)),
        (DigestText::InColons, format!(":{base64}:")),
    ] {
        out.set(Cause::DigestPart(form), Part::Digest, text);
    }
    if let Some(header) = &source.fields.content_digest {
        out.set(Cause::DigestPart(DigestText::WholeHeader), Part::Digest, &*header.value);
    }
    for (form, text) in [
        (DigestText::WholeHeader, format!("SHA-256={base64}")),
        (DigestText::WholeHeader, format!("sha-256=:{base64}:")),
        (DigestText::OtherLabel, format!("sha-256={base64}")),
        (DigestText::OtherLabel, format!("SHA-256=:{base64}:")),
        (DigestText::OtherLabel, format!("sha256={base64}")),
        (DigestText::OtherLabel, format!("sha256=:{base64}:")),
        (DigestText::Hex, format!("sha-256={hex}")),
        (DigestText::Hex, format!("sha-256=:{hex}:")),
        (DigestText::Empty, String::new()),
    ] {
        out.set(Cause::DigestPart(form), Part::Digest, text);
    }
    for (counted, length) in source.lengths {
        out.set(Cause::LengthPart(*counted), Part::Length, length.to_string());
    }
    out.set(Cause::LengthPart(Counted::Missing), Part::Length, "");
    out.push(Cause::LengthPart(Counted::Missing), vec![(Part::Length, None)]);
    if let Some(text) = out.draft.slot(Part::Type).and_then(|slot| String::from_utf8(slot.value.clone()).ok()) {
        let bare = text.split_once(';').map_or(&*text, |(bare, _)| bare).trim();
        out.set(Cause::ContentType(TypeText::WithoutCharset), Part::Type, bare);
        for charset in ["; charset=utf-8", ";charset=utf-8", "; charset=UTF-8", ";charset=UTF-8"] {
            let cause = Cause::ContentType(TypeText::WithCharset(charset.to_owned()));
            out.set(cause, Part::Type, format!("{bare}{charset}"));
        }
        out.set(Cause::ContentType(TypeText::LowerCase), Part::Type, text.to_ascii_lowercase());
    }
    out.set(Cause::ContentType(TypeText::Missing), Part::Type, "");
    out.push(Cause::ContentType(TypeText::Missing), vec![(Part::Type, None)]);
}

/// Each line of a header that came more than once, as if it were the only one.
fn repeated(out: &mut Collector<'_>, fields: &Fields<'_>) {
    let of =
        |part, name, field: &Option<Field<'_>>| (field.as_ref().is_some_and(|f| f.lines > 1)).then_some((part, name));
    let twice = [
        of(Part::Digest, "Content-Digest", &fields.content_digest),
        of(Part::Type, "Content-Type", &fields.content_type),
        of(Part::Length, "Content-Length", &fields.content_length),
    ];
    for (part, name) in twice.into_iter().flatten() {
        for line in fields.message.lines(name).take(MAX_LINES) {
            let text = if part == Part::Digest { out.draft.digest_text(line) } else { line.to_vec() };
            out.set(Cause::HeaderTwice(name), part, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_goes_both_ways() {
        assert_eq!(percent_decoded("/a%20b%zz%4"), b"/a b%zz%4");
        assert_eq!(percent_encoded("/a b?ä", ""), "/a%20b?%C3%A4");
        assert_eq!(percent_encoded("/a[1]%20", "[]"), "/a%5B1%5D%20");
    }

    #[test]
    fn lengths_that_are_the_same_are_one() {
        assert_eq!(lengths(b"{}", Some(2)), [(Counted::Bytes, 2)]);
        let all = lengths("{\"a\": \"ä😀\"}".as_bytes(), Some(9));
        let expected = [
            (Counted::Bytes, 15),
            (Counted::Utf16, 12),
            (Counted::Characters, 11),
            (Counted::JsonBytes, 14),
            (Counted::Header, 9),
        ];
        assert_eq!(all, expected);
    }
}
