//! `events remove`: stored deliveries are removed for good, after a question.

use std::io::IsTerminal as _;

use super::super::arguments::{self, Data, Gather};
use super::super::style::deliveries;
use super::super::verify::is_selector;
use super::super::{Context, Failure, Output};
use super::filters::{Filters, Wanted};
use crate::control::{Control, Remove, RemoveDone};
use crate::settings::Settings;

/// Remove stored deliveries for good, with their attempts and notes
///
/// By id, or all that a filter means. Asks first on a terminal, and refuses elsewhere without --yes. Pinned ones, those that wait to be
/// forwarded, and those received within the last minute (the relay may send those again, and would then bring them as new) stay unless
/// they are asked for; how many do is told. The disk gets its space back when the store is compacted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, ids, or beginnings or ends of ids; or a filter, such as 'status:2xx until:7d'
    #[arg(value_name = "ID|FILTER")]
    what: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All that is stored
    #[arg(long)]
    all: bool,
    /// Pinned ones too
    #[arg(long)]
    pinned: bool,
    /// Those that wait to be forwarded too; one that the running agent has in hand may still be forwarded
    #[arg(long)]
    queued: bool,
    /// Those received within the last minute too
    #[arg(long)]
    recent: bool,
    /// Tell how many there are, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Compact the store afterwards, so that their bytes leave the disk
    #[arg(long)]
    compact: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print JSON: how many were removed, and how many stay and why
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

impl Args {
    /// What is to be removed.
    fn wanted(&mut self, settings: &Settings) -> Result<Remove, Failure> {
        let what = std::mem::take(&mut self.what);
        if what.iter().any(|w| w.trim().is_empty()) {
            return Err(Failure::usage("the filter is empty").hint("--all means everything"));
        }
        let ids = what.iter().filter(|w| is_selector(w)).count();
        let by_id = ids > 0 && ids == what.len();
        if ids > 0 && !by_id {
            return Err(Failure::usage("give ids or a filter, not both")
                .hint("text that looks like an id is written text:1cae in a filter"));
        }
        if by_id && (self.filters.any() || self.all) {
            return Err(Failure::usage("give ids or a filter, not both"));
        }
        if what.is_empty() && !self.filters.any() && !self.all {
            return Err(Failure::usage("nothing is named that is to be removed")
                .hint("give ids, a filter such as 'status:2xx until:7d', or --all"));
        }
        if self.all && (self.filters.any() || !what.is_empty()) {
            return Err(Failure::usage("--all means everything, so a filter beside it is a mistake"));
        }
        let filters = std::mem::take(&mut self.filters);
        let (ids, filter) = match by_id {
            true => (what, None),
            false => (Vec::new(), Some(Wanted { filter: what, filters }.filter(settings)?)),
        };
        Ok(Remove { ids, filter, pinned: self.pinned, queued: self.queued, recent: self.recent, dry_run: true })
    }
}

pub(crate) async fn run(mut args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let remove = args.wanted(&settings)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.yes && !args.dry_run && !terminal {
        return Err(Failure::usage("nobody can be asked here whether these deliveries may go")
            .hint("--yes removes them without asking, --dry-run tells how many there are"));
    }
    let control = arguments::local(&settings)?.connect().await?;
    let removed = removed(&args, &remove, &control, &mut context.out).await;
    let compacted = match &removed {
        Ok(done) if args.compact && !args.dry_run && done.removed > 0 => control.compact().await.map(|_| ()),
        _ => Ok(()),
    };
    control.close().await;
    let done = removed?;
    let out = &mut context.out;
    if args.json {
        out.json(&done)?;
    } else {
        let what = if args.dry_run { "would be removed" } else { "removed" };
        out.line(&format!("{} {what}", deliveries(done.removed)))?;
    }
    out.flush()?;
    stays(&done, out);
    compacted?;
    if done.removed == 0 && done.stay() == 0 {
        return Err(Failure::negative("nothing is stored that fits"));
    }
    if done.removed == 0 { Err(Failure { message: String::new(), ..Failure::negative("") }) } else { Ok(()) }
}

/// Asks, where that is wanted, and removes.
async fn removed(args: &Args, remove: &Remove, control: &Control, out: &mut Output) -> Result<RemoveDone, Failure> {
    if args.dry_run {
        return Ok(control.remove(remove).await?);
    }
    if !args.yes {
        let expected = control.remove(remove).await?;
        if expected.removed == 0 {
            return Ok(expected);
        }
        stays(&expected, out);
        if !out.sure(&format!("Remove {} for good?", deliveries(expected.removed)))? {
            return Err(Failure::negative("nothing was removed"));
        }
    }
    Ok(control.remove(&Remove { dry_run: false, ..remove.clone() }).await?)
}

/// Says what stays and how it can be made to go.
fn stays(done: &RemoveDone, out: &mut Output) {
    for (n, why, flag) in [
        (done.pinned, "pinned", "--pinned"),
        (done.queued, "waiting to be forwarded", "--queued"),
        (done.recent, "received within the last minute", "--recent"),
    ] {
        if n > 0 {
            let verb = if n == 1 { "stays" } else { "stay" };
            out.message(&format!("note: {} {verb}: {why} ({flag} removes such ones too)", deliveries(n)));
        }
    }
}
