//! How things look on a terminal: colour, marks, times and lines of lists. Everything from outside goes through `SafeText` here.

use std::time::Duration;

use tunnel_delivery::{Answer, AnswerClass, SignatureStatus, Summary, Timestamp};

use crate::safe_text::SafeText;

/// Whether colour is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

/// The colours that are used, by what they say.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubtful,
    Dim,
    Strong,
}

impl Style {
    /// `text` in that tone. Pad it before: the escapes have no width.
    pub(crate) fn paint(self, tone: Tone, text: impl std::fmt::Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Doubtful => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A signature's mark and word.
    pub(crate) fn signature(self, status: SignatureStatus, width: usize) -> String {
        let (mark, tone) = signature_mark(status);
        self.paint(tone, format!("{:width$}", format!("{mark} {status}")))
    }

    /// The status of an answer, or what stands for it.
    pub(crate) fn answer(self, answer: &Answer, width: usize) -> String {
        let (text, tone) = match (answer.class, answer.status) {
            (AnswerClass::None, _) => ("-".to_owned(), Tone::Dim),
            (AnswerClass::Queued, _) => ("queued".to_owned(), Tone::Dim),
            // A command that ended well.
            (AnswerClass::Success, None) => ("ok".to_owned(), Tone::Good),
            (AnswerClass::Error, _) | (_, None) => ("error".to_owned(), Tone::Bad),
            (AnswerClass::Success, Some(status)) => (status.to_string(), Tone::Good),
            (AnswerClass::Redirect, Some(status)) => (status.to_string(), Tone::Doubtful),
            (_, Some(status)) => (status.to_string(), Tone::Bad),
        };
        self.paint(tone, format!("{text:width$}"))
    }

    /// One line of a list of deliveries, at most `width` characters.
    pub(crate) fn list_line(self, s: &Summary, width: Option<usize>) -> String {
        if let Some(width) = width.filter(|w| *w < WIDE) {
            return self.short_line(s, width);
        }
        let event = s.event_type.as_deref().unwrap_or("(no event)");
        let resource = resource(s);
        // What is left of the line after the columns of fixed width goes to event and resource, three to two.
        let room = width.map_or(usize::MAX, |w| w.saturating_sub(FIXED));
        let (event_room, resource_room) =
            if width.is_some() { (room * 3 / 5, room - room * 3 / 5) } else { (usize::MAX, usize::MAX) };
        let pad = |text: SafeText<'_>, room: usize, usual: usize| format!("{:1$}", text.cut(room), usual.min(room));
        let took = match s.answer.class {
            AnswerClass::None | AnswerClass::Queued => String::new(),
            _ => duration(s.answer.duration_us),
        };
        let line = format!(
            "{}  {} {} {}  {}  {}  {}  {:>8}",
            self.paint(Tone::Dim, date_time(s.received_at)),
            short_id(&s.id.to_string()),
            match repeat_mark(s) {
                mark if mark.is_empty() => "  ".to_owned(),
                mark => self.paint(Tone::Doubtful, format!("{mark:2}")),
            },
            pad(SafeText::new(event), event_room, 34),
            pad(SafeText::new(&resource), resource_room, 24),
            self.signature(s.signature, 11),
            self.answer(&s.answer, 6),
            took,
        );
        // Where there is no screen to fit there are no signs to be learnt either.
        match (width, s.duplicate_of) {
            (None, Some(first)) => format!("{line}  repeat of {}", short_id(&first.to_string())),
            _ => line,
        }
    }

    /// The same for a screen of 80 columns: without year and seconds, with the end of the id's end, the signature's mark and the resource's id.
    fn short_line(self, s: &Summary, width: usize) -> String {
        let room = width.saturating_sub(SHORT_FIXED);
        let event_room = room * 2 / 3;
        let pad = |text: &str, room: usize| format!("{:room$}", SafeText::new(text).cut(room));
        let at = date_time(s.received_at);
        let id = s.id.to_string();
        let took = match s.answer.class {
            AnswerClass::None | AnswerClass::Queued => String::new(),
            _ => short_duration(s.answer.duration_us),
        };
        let (mark, tone) = signature_mark(s.signature);
        format!(
            "{} {} {} {} {} {} {} {took:>6}",
            self.paint(Tone::Dim, at.get(5..16).unwrap_or("-")),
            id.get(28..).unwrap_or(&id),
            match repeat_mark(s) {
                repeat if repeat.is_empty() => "  ".to_owned(),
                repeat => self.paint(Tone::Doubtful, format!("{repeat:2}")),
            },
            pad(s.event_type.as_deref().unwrap_or("(no event)"), event_room),
            pad(s.resource_id.as_deref().unwrap_or(""), room - event_room),
            self.paint(tone, mark),
            self.answer(&s.answer, 6),
        )
    }
}

fn signature_mark(status: SignatureStatus) -> (&'static str, Tone) {
    match status {
        SignatureStatus::Valid => ("✓", Tone::Good),
        SignatureStatus::Invalid => ("✗", Tone::Bad),
        SignatureStatus::Unsigned => ("–", Tone::Doubtful),
        SignatureStatus::NoSecret => ("?", Tone::Doubtful),
    }
}

/// `850us`, `12ms`, `1.2s`, `310s`: in at most six characters, as long as it is less than 28 hours.
fn short_duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", micros / 1_000),
        1_000_000..100_000_000 => format!("{:.1}s", micros as f64 / 1e6),
        _ => format!("{}s", micros / 1_000_000),
    }
}

