//! `answer`: the tunnel of a running agent answers its senders otherwise.

use tunnel_protocol::AnswerMode;

use super::arguments::{self, Data, Gather};
use super::{Context, Failure};

/// Change how the tunnel answers Healthie: `ack` at once, or `passthrough` with the handler's own answer
///
/// The running agent asks its relay. It holds from now on for the whole tunnel, with all its agents, also after a restart; what came in before is
/// answered as it began. `healthie-tunnel status` shows how it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// ack or passthrough
    #[arg(value_name = "HOW")]
    mode: AnswerMode,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let done = control.answer(args.mode).await;
    control.close().await;
    done?;
    context.out.message(&format!("the tunnel answers in {} from now on", args.mode.as_str()));
    Ok(())
}
