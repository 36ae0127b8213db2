//! `store export`: everything that is stored, as JSON lines.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::super::arguments::{self, Data, Gather};
use super::super::out_file::{OutFile, failed};
use super::super::style::deliveries;
use super::super::{Context, Failure, Output};
use super::saved_of;
use crate::control::{Export, Exported, Filter, Saved, data_flag};
use crate::settings::Moment;

/// Write out every delivery with its attempts, a JSON object a line, oldest first
///
/// For the whole store, and for a damaged one; `events export` writes what a filter means, also as HAR and as a script. The objects are those of
/// `events show --json`. Of a damaged store everything is written that can be read; what is lost is said, and the exit
/// code is 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write to, which only you can read; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-", alias = "output")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Received since then: 24h, 2026-11-21T09:30:00Z
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    since: Option<Moment>,
    /// Received before then
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    until: Option<Moment>,
    /// Print how it went as JSON; with --out FILE
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

impl Args {
    fn to_stdout(&self) -> bool {
        self.out == Path::new("-")
    }
}

/// How many lost ids a message names.
const NAMED: usize = 5;

/// How an export went, in JSON.
#[derive(serde::Serialize)]
struct Outcome<'a> {
    deliveries: u64,
    out: &'a Path,
    /// Where the store is damaged.
    rescued: Option<&'a Saved>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    let now = arguments::now();
    let (since, until) = (args.since.map(|m| m.timestamp(now)), args.until.map(|m| m.timestamp(now)));
    let export = Export { filter: Filter { since, until, ..Filter::default() } };
    let mut parts = local.export(export, context.out.progress()).await?;
    // Now that there is something to write, and before any of it was read.
    let mut file = if args.to_stdout() { None } else { Some(OutFile::create(&args.out, args.force)?) };
    let mut count = 0_u64;
    let rescued = loop {
        match parts.recv().await {
            Some(Exported::Delivery { stored, .. }) => {
                match &mut file {
                    Some(file) => writeln!(file, "{}", stored.get()).map_err(|e| failed(&args.out, &e))?,
                    None => context.out.line(stored.get())?,
                }
                count += 1;
            }
            Some(Exported::End) => break None,
            Some(Exported::Rescued(saved)) => break Some(saved),
            Some(Exported::Failed(e)) => {
                context.out.end_progress();
                let failure = Failure::from(e);
                let message = format!("{} (after {})", failure.message, deliveries(count));
                return Err(Failure { message, ..failure });
            }
            None => return Err(Failure::unreachable("the export ended before its end")),
        }
    };
    context.out.end_progress();
    if let Some(file) = file {
        file.finish()?;
    }
    told(&args, count, rescued.as_ref(), &data_flag(&local.data), &mut context.out)
}

fn told(args: &Args, count: u64, rescued: Option<&Saved>, flag: &str, out: &mut Output) -> Result<(), Failure> {
    let to_stdout = args.to_stdout();
    if args.json && !to_stdout {
        out.json(&Outcome { deliveries: count, out: &args.out, rescued })?;
    }
    out.flush()?;
    if !to_stdout && !args.json {
        let verb = if count == 1 { "is" } else { "are" };
        out.message(&format!("{} {verb} in {}", deliveries(count), args.out.display()));
    }
    rescued.map_or(Ok(()), |saved| Err(lossy(saved, flag)))
}

/// What is said where a store was damaged and what is readable of it was written.
pub(crate) fn lossy(saved: &Saved, flag: &str) -> Failure {
    let mut text = format!("the store is damaged: {} could be read", saved_of(saved));
    for (what, ids) in [("are lost", &saved.lost), ("lack an attempt or a note that they had", &saved.incomplete)] {
        if ids.count > 0 {
            let first: Vec<String> = ids.first.iter().take(NAMED).map(ToString::to_string).collect();
            text.push_str(&format!("; {} {what}: {}", ids.count, first.join(", ")));
            text.push_str(if ids.count > first.len() as u64 { " …" } else { "" });
        }
    }
    if let Some(stopped) = &saved.stopped {
        text.push_str(&format!("; not everything could be looked at: {stopped}"));
    }
    Failure::negative(text)
        .hint(format!("`healthie-tunnel store compact --rescue {flag}` builds the store anew from what is readable"))
}
