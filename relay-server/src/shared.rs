//! What all connections of one relay share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc};
use tunnel_delivery::{DeviceName, Environment, Timestamp, TunnelName};
use tunnel_telemetry::Traces;

use crate::admission::Admission as Places;
use crate::attempts::Attempts;
use crate::audit::{Audit, Entry, What, Who};
use crate::bodies::Bodies;
use crate::config::Config;
use crate::control::Wish;
use crate::flag::Flag;
use crate::ground::{Clock, Offload};
use crate::handshakes::Handshakes;
use crate::http::host::Names;
use crate::hub::Hub;
use crate::ids::Ids;
use crate::incarnations::Incarnations;
use crate::lines::{Line, Lines};
use crate::metrics::{Limit, Metrics};
use crate::rates::Rates;
use crate::registry::{Admission, AnswerMode, Registry, RegistryError, TunnelSettings};
use crate::route::Domain;
use crate::sealing::only_its;
use crate::session::Caller;
use crate::store::Store;
use crate::tls::Tls;
use crate::tokens::TokenId;
use crate::whose::Whose;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) domain: Option<Domain>,
    /// What the relay is called: requests for others are refused.
    pub(crate) names: Names,
    /// Who may hold a connection.
    pub(crate) admission: Arc<Places>,
    /// How many deliveries a second there may be.
    pub(crate) rates: Rates,
    /// How many TLS handshakes a second there may be.
    pub(crate) handshakes: Handshakes,
    /// How many bytes of bodies may be held.
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) registry: Registry,
    /// Wrong tokens, by address.
    pub(crate) attempts: Attempts,
    pub(crate) audit: Audit,
    /// When each token last opened a session.
    pub(crate) used: Mutex<BTreeMap<TokenId, Timestamp>>,
    pub(crate) spool: Store,
    pub(crate) hub: Hub,
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
    pub(crate) offload: Offload,
    /// What the log was told lately of what others can have it told.
    pub(crate) lines: Lines,
    /// What is counted, for the operator.
    pub(crate) metrics: Metrics,
    /// Where a collector is told of deliveries' ways, or nowhere.
    pub(crate) traces: Traces,
    /// Which tunnels the spool holds deliveries of.
    pub(crate) incarnations: Incarnations,
    /// With which token each device came.
    pub(crate) whose: Arc<Whose>,
    /// Whoever keeps the settings of this process is asked here to look at them again.
    pub(crate) wishes: OnceLock<mpsc::Sender<Wish>>,
    /// Held by whoever takes something for a tunnel, from the look whether there is such a tunnel until that is in the spool. What a removal drops comes after all of
    /// them: what came behind it would lie there for whoever gets the name next.
    pub(crate) taking: Arc<RwLock<()>>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// When this process began: nothing is known of what was before.
    pub(crate) started: Timestamp,
    /// Names what the spool's places count in: another spool, another name. Agents are told a name for their tunnel's part, [`Shared::stream_of`].
    pub(crate) stream: Bytes,
    /// Raised once no new work is taken.
    pub(crate) stopping: Flag,
    /// Raised when sessions are to end.
    pub(crate) end_sessions: Flag,
    /// Of the HTTPS listener, if there is one.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Ports that listeners got, for the addresses told to agents.
    pub(crate) ports: Ports,
}

/// No tunnel is dropped while somebody has this.
pub(crate) type Taking = OwnedRwLockReadGuard<()>;

