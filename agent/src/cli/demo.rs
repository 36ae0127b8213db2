//! `demo`: the whole way in one process.

use super::arguments::Gather;
use super::style::{Tone, WIDE, folded};
use super::{Context, Failure, inspect, signals};
use crate::safe_text::SafeText;

/// The characters of an event's name where the screen is narrow.
const EVENT: usize = 32;

/// See the whole way at work in this process: relay, agent, a sample handler and signed deliveries
///
/// Everything is on the loopback interface and in a temporary folder, and nothing stays behind. On a terminal it opens the inspector on the
/// deliveries; then, or else at once, it prints what happened to each of them. Exits 0 only if each came out as it should.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the report only
    #[arg(long)]
    no_tui: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let shows = !args.no_tui && !args.json && inspect::on_a_terminal(&context.environment);
    let mut shown = Ok(());
    let demo = if shows {
        let settings = Gather::default().load(context)?;
        let setup = inspect::setup(&settings, context.out.style.colour, "")?;
        let show = async |data| shown = inspect::running(data, setup).await;
        crate::demo::run_and_show(signals::end(), show).await
    } else {
        crate::demo::run(signals::end()).await
    };
    let report = demo.map_err(|e| Failure::unreachable(e.to_string()))?;
    shown?;
    let out = &mut context.out;
    if args.json {
        out.json(&report)?;
    } else {
        for line in &report.deliveries {
            let (mark, tone) = if line.ok { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
            let mark = out.style.paint(tone, mark);
            let case = if line.case.is_empty() { String::new() } else { format!("[{}]", SafeText::new(&line.case)) };
            let (event, outcome) = (SafeText::new(&line.event_type), SafeText::new(&line.outcome).to_string());
            match out.width.filter(|width| *width < WIDE) {
                None => {
                    let gap = if case.is_empty() { "" } else { "  " };
                    let resource = SafeText::new(&line.resource_type);
                    out.line(&format!("{mark} {event:<44} {resource:<26} {outcome}{gap}{case}"))?;
                }
                Some(width) => {
                    let below = |text: &str| format!("    {}", SafeText::new(text).cut(width.saturating_sub(4)));
                    let event = event.cut(EVENT);
                    // What came of it is what counts, so it is never cut beside a long name.
                    if EVENT + 3 + outcome.chars().count() <= width {
                        out.line(&format!("{mark} {event:<EVENT$} {outcome}"))?;
                    } else {
                        out.line(&format!("{mark} {event}"))?;
                        out.line(&below(&outcome))?;
                    }
                    if !case.is_empty() {
                        out.line(&below(&case))?;
                    }
                }
            }
            if !line.ok {
                out.line(&format!("  expected: {}", SafeText::new(&line.expected)))?;
            }
        }
        out.line("")?;
        for line in &report.summary {
            for line in folded(&SafeText::new(line).to_string(), out.width.unwrap_or(usize::MAX)) {
                out.line(&line)?;
            }
        }
    }
    out.flush()?;
    if report.ok { Ok(()) } else { Err(Failure::negative("not every delivery came out as it should")) }
}
