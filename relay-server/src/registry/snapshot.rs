//! All tunnels and tokens at one moment: what is in the file, who may do what, and from when on not any more. Pure.
//!
//! Tunnels belong to tokens. A token opens any number of tunnels, with full access or read-only, and has at most two secrets that work: the newest and,
//! for a while after a rotation, the one before it. Its public part stays the same, so the token's id is its owner's name.
//!
//! # What read-only means
//! An agent with a read-only token gets the tunnel's deliveries and may look at the tunnel. It changes nothing for anybody else:
//! - it never answers a sender: in passthrough nothing is offered to it, and with nobody else there the tunnel counts as having no agent;
//! - it cannot change how the tunnel answers;
//! - what it has taken counts as taken for nobody else: no delivery is dropped for room because of it, and none is deleted while no device with full
//!   access has it;
//! - it does not get what waited before it came unless it asks for it (`--since`), and the first device with full access gets all of that still;
//! - its devices are apart from those with full access: it can take no place of theirs in the stream, and where a device with full access comes
//!   under its name, it has to go. It uses up neither their number nor the number of agents that may be connected.
//!
//! # What strangers learn
//! [`Snapshot::admit`] does the same work whatever is wrong: one hash and two comparisons, with stand-ins where there is nothing to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_spool::Shares;

use super::TunnelSettings;
use crate::tokens::{Label, Token, TokenHash, TokenId};

/// What a token may do with its tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everything.
    #[default]
    Full,
    /// Look, and get deliveries; the head of this file says what that means.
    ReadOnly,
}

impl Access {
    /// As it is written: `full` or `read-only`.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Full => "full",
            Access::ReadOnly => "read-only",
        }
    }
}

/// A secret of a token, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) sha256: TokenHash,
    /// From when on it does not work any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

/// How many secrets of a token work at most: the newest, and the one that it replaced.
pub(super) const SECRETS: usize = 2;

/// One token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What its owner is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    /// What it may do.
    #[serde(default)]
    pub access: Access,
    /// The tunnels it opens.
    pub tunnels: BTreeSet<TunnelName>,
    /// Newest first; no more than two.
    pub(super) secrets: Vec<Secret>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it got its newest secret, if not then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// From when on it opens nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Until when the secret works that was replaced last, if it still does at `now`.
    pub fn old_works_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.secrets.get(1).and_then(|old| old.until).filter(|until| *until > now)
    }

    /// Whether its time is over at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A removed tunnel's name, which nobody else can have for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// The tokens with full access to the tunnel that was.
    pub owners: BTreeSet<TokenId>,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// From when on anybody may have it.
    pub until: Timestamp,
}

/// All tunnels and tokens at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the file's form.
    pub(super) version: u32,
    /// The tunnels by name.
    pub tunnels: BTreeMap<TunnelName, Arc<TunnelSettings>>,
    /// The tokens by their public part.
    pub tokens: BTreeMap<TokenId, TokenRecord>,
    /// The names of removed tunnels that are kept for their owners.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<TunnelName, Reserved>,
}

/// What a session was opened with: which token, which of its secrets, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) token: TokenId,
    pub(crate) access: Access,
    secret: TokenHash,
}

/// What becomes of whoever knocks with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The tunnel is open.
    Open(Pass, TunnelName),
    /// The token is good and opens all of these; which one is meant was not said.
    Which(Vec<TunnelName>),
    /// It is not told why.
    No,
}

impl Snapshot {
    /// What `token`, as an agent sent it, opens at `now`; `wanted` is the tunnel that was asked for. Whatever is wrong costs the same work.
    pub(crate) fn admit(&self, token: Option<&str>, wanted: Option<&TunnelName>, now: Timestamp) -> Admission {
        let parsed = token.and_then(Token::parse);
        let well_formed = parsed.is_some();
        let (id, token) = parsed.unwrap_or_else(Token::stand_in);
        let (record, hash) = (self.tokens.get(&id), token.hash());
        let mut good = false;
        for n in 0..SECRETS {
            let secret = record.and_then(|record| record.secrets.get(n));
            let in_time = secret.is_some_and(|secret| secret.until.is_none_or(|until| until > now));
            let same = secret.map_or(&TokenHash::STAND_IN, |secret| &secret.sha256).is(&hash);
            good |= same & in_time;
        }
        let Some(record) = record.filter(|record| well_formed && good && !record.is_expired(now)) else {
            return Admission::No;
        };
        let pass = Pass { token: id, access: record.access, secret: hash };
        let mut its = record.tunnels.iter().filter(|name| self.tunnels.contains_key(*name));
        match wanted {
            Some(wanted) => match its.find(|name| *name == wanted) {
                Some(name) => Admission::Open(pass, name.clone()),
                None => Admission::No,
            },
            None => match (its.next(), its.next()) {
                (Some(only), None) => Admission::Open(pass, only.clone()),
                (Some(first), Some(second)) => {
                    Admission::Which([first, second].into_iter().chain(its).cloned().collect())
                }
                (None, _) => Admission::No,
            },
        }
    }

    /// Why a session of `tunnel` that was opened with `pass` may not go on at `now`, for its agent; nothing where it may.
    pub(crate) fn ends(&self, pass: &Pass, tunnel: &TunnelName, now: Timestamp) -> Option<String> {
        if !self.tunnels.contains_key(tunnel) {
            return Some(format!("tunnel {tunnel} was removed"));
        }
        let Some(record) = self.tokens.get(&pass.token) else { return Some("the token was revoked".into()) };
        if record.is_expired(now) {
            return Some("the token has expired".into());
        }
        if !record.tunnels.contains(tunnel) {
            return Some(format!("tunnel {tunnel} was withdrawn from the token"));
        }
        let secret = record.secrets.iter().find(|secret| secret.sha256.is(&pass.secret));
        if secret.is_none_or(|secret| secret.until.is_some_and(|until| until <= now)) {
            return Some("the token was replaced by a new one; use that".into());
        }
        (record.access != pass.access).then(|| "the token's access was changed; connect again".into())
    }

    /// Whether the time of a token or of a secret ends after `since` and not after `now`.
    pub(crate) fn something_ended(&self, since: Timestamp, now: Timestamp) -> bool {
        let ends = self.tokens.values().flat_map(|token| {
            let secrets = token.secrets.iter().filter_map(|secret| secret.until);
            secrets.chain(token.expires_at)
        });
        ends.into_iter().any(|at| since < at && at <= now)
    }

    /// What the tunnels with a share of their own may hold in the spool.
    pub(crate) fn shares(&self) -> Shares {
        self.tunnels.iter().filter_map(|(name, tunnel)| Some((name.clone(), tunnel.share()?))).collect()
    }

    /// The tokens that open a tunnel.
    pub fn tokens_of<'a>(&'a self, tunnel: &'a TunnelName) -> impl Iterator<Item = (&'a TokenId, &'a TokenRecord)> {
        self.tokens.iter().filter(move |(_, token)| token.tunnels.contains(tunnel))
    }
}

#[cfg(test)]
impl Pass {
    /// A pass that a test made up.
    pub(crate) fn made_up(token: &TokenId, access: Access) -> Pass {
        Pass { token: token.clone(), access, secret: TokenHash::STAND_IN }
    }
}