/// The ports under which the relay is reached.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) http: Option<u16>,
    pub(crate) https: Option<u16>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether a line that others can have written as often as they like is to be written now.
    pub(crate) fn tells(&self, line: Line, of: &dyn Display) -> bool {
        self.lines.tells(line, of.to_string(), self.now())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_up()
    }

    /// Whether no bounds for each address are set for this one: Healthie's, that of a trusted proxy, or one that the operator named.
    pub(crate) fn is_favoured(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        Environment::of(address) != Environment::Unknown
            || self.config.proxies.trusts(address)
            || self.config.limits.unlimited.iter().any(|network| network.contains(&address))
    }

    /// A tunnel's settings. One that is not known may just have been added: the file is looked at before saying no.
    pub(crate) async fn tunnel(self: &Arc<Self>, name: &TunnelName) -> Option<Arc<TunnelSettings>> {
        if let Some(settings) = self.registry.snapshot().tunnels.get(name) {
            return Some(Arc::clone(settings));
        }
        self.reload().await;
        self.registry.snapshot().tunnels.get(name).cloned()
    }

    /// What an agent's token opens, likewise; `wanted` is the tunnel that it asks for.
    ///
    /// # Errors
    /// Nothing, and it was one wrong token too many from there: how long to wait.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        token: Option<&str>,
        wanted: Option<&TunnelName>,
        from: IpAddr,
    ) -> Result<Admission, Duration> {
        let admission = self.registry.snapshot().admit(token, wanted, self.now());
        if admission != Admission::No {
            return Ok(admission);
        }
        // Before the file is looked at, whatever is wrong: that is what costs, and what would take different times.
        if let Err(wait) = self.attempts.failed(from) {
            self.metrics.limit_hit(Limit::FailedAttempts);
            return Err(wait);
        }
        self.reload().await;
        Ok(self.registry.snapshot().admit(token, wanted, self.now()))
    }

    /// Keeps what is spooled for tunnels from being dropped. To be held for no longer than the disk takes, and not while the registry is read again.
    pub(crate) async fn taking(&self) -> Taking {
        Arc::clone(&self.taking).read_owned().await
    }

    /// A session was opened with that token.
    pub(crate) fn note_use(&self, token: &TokenId) {
        let all = self.registry.snapshot();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(token.clone(), self.now());
        if used.len() > all.tokens.len() {
            used.retain(|id, _| all.tokens.contains_key(id));
        }
    }

    /// Reads the registry again if it changed; ends the sessions that may not go on, and drops what was spooled for tunnels that are no more
    /// before a tunnel that has taken the name comes into force.
    pub(crate) async fn reload(self: &Arc<Self>) {
        // What kept it from being read is in the log.
        let _ = self.read_again().await;
    }

    /// The same.
    ///
    /// # Errors
    /// Why what the file says is not in force, for the operator; it is logged too.
    pub(crate) async fn read_again(self: &Arc<Self>) -> Result<(), String> {
        let _one_at_a_time = self.reloading.lock().await;
        let before = self.registry.snapshot();
        let shared = Arc::clone(self);
        let (all, seen) = match self.offload.run(move || shared.registry.changed()).await {
            Ok(Ok(Some(changed))) => changed,
            Ok(Ok(None)) => return Ok(()),
            Err(e) => return Err(format!("the relay failed at it: {e}")),
            Ok(Err(e)) => {
                if self.tells(Line::Registry, &e) {
                    tracing::error!(error = %e, "the registry cannot be read; what was read before stays in force");
                }
                return Err(e.to_string());
            }
        };
        let stale = self.incarnations.stale(&all);
        if !stale.is_empty() {
            // First without the tunnels of those names, so that nothing new comes in under them.
            let mut without = all.clone();
            without.tunnels.retain(|name, _| !stale.contains(name));
            self.metrics.tunnels(without.tunnels.keys());
            self.registry.publish(Arc::new(without), self.registry.last_seen());
            self.dismiss();
            // Whoever takes something for one of them has seen it before, or sees from here on that it is gone.
            drop(self.taking.write().await);
            if !self.drop_spooled(&stale).await {
                return Err("what removed tunnels had spooled cannot be dropped yet; the log says why".into());
            }
        }
        if let Err(e) = self.incarnations.settle(&all) {
            if self.tells(Line::Registry, &e) {
                tracing::error!(error = %e, "which tunnels there are cannot be noted beside the spool; changes wait until it can");
            }
            return Err(format!("which tunnels there are cannot be noted beside the spool: {e}"));
        }
        self.metrics.tunnels(all.tunnels.keys());
        self.spool.set_shares(all.shares());
        self.rates.keep(|name| all.tunnels.contains_key(name));
        self.registry.publish(Arc::new(all), seen);
        self.dismiss();
        self.forget_lost().await;
        for (name, tunnel) in &self.registry.snapshot().tunnels {
            if before.tunnels.get(name).is_some_and(|old| old.answer != tunnel.answer || old.seal != tunnel.seal) {
                self.hub.settings_changed(name);
            }
        }
        Ok(())
    }

    /// Changes how a tunnel answers, for the agent that came with `caller` as that device. When it returns, the change is durable and in force.
    ///
    /// # Errors
    /// Why not, for the agent that asked.
    pub(crate) async fn set_answer(
        self: &Arc<Self>,
        caller: &Caller,
        device: &DeviceName,
        answer: AnswerMode,
    ) -> Result<(), String> {
        let Caller { tunnel, pass, from, .. } = caller;
        let (shared, name, by, now) = (Arc::clone(self), tunnel.clone(), pass.clone(), self.now());
        let set = self.offload.run(move || shared.registry.set_answer(&name, Some(&by), answer, now)).await;
        match set {
            Ok(Ok(changed)) => {
                if changed {
                    if self.tells(Line::AnswerChanged, &pass.token) {
                        tracing::info!(%tunnel, token = %pass.token, ?answer, "an agent changed how its tunnel answers");
                    }
                    let entry = Entry::new(now, What::AnswerChanged, Who::Agent { with_token: pass.token.clone() });
                    let note = format!("to {}", answer.as_str());
                    self.audit.note(entry.tunnel(tunnel).device(device).from(*from).note(note));
                }
                // Also where the file said so already: it may have been another process, a moment ago.
                self.reload().await;
            }
            Ok(Err(RegistryError::NoTunnel(_) | RegistryError::NotGranted { .. })) => {
                return Err("the token does not open the tunnel any more".into());
            }
            // The relay's paths are its operator's business.
            Ok(Err(e)) => {
                if self.tells(Line::Registry, &e) {
                    tracing::error!(%tunnel, error = %e, "how a tunnel answers could not be changed");
                }
                return Err("the relay could not note it; its operator must look at its log".into());
            }
            Err(e) => return Err(format!("the relay failed at it: {e}")),
        }
        match self.registry.snapshot().tunnels.get(tunnel) {
            Some(now) if now.answer == answer => Ok(()),
            _ => Err("the relay has noted it, and it is not in force yet".into()),
        }
    }

    /// Drops what is spooled under these names; whether all of it is gone.
    pub(crate) async fn drop_spooled(&self, names: &[TunnelName]) -> bool {
        for name in names {
            if let Err(e) = self.spool.drop_tunnel(name).await {
                if self.tells(Line::Registry, name) {
                    tracing::warn!(tunnel = %name, error = %e, "what a removed tunnel had spooled could not be dropped yet");
                }
                return false;
            }
            tracing::info!(tunnel = %name, "tunnel removed; what it had spooled is dropped");
        }
        true
    }

    /// Ends the sessions that may not go on.
    pub(crate) fn dismiss(&self) {
        let (all, now) = (self.registry.snapshot(), self.now());
        self.hub.dismiss(|tunnel, pass| all.ends(pass, tunnel, now));
    }

    /// Notes with which token a device came. It is durable when this returns: on it depends that what waits for the device is kept.
    pub(crate) async fn device_came(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) {
        self.whose.came(tunnel, device, token);
        // Also where it was noted already, by a session that waits for it still.
        self.whose.keep(self.offload).await;
    }

    /// Notes that a device has left, if it has: another session may have taken its place, and one that ends with the relay will come again.
    pub(crate) fn device_left(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) {
        if self.is_stopping() || self.hub.is_there(tunnel, device) {
            return;
        }
        self.whose.left(tunnel, device, token, self.now());
        // It may have come again between the look above and this line.
        if self.hub.is_there(tunnel, device) {
            self.whose.is_back(tunnel, device, token);
        }
        // Nothing depends on when it is durable: the session's connection gives its place free without waiting for that.
        let (whose, offload) = (Arc::clone(&self.whose), self.offload);
        tokio::spawn(async move { whose.keep(offload).await });
    }

    /// Forgets the devices whose token opens their tunnel no more: nobody can come for what is kept for them. What waited for them goes as far as no other
    /// device waits for it, and stays for the first one to come where they were the last. A device that alone was given some of what waits stays until that is
    /// too old, or somebody comes under its name with a good token: those deliveries were accepted, and forgotten with it they would be with nobody. In a sealed
    /// tunnel that holds for the last one too: whoever comes first could not open what is sealed to it, and would use it up.
    pub(crate) async fn forget_lost(&self) {
        let now = self.now();
        for (tunnel, device, why) in self.whose.all_lost(&self.registry.snapshot(), now) {
            // While those before it were forgotten it may have come with another token.
            if self.whose.lost(&tunnel, &device, &self.registry.snapshot(), now).is_none() {
                continue;
            }
            let last = self.spool.last(&tunnel);
            let Ok(places) = self.spool.devices(&tunnel) else { continue };
            let all = self.registry.snapshot();
            let good = |other: &DeviceName| self.whose.lost(&tunnel, other, &all, now).is_none();
            let only_here = |place| match all.tunnels.get(&tunnel) {
                Some(settings) if settings.seal => only_its(place, &places, last, good),
                _ => place.only_here,
            };
            let its = places.iter().find(|place| place.device == device);
            let (waiting, only_here) = its.map_or((0, 0), |place| (place.waiting, only_here(place)));
            if only_here > 0 {
                if self.whose.tells_of(&tunnel, &device) {
                    tracing::warn!(%tunnel, %device, only_here, why, "nobody can come for a device, and no other was given these deliveries: they are kept under its name until they are too old; `healthie-relay tunnel forget` drops them");
                }
                continue;
            }
            match self.spool.forget(&tunnel, &device).await {
                Ok(there) => {
                    self.whose.forgotten(&tunnel, &device);
                    if there {
                        // One that came in this very moment has no place any more, and must join anew.
                        self.hub.dismiss_device(&tunnel, &device, why);
                        tracing::info!(%tunnel, %device, waiting, why, "a device is forgotten");
                        let entry = Entry::new(now, What::DeviceForgotten, Who::Relay).tunnel(&tunnel).device(&device);
                        self.audit.note(entry.note(format!("{why}; {waiting} waited for it")));
                    }
                }
                // It is tried again within a minute; nothing is sealed to it meanwhile.
                Err(e) => tracing::warn!(%tunnel, %device, error = %e, "a device could not be forgotten"),
            }
        }
        self.whose.keep(self.offload).await;
    }

    /// Nothing needs to be known of a device any more.
    pub(crate) async fn device_forgotten(&self, tunnel: &TunnelName, device: &DeviceName) {
        self.whose.forgotten(tunnel, device);
        self.whose.keep(self.offload).await;
    }

    /// Names the stream that a tunnel's places count in, for its agents: each tunnel has its own, and one that has taken the name of another has a new one. A token
    /// may open another tunnel than it did when its agent was last there, and how far that agent got in the one says nothing of the other.
    pub(crate) fn stream_of(&self, tunnel: &TunnelName, settings: &TunnelSettings) -> Bytes {
        let mut hash = Sha256::new();
        hash.update(&self.stream);
        hash.update(settings.created_at.as_micros().to_be_bytes());
        hash.update(tunnel.as_str());
        Bytes::copy_from_slice(&hash.finalize()[..16])
    }

    /// Where senders reach a tunnel, best first: by host where there is a domain, by path in any case.
    /// A trusted proxy may say whether it took the agent's request by HTTPS: then the world reaches us through it, and by the Host it passes on.
    pub(crate) fn public_urls(&self, tunnel: &TunnelName, host: Option<&str>, proxied: Option<bool>) -> Vec<String> {
        if let Some(public) = &self.config.public_url {
            let public = public.trim_end_matches('/');
            let by_host = self.domain.as_ref().and_then(|domain| {
                let (scheme, rest) = public.split_once("://")?;
                let port = rest.rsplit_once(':').map_or_else(String::new, |(_, port)| format!(":{port}"));
                Some(format!("{scheme}://{tunnel}.{}{port}", domain.as_str()))
            });
            return by_host.into_iter().chain([format!("{public}/t/{tunnel}")]).collect();
        }
        if let (Some(https), Some(host)) = (proxied, host) {
            return proxied_urls(self.domain.as_ref(), tunnel, https, host);
        }
        let (scheme, port, usual) = match (self.ports.https, self.ports.http) {
            (Some(port), _) => ("https", port, 443),
            (None, port) => ("http", port.unwrap_or(80), 80),
        };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        let mut urls = Vec::new();
        if let Some(domain) = &self.domain {
            urls.push(format!("{scheme}://{tunnel}.{}{port}", domain.as_str()));
        }
        // The name by which the agent itself came in is one that works; its port may be another listener's.
        let host = host.map(|h| match h.rsplit_once(':') {
            Some((name, p)) if p.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => h,
        });
        if let Some(host) = host.or(self.domain.as_ref().map(Domain::as_str)) {
            urls.push(format!("{scheme}://{host}{port}/t/{tunnel}"));
        }
        urls
    }
}

/// Where senders reach a tunnel through the proxy by which an agent came to this host.
fn proxied_urls(domain: Option<&Domain>, tunnel: &TunnelName, https: bool, host: &str) -> Vec<String> {
    let scheme = if https { "https" } else { "http" };
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = port.map_or_else(String::new, |(_, port)| format!(":{port}"));
    let by_host = domain.map(|domain| format!("{scheme}://{tunnel}.{}{port}", domain.as_str()));
    by_host.into_iter().chain([format!("{scheme}://{host}/t/{tunnel}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_proxy_the_world_comes_by_its_scheme_and_port() {
        let (domain, team) = (Domain::new("relay.test"), "team".parse().unwrap());
        let urls = |domain, https, host| proxied_urls(domain, &team, https, host);
        let by_both = ["https://team.relay.test", "https://relay.test/t/team"];
        assert_eq!(urls(domain.as_ref(), true, "relay.test"), by_both);
        let by_both = ["http://team.relay.test:8080", "http://relay.test:8080/t/team"];
        assert_eq!(urls(domain.as_ref(), false, "relay.test:8080"), by_both);
        assert_eq!(urls(None, true, "[::1]"), ["https://[::1]/t/team"]);
    }
}
