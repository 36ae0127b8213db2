//! `events audit`: what was done with stored deliveries, and by whom.

use super::super::arguments::{Data, Gather};
use super::super::{Context, Failure};
use crate::audit;
use crate::safe_text::SafeText;
use crate::settings::Moment;

/// Show the audit log: replays, exports, what was removed or saved unscrubbed, and who did it
///
/// Oldest first. The log is kept in the data folder as audit.jsonl; the newest 20 MiB stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only since then: 24h, 7d, 2026-11-21T09:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Print a JSON object for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().one("data", &args.data.data).load(context)?;
    let now = tunnel_delivery::Timestamp::from_system(std::time::SystemTime::now());
    let data = settings.data()?;
    let read = audit::read(&data, args.since.map(|since| since.timestamp(now)));
    let read =
        read.map_err(|e| Failure::unreachable(format!("the audit log in {} cannot be read: {e}", data.display())))?;
    for line in &read.lines {
        if args.json {
            context.out.json(line)?;
            continue;
        }
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let mut text = format!("{}  {:<18}  {}", word("at"), word("what"), word("by"));
        for (name, value) in line.as_object().into_iter().flatten() {
            if !["at", "what", "by", "pid"].contains(&name.as_str()) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                text.push_str(&format!("  {name}={value}"));
            }
        }
        context.out.line(&SafeText::new(&text).to_string())?;
    }
    if read.unreadable > 0 {
        context.out.message(&format!("{} lines of it cannot be read", read.unreadable));
    }
    Ok(())
}
