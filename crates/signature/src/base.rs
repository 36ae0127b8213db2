//! The strings that are signed, one builder per profile. Owns nothing of headers' syntax and no keys.

use crate::input::{self, Input};
use crate::message::{Field, check_value};
use crate::{Message, Profile, Reading, Reason, Twist};

/// The header fields that every profile looks at, found once.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) message: Message<'a>,
    pub(crate) signature: Option<Field<'a>>,
    pub(crate) signature_input: Option<Field<'a>>,
    pub(crate) content_digest: Option<Field<'a>>,
    pub(crate) content_type: Option<Field<'a>>,
    pub(crate) content_length: Option<Field<'a>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &Message<'a>) -> Fields<'a> {
        Fields {
            message: *message,
            signature: message.field("signature"),
            signature_input: message.field("signature-input"),
            content_digest: message.field("content-digest"),
            content_type: message.field("content-type"),
            content_length: message.field("content-length"),
        }
    }
}

/// The exact bytes that are signed in that reading. Where Signature-Input has several labels the first is taken (`rfc9421` only).
///
/// # Errors
/// A [`Reason`] why there is no such string: a missing header, a component that cannot be built, …
pub fn base_string(reading: Reading, message: &Message<'_>) -> Result<Vec<u8>, Reason> {
    labelled(reading, &Fields::of(message), None)
}

/// As [`base_string`], for one label of Signature-Input.
pub(crate) fn labelled(reading: Reading, fields: &Fields<'_>, label: Option<&str>) -> Result<Vec<u8>, Reason> {
    fields.message.check_request_line()?;
    match reading.profile() {
        Profile::Guide => guide(reading, fields),
        Profile::Scribe => scribe(reading, fields),
        Profile::Rfc9421 => {
            let field = fields.signature_input.as_ref().ok_or_else(|| missing("Signature-Input"))?;
            let inputs = input::inputs(&field.value)?;
            let input = inputs
                .iter()
                .find(|input| label.is_none_or(|label| input.label == label))
                .ok_or(Reason::MalformedSignatureInput("it has not the signature's label"))?;
            rfc9421(fields, input)
        }
    }
}

/// Whether the string of this reading is, for this message, the one of a plainer reading or none at all.
pub(crate) fn adds_nothing(reading: Reading, fields: &Fields<'_>) -> bool {
    let body = fields.message.body;
    // In ASCII a UTF-16 unit is a byte; what is not UTF-8 has no length in UTF-16 units.
    (reading.has(Twist::Utf16Length) && (body.is_ascii() || std::str::from_utf8(body).is_err()))
        || (reading.has(Twist::NoPadding)
            && fields.content_digest.as_ref().is_none_or(|f| f.value.iter().filter(|b| **b == b'=').count() < 2))
        // A query that itself begins with `?` would give one string for two targets: `/p?a` read plainly, `/p??a` read so.
        || (reading.has(Twist::SingleQuery) && matches!(fields.message.query().as_bytes(), [] | [b'?', ..]))
}

fn missing(name: &str) -> Reason {
    Reason::MissingHeader(name.to_owned())
}

/// A field's value for the profiles that know a header as one line.
fn single<'f>(name: &'static str, field: Option<&'f Field<'_>>) -> Result<&'f [u8], Reason> {
    let field = field.ok_or_else(|| missing(name))?;
    if field.lines > 1 {
        return Err(Reason::DuplicateHeader(name));
    }
    check_value(name, &field.value)
}

/// `post /path query digest content-type content-length`
fn guide(reading: Reading, fields: &Fields<'_>) -> Result<Vec<u8>, Reason> {
    let message = &fields.message;
    let header = single("Content-Digest", fields.content_digest.as_ref())?;
    let content_type = single("Content-Type", fields.content_type.as_ref())?;
    let equals = |text: &[u8]| text.iter().position(|b| *b == b'=');
    let at = equals(header).ok_or(Reason::MalformedDigest("there is no `=` between algorithm and digest"))?;
    let mut digest = &header[at + 1..];
    if reading.has(Twist::NoPadding) {
        digest = &digest[..equals(digest).unwrap_or(digest.len())];
    }
    let length = if reading.has(Twist::Utf16Length) {
        let text = std::str::from_utf8(message.body)
            .map_err(|_| Reason::MalformedRequest { what: "body", sent: "not UTF-8".to_owned() })?;
        text.encode_utf16().count()
    } else {
        message.body.len()
    };
    let mut out = Vec::with_capacity(message.target.len() + digest.len() + content_type.len() + 40);
    out.extend(message.method.bytes().map(|b| b.to_ascii_lowercase()));
    for part in [message.path().as_bytes(), message.query().as_bytes(), digest, content_type] {
        out.push(b' ');
        out.extend_from_slice(part);
    }
    out.extend_from_slice(format!(" {length}").as_bytes());
    Ok(out)
}