/// From this width on a line has all its columns.
pub(crate) const WIDE: usize = 110;

/// The characters of a short line's columns that do not give way: time, id, mark, signature, answer, duration, and the gaps.
const SHORT_FIXED: usize = 11 + 8 + 2 + 1 + 6 + 6 + 5 + 2;

/// The characters of the columns that do not give way: time, id, signature, answer, duration, and the gaps.
const FIXED: usize = 19 + 12 + 2 + 11 + 6 + 8 + 5 * 2 + 2;

/// `1 delivery`, `2 deliveries`.
pub(crate) fn deliveries(n: u64) -> String {
    counted(n, "delivery", "deliveries")
}

/// `1 attempt`, `2 attempts`: a number with the word for it.
pub(crate) fn counted(n: u64, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

/// A text in lines of at most so many characters, broken at blanks where there are any.
pub(crate) fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 || last + 1 + word.chars().count() <= width => {
                if last > 0 {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What looks like a repeat of an earlier delivery, and what came several times, in at most two characters.
fn repeat_mark(s: &Summary) -> String {
    match (s.duplicate_of, s.repeats) {
        (Some(_), _) => "↻".to_owned(),
        (None, 0) => String::new(),
        (None, n @ 1..=8) => format!("×{}", n + 1),
        (None, _) => "×…".to_owned(),
    }
}

/// `Appointment 123`.
pub(crate) fn resource(s: &Summary) -> String {
    let parts = [s.resource_id_type.as_deref(), s.resource_id.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The end of an id, which tells deliveries of one moment apart and is accepted wherever an id is.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(24..).unwrap_or(id)
}

/// `2026-11-21 09:30:00`, in UTC.
pub(crate) fn date_time(at: Timestamp) -> String {
    at.to_string().get(..19).unwrap_or("-").replace('T', " ")
}

/// `09:30:00.120`, in UTC.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or("-").to_owned()
}

/// `12.3 ms`, `4.56 s`.
pub(crate) fn duration(micros: u64) -> String {
    if micros < 1_000_000 { format!("{:.1} ms", micros as f64 / 1e3) } else { format!("{:.2} s", micros as f64 / 1e6) }
}

/// `250 ms`, `9.5 s`, `12 min`, `30.5 h`: how long something lasts, roughly.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        s if s < 60 => format!("{:.1} s", span.as_secs_f64()),
        s if s < 2 * 3600 => format!("{} min", s / 60),
        s if s < 48 * 3600 => format!("{:.1} h", span.as_secs_f64() / 3600.0),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::{DeliveryId, Environment};

    fn hostile() -> Summary {
        Summary {
            id: DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000)),
            received_at: Timestamp::from_micros(1_763_714_000_000_000),
            tunnel: "t".parse().unwrap(),
            environment: Environment::Unknown,
            method: "POST".into(),
            target: "/".into(),
            event_type: Some(
                "appointment.\u{1b}[2Jcreated\u{202e}\nand a very long name that goes on and on and on".into(),
            ),
            resource_id_type: Some("Appointment".into()),
            resource_id: Some("1\r2".into()),
            signature: SignatureStatus::Valid,
            profile: None,
            body_len: 0,
            duplicate_of: None,
            repeats: 0,
            pinned: false,
            attempts: 1,
            answer: Answer { class: AnswerClass::Success, status: Some(200), duration_us: 12_345 },
        }
    }

    #[test]
    fn texts_are_folded_at_blanks() {
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
        assert_eq!(folded("unbreakable x", 4), ["unbreakable", "x"]);
        assert_eq!(folded("a b", usize::MAX), ["a b"]);
    }

    #[test]
    fn a_line_fits_the_terminal_and_nothing_in_it_acts() {
        let plain = Style { colour: false };
        for width in [50, 60, 80, 100, 109, 110, 140, 250] {
            let line = plain.list_line(&hostile(), Some(width));
            assert!(line.chars().count() <= width, "{width}: {line}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert!(plain.list_line(&hostile(), None).contains("12.3 ms"));
        let long = Summary {
            answer: Answer { class: AnswerClass::Error, status: None, duration_us: 99_999_000_000 },
            ..crate::tui::sample::line(2)
        };
        assert_eq!(
            plain.list_line(&long, Some(80)),
            "11-21 08:33 00000002    form_answer_group.created  12000         ✓ error  99999s"
        );
        for (micros, wanted) in [(0, "0us"), (999_999, "999ms"), (12_345_678, "12.3s"), (310_000_000, "310s")] {
            assert_eq!(short_duration(micros), wanted);
        }
        let marked = |repeats, first: Option<DeliveryId>| {
            let line = plain.list_line(&Summary { repeats, duplicate_of: first, ..hostile() }, Some(100));
            assert_eq!(line.chars().count(), plain.list_line(&hostile(), Some(100)).chars().count());
            line
        };
        assert!(marked(1, None).contains(" ×2 ") && marked(500, None).contains(" ×… "));
        assert!(marked(0, Some(hostile().id)).contains(" ↻ "));
        let painted = Style { colour: true }.list_line(&hostile(), Some(140));
        assert!(painted.contains("\x1b[32m") && !painted.contains("\x1b[2J"));
    }
}
