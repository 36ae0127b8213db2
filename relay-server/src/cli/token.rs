//! `healthie-relay token create|list|revoke`

use clap::Subcommand;
use tunnel_delivery::TunnelName;

use super::{Data, Failure, print};
use crate::session::wall_clock;
use crate::tokens::TokenId;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token for a tunnel and print it; it cannot be shown again
    Create {
        /// The tunnel it opens
        #[arg(long)]
        tunnel: TunnelName,
        #[command(flatten)]
        data: Data,
    },
    /// List tokens by their public part
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Revoke a token; agents connected with it are disconnected
    Revoke {
        /// Its public part, as `token list` shows it: the twelve digits after ht_
        id: String,
        #[command(flatten)]
        data: Data,
    },
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            TokenCommand::Create { tunnel, data } => {
                let token = data.registry()?.create_token(&tunnel, wall_clock())?;
                print(&format!("{}\n", token.expose()));
            }
            TokenCommand::List { json, data } => {
                let all = data.registry()?.snapshot();
                if json {
                    let list: Vec<_> = all
                        .tokens
                        .iter()
                        .map(|(id, t)| serde_json::json!({ "id": id, "tunnel": t.tunnel, "created_at": t.created_at }))
                        .collect();
                    print(&format!("{}\n", serde_json::Value::from(list)));
                } else {
                    for (id, t) in &all.tokens {
                        print(&format!("{id}\t{}\t{}\n", t.tunnel, t.created_at));
                    }
                }
            }
            TokenCommand::Revoke { id, data } => {
                let id = TokenId::parse(&id).ok_or_else(|| {
                    Failure::usage(format!("{id:?} is not a token's public part: twelve hexadecimal digits"))
                })?;
                data.registry()?.revoke_token(&id)?;
            }
        }
        Ok(())
    }
}
