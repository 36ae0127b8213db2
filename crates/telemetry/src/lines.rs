//! Lines of a log that stay lines: what came from outside can neither begin another one nor colour or hide anything.

use std::borrow::Cow;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

/// Writes events to where `W` writes, each as one line of harmless characters.
///
/// It stands between the subscriber and its writer, which hands over one whole event at a time, so that no field and no message can be forgotten.
/// For the text form; JSON has its own rules.
#[derive(Clone, Copy, Debug)]
pub struct SafeLines<W>(pub W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for SafeLines<W> {
    type Writer = SafeLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        SafeLine(self.0.make_writer())
    }
}

/// One event's writer.
#[derive(Debug)]
pub struct SafeLine<W>(W);

impl<W: io::Write> io::Write for SafeLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if matches!(text, Cow::Owned(_)) || line.chars().any(is_harmful) {
            let mut safe = String::with_capacity(line.len() + 16);
            for c in line.chars() {
                if is_harmful(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
            }
            safe.push('\n');
            self.0.write_all(safe.as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters, and those that change the direction of text or take no room. A tab may stay.
fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    fn written(event: &[u8]) -> String {
        let mut out = Vec::new();
        SafeLine(&mut out).write_all(event).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        assert_eq!(written("INFO a: größer\t\"x\"\n".as_bytes()), "INFO a: größer\t\"x\"\n");
        assert_eq!(written(b"a\nINFO forged\n"), "a\\u{a}INFO forged\n");
        assert_eq!(written("\u{1b}[31m\u{202e}\u{9b}\r\n".as_bytes()), "\\u{1b}[31m\\u{202e}\\u{9b}\\u{d}\n");
    }

    /// By their numbers, not by what the code takes for harmful: what hides or turns text in any terminal.
    #[test]
    fn whatever_turns_or_hides_text_is_shown_as_its_number() {
        let turning = [0x61c, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0xfeff];
        for number in turning.into_iter().chain([0, 7, 8, 0xd, 0x1b, 0x7f, 0x85, 0x9b]) {
            let c = char::from_u32(number).unwrap();
            assert_eq!(written(format!("a{c}b\n").as_bytes()), format!("a\\u{{{number:x}}}b\n"));
        }
    }

    #[test]
    fn an_event_of_the_subscriber_is_one_line_whatever_is_in_it() {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(SafeLines(move || to.clone())).finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "evil\nFORGED\u{1b}[2J";
            let span = tracing::info_span!("request", %name);
            let _in = span.enter();
            tracing::warn!(sni = %name, other = ?name, "said {name}");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("FORGED") && !text.contains('\u{1b}'), "{text:?}");
    }

    proptest! {
        #[test]
        fn there_is_no_second_line(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut event = bytes;
            event.push(b'\n');
            let out = written(&event);
            prop_assert_eq!(out.matches('\n').count(), 1);
            prop_assert!(!out.trim_end_matches('\n').chars().any(is_harmful));
        }
    }
}
