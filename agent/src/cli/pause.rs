//! `pause`: a running agent stops forwarding and goes on storing.

use super::arguments::{self, Data, Gather};
use super::{Context, Failure};

/// Stop forwarding until `resume`; what comes is stored and verified, and waits
///
/// Attempts that are under way go on to their end. In passthrough, senders are answered 503 so that they send again later. It lasts until `resume`, also
/// where the agent is started anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let changed = set(&args.data, true, context).await?;
    context.out.message(if changed { "forwarding is paused" } else { "forwarding was paused already" });
    Ok(())
}

/// Asks the agent; whether that changed anything.
pub(super) async fn set(data: &Data, paused: bool, context: &Context) -> Result<bool, Failure> {
    let settings = Gather::default().data(data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let changed = control.pause(paused).await;
    control.close().await;
    Ok(changed?)
}