/// `"@method": POST` and five more lines.
fn scribe(reading: Reading, fields: &Fields<'_>) -> Result<Vec<u8>, Reason> {
    let message = &fields.message;
    let digest = single("Content-Digest", fields.content_digest.as_ref())?;
    let content_type = single("Content-Type", fields.content_type.as_ref())?;
    let content_length = single("Content-Length", fields.content_length.as_ref())?;
    let join: &[u8] = if reading.has(Twist::BackslashN) {
        br"\n"
    } else if reading.has(Twist::TwoBackslashesN) {
        br"\\n"
    } else {
        b"\n"
    };
    // URL.search of a URL without a query, or with an empty one, is empty; otherwise it begins with `?`.
    let search = if message.query().is_empty() || reading.has(Twist::SingleQuery) { "" } else { "?" };
    let mut out = Vec::with_capacity(message.target.len() + digest.len() + content_type.len() + 140);
    let lines: [(&str, &[&[u8]]); 6] = [
        ("@method", &[message.method.as_bytes()]),
        ("@path", &[message.path().as_bytes()]),
        ("@query", &[b"?", search.as_bytes(), message.query().as_bytes()]),
        ("content-digest", &[digest]),
        ("content-type", &[content_type]),
        ("content-length", &[content_length]),
    ];
    for (at, (name, value)) in lines.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(join);
        }
        line(&mut out, name, value);
    }
    Ok(out)
}

/// RFC 9421, section 2.5.
pub(crate) fn rfc9421(fields: &Fields<'_>, input: &Input) -> Result<Vec<u8>, Reason> {
    let message = &fields.message;
    if let Some(name) = &input.parameterized {
        let why = "parameters of a component are not supported";
        return Err(Reason::UnknownComponent { name: name.clone(), why });
    }
    let unknown = |name: &str, why| Err(Reason::UnknownComponent { name: name.to_owned(), why });
    let mut out = Vec::with_capacity(message.target.len() + input.serialized.len() + 400);
    for name in &input.params.components {
        match name.as_str() {
            "@method" => line(&mut out, name, &[message.method.as_bytes()]),
            "@path" => line(&mut out, name, &[message.path().as_bytes()]),
            "@query" => line(&mut out, name, &[b"?", message.query().as_bytes()]),
            "@request-target" => line(&mut out, name, &[message.target.as_bytes()]),
            "@authority" => {
                // In lower case (section 2.2.3). A port stays as sent: which one is the default depends on the scheme.
                let host = single("Host", message.field("host").as_ref())?.to_ascii_lowercase();
                line(&mut out, name, &[&host]);
            }
            "@target-uri" | "@scheme" => {
                return unknown(name, "it needs the scheme, which a request as received does not have");
            }
            "@query-param" => return unknown(name, "it needs a parameter, which is not supported"),
            "@status" => return unknown(name, "it is a response's"),
            "@signature-params" => return unknown(name, "it cannot be covered, it is always the last line"),
            derived if derived.starts_with('@') => return unknown(name, "RFC 9421 does not have it"),
            header => {
                let field = message.field(header).ok_or_else(|| missing(header))?;
                line(&mut out, header, &[check_value(header, &field.value)?]);
            }
        }
        out.push(b'\n');
    }
    line(&mut out, "@signature-params", &[input.serialized.as_bytes()]);
    Ok(out)
}

