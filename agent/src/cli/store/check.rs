//! `store check`: whether everything that is stored can be read and is what it was.

use super::super::arguments::{self, Data, Gather};
use super::super::style::{Tone, counted, deliveries};
use super::super::{Context, Failure};
use super::{ids, losses, saved_of};
use crate::control::data_flag;
use crate::safe_text::SafeText;
use crate::settings::show_size;

/// Read everything that is stored and say what is wrong; exit 1 if something is
///
/// Works on a store that nobody has open, also a damaged one, and asks the agent where one runs. Nothing is changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    let checked = local.check(context.out.progress()).await;
    context.out.end_progress();
    let checked = checked?;
    let out = &mut context.out;
    if args.json {
        out.json(&checked)?;
    } else {
        let word =
            if checked.sound { out.style.paint(Tone::Good, "sound") } else { out.style.paint(Tone::Bad, "damaged") };
        out.line(&format!(
            "{word}: {} with {} can be read, {} of bodies have their SHA-256, {} index entries were compared",
            deliveries(checked.deliveries),
            counted(checked.attempts, "attempt", "attempts"),
            show_size(checked.body_bytes),
            checked.index_entries
        ))?;
        for finding in &checked.findings {
            out.line(&format!("- {}", SafeText::new(&finding.message)))?;
            ids(&finding.ids, out)?;
        }
        if let Some(saved) = &checked.saved {
            out.line(&format!("{} can be saved", saved_of(saved)))?;
            losses(saved, out)?;
        }
    }
    out.flush()?;
    if checked.sound {
        return Ok(());
    }
    let flag = data_flag(&local.data);
    Err(Failure::negative("the store is not as it should be").hint(format!(
        "`healthie-tunnel store export {flag} --out FILE` writes what is readable to a file; `healthie-tunnel store compact --rescue \
         {flag}`, without a running agent, builds the store anew from it"
    )))
}
