//! `events list`: what is stored, a line each.

use super::super::arguments::{self, Data, Gather};
use super::super::style::Tone;
use super::super::{Context, Failure, Output};
use super::filters::Wanted;
use super::unknown;
use crate::control::{Filter, Found, Group, Grouped};

/// What repeats stand behind in a grouped list.
const INDENT: &str = "  ";

/// List what is stored, newest first
///
/// Times are UTC. The short id in the second column is accepted wherever an id is asked for. Behind it ↻ marks what looks like a repeat of an
/// earlier delivery, and ×3 what came three times; that is a guess, and `events show` says why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// What looks like a repeat: `only`, `none`, or `grouped` under what it repeats, where one that fits brings its whole group
    #[arg(long, value_name = "HOW", value_parser = how)]
    duplicates: Option<Duplicates>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Oldest first
    #[arg(long)]
    reverse: bool,
    /// Print a JSON array of summaries, or of groups with `first` and `repeats`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

/// What is to be seen of repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duplicates {
    Only,
    None,
    Grouped,
}

fn how(text: &str) -> Result<Duplicates, String> {
    match text {
        "only" => Ok(Duplicates::Only),
        "none" => Ok(Duplicates::None),
        "grouped" => Ok(Duplicates::Grouped),
        _ => Err("choose of only, none, grouped".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let duplicates = match args.duplicates {
        Some(Duplicates::Only) => Some(true),
        Some(Duplicates::None) => Some(false),
        Some(Duplicates::Grouped) | None => None,
    };
    let filter =
        Filter { limit: Some(args.limit), oldest_first: args.reverse, duplicates, ..args.wanted.filter(&settings)? };
    let control = arguments::local(&settings)?.connect().await?;
    let out = &mut context.out;
    let listed = match args.duplicates {
        Some(Duplicates::Grouped) => match control.groups(&filter).await {
            Ok(found) => groups(&found, args.json, out).map(|()| (found.groups.is_empty(), found.next.is_some())),
            Err(e) => Err(e.into()),
        },
        _ => match control.list(&filter).await {
            Ok(found) => lines(&found, args.json, out).map(|()| (found.items.is_empty(), found.next.is_some())),
            Err(e) => Err(e.into()),
        },
    };
    let noted = match listed {
        Ok(_) => unknown::note(&filter.events, Some(&control), out).await,
        Err(_) => Ok(()),
    };
    control.close().await;
    let (empty, more) = listed?;
    noted?;
    if empty && !args.json {
        out.message("nothing is stored that fits");
    }
    if more {
        out.flush()?;
        out.message(&format!("there is more; --limit shows more than {}", args.limit));
    }
    Ok(())
}

fn lines(found: &Found, json: bool, out: &mut Output) -> Result<(), Failure> {
    if json {
        return out.json(&found.items);
    }
    for line in &found.items {
        let line = out.style.list_line(line, out.width);
        out.line(&line)?;
    }
    Ok(())
}

fn groups(found: &Grouped, json: bool, out: &mut Output) -> Result<(), Failure> {
    if json {
        return out.json(&found.groups);
    }
    for Group { first, repeats, more } in &found.groups {
        let came = repeats.len() as u64 + more + u64::from(first.is_some());
        match first {
            Some(first) => {
                // On a screen the mark in the line says it, as far as it can count.
                let told = came < 2 || (out.width.is_some() && came < 10);
                let times = if told { String::new() } else { format!("  came ×{came}") };
                let room = out.width.map(|w| w.saturating_sub(times.chars().count()));
                let line = out.style.list_line(first, room);
                let times = if told { times } else { out.style.paint(Tone::Doubtful, times) };
                out.line(&format!("{line}{times}"))?;
            }
            None => {
                let text = format!("(the first of these is not stored any more)  came ×{came} since");
                out.line(&out.style.paint(Tone::Dim, text))?;
            }
        }
        for repeat in repeats {
            let line = out.style.list_line(repeat, out.width.map(|w| w.saturating_sub(INDENT.len())));
            out.line(&format!("{INDENT}{line}"))?;
        }
        if *more > 0 {
            out.line(&format!("{INDENT}and {more} more"))?;
        }
    }
    Ok(())
}
