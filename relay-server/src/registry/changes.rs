//! What is done to the registry: by commands, and by agents to their own tunnel. Each change is durable when it returns, and in force with the relay's next
//! look at the file.

use std::collections::BTreeSet;
use std::sync::Arc;

use tunnel_delivery::{Timestamp, TunnelName};

use super::snapshot::{Access, Pass, Reserved, SECRETS, Secret, Snapshot, TokenRecord};
use super::{AnswerMode, Registry, RegistryError, TunnelSettings};
use crate::tokens::{Label, Token, TokenId};

/// What a token that is to be created may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    /// What its owner is called.
    pub name: Option<Label>,
    /// What it may do.
    pub access: Access,
    /// The tunnels it opens.
    pub tunnels: BTreeSet<TunnelName>,
    /// From when on it opens nothing any more.
    pub expires_at: Option<Timestamp>,
}

impl Registry {
    /// Adds a tunnel that no token opens yet.
    ///
    /// # Errors
    /// There is one of that name, or there was one not long ago and its name is kept for its owner, or the file cannot be written.
    pub fn add_tunnel(&self, name: TunnelName, settings: TunnelSettings) -> Result<(), RegistryError> {
        self.add_tunnel_for(name, settings, &[], false)
    }

    /// Adds a tunnel that these tokens open. Those that opened the last tunnel of the name may have it back at once; others only once it is not
    /// kept for them any more, or if the operator says so (`take_name`).
    ///
    /// # Errors
    /// As [`Registry::add_tunnel`], or there is no such token.
    pub fn add_tunnel_for(
        &self,
        name: TunnelName,
        settings: TunnelSettings,
        owners: &[TokenId],
        take_name: bool,
    ) -> Result<(), RegistryError> {
        self.change(|all| {
            let now = settings.created_at;
            if all.tunnels.contains_key(&name) {
                return Err(RegistryError::TunnelExists(name));
            }
            if let Some(kept) = all.reserved.get(&name) {
                let his = !owners.is_empty() && owners.iter().all(|owner| kept.owners.contains(owner));
                if kept.until > now && !his && !take_name {
                    return Err(RegistryError::Reserved {
                        tunnel: name,
                        removed_at: kept.removed_at,
                        until: kept.until,
                        owners: kept.owners.iter().cloned().collect(),
                    });
                }
            }
            for owner in owners {
                token(all, owner)?.tunnels.insert(name.clone());
            }
            all.reserved.remove(&name);
            all.tunnels.insert(name, Arc::new(settings));
            Ok(())
        })
    }

