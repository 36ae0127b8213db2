//! `demo`: the whole way in one process.

use super::style::Tone;
use super::{Context, Failure, signals};
use crate::safe_text::SafeText;

/// See the whole way at work in this process: relay, agent, a sample handler and signed deliveries
///
/// Everything is on the loopback interface and in a temporary folder, and nothing stays behind. Prints what happened to each delivery;
/// exits 0 only if each came out as it should.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the report only. There is no terminal interface yet, so this changes nothing
    #[arg(long)]
    no_tui: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let _ = args.no_tui;
    let report = crate::demo::run(signals::end()).await.map_err(|e| Failure::unreachable(e.to_string()))?;
    let out = &mut context.out;
    if args.json {
        out.json(&report)?;
    } else {
        for line in &report.deliveries {
            let (mark, tone) = if line.ok { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
            let case = if line.case.is_empty() { String::new() } else { format!("  [{}]", SafeText::new(&line.case)) };
            let text = format!(
                "{} {:<44} {:<26} {}{case}",
                out.style.paint(tone, mark),
                SafeText::new(&line.event_type),
                SafeText::new(&line.resource_type),
                SafeText::new(&line.outcome),
            );
            out.line(&text)?;
            if !line.ok {
                out.line(&format!("  expected: {}", SafeText::new(&line.expected)))?;
            }
        }
        out.line("")?;
        for line in &report.summary {
            out.line(&SafeText::new(line).to_string())?;
        }
    }
    out.flush()?;
    if report.ok { Ok(()) } else { Err(Failure::negative("not every delivery came out as it should")) }
}
