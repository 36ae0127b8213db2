//! `trigger`: correctly signed synthetic deliveries of any event in the catalogue: one, many, or a scenario; repeated, mixed up, late or
//! tampered with where that is asked for.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_catalogue::IdStyle;
use tunnel_delivery::ErrorKind;
use tunnel_fixture::{Expect, Scenario};

use super::arguments::{self, Data, Gather, Secrets};
use super::output::Output;
use super::style::{Tone, duration};
use super::{Context, Failure, editor, signals};
use crate::control::{self, Control, ControlError, Trigger, Triggered};
use crate::forward::TargetUrl;
use crate::safe_text::SafeText;
use crate::trigger::drive::{AT_ONCE, drive};
use crate::trigger::field::FieldPath;
use crate::trigger::forge::Tamper;
use crate::trigger::schedule::{Manner, Planned, schedule};
use crate::trigger::select::{SelectError, select};
use crate::trigger::tally::Tally;

/// Send correctly signed synthetic deliveries of events; exit 1 if one is not answered 2xx
///
/// They go to the tunnel's public address, which the running agent knows, and come down like real ones. --url names another address,
/// --direct a handler that gets them straight. One is sent after the answer to the one before, unless --rate says otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of events such as appointment.created, patterns such as 'appointment.*', or `all`
    #[arg(value_name = "EVENT", required_unless_present_any = ["list", "scenario"])]
    events: Vec<String>,
    /// Send the events of this scenario, in its order and with its waits
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "count", "edit"])]
    scenario: Option<PathBuf>,
    /// The signature's profile: guide, scribe or rfc9421, with a variant as guide:VARIANT
    #[arg(long, value_name = "PROFILE", default_value = "guide")]
    profile: String,
    /// Set a field of the payload: FIELD is a name, a.b.c or a[0].b, VALUE is JSON or else a string; may be repeated
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    set: Vec<(FieldPath, Value)>,
    /// Edit the payload in $EDITOR before it is sent
    #[arg(long)]
    edit: bool,
    /// Send so many of each, each with ids of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = arguments::at_least_one)]
    count: usize,
    /// Send each so many times more, byte for byte
    #[arg(long, value_name = "N", default_value_t = 0)]
    duplicate: usize,
    /// Send them in another order
    #[arg(long)]
    shuffle: bool,
    /// Chooses ids and the order of --shuffle, so that they can be had again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Send the repeats so much later, or without --duplicate the first delivery, so that others overtake it
    #[arg(long, value_name = "TIME", value_parser = arguments::span)]
    late: Option<Duration>,
    /// At most so many: 5/s, 30/m
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// Change something after signing: body, digest, signature, path or headers
    #[arg(long, value_name = "WHAT")]
    tamper: Option<Tamper>,
    /// Without the headers of the signature
    #[arg(long, conflicts_with = "tamper")]
    unsigned: bool,
    /// The answer that is right: a status, or 4xx [default: 2xx, or what the scenario says]
    #[arg(long, value_name = "STATUS", value_parser = expect)]
    expect: Option<Expect>,
    /// The path that they are sent to at the tunnel
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    path: String,
    /// Straight to this handler: a port, host:port or a URL; nothing is stored
    #[arg(long, value_name = "TARGET", conflicts_with = "url")]
    direct: Option<TargetUrl>,
    /// To this URL instead of the tunnel's public address
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    url: Option<String>,
    /// Also names that are not in the catalogue
    #[arg(long)]
    force: bool,
    /// List the catalogue's events
    #[arg(long)]
    list: bool,
    /// Print JSON: an object for each delivery sent and, after several, one with a summary; with --list an array
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