    /// Removes a tunnel whose name anybody may have at once. Tokens that opened it stay, and open it no more.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn remove_tunnel(&self, name: &TunnelName) -> Result<(), RegistryError> {
        self.retire_tunnel(name, Timestamp::default(), false, Timestamp::default()).map(drop)
    }

    /// Removes a tunnel. Tokens that opened it stay, and open it no more; until `reserved_until` nobody but they may have the name. The tokens that now
    /// open nothing; `with_tokens` those are revoked.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn retire_tunnel(
        &self,
        name: &TunnelName,
        reserved_until: Timestamp,
        with_tokens: bool,
        now: Timestamp,
    ) -> Result<Vec<TokenId>, RegistryError> {
        let mut idle = Vec::new();
        self.change(|all| {
            if all.tunnels.remove(name).is_none() {
                return Err(RegistryError::NoTunnel(name.clone()));
            }
            let mut owners = BTreeSet::new();
            for (id, token) in &mut all.tokens {
                if !token.tunnels.remove(name) {
                    continue;
                }
                if token.tunnels.is_empty() {
                    idle.push(id.clone());
                }
                if token.access == Access::Full {
                    owners.insert(id.clone());
                }
            }
            if with_tokens {
                all.tokens.retain(|id, _| !idle.contains(id));
                owners.retain(|id| !idle.contains(id));
            }
            all.reserved.retain(|_, kept| kept.until > now);
            if reserved_until > now {
                all.reserved.insert(name.clone(), Reserved { owners, removed_at: now, until: reserved_until });
            }
            Ok(())
        })?;
        Ok(idle)
    }

    /// Changes how a tunnel answers; whether it did not answer so already. With `by`, only if whoever has that pass may still change it.
    ///
    /// # Errors
    /// There is no such tunnel, or it may not be changed with that pass, or the file cannot be written.
    pub(crate) fn set_answer(
        &self,
        name: &TunnelName,
        by: Option<&Pass>,
        answer: AnswerMode,
        now: Timestamp,
    ) -> Result<bool, RegistryError> {
        let mut changed = false;
        self.change(|all| {
            if let Some(pass) = by
                && (pass.access != Access::Full || all.ends(pass, name, now).is_some())
            {
                return Err(RegistryError::NotGranted { token: pass.token.clone(), tunnel: name.clone() });
            }
            let tunnel = all.tunnels.get_mut(name).ok_or_else(|| RegistryError::NoTunnel(name.clone()))?;
            changed = tunnel.answer != answer;
            Arc::make_mut(tunnel).answer = answer;
            Ok(())
        })?;
        Ok(changed)
    }

    /// Changes a tunnel's settings; when it was added stays as it is.
    ///
    /// # Errors
    /// There is no such tunnel, or the file cannot be written.
    pub fn change_tunnel(
        &self,
        name: &TunnelName,
        edit: impl FnOnce(&mut TunnelSettings),
    ) -> Result<(), RegistryError> {
        self.change(|all| {
            let tunnel = all.tunnels.get_mut(name).ok_or_else(|| RegistryError::NoTunnel(name.clone()))?;
            let created_at = tunnel.created_at;
            let tunnel = Arc::make_mut(tunnel);
            edit(tunnel);
            tunnel.created_at = created_at;
            Ok(())
        })
    }

    /// Creates a token with full access to one tunnel.
    ///
    /// # Errors
    /// As [`Registry::issue_token`].
    pub fn create_token(&self, tunnel: &TunnelName, now: Timestamp) -> Result<Token, RegistryError> {
        self.issue_token(NewToken { tunnels: [tunnel.clone()].into(), ..NewToken::default() }, now)
    }

    /// Creates a token. This is the only time that it can be seen.
    ///
    /// # Errors
    /// There is no such tunnel, there are no random bytes, or the file cannot be written.
    pub fn issue_token(&self, new: NewToken, now: Timestamp) -> Result<Token, RegistryError> {
        let mut random = zeroize::Zeroizing::new([0; 38]);
        fill(&mut random[..])?;
        let token = Token::from_random(&random);
        let id = token.id();
        self.change(|all| {
            for tunnel in &new.tunnels {
                known(all, tunnel)?;
            }
            let record = TokenRecord {
                name: new.name,
                access: new.access,
                tunnels: new.tunnels,
                secrets: vec![Secret { sha256: token.hash(), until: None }],
                created_at: now,
                rotated_at: None,
                expires_at: new.expires_at,
            };
            all.tokens.insert(id, record);
            Ok(())
        })?;
        Ok(token)
    }

    /// Has a token open one more tunnel; whether it did not already.
    ///
    /// # Errors
    /// There is no such token or tunnel, or the file cannot be written.
    pub fn grant(&self, id: &TokenId, tunnel: &TunnelName) -> Result<bool, RegistryError> {
        let mut new = false;
        self.change(|all| {
            known(all, tunnel)?;
            new = token(all, id)?.tunnels.insert(tunnel.clone());
            Ok(())
        })?;
        Ok(new)
    }

    /// Has a token not open a tunnel any more.
    ///
    /// # Errors
    /// There is no such token, it does not open the tunnel, or the file cannot be written.
    pub fn withdraw(&self, id: &TokenId, tunnel: &TunnelName) -> Result<(), RegistryError> {
        self.change(|all| {
            if token(all, id)?.tunnels.remove(tunnel) {
                return Ok(());
            }
            Err(RegistryError::NotGranted { token: id.clone(), tunnel: tunnel.clone() })
        })
    }

    /// Gives a token a new secret; the one before it works until `old_until`, and any before that not any more. This is the only time that the new one
    /// can be seen.
    ///
    /// # Errors
    /// There is no such token or its time is over, there are no random bytes, or the file cannot be written.
    pub fn rotate_token(&self, id: &TokenId, old_until: Timestamp, now: Timestamp) -> Result<Token, RegistryError> {
        let mut random = zeroize::Zeroizing::new([0; 32]);
        fill(&mut random[..])?;
        let renewed = Token::renewed(id, &random);
        self.change(|all| {
            let token = token(all, id)?;
            if token.is_expired(now) {
                return Err(RegistryError::Expired(id.clone()));
            }
            token.secrets.truncate(SECRETS - 1);
            for old in &mut token.secrets {
                old.until = Some(old_until);
            }
            token.secrets.retain(|old| old.until.is_none_or(|until| until > now));
            token.secrets.insert(0, Secret { sha256: renewed.hash(), until: None });
            token.rotated_at = Some(now);
            Ok(())
        })?;
        Ok(renewed)
    }

    /// Revokes a token; sessions that were opened with it are closed by the running relay.
    ///
    /// # Errors
    /// There is none of that id, or the file cannot be written.
    pub fn revoke_token(&self, id: &TokenId) -> Result<(), RegistryError> {
        self.change(|all| all.tokens.remove(id).map(|_| ()).ok_or_else(|| RegistryError::NoToken(id.clone())))
    }
}

fn fill(random: &mut [u8]) -> Result<(), RegistryError> {
    getrandom::fill(random).map_err(|e| RegistryError::Random(e.to_string()))
}

fn token<'a>(all: &'a mut Snapshot, id: &TokenId) -> Result<&'a mut TokenRecord, RegistryError> {
    all.tokens.get_mut(id).ok_or_else(|| RegistryError::NoToken(id.clone()))
}

fn known(all: &Snapshot, tunnel: &TunnelName) -> Result<(), RegistryError> {
    all.tunnels.contains_key(tunnel).then_some(()).ok_or_else(|| RegistryError::NoTunnel(tunnel.clone()))
}
