//! `key show`: the public halves.

use super::super::arguments::Data;
use super::super::{Context, Failure};
use super::Place;
use crate::device_keys;

/// Show the public halves of this device's keys, the one that is sealed to first; exit 1 if there is none
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let Place { data, guard } = super::there(&args.data, context)?;
    let ring = device_keys::load(&data, &guard).map_err(super::failed)?.ok_or_else(super::none)?;
    let keys: Vec<String> = ring.all().map(|key| key.to_string()).collect();
    if args.json {
        context.out.json(&serde_json::json!({ "file": device_keys::path(&data), "keys": keys }))?;
    } else {
        for (n, key) in keys.iter().enumerate() {
            let what = if n == 0 { "sealed to now" } else { "opens what was sealed to it" };
            context.out.line(&format!("{key}  {what}"))?;
        }
    }
    context.out.flush()
}
