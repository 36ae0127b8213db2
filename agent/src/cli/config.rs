//! `config`: the settings and where each comes from.

use super::arguments::{Data, Gather};
use super::{Context, Failure};
use crate::dial::without_user;
use crate::safe_text::SafeText;
use crate::settings::{KEYS, Key, Settings};

/// Show the settings and where each comes from
///
/// A flag wins over the environment, that over healthie-tunnel.toml in the current folder, that over the user's
/// healthie-tunnel/config.toml. Secrets and tokens are never shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List every key with its flag and environment variable instead
    #[arg(long)]
    keys: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if args.keys {
        return keys(args.json, context);
    }
    let settings = Gather::default().data(&args.data).load(context)?;
    let mut all = Vec::new();
    for key in KEYS {
        let (values, origin) = shown(key, &settings);
        if args.json {
            let value = match &values[..] {
                values if key.many => serde_json::json!(values),
                [] => serde_json::Value::Null,
                [one, ..] => serde_json::json!(one),
            };
            all.push(serde_json::json!({ "key": key.name, "value": value, "origin": origin }));
        } else {
            let values = values.join(", ");
            context.out.line(&format!("{:<15} {:<40} {}", key.name, SafeText::new(&values), SafeText::new(&origin)))?;
        }
    }
    if args.json { context.out.json(&all) } else { Ok(()) }
}

/// The values as they may be seen, and where they are from.
fn shown(key: &Key, settings: &Settings) -> (Vec<String>, String) {
    match settings.raw(key.name) {
        Some(sourced) => {
            let masked = |v: &String| match key.name {
                _ if key.private => "(set, not shown)".to_owned(),
                // They are refused with a user's name and password in them, but shown here all the same.
                "relay" | "target" | "forward" => without_user(v),
                _ => v.clone(),
            };
            (sourced.values.iter().map(masked).collect(), sourced.origin.to_string())
        }
        None => {
            let value = match key.name {
                "data" => settings.data().map(|d| d.display().to_string()).unwrap_or_default(),
                _ => key.default.to_owned(),
            };
            ((!value.is_empty()).then_some(value).into_iter().collect(), "default".to_owned())
        }
    }
}

fn keys(json: bool, context: &mut Context) -> Result<(), Failure> {
    if json {
        let all: Vec<_> = KEYS
            .iter()
            .map(|k| serde_json::json!({ "key": k.name, "flag": k.flag, "variable": k.variable, "about": k.about }))
            .collect();
        return context.out.json(&all);
    }
    for k in KEYS {
        context.out.line(&format!("{:<15} {:<17} {:<31} {}", k.name, k.flag, k.variable, k.about))?;
    }
    Ok(())
}
