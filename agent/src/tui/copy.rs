//! What is copied: a delivery as a curl line, as JSON, its body, its address, its id; and the sequence that gives text to the terminal's
//! clipboard (OSC 52), which works over ssh and in tmux where that is allowed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tunnel_delivery::Stored;

/// The most that is given to a terminal; many take no more than some 100 KB in one sequence.
pub(crate) const MOST: usize = 74_000;

/// What can be copied, each with its key in the menu.
pub(crate) const CHOICES: [(char, &str); 5] = [
    ('c', "curl line, as the handler sees the request"),
    ('j', "JSON, everything about the delivery"),
    ('b', "body, as sent"),
    ('u', "URL that it was handed to, or the tunnel's"),
    ('i', "id"),
];

/// The sequence that puts `text` on the clipboard. Base64 holds nothing that could end it early.
pub(crate) fn osc52(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", BASE64.encode(text))
}

/// The text that one of [`CHOICES`] stands for.
///
/// # Errors
/// A sentence that says why there is none.
pub(crate) fn text(choice: char, s: &Stored, target: Option<&str>) -> Result<String, String> {
    let text = match choice {
        'c' => curl(s, target)?,
        'j' => serde_json::to_string_pretty(s).map_err(|e| e.to_string())?,
        'b' => String::from_utf8(s.delivery.body.to_vec())
            .map_err(|_| "the body is not text; save the request as a file instead".to_owned())?,
        'u' => url(s, target),
        _ => s.delivery.id.to_string(),
    };
    if text.len() > MOST {
        return Err(format!("{} bytes are more than terminals take ({MOST}); save it as a file instead", text.len()));
    }
    Ok(text)
}

/// Where the last attempt went, or where one would go.
fn url(s: &Stored, target: Option<&str>) -> String {
    match (s.attempts.last(), target) {
        (Some(attempt), _) => attempt.target.clone(),
        (None, Some(target)) => format!("{}{}", target.trim_end_matches('/'), s.delivery.handler_target()),
        (None, None) => format!("http://localhost:3000{}", s.delivery.handler_target()),
    }
}

fn curl(s: &Stored, target: Option<&str>) -> Result<String, String> {
    let body = std::str::from_utf8(&s.delivery.body).map_err(|_| {
        "the body is not text, which a curl line cannot carry; save the request as a file instead".to_owned()
    })?;
    let mut out = format!("curl -X {} {}", quoted(s.delivery.method.as_str()), quoted(&url(s, target)));
    for line in &s.delivery.headers {
        // curl makes these itself, for the address and the body that it sends.
        if line.is("content-length") || line.is("transfer-encoding") || line.is("connection") {
            continue;
        }
        let line = [&*line.name, b": ", &*line.value].concat();
        let text = String::from_utf8(line).map_err(|_| "a header is not text".to_owned())?;
        out.push_str(&format!(" \\\n  -H {}", quoted(&text)));
    }
    // --data-raw reads no file where a body begins with @.
    out.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    Ok(out)
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::sample;

    #[test]
    fn a_curl_line_says_what_was_sent() {
        let stored = sample::with_body(0, br#"{"name":"O'Hara"}"#);
        let line = text('c', &stored, None).unwrap();
        assert!(
            line.starts_with("curl -X 'POST' 'http://localhost:3000/hooks' \\\n  -H 'Host: relay.example.com'"),
            "{line}"
        );
        assert!(line.ends_with(r#"--data-raw '{"name":"O'\''Hara"}'"#), "{line}");
        assert!(!line.contains("Content-Length"));
        assert!(text('c', &sample::with_body(0, b"\xff"), None).is_err());
        assert!(text('b', &sample::with_body(0, &vec![b'x'; MOST + 1]), None).is_err());
        assert_eq!(text('i', &stored, None).unwrap(), stored.delivery.id.to_string());
    }

    #[test]
    fn nothing_in_the_text_can_end_the_sequence() {
        let sequence = osc52("\x07\x1b\\ x");
        assert_eq!(sequence.matches('\x07').count(), 1);
        assert_eq!(sequence, "\x1b]52;c;BxtcIHg=\x07");
    }
}
