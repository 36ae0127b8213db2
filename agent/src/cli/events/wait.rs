//! `events wait`: blocks until what is waited for came. For tests and CI.

use std::time::Duration;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::filters::{Wanted, missed};
use super::unknown;
use crate::control::{Followed, has_store};

/// Wait until so many deliveries came; exit 1 if they do not come in time
///
/// Counts what comes from now on, and with --since what is stored since then too. Prints what it counted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = arguments::at_least_one)]
    count: usize,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::span)]
    timeout: Duration,
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
    // What is stored counts with --since; without an agent nothing more comes.
    if has_store(&local.data) && local.agent().await.is_none() {
        context.out.message(&format!(
            "note: no agent runs on {}, so nothing comes in; start `healthie-tunnel listen` there",
            local.data.display()
        ));
    }
    let mut follower = local.follow(filter);
    let deadline = tokio::time::Instant::now() + args.timeout;
    let mut came = 0;
    while came < args.count {
        let Ok(next) = tokio::time::timeout_at(deadline, follower.next()).await else {
            let of = args.count;
            return Err(Failure::negative(format!("{came} of {of} came within {} s", args.timeout.as_secs_f64())));
        };
        let line = match next? {
            Followed::Delivery(line) => line,
            Followed::Missed(n) => {
                context.out.message(&missed(n));
                continue;
            }
        };
        came += 1;
        if args.json {
            context.out.json(&line)?;
        } else {
            let line = context.out.style.list_line(&line, context.out.width);
            context.out.line(&line)?;
        }
        context.out.flush()?;
    }
    Ok(())
}
