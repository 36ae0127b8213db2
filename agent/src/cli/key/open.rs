//! `key open`: what was kept shut, with the keys that are here now.

use tunnel_archive::ArchiveError;

use super::super::arguments::{self, Data, Gather};
use super::super::style::deliveries;
use super::super::{Context, Failure};
use crate::control::{key_as_it_is, open_archive};
use crate::data_folder;
use crate::device_keys;
use crate::key_guard::Guard;
use crate::opening::reopen;
use crate::signing::Signing;

/// Open the stored deliveries that came sealed and could not be opened; exit 1 if some stay shut
///
/// Each is stored opened, under the id next to the one it came with, and its envelope is removed. None is forwarded: `replay` sends them. No agent may run on the
/// data folder meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: arguments::Secrets,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).many("secret", &args.secrets.secrets).load(context)?;
    let (data, secrets) = (settings.data()?, settings.secrets()?);
    if !crate::control::has_store(&data) {
        return Err(Failure::usage(format!("nothing is stored in {}", data.display()))
            .hint("name the folder with --data as `healthie-tunnel listen` has it"));
    }
    data_folder::check(&data)?;
    let key = key_as_it_is(&data, settings.store_key()?.as_ref()).await.map_err(failed)?;
    let guard = Guard::of(&data, key.as_ref()).map_err(super::guarded)?;
    let ring = device_keys::load(&data, &guard).map_err(super::failed)?.ok_or_else(super::none)?;
    let archive = open_archive(&data, key).await.map_err(failed)?;
    let done = reopen(&archive, &ring, &Signing::new(secrets)).await;
    let closed = archive.close().await;
    let done = done.map_err(failed)?;
    closed.map_err(failed)?;
    let out = &mut context.out;
    if args.json {
        out.json(&done)?;
    } else {
        out.line(&format!("{} opened, {} stay shut", deliveries(done.opened.len() as u64), done.shut.len()))?;
        for (now, was) in done.opened.iter().zip(&done.came_as) {
            out.line(&format!("- {now}: came sealed as {was}"))?;
        }
        if !done.opened.is_empty() {
            out.message("what was opened has a new id and was not forwarded: `healthie-tunnel replay ID` sends it to the handler");
        }
        for shut in &done.shut {
            out.line(&format!("- {}: {}", shut.id, shut.reason))?;
        }
    }
    out.flush()?;
    if done.shut.is_empty() { Ok(()) } else { Err(Failure::negative("")) }
}

fn failed(e: ArchiveError) -> Failure {
    match e {
        ArchiveError::Held { .. } => {
            Failure::usage("an agent or another command has the data folder open").hint("stop `listen` and try again")
        }
        other => crate::control::ControlError::from(other).into(),
    }
}
