//! A request as a curl line that sends the same bytes: the same method, target, header lines and body. Only the order of lines is curl's: Host
//! goes first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tunnel_delivery::Headers;

use super::shell::quoted;

/// The longest body that is written as a word. Linux takes 128 KiB for one; an escape is four bytes.
const MOST_WORD: usize = 24 * 1024;
/// Lines that curl would add.
const ADDED: [&str; 3] = ["User-Agent", "Accept", "Content-Type"];

/// The curl line, for bash, zsh and ksh, on several lines that belong together. `url` ends in the request target.
pub fn curl_line(url: &str, method: &str, headers: &Headers, body: &[u8]) -> String {
    // A word of visible ASCII can always be quoted; what cannot is shown as it is, and curl refuses it.
    let word = |bytes: &[u8]| {
        quoted(bytes).unwrap_or_else(|| quoted(&bytes.escape_ascii().collect::<Vec<_>>()).unwrap_or_default())
    };
    let mut words = request_words(url, method, headers, body, &word);
    let mut before = String::new();
    if !body.is_empty() {
        match quoted(body).filter(|_| body.len() <= MOST_WORD && std::str::from_utf8(body).is_ok()) {
            Some(body) => words.push(format!("--data-raw {body}")),
            None => {
                before = format!("printf %s {} | base64 -d | ", word(STANDARD.encode(body).as_bytes()));
                words.push("--data-binary @-".to_owned());
            }
        }
    }
    format!("{before}curl {}", words.join(" \\\n  "))
}

/// The words of a curl line, each quoted by `word`, but for the body's own.
pub(super) fn request_words(
    url: &str,
    method: &str,
    headers: &Headers,
    body: &[u8],
    word: &dyn Fn(&[u8]) -> String,
) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let start = url.find("://").map_or(0, |at| at + 3);
    let path = url[start..].find('/').map_or(url.len(), |at| start + at);
    let (origin, target) = url.split_at(path);
    if as_it_is(target) {
        words.push(word(url.as_bytes()));
    } else {
        // curl would tidy it up, or take it for a pattern.
        words.push(word(origin.as_bytes()));
        words.push(format!("--request-target {}", word(target.as_bytes())));
    }
    if method != "POST" || body.is_empty() {
        words.push(format!("-X {}", word(method.as_bytes())));
    }
    for line in headers {
        let text = if line.value.is_empty() {
            [&line.name[..], b";"].concat()
        } else {
            [&line.name[..], b": ", &line.value[..]].concat()
        };
        words.push(format!("-H {}", word(&text)));
    }
    let absent = ADDED.iter().filter(|name| headers.get(name).is_none());
    words.extend(absent.map(|name| format!("-H {}", word(format!("{name}:").as_bytes()))));
    if body.len() > 1 << 20 && headers.get("Expect").is_none() {
        words.push("-H Expect:".to_owned());
    }
    words
}

/// Whether curl sends a target as it stands in a URL.
fn as_it_is(target: &str) -> bool {
    let plain = target.bytes().all(|b| b.is_ascii_alphanumeric() || b"/?&=._-~%+,:@;$!*".contains(&b));
    let path = target.split('?').next().unwrap_or_default();
    plain && !path.split('/').any(|part| part.starts_with('.') || part.to_ascii_lowercase().starts_with("%2e"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_to_read() {
        let mut headers = Headers::default();
        headers.push("Host", "relay.test");
        headers.push("content-type", "application/json");
        headers.push("X-Odd", "it's \u{1b}[31m");
        headers.push("X-Empty", "");
        headers.push("Content-Length", "12");
        let text = curl_line("https://relay.test/hook?a=1", "POST", &headers, "{\"a\":\"ä!\"}\n".as_bytes());
        assert_eq!(
            text,
            "curl 'https://relay.test/hook?a=1' \\\n  -H 'Host: relay.test' \\\n  -H 'content-type: application/json' \\\n  \
             -H $'X-Odd: it\\'s \\x1b[31m' \\\n  -H 'X-Empty;' \\\n  -H 'Content-Length: 12' \\\n  -H User-Agent: \\\n  \
             -H Accept: \\\n  --data-raw $'{\"a\":\"ä\\x21\"}\\n'"
        );
        let binary = curl_line("http://h:1/a/../b{c}", "PUT", &Headers::default(), b"\0\xff");
        assert!(binary.starts_with(
            "printf %s AP8= | base64 -d | curl http://h:1 \\\n  --request-target '/a/../b{c}' \\\n  -X PUT"
        ));
        assert!(binary.ends_with("--data-binary @-"), "{binary}");
    }
}
