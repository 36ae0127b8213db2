//! `healthie-relay certificates list|reload|renew`

use clap::Subcommand;

use super::{Data, Failure, print, tell};
use crate::control::{Question, Told, ask};

#[derive(Subcommand)]
pub(super) enum Certificates {
    /// Show the certificates in force, when they end, and what is wrong with newer ones
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Take over changed certificate files now instead of within a second, and say whether they can be used
    Reload {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Get a new certificate from the ACME server now instead of in time
    Renew {
        #[command(flatten)]
        data: Data,
    },
}

impl Certificates {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (question, data, json) = match self {
            Certificates::List { json, data } => (Question::Certificates, data, json),
            Certificates::Reload { json, data } => (Question::Reload, data, json),
            Certificates::Renew { data } => (Question::Renew, data, false),
        };
        data.there()?;
        match ask(&data.data, None, &question)? {
            Told::Certificates { certificates } if json => {
                print(&format!("{}\n", serde_json::json!(certificates)));
            }
            Told::Certificates { certificates } => {
                for one in certificates {
                    let state = serde_json::json!([one.source, one.state]);
                    let word = |n: usize| state[n].as_str().unwrap_or_default().to_owned();
                    let ends = one.expires_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                    let names = if one.names.is_empty() { "-".to_owned() } else { one.names.join(" ") };
                    print(&format!("{}\t{}\t{ends}\t{names}\n", word(0), word(1)));
                    if let Some(problem) = one.problem {
                        tell(&format!("{names}: {problem}"));
                    }
                }
            }
            Told::Begun => tell("asking the ACME server; `certificates list` and the log say what comes of it"),
            Told::No { why } => return Err(Failure { code: 1, message: why }),
            other => return Err(Failure { code: 3, message: format!("the relay answered something else: {other:?}") }),
        }
        Ok(())
    }
}
