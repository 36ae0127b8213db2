//! A request as text that people have at hand: raw HTTP, a fixture, a curl command line, the JSON of `events show`. Reads and writes it, each byte of
//! the body exact; owns the bounds and the messages that name a line.
//!
//! Nothing here verifies or sends anything. The files that a curl line names are read by whoever calls.

mod curl;
mod curl_line;
mod curl_options;
mod curl_script;
mod http;
mod json;
mod shell;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tunnel_delivery::{Delivery, DeliveryId, Headers, Timestamp, TunnelName};

pub use curl_line::curl_line;
pub use curl_script::{SCRIPT_HEAD, script_step};
pub use http::http_text;

/// The longest text that is read, in bytes. The relay takes bodies of 1 MiB unless told otherwise, and JSON is at most six times as long.
pub const MAX_TEXT: usize = 32 * 1024 * 1024;
/// The longest line of a head, in bytes.
const MAX_LINE: usize = 128 * 1024;
/// The most header lines.
const MAX_LINES: usize = 512;

/// What a text was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A stored delivery; not a text.
    Delivery,
    /// A raw HTTP request.
    Http,
    /// A fixture.
    Fixture,
    /// A curl command line.
    Curl,
    /// The JSON of a stored delivery.
    Json,
}

impl Form {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Delivery => "a stored delivery",
            Form::Http => "a raw HTTP request",
            Form::Fixture => "a fixture",
            Form::Curl => "a curl command line",
            Form::Json => "the JSON of a stored delivery",
        }
    }
}

/// A request as it was written down. Unlike a delivery's its method and target may be anything: what is wrong with them is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What it was read from.
    pub form: Form,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// The header lines.
    pub headers: Headers,
    /// The body.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Bytes,
    /// What is known of the delivery that it is.
    pub origin: Option<Origin>,
}

/// Which delivery a request is, and what the relay knew of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its id.
    pub id: DeliveryId,
    /// When the relay had it.
    pub received_at: Timestamp,
    /// Its tunnel.
    pub tunnel: TunnelName,
    /// How many bytes of the target are the relay's address of the tunnel.
    pub prefix_len: usize,
}

