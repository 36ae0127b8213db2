//! The signature: the verdict, the reading that matched, why it is not valid, and the signed string with its blanks made visible.
//!
//! What a doctor can say beyond that (the first difference, the likely cause) belongs between the reason and the signed string: see
//! `diagnosis`.

use tunnel_delivery::{SignatureStatus, Stored, Verdict};

use super::super::text::{Row, Run, Tone, field, row, wrap};
use super::{headers, paragraph};
use crate::control::Explained;

pub(super) fn rows(s: &Stored, explained: Option<&Result<Box<Explained>, String>>, width: usize) -> Vec<Row> {
    let (status, tone) = verdict(s.signature.status);
    let mut out = field("verdict", tone, status, width);
    let of = [s.signature.profile.as_deref(), s.signature.variant.as_deref()];
    let profile = of.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !profile.is_empty() {
        out.extend(field("reading", Tone::Plain, &profile, width));
    }
    out.extend(reasons(&s.signature, width));
    match explained {
        None => out.push(row([(Tone::Dim, "checking with the secrets that are known now …")])),
        Some(Err(why)) => out.extend(paragraph(Tone::Bad, why, width)),
        Some(Ok(e)) => {
            if e.status != s.signature.status {
                let (now, tone) = verdict(e.status);
                out.extend(field("checked now", tone, now, width));
                let verdict = Verdict {
                    status: e.status,
                    profile: None,
                    variant: None,
                    reason: e.reason.clone(),
                    hint: e.hint.clone(),
                };
                out.extend(reasons(&verdict, width));
            }
            out.extend(diagnosis(e, width));
            if let Some(signed) = &e.signed {
                let label = e.label.as_deref().unwrap_or("");
                out.push(Row::new());
                out.push(row([
                    (Tone::Strong, "What was signed"),
                    (Tone::Dim, " "),
                    (Tone::Dim, label),
                    (Tone::Dim, "  (· is a blank, ⏎ the end of a line)"),
                ]));
                out.extend(visible(&signed.text, width));
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

/// Where the explanation of an invalid signature goes once there is more than a reason. Takes what the check gave and makes rows of it.
fn diagnosis(_explained: &Explained, _width: usize) -> Vec<Row> {
    Vec::new()
}

fn reasons(v: &Verdict, width: usize) -> Vec<Row> {
    let mut out = Vec::new();
    if let Some(reason) = &v.reason {
        out.extend(field("because", Tone::Plain, reason, width));
    }
    if let Some(hint) = &v.hint {
        out.extend(field("to do", Tone::Plain, hint, width));
    }
    out
}

fn verdict(status: SignatureStatus) -> (&'static str, Tone) {
    match status {
        SignatureStatus::Valid => ("✓ valid", Tone::Good),
        SignatureStatus::Invalid => ("✗ invalid", Tone::Bad),
        SignatureStatus::Unsigned => ("– unsigned: none of the signature's headers is there", Tone::Doubtful),
        SignatureStatus::NoSecret => ("? not checked: there is no secret", Tone::Doubtful),
    }
}

/// Text in which blanks and ends of lines can be seen.
fn visible(text: &str, width: usize) -> Vec<Row> {
    let mut out = Vec::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "⏎"));
        let shown = format!("{}{end}", line.replace(' ', "·"));
        out.extend(wrap(&shown, width.saturating_sub(2)).into_iter().map(|run| vec![Run::new(Tone::Dim, "│ "), run]));
    }
    out
}
