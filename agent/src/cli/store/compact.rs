//! `store compact`: gives back disk space that the store does not use; with --rescue builds it anew from what is readable.

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::{losses, saved_of};
use crate::control::{Kind, Saved, data_flag};
use crate::safe_text::SafeText;
use crate::settings::show_size;

/// Give back disk space that the store does not use
///
/// It is copied beside the old one, so that needs room for a while; nothing is lost where it is ended half way. A running agent does it by
/// itself after removing much, and does it now if asked. All that is stored is written as things stand now: encrypted where the store has a key, and
/// with the latest one; what was removed leaves the disk, as far as files can.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build a damaged store anew from what is readable; the damaged files are put aside
    #[arg(long)]
    rescue: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    if args.rescue {
        let saved = local.repair(context.out.progress()).await;
        context.out.end_progress();
        let saved = saved?;
        if args.json {
            context.out.json(&saved)?;
        } else {
            told(&saved, context)?;
        }
        context.out.flush()?;
        return match saved.stopped {
            None => Ok(()),
            // What could be had is in the store, but there may be more in the old files.
            Some(_) => Err(Failure::negative("not everything in the damaged store could be looked at; keep its files")),
        };
    }
    let done = local.compact().await.map_err(|e| match e.kind {
        // Copying reads everything, so it may find damage that nobody met before.
        Kind::Unreachable => e.hint(format!(
            "`healthie-tunnel store check {}` says whether the store is damaged",
            data_flag(&local.data)
        )),
        _ => e,
    })?;
    if args.json {
        context.out.json(&done)
    } else {
        context.out.line(&format!("the store's file had {}, now {}", show_size(done.before), show_size(done.after)))
    }
}

fn told(saved: &Saved, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    out.line(&format!("saved {}", saved_of(saved)))?;
    losses(saved, out)?;
    for path in &saved.aside {
        out.line(&format!("the damaged files are in {}", SafeText::new(&path.display().to_string())))?;
    }
    if !saved.aside.is_empty() && saved.stopped.is_none() {
        out.line("nothing needs them any more; remove them when you miss nothing")?;
    }
    Ok(())
}
