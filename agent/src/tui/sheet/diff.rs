//! What differs: this delivery from the marked one, an attempt's answer from that of the marked attempt, or where nothing is marked the
//! answer of an attempt from the one before.

use tunnel_delivery::{Attempt, Stored};

use super::super::keys::{Action, KeyMap};
use super::super::model::Marked;
use super::super::text::{Row, Run, Tone, row, wrap};
use super::paragraph;
use crate::compare::{Mark, Side, difference, hunks};
use crate::request_text::Written;

pub(super) fn rows(s: &Stored, marked: Option<&Marked>, attempt: usize, keys: &KeyMap, width: usize) -> Vec<Row> {
    let chosen = attempt.min(s.attempts.len().saturating_sub(1));
    let short = |s: &Stored| {
        let event = s.event.as_ref().map_or("(no event)", |e| e.event_type.as_str());
        let id = s.delivery.id.to_string();
        format!("{event}  {}  {}", s.delivery.received_at, id.get(24..).unwrap_or(&id))
    };
    let tried = |s: &Stored, n: usize| format!("{}, attempt {} of {}", short(s), n + 1, s.attempts.len());
    let key = |action| keys.first(action).map_or_else(String::new, |key| format!(" ({key})"));
    if let Some(Marked { stored: other, attempt: Some(n) }) = marked {
        let (Some(old), Some(new)) = (other.attempts.get(*n), s.attempts.get(chosen)) else {
            return paragraph(Tone::Dim, "This delivery has no attempt to compare with the marked one.", width);
        };
        if other.delivery.id == s.delivery.id && *n == chosen {
            let what = format!(
                "This attempt is marked. Choose another attempt{}, or another delivery, to compare it with this.",
                key(Action::NextAttempt)
            );
            return paragraph(Tone::Good, &what, width);
        }
        return compared(&tried(other, *n), &answer(old), &tried(s, chosen), &answer(new), width);
    }
    if let Some(Marked { stored: other, .. }) = marked.filter(|m| m.stored.delivery.id != s.delivery.id) {
        return compared(&short(other), &request(other), &short(s), &request(s), width);
    }
    let mark = key(Action::MarkForDiff);
    let mut out = if marked.is_some() {
        paragraph(Tone::Good, "This delivery is marked. Choose another one to compare it with this.", width)
    } else {
        let how = format!(
            "Mark a delivery{mark}, then choose another one, to see what differs between the two; in the attempts, mark an attempt."
        );
        paragraph(Tone::Dim, &how, width)
    };
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

fn request(s: &Stored) -> Side {
    Side::request(&Written::of(&s.delivery))
}

fn answer(a: &Attempt) -> Side {
    Side::answer(a)
}

fn compared(old_name: &str, old: &Side, new_name: &str, new: &Side, width: usize) -> Vec<Row> {
    let mut out = vec![
        vec![Run::cut(Tone::Removed, &format!("- {old_name}"), width)],
        vec![Run::cut(Tone::Added, &format!("+ {new_name}"), width)],
        Row::new(),
    ];
    if old.start == new.start && old.headers == new.headers && old.body == new.body {
        out.push(row([(Tone::Good, "no difference")]));
        return out;
    }
    let hunks = hunks(&old.text(), &new.text());
    if hunks.is_empty() {
        let fields = difference(old, new).fields;
        let why = if fields.is_some_and(|fields| fields.is_empty()) {
            "The bodies say the same in JSON and differ in form; `events diff` and the raw body show how."
        } else {
            "They differ behind what is laid out in lines here; `events diff` tells which fields."
        };
        out.extend(paragraph(Tone::Doubtful, why, width));
    }
    for (i, hunk) in hunks.into_iter().enumerate() {
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
