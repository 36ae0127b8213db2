//! `purge`: everything that a tunnel brought is removed, and its bytes with it.

use std::io::IsTerminal as _;

use tunnel_delivery::TunnelName;

use super::arguments::{self, Data, Gather};
use super::style::deliveries;
use super::{Context, Failure};
use crate::control::{Control, Purged, Remove};
use crate::settings::show_size;

/// Remove all that a tunnel brought, and have its bytes leave the disk
///
/// Whatever its age: pinned ones, those that wait to be forwarded, notes and attempts go too. The store is then compacted, so that its file
/// holds nothing of them any more; what a file system or a disk keeps of a file that is gone is not in this program's hands. The relay has its
/// own copy of what no device has taken yet: `healthie-relay tunnel purge NAME`. Copies in other folders stay: fixtures, exports,
/// and what a repair of the store put aside. The audit log stays too, since it is what tells of the purge and of what was done before: it names
/// deliveries by their ids, targets and files, and holds nothing that was in them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tunnel
    #[arg(long, value_name = "NAME")]
    tunnel: TunnelName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print JSON: how many were removed, and the length of the store's file before and after
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.yes && !terminal {
        return Err(Failure::usage("nobody can be asked here whether these deliveries may go")
            .hint("--yes removes them without asking"));
    }
    let control = arguments::local(&settings)?.connect().await?;
    let purged = purged(&args, &control, context).await;
    control.close().await;
    let done = purged?;
    let out = &mut context.out;
    if args.json {
        out.json(&done)?;
    }
    if done.removed == 0 {
        // Most likely the name is a slip, and what was meant is still there.
        return Err(Failure::negative(format!("nothing is stored of a tunnel {}", args.tunnel))
            .hint("`healthie-tunnel events list` shows the tunnels with --json"));
    }
    if args.json {
        return Ok(());
    }
    out.line(&format!(
        "{} removed; the store's file had {}, now {}",
        deliveries(done.removed),
        show_size(done.before),
        show_size(done.after)
    ))
}

async fn purged(args: &Args, control: &Control, context: &mut Context) -> Result<Purged, Failure> {
    if !args.yes {
        let expected = control.remove(&Remove { dry_run: true, ..Remove::all_of(&args.tunnel) }).await?.removed;
        let question = format!("Remove {} of tunnel {} for good, pinned ones too?", deliveries(expected), args.tunnel);
        if !context.out.sure(&question)? {
            return Err(Failure::negative("nothing was removed"));
        }
    }
    Ok(control.purge(&args.tunnel).await?)
}
