//! `healthie-relay token create|list|grant|withdraw|rotate|revoke`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use tunnel_delivery::{Timestamp, TunnelName};

use super::bereft::Bereft;
use super::changed::{When, changed, done, in_or_at, later, token_id};
use super::{Data, Failure, print};
use crate::audit::What;
use crate::control::{Question, Told, ask_running};
use crate::registry::{Access, NewToken, TokenRecord};
use crate::session::wall_clock;
use crate::settings::units::span;
use crate::tokens::{Label, TokenId};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token for one or more tunnels and print it; it cannot be shown again
    Create {
        /// The tunnel it opens; may be repeated
        #[arg(long, value_name = "NAME", required = true)]
        tunnel: Vec<TunnelName>,
        /// Only look: get deliveries, never answer a sender, change nothing
        #[arg(long)]
        read_only: bool,
        /// What its owner is called, for `token list`
        #[arg(long, value_name = "LABEL")]
        name: Option<Label>,
        /// When it ends: 12h or 30d from now, or 2026-12-24T18:00:00Z
        #[arg(long, value_name = "TIME", value_parser = in_or_at)]
        expires: Option<When>,
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
    /// Have a token open one more tunnel
    Grant {
        /// Its public part, as `token list` shows it: the twelve digits after ht_
        #[arg(value_parser = token_id)]
        id: TokenId,
        /// The tunnel
        #[arg(long, value_name = "NAME")]
        tunnel: TunnelName,
        #[command(flatten)]
        data: Data,
    },
    /// Have a token not open a tunnel any more; agents connected to it with that token are disconnected
    Withdraw {
        /// Its public part
        #[arg(value_parser = token_id)]
        id: TokenId,
        /// The tunnel
        #[arg(long, value_name = "NAME")]
        tunnel: TunnelName,
        #[command(flatten)]
        data: Data,
    },
    /// Give a token a new secret and print it; the old one ends at once unless it is kept for a while
    Rotate {
        /// Its public part
        #[arg(value_parser = token_id)]
        id: TokenId,
        /// How long the old secret works: 10m, 12h; then agents connected with it are disconnected
        #[arg(long, value_name = "TIME", default_value = "0", value_parser = span, hide_default_value = true)]
        keep_old: Duration,
        #[command(flatten)]
        data: Data,
    },
    /// Revoke a token; agents connected with it are disconnected
    Revoke {
        /// Its public part, as `token list` shows it: the twelve digits after ht_
        #[arg(value_parser = token_id)]
        id: TokenId,
        #[command(flatten)]
        data: Data,
    },
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let now = wall_clock();
        match self {
            TokenCommand::Create { tunnel, read_only, name, expires, data } => {
                let expires_at = expires.map(|when| when.from(now));
                if expires_at.is_some_and(|at| at <= now) {
                    return Err(Failure::usage("--expires: that is over already"));
                }
                let access = if read_only { Access::ReadOnly } else { Access::Full };
                let new = NewToken { name, access, tunnels: tunnel.into_iter().collect(), expires_at };
                let mut entry = done(What::TokenCreated).note(noted(&new));
                entry.tunnels.extend(new.tunnels.iter().cloned());
                let token = data.registry()?.issue_token(new, now)?;
                changed(&data.data, entry.token(&token.id()));
                print(&format!("{}\n", token.expose()));
            }
            TokenCommand::List { json, data } => list(json, &data, now)?,
            TokenCommand::Grant { id, tunnel, data } => {
                if data.registry()?.grant(&id, &tunnel)? {
                    changed(&data.data, done(What::TokenGranted).tunnel(&tunnel).token(&id));
                }
            }
            TokenCommand::Withdraw { id, tunnel, data } => {
                let registry = data.registry()?;
                let bereft = Bereft::of(&data.data, &id, Some(&tunnel));
                registry.withdraw(&id, &tunnel)?;
                changed(&data.data, done(What::TokenWithdrawn).tunnel(&tunnel).token(&id));
                bereft.tell(&data.data, &registry.snapshot());
            }
            TokenCommand::Rotate { id, keep_old, data } => {
                let old_until = later(now, keep_old);
                let token = data.registry()?.rotate_token(&id, old_until, now)?;
                let note =
                    if old_until > now { format!("the old secret works until {old_until}") } else { String::new() };
                changed(&data.data, done(What::TokenRotated).token(&id).note(note));
                print(&format!("{}\n", token.expose()));
            }
            TokenCommand::Revoke { id, data } => {
                let registry = data.registry()?;
                let bereft = Bereft::of(&data.data, &id, None);
                registry.revoke_token(&id)?;
                changed(&data.data, done(What::TokenRevoked).token(&id));
                bereft.tell(&data.data, &registry.snapshot());
            }
        }
        Ok(())
    }
}

fn noted(new: &NewToken) -> String {
    let name = new.name.as_ref().map_or_else(String::new, |name| format!(" for {}", name.as_str()));
    let ends = new.expires_at.map_or_else(String::new, |at| format!(", until {at}"));
    format!("{}{name}{ends}", new.access.as_str())
}

fn list(json: bool, data: &Data, now: Timestamp) -> Result<(), Failure> {
    let all = data.registry()?.snapshot();
    // A relay that does not answer is no reason not to list: when tokens were used is then not known.
    let used = match ask_running(&data.data, &Question::Used) {
        Ok(Some(Told::Used { used })) => used,
        _ => BTreeMap::new(),
    };
    if json {
        let list: Vec<_> = all
            .tokens
            .iter()
            .map(|(id, t)| {
                serde_json::json!({
                    "id": id, "name": t.name, "access": t.access, "tunnels": t.tunnels, "created_at": t.created_at, "rotated_at": t.rotated_at,
                    "old_works_until": t.old_works_until(now), "expires_at": t.expires_at, "expired": t.is_expired(now), "last_used": used.get(id),
                })
            })
            .collect();
        print(&format!("{}\n", serde_json::Value::from(list)));
        return Ok(());
    }
    for (id, token) in &all.tokens {
        print(&format!("{id}\t{}\n", shown(token, used.get(id), now)));
    }
    Ok(())
}

/// A token for people: access, tunnels, created, and what else there is to say.
fn shown(token: &TokenRecord, used: Option<&Timestamp>, now: Timestamp) -> String {
    let tunnels: Vec<&str> = token.tunnels.iter().map(TunnelName::as_str).collect();
    let tunnels = if tunnels.is_empty() { "opens nothing".to_owned() } else { tunnels.join(",") };
    let mut fields = vec![tunnels, token.access.as_str().to_owned(), token.created_at.to_string()];
    fields.extend(token.name.as_ref().map(|name| name.as_str().to_owned()));
    fields.extend(token.rotated_at.map(|at| format!("rotated {at}")));
    fields.extend(token.old_works_until(now).map(|at| format!("the old secret works until {at}")));
    fields.extend(token.expires_at.map(|at| format!("{} {at}", if at <= now { "expired" } else { "expires" })));
    fields.extend(used.map(|at| format!("last used {at}")));
    fields.join("\t")
}