/// A delivery before it is signed.
#[derive(Clone)]
struct Wanted {
    event: String,
    seed: u64,
    /// Where it is not to be made up from the seed.
    payload: Option<Value>,
    expect: Expect,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if args.list {
        return list(&args, context);
    }
    // Short enough to be typed, and exact where JSON numbers are doubles.
    let seed = args.seed.unwrap_or_else(|| getrandom::u32().map_or(0, u64::from));
    let wanted = match &args.scenario {
        Some(file) => scenario(file, &args, seed)?,
        None => named(&args, seed, context)?,
    };
    let manner =
        Manner { duplicate: args.duplicate, shuffle: args.shuffle.then_some(seed), late: args.late, rate: args.rate };
    let planned = schedule(wanted, manner).map_err(|e| Failure::usage(e.to_string()))?;
    let settings =
        Gather::default().data(&args.data).one("ca", &args.ca).many("secret", &args.secrets.secrets).load(context)?;
    let trigger = Trigger {
        event: String::new(),
        reading: args.profile.clone(),
        // What was edited has them already, and they may be what was edited.
        set: args.set.iter().filter(|_| !args.edit).map(|(path, value)| (path.to_string(), value.clone())).collect(),
        direct: args.direct.clone(),
        url: args.url.clone(),
        path: args.path.clone(),
        secrets: arguments::secret_texts(&settings)?,
        seed,
        payload: None,
        tamper: args.tamper,
        unsigned: args.unsigned,
    };
    let control = arguments::local(&settings)?.connect_or_make().await?;
    // The running agent sends it, and trusts whom it was told to trust.
    let agent_sends = matches!(control, Control::Remote(_));
    if agent_sends && args.ca.is_some() {
        context
            .out
            .message("note: the running agent sends these and has certificates of its own; give --ca to `listen`");
    }
    if args.shuffle && args.seed.is_none() {
        context.out.message(&format!("--seed {seed} sends them in this order again"));
    }
    let began = Instant::now();
    let many = planned.len() > 1;
    let all = planned.len();
    let mut tally = Tally::default();
    let mut ended: Result<(), Failure> = Ok(());
    let mut noted = None;
    let mut untrusted = None;
    let send = async |one: Planned<Wanted>| {
        let Wanted { event, seed, payload, expect } = one.what;
        let done = control.trigger(&Trigger { event, seed, payload, ..trigger.clone() }).await;
        (done, one.repeat, expect)
    };
    let out = &mut context.out;
    let told = |(done, repeat, expect): (Result<Triggered, ControlError>, bool, Expect)| {
        let printed = done.map_err(Failure::from).and_then(|done| {
            let right = done.error.is_none() && done.status.is_some_and(|s| expect.accepts(s));
            if done.error_kind == Some(ErrorKind::Tls) {
                untrusted.clone_from(&done.error);
            }
            tally.add(done.status.filter(|_| done.error.is_none()), right, done.unreachable());
            if done.note.is_some() && done.note != noted {
                noted.clone_from(&done.note);
                out.message(done.note.as_deref().unwrap_or_default());
            }
            print(out, &done, right, repeat, args.json)
        });
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                ended = Err(e);
                ControlFlow::Break(())
            }
        }
    };
    let at_once = if args.rate.is_some() { AT_ONCE } else { 1 };
    let stopped = tokio::select! {
        () = drive(planned, at_once, send, told) => false,
        () = signals::end() => true,
    };
    control.close().await;
    ended?;
    if many {
        let took = began.elapsed();
        if args.json {
            let duration_ms = took.as_micros() as f64 / 1000.0;
            context.out.json(&serde_json::json!({ "summary": tally, "duration_ms": duration_ms, "seed": seed }))?;
        } else {
            context
                .out
                .line(&format!("{tally}; in {}", duration(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))))?;
        }
    }
    let what = if args.expect.is_some() || args.scenario.is_some() { "as expected" } else { "2xx" };
    let wrong = tally.sent - tally.right;
    if wrong > 0
        && tally.unreachable == tally.sent
        && let Some(why) = untrusted
    {
        let hint = match agent_sends {
            true => {
                "where the relay's certificate is of an authority of your own, start `listen` with --ca FILE: the running agent sends it"
            }
            false => "where the certificate is of an authority of your own, --ca FILE names it",
        };
        let told = format!("none of {} could be delivered: {}", tally.sent, SafeText::new(&why));
        return Err(Failure::unreachable(told).hint(hint));
    }
    if wrong > 0 && tally.unreachable == tally.sent {
        return Err(Failure::unreachable(format!("none of {} could be delivered: nobody is there", tally.sent)));
    }
    if wrong > 0 {
        return Err(Failure::negative(format!("{wrong} of {} were not answered {what}", tally.sent)));
    }
    if stopped {
        return Err(Failure::negative(format!("stopped after {} of {all}", tally.sent)));
    }
    Ok(())
}

/// What the names mean, with the payload as it was edited.
fn named(args: &Args, seed: u64, context: &Context) -> Result<Vec<(Wanted, Duration)>, Failure> {
    let events = select(&args.events, args.force).map_err(unknown)?;
    let expect = args.expect.unwrap_or(Expect::SUCCESS);
    let mut edited = None;
    if args.edit {
        let [event] = &events[..] else {
            return Err(Failure::usage(format!("--edit is for one event, and these are {}", events.len())));
        };
        if args.count != 1 {
            return Err(Failure::usage("--edit is for one delivery").hint("--duplicate sends the edited one again"));
        }
        edited = Some(edit(event, args, seed, context)?);
    }
    let all = events.len().saturating_mul(args.count);
    if all > crate::trigger::schedule::MOST {
        return Err(Failure::usage(crate::trigger::schedule::TooMany(all).to_string()));
    }
    let each = (0..args.count).flat_map(|_| &events).enumerate();
    let wanted = each.map(|(n, event)| {
        let seed = seed.wrapping_add(n as u64);
        (Wanted { event: event.clone(), seed, payload: edited.clone(), expect }, Duration::ZERO)
    });
    Ok(wanted.collect())
}

