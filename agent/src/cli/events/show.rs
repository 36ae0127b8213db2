//! `events show`: everything about one delivery.

use tunnel_delivery::{Headers, Stored};

use super::super::arguments::{self, Data, Gather};
use super::super::style::{Tone, date_time, duration, span};
use super::super::{Context, Failure, Output};
use crate::safe_text::{SafeText, bytes_as_text};

/// Show everything about one delivery
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, an id, or the beginning or end of one
    id: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let stored = control.get(&args.id).await;
    control.close().await;
    let stored = stored?;
    if args.json { context.out.json(&stored) } else { print(&stored, &mut context.out) }
}

fn print(s: &Stored, out: &mut Output) -> Result<(), Failure> {
    let (d, style) = (&s.delivery, out.style);
    let mut field =
        |name: &str, value: String| out.line(&format!("{}  {value}", style.paint(Tone::Dim, format!("{name:>10}"))));
    field("id", d.id.to_string())?;
    field("received", format!("{} UTC from {} ({})", date_time(d.received_at), d.source_ip, d.environment.as_str()))?;
    field("tunnel", d.tunnel.to_string())?;
    if let Some(event) = &s.event {
        field("event", style.paint(Tone::Strong, SafeText::new(&event.event_type)))?;
        let resource = [event.resource_id_type.as_deref(), event.resource_id.as_deref()];
        field("resource", SafeText::new(&resource.into_iter().flatten().collect::<Vec<_>>().join(" ")).to_string())?;
        if !event.changed_fields.is_empty() {
            field("changed", SafeText::new(&event.changed_fields.join(", ")).to_string())?;
        }
    }
    let of = [s.signature.profile.as_deref(), s.signature.variant.as_deref()];
    let profile = of.into_iter().flatten().collect::<Vec<_>>().join(" ");
    field("signature", format!("{} {}", style.signature(s.signature.status, 0), SafeText::new(&profile)))?;
    for text in [&s.signature.reason, &s.signature.hint].into_iter().flatten() {
        field("", SafeText::new(text).to_string())?;
    }
    if let Some(first) = &s.duplicate_of {
        field("repeat of", first.id.to_string())?;
        field("", SafeText::new(&first.reason).to_string())?;
    }
    for (i, repeat) in s.repeats.iter().enumerate() {
        let after = span(repeat.received_at().since(d.id.received_at()));
        field(if i == 0 { "repeats" } else { "" }, format!("{repeat}  {after} later"))?;
    }
    if !s.repeats.is_empty() {
        let guess = "same body and target, and the same signature if any; that they are repeats and no events of their own is a guess";
        field("", guess.to_owned())?;
    }
    if s.pinned {
        field("pinned", "yes".into())?;
    }
    if let Some(note) = &s.note {
        field("note", SafeText::block(note).to_string())?;
    }
    out.line("")?;
    out.line(&format!("{} {} {}", d.method, d.target, d.http_version.as_str()))?;
    lines(&d.headers, out)?;
    out.line("")?;
    body(&d.body, out)?;
    for (i, attempt) in s.attempts.iter().enumerate() {
        let came_to = match (attempt.status, &attempt.error) {
            (Some(status), None) => status.to_string(),
            (Some(status), Some(e)) => format!("{status}, then {}: {}", e.kind.as_str(), SafeText::new(&e.message)),
            (None, Some(e)) => format!("{}: {}", e.kind.as_str(), SafeText::new(&e.message)),
            (None, None) => "nothing".into(),
        };
        let edited = if attempt.edited { ", a changed copy" } else { "" };
        let again = if attempt.resigned { ", signed again" } else { "" };
        let took = duration(u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX));
        out.line("")?;
        let head = format!(
            "attempt {} ({}{edited}{again})  {} UTC  {}  {took}",
            i + 1,
            attempt.cause.as_str(),
            date_time(attempt.at),
            SafeText::new(&attempt.target)
        );
        out.line(&style.paint(Tone::Strong, head))?;
        out.line(&came_to)?;
        lines(&attempt.response_headers, out)?;
        if !attempt.response_body.is_empty() {
            out.line("")?;
            body(&attempt.response_body, out)?;
        }
        if attempt.response_truncated {
            out.line("(the rest of the answer is not kept)")?;
        }
    }
    Ok(())
}

fn lines(headers: &Headers, out: &mut Output) -> Result<(), Failure> {
    for line in headers {
        let (name, value) = (bytes_as_text(&line.name), bytes_as_text(&line.value));
        out.line(&format!("{}: {}", SafeText::new(&name), SafeText::new(&value)))?;
    }
    Ok(())
}

/// A body for people: JSON is indented, text is shown, anything else is counted. `--json` has the exact bytes.
fn body(bytes: &[u8], out: &mut Output) -> Result<(), Failure> {
    const MOST: usize = 64 * 1024;
    let json = if bytes.len() <= MOST { serde_json::from_slice::<serde_json::Value>(bytes).ok() } else { None };
    match (json.and_then(|v| serde_json::to_string_pretty(&v).ok()), std::str::from_utf8(bytes)) {
        (Some(pretty), _) => out.line(&SafeText::block(&pretty).to_string()),
        (None, Ok(text)) if text.len() <= MOST => out.line(&SafeText::block(text).to_string()),
        (None, Ok(_)) => out.line(&format!("({} bytes of text; --json shows them)", bytes.len())),
        (None, Err(_)) => out.line(&format!("({} bytes that are not text; --json shows them)", bytes.len())),
    }
}
