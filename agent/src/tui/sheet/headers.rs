//! The head as it was sent: every line in its order and letter case.

use tunnel_delivery::{Headers, Lost, Stored};

use super::super::text::{Row, Run, Tone, row, wrap};
use crate::safe_text::bytes_as_text;

pub(super) fn rows(s: &Stored, width: usize) -> Vec<Row> {
    let d = &s.delivery;
    let first = format!("{} {} {}", d.method, d.target, d.http_version.as_str());
    let mut out: Vec<Row> = wrap(&first, width).into_iter().map(|run| vec![run.toned(Tone::Strong)]).collect();
    out.extend(lines(&d.headers, width));
    for lost in &d.lost {
        let what = match lost {
            Lost::HeaderOrder => "(HTTP/2: the order among different names and their letter case are not known)",
            Lost::ChunkBoundaries => "(it came in chunks; where one ended is not known)",
            Lost::Trailers => "(trailer fields after the body are not kept)",
        };
        out.push(row([(Tone::Dim, what)]));
    }
    out
}

/// Header lines, values wrapped under themselves.
pub(super) fn lines(headers: &Headers, width: usize) -> Vec<Row> {
    let mut out = Vec::new();
    for line in headers {
        let name = Run::cut(Tone::Name, &bytes_as_text(&line.name), width / 2);
        let room = width.saturating_sub(name.columns() + 2);
        for (i, value) in wrap(&bytes_as_text(&line.value), room).into_iter().enumerate() {
            if i == 0 {
                out.push(vec![name.clone(), Run::new(Tone::Dim, ": "), value]);
            } else {
                out.push(vec![Run::column(Tone::Plain, "", name.columns() + 2), value]);
            }
        }
    }
    out
}
