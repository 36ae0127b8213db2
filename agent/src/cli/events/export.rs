//! `events export`: what a filter means, as JSON lines, as HAR, or as a script of curl lines. One delivery at a time, so that memory does not
//! grow with their number.

use std::io::{self, Write};
use std::path::PathBuf;

use tunnel_delivery::{Environment, Stored};
use tunnel_fixture::limits::MAX_FIXTURES;
use tunnel_fixture::{Fixture, HarWriter};

use super::super::arguments::{self, Data, Gather};
use super::super::out_file::{OutFile, failed};
use super::super::store::export::lossy;
use super::super::style::deliveries;
use super::super::{Context, Failure, Output};
use super::filters::Wanted;
use crate::control::{Export, Exported, data_flag, own_url};
use crate::fixtures::own_name;
use crate::forward::TargetUrl;
use crate::request_text::{SCRIPT_HEAD, Written, script_step};

/// Write out what a filter means, oldest first: JSON lines, HAR, or a shell script
///
/// jsonl has the objects of `events show --json`, a line each. har is HAR 1.2: an entry for each delivery with the last attempt's answer, and all
/// of them in _attempts. curl is a script for any sh that sends each delivery again, to the byte. `fixtures load` reads files of the first two. What
/// Healthie sent is written as it is, also what came from production; `fixtures save --scrub` replaces personal data. `store export` writes the whole
/// store, also what is readable of a damaged one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// jsonl, har or curl
    #[arg(long, value_name = "FORM", default_value = "jsonl", value_parser = form)]
    form: Form,
    /// With --form curl: to this handler instead of where it was sent: a port, host:port or a URL; signatures stay as they are
    #[arg(long, value_name = "TARGET")]
    to: Option<TargetUrl>,
    /// The file to write to, which only you can read; - for stdout
    #[arg(long, short, value_name = "FILE", default_value = "-", alias = "out")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Print how it went as JSON; with --output FILE
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Har,
    Curl,
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "jsonl" | "json" => Ok(Form::Lines),
        "har" => Ok(Form::Har),
        "curl" => Ok(Form::Curl),
        _ => Err("choose of jsonl, har, curl".to_owned()),
    }
}

/// Where a delivery came from, read from its JSON without the rest.
#[derive(serde::Deserialize)]
struct Whence {
    environment: Environment,
}

/// Where it goes.
enum Sink<'a> {
    Stdout(&'a mut Output),
    File(OutFile),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(out) => out.write(bytes),
            Sink::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written into it, in its form.
enum Writer<'a> {
    Plain(Sink<'a>),
    Har(HarWriter<Sink<'a>>),
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if args.to.is_some() && args.form != Form::Curl {
        return Err(Failure::usage("--to is for --form curl; the other forms say where a delivery was sent"));
    }
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    let any = args.wanted.any();
    let filter = args.wanted.filter(&settings)?;
    let mut parts = local.export(Export { filter }, context.out.progress()).await?;
    let to_stdout = args.output.as_os_str() == "-";
    let out = &mut context.out;
    let sink = match to_stdout {
        true => Sink::Stdout(out),
        false => Sink::File(OutFile::create(&args.output, args.force)?),
    };
    let wrong = |e: io::Error| match to_stdout {
        true => Failure::from(e),
        false => failed(&args.output, &e),
    };
    let mut writer = begin(args.form, sink).map_err(wrong)?;
    let (mut count, mut production) = (0_u64, 0_u64);
    let rescued = loop {
        match parts.recv().await {
            Some(Exported::Delivery { stored, .. }) => {
                let text = stored.get();
                let read = || {
                    serde_json::from_str::<Stored>(text)
                        .map_err(|e| Failure::unreachable(format!("a delivery cannot be read: {e}")))
                };
                production += u64::from(match &mut writer {
                    Writer::Plain(sink) if args.form == Form::Lines => {
                        writeln!(sink, "{text}").map_err(wrong)?;
                        serde_json::from_str::<Whence>(text).is_ok_and(|w| w.environment == Environment::Production)
                    }
                    Writer::Plain(sink) => {
                        let stored = read()?;
                        sink.write_all(step(&stored, args.to.as_ref()).as_bytes()).map_err(wrong)?;
                        stored.delivery.environment == Environment::Production
                    }
                    Writer::Har(har) => {
                        let stored = read()?;
                        entry(har, &stored).map_err(wrong)?;
                        stored.delivery.environment == Environment::Production
                    }
                });
                count += 1;
            }
            Some(Exported::End) => break None,
            Some(Exported::Rescued(saved)) => break Some(saved),
            Some(Exported::Failed(e)) => {
                let failure = Failure::from(e);
                let message = format!("{} (after {})", failure.message, deliveries(count));
                return Err(Failure { message, ..failure });
            }
            None => return Err(Failure::unreachable("the export ended before its end")),
        }
    };
    let sink = match writer {
        Writer::Plain(sink) => sink,
        Writer::Har(har) => har.end().map_err(wrong)?,
    };
    if let Sink::File(file) = sink {
        file.finish()?;
    }
    let out = &mut context.out;
    out.end_progress();
    if args.json && !to_stdout {
        out.json(&serde_json::json!({"deliveries": count, "output": args.output, "from_production": production}))?;
    }
    out.flush()?;
    if !to_stdout && !args.json {
        let verb = if count == 1 { "is" } else { "are" };
        out.message(&format!("{} {verb} in {}", deliveries(count), args.output.display()));
    }
    if production > 0 {
        let of = deliveries(production);
        out.message(&format!("note: {of} from production, as sent; `fixtures save --scrub` replaces personal data"));
    }
    if args.form == Form::Har && count > MAX_FIXTURES as u64 {
        out.message(&format!("note: `fixtures load` reads HAR files of up to {MAX_FIXTURES} entries"));
    }
    if let Some(saved) = rescued {
        return Err(lossy(&saved, &data_flag(&local.data)));
    }
    if count == 0 && any { Err(Failure::negative("nothing is stored that fits")) } else { Ok(()) }
}

fn begin(form: Form, mut sink: Sink<'_>) -> io::Result<Writer<'_>> {
    Ok(match form {
        Form::Lines => Writer::Plain(sink),
        Form::Har => Writer::Har(HarWriter::begin(sink)?),
        Form::Curl => {
            sink.write_all(SCRIPT_HEAD.as_bytes())?;
            Writer::Plain(sink)
        }
    })
}

fn entry(har: &mut HarWriter<Sink<'_>>, stored: &Stored) -> io::Result<()> {
    let mut fixture = Fixture::of(&stored.delivery, Some(&stored.signature));
    fixture.provenance.note = stored.note.clone();
    let name = own_name(&fixture, &stored.delivery.id.to_string());
    har.entry(&name, &fixture, &stored.attempts)
}

/// A step of the script.
fn step(stored: &Stored, to: Option<&TargetUrl>) -> String {
    let mut request = Written::of(&stored.delivery);
    let url = match to {
        None => own_url(&request),
        Some(to) => {
            request.target = to.map(&stored.delivery.handler_target());
            to.url(&request.target)
        }
    };
    let event = stored.event.as_ref().map_or("(no event)", |e| e.event_type.as_str());
    let about = format!("{}  {event}  {}", stored.delivery.id, stored.delivery.received_at);
    script_step(&about, &url, &request)
}
