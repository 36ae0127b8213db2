//! `events list`: what is stored, a line each.

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::filters::Filters;
use super::find;
use crate::control::Filter;

/// List what is stored, newest first
///
/// Times are UTC. The short id in the second column is accepted wherever an id is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What must hold, in the language of the inspector's filter (`healthie-tunnel inspect --help`), instead of the options below
    #[arg(conflicts_with_all = ["event", "resource", "signature", "status", "since", "until", "tunnel", "text"])]
    filter: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Oldest first
    #[arg(long)]
    reverse: bool,
    /// Print a JSON array of summaries
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().one("data", &args.data.data).load(context)?;
    let words = args.filter.join(" ");
    find::check(&words)?;
    let filter = Filter { limit: Some(args.limit), oldest_first: args.reverse, ..args.filters.filter() };
    let control = arguments::local(&settings)?.connect().await?;
    let found = match words.as_str() {
        "" => control.list(&filter).await.map_err(Failure::from),
        words => find::find(&control, words, args.limit, args.reverse).await,
    };
    control.close().await;
    let found = found?;
    if args.json {
        context.out.json(&found.items)?;
    } else {
        for line in &found.items {
            let line = context.out.style.list_line(line, context.out.width);
            context.out.line(&line)?;
        }
        if found.items.is_empty() {
            context.out.message("nothing is stored that fits");
        }
    }
    if found.next.is_some() {
        context.out.flush()?;
        context.out.message(&format!("there is more; --limit shows more than {}", args.limit));
    }
    Ok(())
}
