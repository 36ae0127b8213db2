//! `events tail`: what comes, a line each.

use std::time::Duration;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::filters::{Wanted, missed};
use super::unknown;
use crate::control::Followed;

/// How often it looks whether anybody still reads, so that `tail | head -1` ends.
const LOOK: Duration = Duration::from_millis(500);

/// Follow what comes, until interrupted
///
/// With --since what is stored since then comes first. Each delivery comes once, as soon as it fits the filter; without a running agent it
/// waits for one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Print a JSON summary for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let (local, filter) = (arguments::local(&settings)?, args.wanted.filter(&settings)?);
    unknown::before_following(&local, &filter, &mut context.out).await?;
    let mut follower = local.follow(filter);
    loop {
        let next = {
            let mut next = std::pin::pin!(follower.next());
            loop {
                tokio::select! {
                    followed = &mut next => break followed?,
                    () = tokio::time::sleep(LOOK) => if context.out.closed() {
                        return Ok(());
                    },
                }
            }
        };
        let line = match next {
            Followed::Delivery(line) => line,
            Followed::Missed(n) => {
                context.out.message(&missed(n));
                continue;
            }
        };
        if args.json {
            context.out.json(&line)?;
        } else {
            let line = context.out.style.list_line(&line, context.out.width);
            context.out.line(&line)?;
        }
        context.out.flush()?;
    }
}
