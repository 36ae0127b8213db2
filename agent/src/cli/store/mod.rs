//! `store`: the archive as a whole.

mod check;
mod compact;
pub(super) mod export;
mod new_key;
mod rekey;

use clap::Subcommand;

use super::style::{counted, deliveries};
use super::{Context, Failure, Output};
use crate::control::{Ids, Saved};
use crate::safe_text::SafeText;

/// The archive as a whole: check it, write it out, give disk space back, change its key
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Export(export::Args),
    Compact(compact::Args),
    Rekey(Box<rekey::Args>),
    NewKey(new_key::Args),
}

pub(crate) async fn run(command: Command, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Compact(args) => compact::run(args, context).await,
        Command::Rekey(args) => rekey::run(*args, context).await,
        Command::NewKey(args) => new_key::run(args, context),
    }
}

/// The ids that are known of so many deliveries, a line each.
fn ids(ids: &Ids, out: &mut Output) -> Result<(), Failure> {
    for id in &ids.first {
        out.line(&format!("    {id}"))?;
    }
    let more = ids.count.saturating_sub(ids.first.len() as u64);
    if more > 0 && !ids.first.is_empty() {
        out.line(&format!("    and {more} more"))?;
    }
    Ok(())
}

/// How much of a damaged store there is.
fn saved_of(saved: &Saved) -> String {
    format!("{} with {}", deliveries(saved.deliveries), counted(saved.attempts, "attempt", "attempts"))
}

/// What is lost of a damaged store, as far as it is known.
fn losses(saved: &Saved, out: &mut Output) -> Result<(), Failure> {
    if saved.lost.count > 0 {
        out.line(&format!("{} are lost, and there may be others of which nothing is left:", saved.lost.count))?;
        ids(&saved.lost, out)?;
    }
    if saved.incomplete.count > 0 {
        out.line(&format!("{} lack an attempt or a note that they had:", saved.incomplete.count))?;
        ids(&saved.incomplete, out)?;
    }
    if let Some(stopped) = &saved.stopped {
        out.line(&format!("not everything could be looked at: {}", SafeText::new(stopped)))?;
    }
    Ok(())
}
