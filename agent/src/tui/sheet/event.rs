//! The event in words: what it means, whom it is about, which fields changed, and what the catalogue knows of it.

use tunnel_catalogue::{EventType, ResourceType};
use tunnel_delivery::{Environment, Stored};

use super::super::text::{Row, Tone, field, size, span};
use super::paragraph;

/// More repeats are counted only.
const REPEATS: usize = 8;

pub(super) fn rows(s: &Stored, width: usize) -> Vec<Row> {
    let d = &s.delivery;
    let mut out = Vec::new();
    match &s.event {
        Some(event) => {
            let known = tunnel_catalogue::find(&event.event_type);
            out.extend(field("event", Tone::Strong, &event.event_type, width));
            out.extend(field("means", Tone::Plain, &meaning(&event.event_type, known), width));
            let resource = [event.resource_id_type.as_deref(), event.resource_id.as_deref()];
            let resource = resource.into_iter().flatten().collect::<Vec<_>>().join(" ");
            out.extend(field("resource", Tone::Strong, &resource, width));
            out.extend(changed(&event.changed_fields, known, width));
            for (name, value) in event.extra.iter().take(40) {
                out.extend(field("also", Tone::Plain, &format!("{name}: {value}"), width));
            }
            match known {
                Some(known) => {
                    if !known.triggering_mutations.is_empty() {
                        out.extend(field("caused by", Tone::Dim, &known.triggering_mutations.join(", "), width));
                    }
                    let sources: Vec<_> = known.sources.iter().map(|s| s.as_str()).collect();
                    out.extend(field("documented", Tone::Dim, &sources.join(", "), width));
                }
                None => {
                    let near: Vec<_> =
                        tunnel_catalogue::nearest(&event.event_type).into_iter().map(|e| e.name).collect();
                    let like = if near.is_empty() { String::new() } else { format!("; like it: {}", near.join(", ")) };
                    out.extend(field(
                        "documented",
                        Tone::Doubtful,
                        &format!("no document has this event{like}"),
                        width,
                    ));
                }
            }
        }
        None => {
            out.extend(field("event", Tone::Doubtful, "none: the body is no JSON object with an event's name", width));
        }
    }
    out.push(Row::new());
    let sender = match d.environment {
        Environment::Staging => format!("{}, one of Healthie's staging addresses", d.source_ip),
        Environment::Production => format!("{}, one of Healthie's production addresses", d.source_ip),
        Environment::Unknown => format!("{}, none of Healthie's published addresses", d.source_ip),
    };
    out.extend(field("received", Tone::Plain, &format!("{}", d.received_at), width));
    out.extend(field("from", Tone::Plain, &sender, width));
    out.extend(field("tunnel", Tone::Plain, &d.tunnel.to_string(), width));
    out.extend(field("request", Tone::Plain, &format!("{} {} {}", d.method, d.target, d.http_version.as_str()), width));
    out.extend(field("body", Tone::Plain, &size(d.body.len() as u64), width));
    out.extend(field("id", Tone::Plain, &d.id.to_string(), width));
    if let Some(first) = &s.duplicate_of {
        out.extend(field("repeat of", Tone::Doubtful, &format!("{}: {}", first.id, first.reason), width));
        out.extend(field("", Tone::Dim, "a guess: Healthie sends no delivery id", width));
    }
    for (i, repeat) in s.repeats.iter().take(REPEATS).enumerate() {
        let after = span(repeat.received_at().since(d.id.received_at()));
        let name = if i == 0 { "repeats" } else { "" };
        out.extend(field(name, Tone::Doubtful, &format!("{repeat}  {after} later"), width));
    }
    if !s.repeats.is_empty() {
        let more = s.repeats.len().saturating_sub(REPEATS);
        let more = if more > 0 { format!("and {more} more; ") } else { String::new() };
        let guess =
            format!("{more}same body and target, and the same signature if any; that they are repeats is a guess");
        out.extend(field("", Tone::Dim, &guess, width));
    }
    if s.pinned {
        out.extend(field("pinned", Tone::Good, "kept whatever its age", width));
    }
    if let Some(note) = &s.note {
        out.extend(field("note", Tone::Strong, note, width));
    }
    if !d.lost.is_empty() {
        out.extend(paragraph(
            Tone::Dim,
            "Something of how it was sent is not known; `events show --json` says what.",
            width,
        ));
    }
    out
}

/// One sentence about an event.
fn meaning(name: &str, known: Option<&EventType>) -> String {
    let (noun, verb) = name.split_once('.').unwrap_or((name, ""));
    let thing = match known.map(|k| k.resource_type) {
        Some(ResourceType::Documented(kind) | ResourceType::Inferred(kind)) => kind.to_owned(),
        None => noun.replace('_', " "),
    };
    let what = match verb {
        "created" => format!("{thing}: one was created in Healthie."),
        "updated" => format!("{thing}: one was changed in Healthie."),
        "deleted" => format!("{thing}: one was deleted in Healthie; it cannot be fetched any more."),
        "" => "It is not known what this says.".to_owned(),
        other => format!("{thing}: {}.", other.replace(['_', '.'], " ")),
    };
    let inferred = match known.map(|k| k.resource_type) {
        Some(ResourceType::Inferred(_)) => " (The type is inferred; no document says it.)",
        _ => "",
    };
    let meant = known.and_then(|k| k.misspelling_of);
    let meant = meant.map_or_else(String::new, |m| format!(" The name is a documented misspelling of {m}."));
    format!("{what} The payload has ids only; the record is read over GraphQL.{inferred}{meant}")
}

fn changed(fields: &[String], known: Option<&EventType>, width: usize) -> Vec<Row> {
    if !fields.is_empty() {
        return field("changed", Tone::Good, &fields.join(", "), width);
    }
    match known {
        Some(known) if known.is_update() => {
            let sample = if known.sample_changed_fields.is_empty() {
                String::new()
            } else {
                format!(" (the documents show: {})", known.sample_changed_fields.join(", "))
            };
            field("changed", Tone::Doubtful, &format!("none is named{sample}"), width)
        }
        _ => Vec::new(),
    }
}
