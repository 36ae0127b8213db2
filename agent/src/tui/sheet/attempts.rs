//! The attempts: a line each, and below them everything about the one that is chosen.

use bytes::Bytes;
use tunnel_delivery::{Attempt, Stored};

use super::super::doc::{Doc, Form};
use super::super::text::{Row, Run, Tone, field, row, size, took};
use super::headers;

/// More lines of attempts than these are not shown at once.
const MOST: usize = 12;
/// More of an answer's body is not set out here.
const BODY: usize = 64 * 1024;

pub(super) fn rows(s: &Stored, chosen: usize, width: usize) -> Vec<Row> {
    if s.attempts.is_empty() {
        return vec![row([(Tone::Dim, "no attempt was made")])];
    }
    let chosen = chosen.min(s.attempts.len() - 1);
    let mut out = Vec::new();
    let from = chosen.saturating_sub(MOST / 2).min(s.attempts.len().saturating_sub(MOST));
    if from > 0 {
        out.push(row([(Tone::Dim, &format!("  … {from} before"))]));
    }
    for (i, attempt) in s.attempts.iter().enumerate().skip(from).take(MOST) {
        let mark = if i == chosen { "▸ " } else { "  " };
        let (tone, came_to) = outcome(attempt);
        let line = format!(
            "{:>3} {:<8}{}{:>9} ",
            i + 1,
            attempt.cause.as_str(),
            if attempt.edited { "✎ " } else { "  " },
            took(micros(attempt)),
        );
        let before = Run::new(Tone::Plain, &line);
        let room = width.saturating_sub(before.columns() + 2);
        out.push(vec![Run::new(Tone::Strong, mark), before, Run::cut(tone, &came_to, room)]);
    }
    let behind = s.attempts.len().saturating_sub(from + MOST);
    if behind > 0 {
        out.push(row([(Tone::Dim, &format!("  … {behind} behind"))]));
    }
    out.push(Row::new());
    let attempt = &s.attempts[chosen];
    let (tone, came_to) = outcome(attempt);
    out.extend(field("attempt", Tone::Strong, &format!("{} of {}", chosen + 1, s.attempts.len()), width));
    out.extend(field("to", Tone::Plain, &attempt.target, width));
    out.extend(field("at", Tone::Plain, &attempt.at.to_string(), width));
    if attempt.edited {
        out.extend(field("sent", Tone::Doubtful, "a changed copy, not the delivery as it came", width));
    }
    if attempt.resigned {
        out.extend(field("signature", Tone::Plain, "made again for what the handler saw", width));
    }
    out.extend(field("came to", tone, &came_to, width));
    out.extend(field("took", Tone::Plain, &took(micros(attempt)), width));
    if attempt.status.is_some() {
        out.push(Row::new());
        out.extend(headers::lines(&attempt.response_headers, width));
        if !attempt.response_body.is_empty() {
            out.push(Row::new());
            out.extend(body(&attempt.response_body, width));
        }
    }
    if attempt.response_truncated {
        out.push(row([(Tone::Dim, "(the rest of the answer is not kept)")]));
    }
    out
}

/// A status or an error, with its looks.
fn outcome(a: &Attempt) -> (Tone, String) {
    let tone = if a.succeeded() { Tone::Good } else { Tone::Bad };
    let text = match (a.status, &a.error) {
        (Some(status), None) => status.to_string(),
        (Some(status), Some(e)) => format!("{status}, then {}: {}", e.kind.as_str(), e.message),
        (None, Some(e)) => format!("{}: {}", e.kind.as_str(), e.message),
        (None, None) if a.succeeded() => "ended well".into(),
        (None, None) => "nothing".into(),
    };
    (tone, text)
}

fn micros(a: &Attempt) -> u64 {
    u64::try_from(a.duration.as_micros()).unwrap_or(u64::MAX)
}

fn body(bytes: &Bytes, width: usize) -> Vec<Row> {
    let doc = Doc::new(bytes.slice(..bytes.len().min(BODY)), Form::Pretty, width);
    let none = std::collections::HashSet::new();
    let mut out: Vec<Row> = (0..doc.len()).map(|i| doc.draw(i, &none, width)).collect();
    if bytes.len() > BODY {
        out.push(row([(Tone::Dim, &format!("({} in all; `events show` has the rest)", size(bytes.len() as u64)))]));
    }
    out
}