/// The payload after the user has edited it. What --set says is in it already.
fn edit(event: &str, args: &Args, seed: u64, context: &Context) -> Result<Value, Failure> {
    let mut payload = control::payload(event, seed);
    for (path, value) in &args.set {
        path.set(&mut payload, value.clone()).map_err(|e| Failure::usage(e.to_string()))?;
    }
    let text = format!("{payload:#}\n");
    let edited = editor::edit(&text, "payload.json", &context.environment)?;
    serde_json::from_str(&edited)
        .map_err(|e| Failure::usage(format!("what was edited is not JSON: {e}")).hint("nothing was sent"))
}

/// The events of a scenario.
fn scenario(file: &Path, args: &Args, seed: u64) -> Result<Vec<(Wanted, Duration)>, Failure> {
    let name = file.display().to_string();
    let cannot = |e: std::io::Error| Failure::usage(format!("{name} cannot be read: {e}"));
    let mut bytes = Vec::new();
    // One more than is taken, so that what is too long is refused and not cut.
    let most = tunnel_fixture::limits::MAX_SCENARIO + 1;
    std::fs::File::open(file).map_err(cannot)?.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    let read = Scenario::read(&name, &bytes).map_err(|e| Failure::usage(e.to_string()))?;
    if !args.force
        && let Some(step) = read.unknown().next()
    {
        let e = select(std::slice::from_ref(&step.event), false).err();
        let hint = e.as_ref().map(SelectError::hint).unwrap_or_default();
        let event = step.event.chars().take(100).collect::<String>();
        let message = format!("{name}:{}: the catalogue has no event {event:?}", step.line);
        return Err(Failure::usage(message).hint(hint));
    }
    let told = read.tell(seed, IdStyle::Text).into_iter().map(|step| {
        let expect = args.expect.unwrap_or(step.expect);
        (Wanted { event: step.event, seed, payload: Some(step.payload), expect }, step.after)
    });
    Ok(told.collect())
}

fn unknown(e: SelectError) -> Failure {
    let hint = e.hint();
    Failure::usage(e.to_string()).hint(hint)
}

fn print(out: &mut Output, done: &Triggered, right: bool, repeat: bool, json: bool) -> Result<(), Failure> {
    if json {
        out.json(done)?;
        return out.flush();
    }
    let style = out.style;
    let tone = if right { Tone::Good } else { Tone::Bad };
    let came_to = match (&done.error, done.status) {
        (Some(e), _) => style.paint(Tone::Bad, SafeText::new(e)),
        (None, Some(status)) => style.paint(tone, status),
        (None, None) => "nothing".into(),
    };
    let said = if done.succeeded() { String::new() } else { format!("  {}", SafeText::new(&done.answer).cut(300)) };
    let took = duration((done.duration_ms * 1000.0) as u64);
    let again = if repeat { "  repeat" } else { "" };
    let event = SafeText::new(&done.event_type).to_string();
    out.line(&format!("{event}  {}  {came_to}  {took}{again}{said}", SafeText::new(&done.url)))?;
    out.flush()
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

fn field(text: &str) -> Result<(FieldPath, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    let path = name.parse().map_err(|e: crate::trigger::field::FieldError| e.to_string())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((path, value))
}

/// `5/s`, `30/m`, `5`: so many a second.
fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some(_) => return Err("write 5/s or 30/m".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write 5/s or 30/m")?;
    let rate = number / seconds;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("a rate is above 0; leave it out for no limit".into()) }
}

fn expect(text: &str) -> Result<Expect, String> {
    text.parse().map_err(|e: tunnel_fixture::Error| e.to_string())
}

fn path(text: &str) -> Result<String, String> {
    text.parse::<tunnel_delivery::Target>().map(|t| t.as_str().to_owned()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_or_text() {
        let of = |text: &str| field(text).map(|(path, value)| (path.to_string(), value));
        assert_eq!(of("a=5"), Ok(("a".into(), Value::from(5))));
        assert_eq!(of("a.b=x=y"), Ok(("a.b".into(), Value::from("x=y"))));
        assert_eq!(of("a=[\"b\"]").unwrap().1, serde_json::json!(["b"]));
        assert!(of("a").is_err() && of("=a").is_err() && of("a[=1").is_err());
    }

    #[test]
    fn rates() {
        assert_eq!((rate("5/s"), rate("30/m"), rate("2")), (Ok(5.0), Ok(0.5), Ok(2.0)));
        for bad in ["", "/s", "0/s", "-1", "5/h", "inf", "NaN/s", "5/s/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
