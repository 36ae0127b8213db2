//! What differs: this delivery from the marked one, or where none is marked the answer of an attempt from the one before.

use tunnel_delivery::{Attempt, Stored};

use super::super::text::{Row, Run, Tone, row, wrap};
use super::paragraph;
use crate::compare::{Mark, Side, hunks};
use crate::request_text::Written;

pub(super) fn rows(s: &Stored, marked: Option<&Stored>, attempt: usize, width: usize) -> Vec<Row> {
    match marked {
        Some(marked) if marked.delivery.id != s.delivery.id => {
            let name = |s: &Stored| {
                let event = s.event.as_ref().map_or("(no event)", |e| e.event_type.as_str());
                format!("{event}  {}", s.delivery.received_at)
            };
            compared(&name(marked), &request(marked), &name(s), &request(s), width)
        }
        _ => {
            let mut out = Vec::new();
            let chosen = attempt.min(s.attempts.len().saturating_sub(1));
            if marked.is_some() {
                out.push(row([(Tone::Good, "This delivery is marked. Choose another one to compare it with this.")]));
            } else {
                out.extend(paragraph(
                    Tone::Dim,
                    "Mark a delivery with d, then choose another one, to see what differs between the two.",
                    width,
                ));
            }
            if chosen > 0
                && let (Some(before), Some(after)) = (s.attempts.get(chosen - 1), s.attempts.get(chosen))
            {
                out.push(Row::new());
                out.push(row([(Tone::Strong, "Answers of two attempts")]));
                let name = |n: usize| format!("attempt {n}");
                out.extend(compared(&name(chosen), &answer(before), &name(chosen + 1), &answer(after), width));
            }
            out
        }
    }
}

fn request(s: &Stored) -> String {
    Side::request(&Written::of(&s.delivery)).text()
}

fn answer(a: &Attempt) -> String {
    Side::answer(a).text()
}

fn compared(old_name: &str, old: &str, new_name: &str, new: &str, width: usize) -> Vec<Row> {
    let mut out = vec![
        vec![Run::cut(Tone::Removed, &format!("- {old_name}"), width)],
        vec![Run::cut(Tone::Added, &format!("+ {new_name}"), width)],
        Row::new(),
    ];
    if old == new {
        out.push(row([(Tone::Good, "no difference")]));
        return out;
    }
    for (i, hunk) in hunks(old, new).into_iter().enumerate() {
        if i > 0 {
            out.push(row([(Tone::Dim, "  ⋯")]));
        }
        for (mark, line) in hunk {
            let (mark, tone) = match mark {
                Mark::Old => ("- ", Tone::Removed),
                Mark::New => ("+ ", Tone::Added),
                Mark::Same => ("  ", Tone::Dim),
            };
            for run in wrap(&line, width.saturating_sub(2)) {
                out.push(vec![Run::new(tone, mark), run.toned(tone)]);
            }
        }
    }
    out
}
