//! A handler's answer, made harmless: what a laptop says must not become a page, a redirect or a download under the relay's name, and whoever sends
//! webhooks needs none of that.
//!
//! Kept are the status, a short list of header lines, and a body up to a bound. A redirect keeps its status and loses where it leads: the sender sees what the
//! handler said, and no browser follows it. The type is JSON, plain text, or bytes; everything else, which a browser might run, is plain text. Where a body is
//! longer than the bound it is left out and the status kept: the handler has answered, and a failure that is not one would only have it sent again.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use tunnel_protocol::AnswerBody;

use crate::respond::{Answer, Problem};

/// Lines that are kept: what a program may want to know, and no browser acts upon. `X-Request-Id` is not among them: in an answer that is the relay's own.
const KEPT: [&str; 5] = ["content-encoding", "content-language", "content-type", "retry-after", "x-correlation-id"];

/// The most lines that are kept, whatever their names: there is none that makes sense more than once.
const LINES: usize = KEPT.len();

/// The longest value that is kept, in bytes.
const VALUE: usize = 1024;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The answer for the sender, and whether its body was longer than `most` bytes and is left out.
///
/// # Errors
/// The status is none that ends a request.
pub(crate) fn answer(answer: AnswerBody, most: u64) -> Result<(Answer, bool), Problem> {
    let status = StatusCode::from_u16(answer.status).ok().filter(|s| (200..600).contains(&s.as_u16()));
    let status = status.ok_or(Problem::Handler(tunnel_protocol::AnswerFailure::Broken))?;
    let mut headers = HeaderMap::new();
    for line in &answer.headers {
        let name = HeaderName::from_bytes(&line.name).ok().filter(|name| KEPT.contains(&name.as_str()));
        let value = HeaderValue::from_bytes(&line.value).ok().filter(|value| value.len() <= VALUE);
        if let (Some(name), Some(value)) = (name, value)
            && headers.len() < LINES
        {
            headers.entry(name).or_insert(value);
        }
    }
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let left_out = answer.body.len() as u64 > most;
    let body = match answer.body {
        _ if empty => Bytes::new(),
        _ if left_out => Bytes::from(
            serde_json::json!({ "message": "The handler's answer is longer than what this relay carries back; its status is the handler's." }).to_string(),
        ),
        body => body,
    };
    if left_out || empty {
        headers.remove(CONTENT_ENCODING);
        headers.insert(CONTENT_TYPE, JSON);
    }
    if body.is_empty() {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_ENCODING);
    } else {
        let kind = kind(headers.get(CONTENT_TYPE));
        headers.insert(CONTENT_TYPE, kind);
    }
    let mut out = Response::new(Full::new(body));
    *out.status_mut() = status;
    *out.headers_mut() = headers;
    Ok((out, left_out))
}

/// A type that no browser runs.
fn kind(said: Option<&HeaderValue>) -> HeaderValue {
    let essence = said.and_then(|v| v.to_str().ok()).and_then(|v| v.split(';').next()).unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => JSON,
        json if json.starts_with("application/") && json.ends_with("+json") => JSON,
        "application/octet-stream" => OCTETS,
        _ => TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use tunnel_delivery::Headers;

    fn handler(status: u16, lines: &[(&str, &str)], body: &'static str) -> AnswerBody {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push((*name).to_owned(), (*value).to_owned());
        }
        AnswerBody { status, headers, body_len: body.len() as u64, body: body.into() }
    }

    fn made(status: u16, lines: &[(&str, &str)], body: &'static str) -> Answer {
        answer(handler(status, lines, body), 100).unwrap().0
    }

    async fn text(answer: Answer) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn lines_that_browsers_act_upon_are_left_out() {
        let evil = [
            ("Set-Cookie", "a=b"),
            ("Location", "https://evil.test/"),
            ("Refresh", "0; url=https://evil.test/"),
            ("Link", "<https://evil.test/>; rel=preload"),
            ("Strict-Transport-Security", "max-age=99999999; includeSubDomains"),
            ("Clear-Site-Data", "\"*\""),
            ("Service-Worker-Allowed", "/"),
            ("Content-Disposition", "attachment; filename=setup.exe"),
            ("Access-Control-Allow-Origin", "*"),
            ("WWW-Authenticate", "Basic realm=\"Healthie\""),
            ("Content-Security-Policy", "default-src *"),
            ("Alt-Svc", "h2=\"evil.test:443\""),
            ("Server", "laptop/1.0"),
            ("Connection", "close"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("X-Powered-By", "x"),
            ("X-Request-Id", "x"),
        ];
        let good = [("x-correlation-id", "7"), ("X-Correlation-Id", "8"), ("Retry-After", "3"), ("bad name", "x")];
        let lines: Vec<_> = evil.into_iter().chain(good).collect();
        let out = made(401, &lines, "no");
        let kept: Vec<_> = out.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(kept, ["x-correlation-id: 7", "retry-after: 3", "content-type: text/plain; charset=utf-8"]);
        assert_eq!(out.status(), 401);
    }

    #[test]
    fn only_harmless_types_are_kept() {
        for (said, made_of_it) in [
            ("application/json; charset=utf-8", "application/json"),
            ("application/problem+json", "application/json"),
            ("Application/JSON", "application/json"),
            ("application/octet-stream", "application/octet-stream"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("text/plain; charset=utf-7", "text/plain; charset=utf-8"),
            ("text/html", "text/plain; charset=utf-8"),
            ("image/svg+xml", "text/plain; charset=utf-8"),
            ("application/xhtml+xml", "text/plain; charset=utf-8"),
            ("text/javascript", "text/plain; charset=utf-8"),
            ("multipart/x-mixed-replace; boundary=application/json", "text/plain; charset=utf-8"),
            ("application/json, text/html", "text/plain; charset=utf-8"),
            ("", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(made(200, &[("content-type", said)], "x").headers()[CONTENT_TYPE], made_of_it, "{said}");
        }
    }

    #[tokio::test]
    async fn statuses_and_bodies() {
        for status in [200, 201, 302, 308, 404, 418, 500, 599] {
            assert_eq!(made(status, &[("location", "http://evil.test")], "x").status(), status);
        }
        for status in [0, 100, 101, 103, 199, 600, 999] {
            assert!(answer(handler(status, &[], ""), 100).is_err(), "{status}");
        }
        for status in [204, 205, 304] {
            let out = made(status, &[("content-type", "text/plain"), ("content-encoding", "gzip")], "smuggled");
            assert!(out.headers().is_empty(), "{status}");
            assert_eq!(text(out).await, "");
        }
        let (out, left_out) = answer(handler(200, &[("content-encoding", "gzip")], "four"), 3).unwrap();
        assert!(left_out && out.status() == 200 && out.headers().len() == 1);
        assert!(text(out).await.contains("longer"));
    }

    proptest! {
        #[test]
        fn whatever_a_handler_says_nothing_else_comes_through(
            status: u16, lines in proptest::collection::vec(("[a-zA-Z-]{0,30}", "[ -~]{0,60}"), 0..30)
        ) {
            let lines: Vec<_> = lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            if let Ok((out, _)) = answer(handler(status, &lines, "x"), 100) {
                prop_assert!((200..600).contains(&out.status().as_u16()));
                prop_assert!(out.headers().keys().all(|name| KEPT.contains(&name.as_str())));
                prop_assert!(out.headers().len() <= KEPT.len());
            }
        }
    }
}