impl Written {
    /// A delivery's request.
    pub fn of(d: &Delivery) -> Written {
        Written {
            form: Form::Delivery,
            method: d.method.as_str().to_owned(),
            target: d.target.as_str().to_owned(),
            headers: d.headers.clone(),
            body: d.body.clone(),
            origin: Some(Origin {
                id: d.id,
                received_at: d.received_at,
                tunnel: d.tunnel.clone(),
                prefix_len: d.prefix_len,
            }),
        }
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(d)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ReadError {
    /// The line that is wrong, from 1.
    pub line: Option<usize>,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl ReadError {
    fn at(line: usize, what: impl Into<String>) -> ReadError {
        ReadError { line: Some(line), what: what.into() }
    }
}

/// Reads a request, whatever it is written as. `file` reads a file that a curl line names.
///
/// # Errors
/// It is none of the forms, or not a whole one; the message names the line.
pub fn read(text: &[u8], file: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Written, ReadError> {
    if text.len() > MAX_TEXT {
        return Err(ReadError {
            line: None,
            what: format!("it is longer than the {} MiB that are read", MAX_TEXT >> 20),
        });
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let start = text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(text.len());
    let (skipped, rest) = (text[..start].iter().filter(|b| **b == b'\n').count(), &text[start..]);
    let first = rest.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    if rest.is_empty() {
        Err(ReadError { line: None, what: "it is empty".into() })
    } else if rest[0] == b'{' || rest[0] == b'[' {
        json::read(rest)
    } else if first.starts_with(FIXTURE) {
        fixture(rest)
    } else if http::begins(first) {
        http::read(rest, skipped)
    } else if curl::begins(rest) {
        curl::read(rest, skipped, file)
    } else {
        let shown: String = String::from_utf8_lossy(first).chars().take(60).collect();
        Err(ReadError::at(
            skipped + 1,
            format!(
                "{shown:?} begins neither a raw HTTP request (POST /path HTTP/1.1), nor a fixture, nor a curl command line, nor the JSON of \
                 `events show --json`"
            ),
        ))
    }
}

/// What a fixture begins with.
const FIXTURE: &[u8] = b"healthie-tunnel fixture ";

fn fixture(text: &[u8]) -> Result<Written, ReadError> {
    // Its own message names the line.
    let read = tunnel_fixture::read("the fixture", text);
    let request = read.map_err(|e| ReadError { line: None, what: e.to_string() })?.request;
    Ok(Written {
        form: Form::Fixture,
        method: request.method.as_str().to_owned(),
        target: request.target.as_str().to_owned(),
        headers: request.headers,
        body: request.body,
        origin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tunnel_delivery::HeaderLine;

    #[test]
    fn a_fixture_is_read_as_it_would_be_sent() {
        let text = include_bytes!("../../../fixtures/resources/accepted_insurance_plan.created.fixture");
        let written = read(text, &no_files).unwrap();
        assert_eq!((written.form, &*written.method, &*written.target), (Form::Fixture, "POST", "/hooks/healthie"));
        assert!(written.body.starts_with(b"{\"resource_id\"") && written.body.ends_with(b"}"));
        assert_eq!(written.headers.get("user-agent"), Some(&b"fixture"[..]));
        let broken = read(b"healthie-tunnel fixture 1\nPOST\n", &no_files).unwrap_err().to_string();
        assert!(broken.contains("line 2") || broken.contains(":2"), "{broken}");
    }

    pub(super) fn no_files(name: &str) -> Result<Vec<u8>, String> {
        Err(format!("no {name} in a test"))
    }

    /// Requests as they are stored: any body, header values of any bytes that a line can have.
    fn requests() -> impl Strategy<Value = Written> {
        let body = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "\\PC{0,40}".prop_map(String::into_bytes),
            "[@'\"\\\\!$`\r\n\t\u{1b}\u{202e}ä]{0,20}".prop_map(String::into_bytes),
        ];
        let value =
            prop::collection::vec(any::<u8>().prop_filter("ends a line", |b| !matches!(b, 0 | b'\r' | b'\n')), 0..30);
        let line = ("X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", value)
            .prop_map(|(name, value)| HeaderLine::new(name, value.trim_ascii().to_vec()));
        let target = prop_oneof!["/[a-z/]{0,12}(\\?[a-z=&]{0,8})?", "/[!-\"$-~]{0,20}"];
        let method =
            prop_oneof![4 => Just("POST".to_owned()), 1 => "[A-Z]{3,6}", 1 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}"];
        (method, target, prop::collection::vec(line, 0..6), body, any::<bool>()).prop_map(
            |(method, target, mut lines, body, typed)| {
                lines.insert(0, HeaderLine::new("Host", "relay.example:8080"));
                if typed {
                    lines.push(HeaderLine::new("content-TYPE", "application/json; charset=utf-8"));
                }
                lines.push(HeaderLine::new("Content-Length", body.len().to_string()));
                let headers = lines.into_iter().collect();
                Written { form: Form::Http, method, target, headers, body: body.into(), origin: None }
            },
        )
    }

    proptest! {
        #[test]
        fn http_text_goes_round(request in requests()) {
            let text = http_text(&request.method, &request.target, &request.headers, &request.body);
            prop_assert_eq!(read(&text, &no_files).unwrap(), request);
        }

        #[test]
        fn a_curl_line_goes_round(request in requests()) {
            let line = curl_line(&format!("http://relay.example:8080{}", request.target), &request.method, &request.headers, &request.body);
            let read = read(line.as_bytes(), &no_files).map_err(|e| TestCaseError::fail(format!("{e}\n{line}")))?;
            prop_assert_eq!(read, Written { form: Form::Curl, ..request }, "{}", line);
        }

        #[test]
        fn it_survives_json(request in requests()) {
            let json = serde_json::to_string(&request).unwrap();
            prop_assert_eq!(serde_json::from_str::<Written>(&json).unwrap(), request);
        }

        #[test]
        fn nothing_makes_it_panic(start in "(curl |POST / HTTP/1.1\n|\\{|printf )?", rest: Vec<u8>) {
            let _ = read(&[start.as_bytes(), &rest].concat(), &no_files);
        }

        #[test]
        fn no_shell_text_makes_it_panic(text in "curl [-a-zH@:/'\"\\\\$x0-9u{}|;\n ]{0,60}") {
            let _ = read(text.as_bytes(), &no_files);
        }
    }

    #[test]
    fn what_it_is_none_of_is_said() {
        let error = |text: &[u8]| read(text, &no_files).unwrap_err().to_string();
        assert_eq!(error(b" \n"), "it is empty");
        assert!(error(b"\n\nhello\n").starts_with("line 3: \"hello\" begins neither"), "{}", error(b"\n\nhello\n"));
        assert!(error(&vec![b'x'; MAX_TEXT + 1]).contains("32 MiB"));
    }
}
