//! The record behind the payload: which one it is, and the GraphQL query that reads it.

use tunnel_delivery::Stored;

use super::super::copy;
use super::super::keys::{Action, KeyMap};
use super::super::text::{Row, Run, Tone, field, row, wrap};
use super::paragraph;

pub(super) fn rows(s: &Stored, keys: &KeyMap, width: usize) -> Vec<Row> {
    let Some(event) = &s.event else {
        return paragraph(Tone::Dim, "The body names no resource.", width);
    };
    let named = [event.resource_id_type.as_deref(), event.resource_id.as_deref()];
    let named = named.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut out = field("resource", Tone::Strong, &named, width);
    if event.event_type.ends_with(".deleted") {
        out.extend(field("", Tone::Doubtful, "it was deleted: the query may answer null", width));
    }
    let key = |action| keys.first(action).map_or_else(String::new, |key| format!("{key}: "));
    out.extend(field("timeline", Tone::Dim, &format!("{}all that is stored about it", key(Action::Timeline)), width));
    out.push(Row::new());
    match copy::graphql(s) {
        Ok(query) => {
            let copies = format!("  ({}then g copies it)", key(Action::Copy));
            out.push(row([(Tone::Strong, "The query that reads it"), (Tone::Dim, &copies)]));
            for line in query.lines() {
                // An id may have a # of its own; a comment stands behind two blanks.
                let comment = line.rfind("  # ").map_or(line.len(), |at| at + 2);
                let (code, comment) = line.split_at(comment);
                let changed = comment == "# changed";
                for run in wrap(code.trim_end(), width) {
                    out.push(vec![run.toned(if changed { Tone::Strong } else { Tone::Plain })]);
                }
                if let (false, Some(last)) = (comment.is_empty(), out.last_mut()) {
                    last.push(Run::new(if changed { Tone::Good } else { Tone::Dim }, &format!("  {comment}")));
                }
            }
            out.push(Row::new());
            out.extend(paragraph(
                Tone::Dim,
                "Queries and scalar fields of the public GraphQL reference (2026-01-01); which of them may be read depends on the API key.",
                width,
            ));
        }
        Err(why) => out.extend(paragraph(Tone::Doubtful, &sentence(&why), width)),
    }
    out
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
