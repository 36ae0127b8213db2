//! `events wait`: blocks until what is waited for came. For tests and CI.

use std::time::Duration;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::filters::{Filters, missed};
use super::unknown;
use crate::control::Followed;

/// Wait until so many deliveries came; exit 1 if they do not come in time
///
/// Counts what comes from now on, and with --since what is stored since then too. Prints what it counted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filters: Filters,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1)]
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
    let settings = Gather::default().one("data", &args.data.data).load(context)?;
    let (local, filter) = (arguments::local(&settings)?, args.filters.filter());
    unknown::before_following(&local, &filter, &mut context.out).await?;
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
