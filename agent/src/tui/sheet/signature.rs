//! The signature: the verdict, the reading that matched, what would make it valid, and the signed string with its blanks visible.
//! What it says is what `verify` prints of the same delivery.

use tunnel_delivery::{SignatureStatus, Stored};

use super::super::text::{Row, Run, Tone, field, row, wrap};
use super::{headers, paragraph};
use crate::control::Explained;
use crate::examine::{Difference, Signed};

/// The columns of the names of a signed string's parts.
const NAMES: usize = 16;

pub(super) fn rows(s: &Stored, explained: Option<&Result<Box<Explained>, String>>, width: usize) -> Vec<Row> {
    let (status, tone) = verdict(s.signature.status);
    let mut out = field("verdict", tone, status, width);
    let of = [s.signature.profile.as_deref(), s.signature.variant.as_deref()];
    let profile = of.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !profile.is_empty() {
        out.extend(field("reading", Tone::Plain, &profile, width));
    }
    if let Some(reason) = &s.signature.reason {
        out.extend(field("because", Tone::Plain, reason, width));
    }
    match explained {
        None => out.push(row([(Tone::Dim, "checking with the secrets that are known now …")])),
        Some(Err(why)) => out.extend(paragraph(Tone::Bad, why, width)),
        Some(Ok(e)) => {
            if e.status != s.signature.status {
                let (now, tone) = verdict(e.status);
                out.extend(field("checked now", tone, now, width));
                if let Some(reason) = &e.reason {
                    out.extend(field("because", Tone::Plain, reason, width));
                }
            }
            for (name, value) in [("secret", &e.secret), ("label", &e.label)] {
                out.extend(value.iter().flat_map(|value| field(name, Tone::Plain, value, width)));
            }
            let (tone, digest) = digest(&e.digest);
            out.extend(field("digest", tone, digest, width));
            out.extend(diagnosis(e, width));
            if let Some(signed) = &e.signed {
                out.push(Row::new());
                out.extend(string(signed, width));
            }
            if let [_, others @ ..] = &e.readings[..]
                && !others.is_empty()
            {
                out.push(Row::new());
                let others = format!("This one would be signed just the same as {}.", others.join(" and "));
                out.extend(paragraph(Tone::Plain, &others, width));
            }
            // The one that nothing was found is the hint already.
            for note in e.notes.iter().filter(|note| Some(*note) != e.hint.as_ref()) {
                out.push(Row::new());
                out.extend(paragraph(Tone::Plain, note, width));
            }
        }
    }
    out.push(Row::new());
    out.push(row([(Tone::Strong, "As sent")]));
    const OURS: [&str; 4] = ["content-digest", "signature-input", "signature", "content-length"];
    let signed = s.delivery.headers.iter().filter(|l| OURS.iter().any(|name| l.is(name))).cloned().collect();
    out.extend(headers::lines(&signed, width));
    let digest = super::super::text::hex(&s.body_sha256, "");
    out.extend(field("SHA-256", Tone::Dim, &digest, width));
    out
}

/// What would make it valid, the likeliest first, each with how certain that is and the first difference.
fn diagnosis(e: &Explained, width: usize) -> Vec<Row> {
    let mut out = Vec::new();
    if e.findings.is_empty() {
        out.extend(e.hint.iter().flat_map(|hint| field("to do", Tone::Strong, hint, width)));
        return out;
    }
    for (i, finding) in e.findings.iter().enumerate() {
        out.push(Row::new());
        let title = if i == 0 { "What is wrong" } else { "Or" };
        out.push(row([(Tone::Strong, title), (Tone::Dim, &format!("  {}", finding.causes.join(", ")))]));
        out.extend(paragraph(if i == 0 { Tone::Bad } else { Tone::Plain }, &finding.sentence, width));
        let with = [("as ", &finding.reading), ("secret: ", &finding.secret)];
        let with: Vec<String> =
            with.iter().filter_map(|(name, value)| Some(format!("{name}{}", value.as_ref()?))).collect();
        let with = if with.is_empty() { String::new() } else { format!(" ({})", with.join(", ")) };
        out.extend(paragraph(Tone::Dim, &format!("{}{with}", finding.certainty_means), width));
        out.extend(finding.difference.iter().flat_map(|difference| compared(difference, width)));
    }
    out
}

/// Both sides around the first byte that differs, one below the other.
fn compared(d: &Difference, width: usize) -> Vec<Row> {
    let (what, right) = if d.of == "body" { ("bodies", "hashed") } else { ("signed strings", "signed") };
    let mut out = paragraph(Tone::Dim, &format!("the {what} first differ at byte {} (· is a blank):", d.at), width);
    let before = Run::new(Tone::Plain, &d.before);
    for (name, tone, side) in [("arrived", Tone::Removed, &d.arrived), (right, Tone::Added, &d.signed)] {
        let shown = if side.is_empty() { "(ends here)" } else { side };
        let name = Run::column(Tone::Name, &format!("  {name}"), 11);
        let room = width.saturating_sub(name.columns() + before.columns());
        if room >= 8 {
            out.push(vec![name, before.clone(), Run::cut(tone, shown, room)]);
        } else {
            out.push(vec![name, Run::cut(tone, shown, width.saturating_sub(11))]);
        }
    }
    out
}

/// The string that was signed, and its parts.
fn string(signed: &Signed, width: usize) -> Vec<Row> {
    let about = format!("  {} bytes (· is a blank, ⏎ the end of a line)", signed.len);
    let mut out = vec![row([(Tone::Strong, "What was signed"), (Tone::Dim, &*about)])];
    for (i, line) in signed.lines.iter().enumerate() {
        let end = if i + 1 < signed.lines.len() { "⏎" } else { "" };
        let rows = wrap(&format!("{line}{end}"), width.saturating_sub(2));
        out.extend(rows.into_iter().map(|run| vec![Run::new(Tone::Dim, "│ "), run]));
    }
    out.push(row([(Tone::Strong, "Its parts")]));
    for part in &signed.parts {
        let (tone, value) = if part.value.is_empty() { (Tone::Dim, "(empty)") } else { (Tone::Plain, &*part.value) };
        let name = Run::cut(Tone::Name, &part.component, width / 3);
        let room = width.saturating_sub(NAMES + 2);
        for (i, run) in wrap(value, room.max(8)).into_iter().enumerate() {
            let before = if i == 0 { name.text() } else { "" };
            let column = Run::column(Tone::Name, before, NAMES.max(name.columns()));
            out.push(vec![column, Run::new(Tone::Plain, "  "), run.toned(tone)]);
        }
    }
    out
}

fn digest(state: &str) -> (Tone, &str) {
    match state {
        "missing" => (Tone::Doubtful, "there is no Content-Digest"),
        "right" => (Tone::Good, "Content-Digest is the body's"),
        "wrong" => (Tone::Bad, "Content-Digest is not the body's"),
        "unreadable" => (Tone::Bad, "Content-Digest cannot be read"),
        other => (Tone::Plain, other),
    }
}

fn verdict(status: SignatureStatus) -> (&'static str, Tone) {
    match status {
        SignatureStatus::Valid => ("✓ valid", Tone::Good),
        SignatureStatus::Invalid => ("✗ invalid", Tone::Bad),
        SignatureStatus::Unsigned => ("– unsigned: none of the signature's headers is there", Tone::Doubtful),
        SignatureStatus::NoSecret => ("? not checked: there is no secret", Tone::Doubtful),
    }
}
