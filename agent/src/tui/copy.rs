//! What is copied: a delivery as a curl line, as JSON, its query, body, answer, address, id; the sequence that gives text to the terminal's
//! clipboard (OSC 52), which works over ssh and in tmux where that is allowed; and which program has this machine's clipboard.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tunnel_delivery::Stored;

use crate::request_text::curl_line;
use crate::settings::Environment;

/// The most that is given to a terminal; many take no more than some 100 KB in one sequence.
pub(crate) const MOST: usize = 74_000;

/// What can be copied of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Curl,
    Json,
    Fixture,
    GraphQl,
    Body,
    Answer,
    Url,
    Id,
}

/// Each with its key in the menu.
pub(crate) const CHOICES: [(char, Choice, &str); 8] = [
    ('c', Choice::Curl, "curl line, as the handler sees the request"),
    ('j', Choice::Json, "JSON, everything about the delivery"),
    ('f', Choice::Fixture, "fixture, to be kept with tests"),
    ('g', Choice::GraphQl, "GraphQL query for the record behind it"),
    ('b', Choice::Body, "body, as sent"),
    ('a', Choice::Answer, "answer's body, of the attempt that is chosen"),
    ('u', Choice::Url, "URL that it was handed to, or would be"),
    ('i', Choice::Id, "id"),
];

/// The sequence that puts `text` on the clipboard. Base64 holds nothing that could end it early.
pub(crate) fn osc52(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", BASE64.encode(text))
}

/// The program that has this machine's clipboard: its words. `there` tells which programs can be run.
pub(crate) fn tool(environment: &Environment, mac: bool, there: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let set = |name: &str| environment.get(name).is_some();
    // Over ssh the clipboard is the other side's, which only its terminal reaches.
    let here = !set("SSH_CONNECTION");
    let all: [(bool, &[&str]); 5] = [
        (here && mac, &["pbcopy"]),
        (here && set("WAYLAND_DISPLAY"), &["wl-copy"]),
        (here && set("DISPLAY"), &["xclip", "-selection", "clipboard"]),
        (here && set("DISPLAY"), &["xsel", "--clipboard", "--input"]),
        // Unless set otherwise tmux ignores the sequence of a program in it, and writes it itself for its own command (3.2 and later).
        (set("TMUX"), &["tmux", "load-buffer", "-w", "-"]),
    ];
    let found = all.into_iter().find(|(fits, words)| *fits && there(words[0]))?;
    Some(found.1.iter().map(|word| (*word).to_owned()).collect())
}

/// The text that a choice stands for; a fixture is made elsewhere.
///
/// # Errors
/// A sentence that says why there is none.
pub(crate) fn text(choice: Choice, s: &Stored, attempt: usize, target: Option<&str>) -> Result<String, String> {
    match choice {
        Choice::Curl => {
            let d = &s.delivery;
            Ok(curl_line(&url(s, target), d.method.as_str(), &d.headers, &d.body))
        }
        Choice::Json | Choice::Fixture => serde_json::to_string_pretty(s).map_err(|e| e.to_string()),
        Choice::GraphQl => graphql(s),
        Choice::Body => as_text(&s.delivery.body, "the body"),
        Choice::Answer => match s.attempts.get(attempt) {
            Some(attempt) => as_text(&attempt.response_body, "the answer"),
            None => Err("no attempt was made, so there is no answer".to_owned()),
        },
        Choice::Url => Ok(url(s, target)),
        Choice::Id => Ok(s.delivery.id.to_string()),
    }
}

/// The query for the record that a delivery is about.
///
/// # Errors
/// A sentence that says why none is known.
pub(crate) fn graphql(s: &Stored) -> Result<String, String> {
    let event = s.event.as_ref().ok_or("the body names no resource")?;
    let kind = event.resource_id_type.as_deref().ok_or("the payload names no type of its resource")?;
    let id = event.resource_id.as_deref().ok_or("the payload names no id of its resource")?;
    tunnel_catalogue::record_query(kind, id, &event.changed_fields).map_err(|e| e.to_string())
}

fn as_text(bytes: &[u8], what: &str) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("{what} is not text; save the request as a file instead"))
}

/// Where the last attempt went, or where one would go.
fn url(s: &Stored, target: Option<&str>) -> String {
    match (s.attempts.last(), target) {
        (Some(attempt), _) => attempt.target.clone(),
        (None, Some(target)) => format!("{}{}", target.trim_end_matches('/'), s.delivery.handler_target()),
        (None, None) => format!("http://localhost:3000{}", s.delivery.handler_target()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::sample;

    #[test]
    fn what_is_copied_says_what_was_sent() {
        let of = |choice, stored: &Stored| text(choice, stored, 0, None);
        let stored = sample::with_body(0, br#"{"name":"O'Hara"}"#);
        let line = of(Choice::Curl, &stored).unwrap();
        assert!(line.starts_with("curl http://localhost:3000/hooks"), "{line}");
        assert!(line.contains("-H 'Host: relay.example.com'") && line.contains(r"O\'Hara"), "{line}");
        assert!(of(Choice::Body, &sample::with_body(0, b"\xff")).is_err());
        assert_eq!(of(Choice::Answer, &stored).unwrap(), "{\"ok\":true}");
        assert_eq!(of(Choice::Id, &stored).unwrap(), stored.delivery.id.to_string());
        assert!(of(Choice::GraphQl, &stored).unwrap_err().contains("names no"));
        let query = of(Choice::GraphQl, &sample::stored(0)).unwrap();
        assert!(query.contains("appointment(id: \"12000\")") && query.contains("start  # changed"), "{query}");
    }

    #[test]
    fn the_clipboard_is_the_one_that_the_user_sees() {
        let tool = |pairs: &[(&str, &str)], mac| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            tool(&pairs.into_iter().collect(), mac, |name| name != "wl-copy").map(|words| words.join(" "))
        };
        assert_eq!(tool(&[], true).as_deref(), Some("pbcopy"));
        assert_eq!(tool(&[("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "w")], false).unwrap(), "xclip -selection clipboard");
        assert_eq!(tool(&[("DISPLAY", ":10"), ("SSH_CONNECTION", "1 2 3 4")], false), None);
        assert_eq!(tool(&[], false), None);
        let tmux = ("TMUX", "/tmp/tmux-1000/default,7,0");
        assert_eq!(tool(&[tmux], false).unwrap(), "tmux load-buffer -w -");
        assert_eq!(tool(&[tmux, ("SSH_CONNECTION", "1 2 3 4")], true).unwrap(), "tmux load-buffer -w -");
        assert_eq!(tool(&[tmux], true).unwrap(), "pbcopy", "what surely has the clipboard goes first");
    }

    #[test]
    fn nothing_in_the_text_can_end_the_sequence() {
        let sequence = osc52("\x07\x1b\\ x");
        assert_eq!(sequence.matches('\x07').count(), 1);
        assert_eq!(sequence, "\x1b]52;c;BxtcIHg=\x07");
    }
}
