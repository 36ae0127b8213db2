//! `resume`: a running agent that was paused forwards again.

use super::arguments::Data;
use super::{Context, Failure, pause};

/// Forward again after `pause`, in order, beginning with what waits
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let changed = pause::set(&args.data, false, context).await?;
    context.out.message(if changed { "forwarding goes on" } else { "forwarding was not paused" });
    Ok(())
}
