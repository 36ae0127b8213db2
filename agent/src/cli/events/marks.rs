//! `events note`, `events pin` and `events unpin`: what a person says about deliveries. Works beside a running agent.

use serde_json::json;

use super::super::arguments::{self, Data, Gather};
use super::super::style::{deliveries, short_id};
use super::super::{Context, Failure};
use crate::control::Marking;

/// Write a note about a delivery, in place of the one it has
///
/// At most 64 KiB. Lists do not show notes; `events show` and the inspector do.
#[derive(Debug, clap::Args)]
pub(crate) struct NoteArgs {
    /// `latest`, an id, or the beginning or end of one
    id: String,
    /// What to write; several words are one text
    #[arg(value_name = "TEXT", required_unless_present = "remove")]
    text: Vec<String>,
    /// Remove the note
    #[arg(long, conflicts_with = "text")]
    remove: bool,
    /// Print JSON: the id and the note
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn note(args: NoteArgs, context: &mut Context) -> Result<(), Failure> {
    let text = args.text.join(" ");
    if !args.remove && text.trim().is_empty() {
        return Err(Failure::usage("the note is empty").hint("--remove removes the one there is"));
    }
    let settings = Gather::default().data(&args.data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let noted = async {
        let id = control.get(&args.id).await?.delivery.id;
        control.mark(&Marking { id, pinned: None, note: Some(text.clone()) }).await?;
        Ok::<_, Failure>(id)
    }
    .await;
    control.close().await;
    let id = noted?;
    if args.json {
        return context.out.json(&json!({"id": id, "note": (!args.remove).then_some(&text)}));
    }
    let what = if args.remove { "has no note any more" } else { "has the note" };
    context.out.message(&format!("{} {what}", short_id(&id.to_string())));
    Ok(())
}

/// Keep deliveries whatever their age, until they are unpinned
#[derive(Debug, clap::Args)]
pub(crate) struct PinArgs {
    /// `latest`, ids, or beginnings or ends of ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print a JSON array: the ids, and whether they are pinned
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn pin(args: PinArgs, pinned: bool, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let marked = async {
        // All of them are looked up before the first is changed.
        let mut ids = Vec::with_capacity(args.ids.len());
        for id in &args.ids {
            ids.push(control.get(id).await?.delivery.id);
        }
        for id in &ids {
            control.mark(&Marking { id: *id, pinned: Some(pinned), note: None }).await?;
        }
        Ok::<_, Failure>(ids)
    }
    .await;
    control.close().await;
    let ids = marked?;
    if args.json {
        let all: Vec<_> = ids.iter().map(|id| json!({"id": id, "pinned": pinned})).collect();
        return context.out.json(&all);
    }
    let what = if pinned { "pinned" } else { "unpinned" };
    context.out.message(&format!("{what} {}", deliveries(ids.len() as u64)));
    Ok(())
}
