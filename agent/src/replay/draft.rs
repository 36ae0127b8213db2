//! A request as text that can be changed in an editor, and read back: head, empty line, body, as in the files under `fixtures/`.
//!
//! Lines may end with a line feed alone in the editor. Pure; running the editor is the runner's work.

use bytes::Bytes;
use tunnel_delivery::{Headers, Stored};

use crate::control::Edited;
use crate::forward::TargetUrl;

/// What the user edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The text as it is shown in the editor.
    pub text: Vec<u8>,
}

impl Draft {
    /// The request of a delivery as its handler sees it.
    pub fn of(stored: &Stored) -> Draft {
        Draft { text: request(stored, true) }
    }

    /// What is to be sent; digest and signature are made anew if `sign`.
    ///
    /// # Errors
    /// A sentence that says which line is wrong and how it should be.
    pub fn read(&self, stored: &Stored, to: Option<TargetUrl>, sign: bool) -> Result<Edited, String> {
        let mut rest: &[u8] = &self.text;
        let mut line = || {
            let end = rest.iter().position(|b| *b == b'\n');
            let (line, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &[][..]),
            };
            rest = after;
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let first = String::from_utf8_lossy(line()).into_owned();
        let mut words = first.split(' ');
        let (Some(method), Some(target), version, None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("line 1 must be like `POST /path HTTP/1.1`, not {first:?}"));
        };
        if version.is_some_and(|v| !v.starts_with("HTTP/")) || !target.starts_with('/') {
            return Err(format!("line 1 must be like `POST /path HTTP/1.1`, not {first:?}"));
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = Headers::default();
        for number in 2.. {
            let line = line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|b| *b == b':').filter(|at| *at > 0);
            let Some(colon) = colon.filter(|at| line[..*at].iter().all(|b| b.is_ascii_graphic())) else {
                return Err(format!(
                    "line {number} must be a header like `Name: value`; an empty line ends the headers"
                ));
            };
            headers.push(line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec());
        }
        // Editors end the last line; a body that had no line break at its end gets none.
        let body = match rest.strip_suffix(b"\n") {
            Some(body) if !stored.delivery.body.ends_with(b"\n") => body.strip_suffix(b"\r").unwrap_or(body),
            _ => rest,
        };
        let id = stored.delivery.id.to_string();
        Ok(Edited { id, to, method, target, headers, body: Edited::encode(body), sign, allow_production: false })
    }
}

/// The request as bytes: as it was sent for a file, or as its handler sees it, with line feeds, for an editor.
pub(crate) fn request(stored: &Stored, for_editor: bool) -> Vec<u8> {
    let d = &stored.delivery;
    let newline: &[u8] = if for_editor { b"\n" } else { b"\r\n" };
    let target = if for_editor { d.handler_target().to_string() } else { d.target.as_str().to_owned() };
    let mut out = Vec::with_capacity(d.body.len() + 1024);
    out.extend_from_slice(format!("{} {target} HTTP/1.1", d.method).as_bytes());
    out.extend_from_slice(newline);
    for line in &d.headers {
        out.extend_from_slice(&line.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&line.value);
        out.extend_from_slice(newline);
    }
    out.extend_from_slice(newline);
    out.extend_from_slice(&d.body);
    out
}

/// The same, to be written to a file.
pub(crate) fn fixture(stored: &Stored) -> Bytes {
    request(stored, false).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::sample;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_changed_comes_back_as_it_was() {
        let stored = sample::stored(3);
        let draft = Draft::of(&stored);
        let mut saved = draft.clone();
        saved.text.push(b'\n');
        for draft in [draft, saved] {
            let edited = draft.read(&stored, None, true).unwrap();
            assert_eq!(edited.headers, stored.delivery.headers);
            assert_eq!((edited.method.as_str(), edited.target.as_str()), ("POST", "/hooks"));
            assert_eq!(edited.body, Edited::encode(&stored.delivery.body));
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        let stored = sample::stored(3);
        for (text, named) in [
            ("POST\n\n", "line 1"),
            ("POST hooks HTTP/1.1\n\n", "line 1"),
            ("POST /a b HTTP/1.1\n\n", "line 1"),
            ("POST /a HTTP/1.1\nA: 1\nnonsense\n\n{}", "line 3"),
            ("POST /a HTTP/1.1\n: 1\n\n{}", "line 2"),
        ] {
            let error = Draft { text: text.into() }.read(&stored, None, true).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Draft { text }.read(&sample::stored(1), None, false);
        }
    }
}