fn line(out: &mut Vec<u8>, name: &str, value: &[&[u8]]) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\": ");
    for part in value {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Key;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn built(reading: &str, message: &Message<'_>) -> String {
        String::from_utf8(base_string(reading.parse().unwrap(), message).unwrap()).unwrap()
    }

    const DIGEST: &[u8] = b"SHA-256=abc=";

    fn message<'a>(target: &'a str, headers: &'a [(&'a [u8], &'a [u8])], body: &'a str) -> Message<'a> {
        Message { method: "POST", target, headers, body: body.as_bytes() }
    }

    #[test]
    fn the_guide_s_string() {
        let headers: &[(&[u8], &[u8])] = &[(b"Content-Digest", DIGEST), (b"content-type", b"application/json")];
        assert_eq!(built("guide", &message("/p", headers, "{}")), "post /p  abc= application/json 2");
        assert_eq!(built("guide", &message("/p?a=b?c", headers, "{}")), "post /p a=b?c abc= application/json 2");
        assert_eq!(built("guide:no-padding", &message("/p/", headers, "{}")), "post /p/  abc application/json 2");
        // U+1F600: four bytes, two UTF-16 units. U+00E4: two bytes, one unit.
        assert_eq!(built("guide", &message("/p", headers, "😀ä")), "post /p  abc= application/json 6");
        assert_eq!(built("guide:utf16-length", &message("/p", headers, "😀ä")), "post /p  abc= application/json 3");
    }

    #[test]
    fn the_ai_scribe_guide_s_string() {
        let headers: &[(&[u8], &[u8])] =
            &[(b"Content-Digest", b"sha-256=:x=:"), (b"Content-Type", b"a/b"), (b"Content-Length", b"2")];
        let rest = "\"content-digest\": sha-256=:x=:\n\"content-type\": a/b\n\"content-length\": 2";
        let without = format!("\"@method\": POST\n\"@path\": /p\n\"@query\": ?\n{rest}");
        assert_eq!(built("scribe", &message("/p", headers, "{}")), without);
        assert_eq!(built("scribe", &message("/p?", headers, "{}")), without);
        let with = built("scribe", &message("/p?a=b", headers, "{}"));
        assert_eq!(with, format!("\"@method\": POST\n\"@path\": /p\n\"@query\": ??a=b\n{rest}"));
        let single = built("scribe:single-query", &message("/p?a=b", headers, "{}"));
        assert_eq!(single, with.replace("??", "?"));
        let backslash = built("scribe:backslash-n", &message("/p?a=b", headers, "{}"));
        assert_eq!(backslash, with.replace('\n', "\\n"));
        let two = built("scribe:two-backslashes-n", &message("/p?a=b", headers, "{}"));
        assert_eq!(two, with.replace('\n', "\\\\n"));
    }

    #[test]
    fn rfc_9421_b_2_5() {
        let headers: &[(&[u8], &[u8])] = &[
            (b"Host", b"example.com"),
            (b"Date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
            (b"Content-Type", b"application/json"),
            (
                b"Content-Digest",
                b"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
            ),
            (b"Content-Length", b"18"),
            (
                b"Signature-Input",
                br#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
            ),
        ];
        let message = message("/foo?param=Value&Pet=dog", headers, r#"{"hello": "world"}"#);
        let base = built("rfc9421", &message);
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\"content-type\": application/json\n\
             \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
        );
        let shared_secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let key = Key::new(&STANDARD.decode(shared_secret).unwrap());
        assert_eq!(STANDARD.encode(key.mac(base.as_bytes())), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
    }

    #[test]
    fn rfc_9421_component_values() {
        let of = |components: &str, headers: &[(&[u8], &[u8])]| {
            let input = format!("s=({components})");
            let mut headers = headers.to_vec();
            headers.push((b"signature-input", input.as_bytes()));
            base_string(Reading::plain(Profile::Rfc9421), &message("/p?", &headers, ""))
                .map(|base| String::from_utf8(base).unwrap())
                .map_err(|reason| reason.code())
        };
        let host: &[(&[u8], &[u8])] = &[(b"Host", b"WWW.Example.com:8080"), (b"X", b" a "), (b"x", b"b")];
        assert_eq!(
            of(r#""x" "@authority" "@query" "@request-target""#, host).as_deref(),
            Ok("\"x\": a, b\n\"@authority\": www.example.com:8080\n\"@query\": ?\n\"@request-target\": /p?\n\
                \"@signature-params\": (\"x\" \"@authority\" \"@query\" \"@request-target\")")
        );
        assert_eq!(of("", &[]).as_deref(), Ok("\"@signature-params\": ()"));
        for component in ["@target-uri", "@scheme", "@status", "@query-param", "@signature-params", "@new"] {
            assert_eq!(of(&format!("\"{component}\""), host), Err("unknown-component"), "{component}");
        }
        assert_eq!(of(r#""x";bs"#, host), Err("unknown-component"));
        assert_eq!(of(r#""x-not-there""#, host), Err("missing-header"));
        assert_eq!(of(r#""x""#, &[(b"x", b"a\n\"@path\": /other")]), Err("malformed-header"));
    }
}
