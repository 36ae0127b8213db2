//! `trigger`: a correctly signed synthetic delivery of any event in the catalogue.

use serde_json::Value;

use super::arguments::{self, Data, Gather, Secrets};
use super::style::{Tone, duration};
use super::{Context, Failure};
use crate::control::Trigger;
use crate::forward::TargetUrl;
use crate::safe_text::SafeText;

/// Send a correctly signed synthetic delivery of an event; exit 1 if it is not answered 2xx
///
/// Goes to the tunnel's public address, which the running agent knows, and comes down like a real one. --url names another address,
/// --direct a handler that gets it straight.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The event's name, such as appointment.created
    #[arg(required_unless_present = "list")]
    event: Option<String>,
    /// The signature's profile: guide, scribe or rfc9421, with a variant as guide:VARIANT
    #[arg(long, value_name = "PROFILE", default_value = "guide")]
    profile: String,
    /// Set a field of the payload, FIELD=VALUE; the value is JSON or else a string; may be repeated
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    set: Vec<(String, Value)>,
    /// Send so many, each with ids of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// The path that it is sent to at the tunnel
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    path: String,
    /// Straight to this handler: a port, host:port or a URL; nothing is stored
    #[arg(long, value_name = "TARGET", conflicts_with = "url")]
    direct: Option<TargetUrl>,
    /// To this URL instead of the tunnel's public address
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Also a name that is not in the catalogue
    #[arg(long)]
    force: bool,
    /// List the catalogue's events
    #[arg(long)]
    list: bool,
    /// Print JSON: an object for each delivery sent, with --list an array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
    /// Trust the certificates in this PEM file, besides the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let Some(event) = args.event.clone().filter(|_| !args.list) else { return list(&args, context) };
    if tunnel_catalogue::find(&event).is_none() && !args.force {
        let near: Vec<_> = tunnel_catalogue::nearest(&event).into_iter().map(|e| e.name).collect();
        let hint = match near[..] {
            [] => "`healthie-tunnel trigger --list` shows all; --force sends it all the same".to_owned(),
            _ => format!("did you mean {}? --force sends it all the same", near.join(", ")),
        };
        return Err(Failure::usage(format!("the catalogue has no event {event:?}")).hint(hint));
    }
    let settings = Gather::default()
        .one("data", &args.data.data)
        .one("ca", &args.ca)
        .many("secret", &args.secrets.secrets)
        .load(context)?;
    let control = arguments::local(&settings)?.connect_or_make().await?;
    let first_seed = getrandom::u64().unwrap_or(0);
    let mut trigger = Trigger {
        event,
        reading: args.profile,
        set: args.set,
        direct: args.direct,
        url: args.url,
        path: args.path,
        secrets: arguments::secret_texts(&settings)?,
        seed: first_seed,
    };
    let mut failed = 0;
    let mut ended: Result<(), Failure> = Ok(());
    for n in 0..args.count {
        trigger.seed = first_seed.wrapping_add(n);
        let done = match control.trigger(&trigger).await {
            Ok(done) => done,
            Err(e) => {
                ended = Err(e.into());
                break;
            }
        };
        failed += u64::from(!done.succeeded());
        if args.json {
            context.out.json(&done)?;
        } else {
            let style = context.out.style;
            let came_to = match (&done.error, done.status) {
                (Some(e), _) => style.paint(Tone::Bad, SafeText::new(e)),
                (None, Some(status)) => style.paint(if done.succeeded() { Tone::Good } else { Tone::Bad }, status),
                (None, None) => "nothing".into(),
            };
            let said =
                if done.succeeded() { String::new() } else { format!("  {}", SafeText::new(&done.answer).cut(300)) };
            let took = duration((done.duration_ms * 1000.0) as u64);
            let event = SafeText::new(&done.event_type).to_string();
            context.out.line(&format!("{event}  {}  {came_to}  {took}{said}", SafeText::new(&done.url)))?;
        }
        context.out.flush()?;
    }
    control.close().await;
    ended?;
    if failed > 0 {
        return Err(Failure::negative(format!("{failed} of {} were not answered 2xx", args.count)));
    }
    Ok(())
}

fn list(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let events = tunnel_catalogue::all();
    if args.json {
        let all: Vec<Value> = events
            .iter()
            .map(|e| {
                serde_json::json!({
                    "event_type": e.name,
                    "resource_id_type": e.resource_type.name(),
                    "extra_fields": e.extra_fields.iter().map(|f| f.name).collect::<Vec<_>>(),
                    "misspelling_of": e.misspelling_of,
                })
            })
            .collect();
        return context.out.json(&all);
    }
    for e in events {
        let wrong = e.misspelling_of.map_or_else(String::new, |right| format!("  (documented so; means {right})"));
        context.out.line(&format!("{:<44} {}{wrong}", e.name, e.resource_type.name()))?;
    }
    Ok(())
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    if name.is_empty() {
        return Err("the field has no name".into());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

fn path(text: &str) -> Result<String, String> {
    text.parse::<tunnel_delivery::Target>().map(|t| t.as_str().to_owned()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_or_text() {
        assert_eq!(field("a=5"), Ok(("a".into(), Value::from(5))));
        assert_eq!(field("a=x=y"), Ok(("a".into(), Value::from("x=y"))));
        assert_eq!(field("a=[\"b\"]").unwrap().1, serde_json::json!(["b"]));
        assert!(field("a").is_err() && field("=a").is_err());
    }
}
