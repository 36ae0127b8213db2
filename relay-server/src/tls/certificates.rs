//! The certificates in force: which one a handshake gets, by the name that is asked for, and how each of them stands. They are exchanged in one
//! step; a handshake sees the old ones or the new ones. It reads no files and knows no ACME server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use tunnel_delivery::Timestamp;

use super::ACME_TLS;
use super::pair::Pair;
use crate::acme::challenges::Challenges;

/// A certificate from files that has less than this left is told of; one of a short life when a quarter of it is left.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often the same end is told again.
const TELL_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Files,
    Acme,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ok,
    /// It ends soon.
    Expiring,
    Expired,
    /// There is none yet.
    None,
}

/// What is told of a certificate, to anybody who asks: nothing that the certificate itself does not show to each visitor, and no path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) source: Source,
    pub(crate) state: State,
    pub(crate) names: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    /// When the next one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renews_at: Option<Timestamp>,
    /// What went wrong the last time a newer one was to be had; the log says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl Standing {
    /// Whether it is valid now.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, State::Ok | State::Expiring)
    }
}

struct Slot {
    source: Source,
    pair: Option<Pair>,
    renews_at: Option<Timestamp>,
    problem: Option<&'static str>,
    told: Option<(State, Timestamp)>,
}

/// The certificates of a listener.
pub(crate) struct Certificates {
    table: ArcSwap<Table>,
    slots: Mutex<Vec<Slot>>,
    /// What an ACME server is to find.
    pub(crate) challenges: Arc<Challenges>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// Certificates by name. Several of one name differ in their kind of key.
#[derive(Default)]
struct Table {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For who asks for no name or one we have none for: the first one.
    first: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Room for so many pairs from files, and one from ACME.
    pub(crate) fn new(files: usize, acme: bool) -> Certificates {
        let slot = |source| Slot { source, pair: None, renews_at: None, problem: None, told: None };
        let mut slots: Vec<Slot> = (0..files).map(|_| slot(Source::Files)).collect();
        slots.extend(acme.then(|| slot(Source::Acme)));
        Certificates {
            table: ArcSwap::default(),
            slots: Mutex::new(slots),
            challenges: Arc::new(Challenges::default()),
        }
    }

    /// The slot of the one from ACME.
    pub(crate) fn acme_slot(&self) -> usize {
        self.with(|slots| slots.len().saturating_sub(1))
    }

    /// Puts a pair into force.
    pub(crate) fn put(&self, slot: usize, pair: Pair) {
        self.with(|slots| {
            if let Some(slot) = slots.get_mut(slot) {
                slot.pair = Some(pair);
                slot.problem = None;
                slot.told = None;
            }
            // Within the lock: of two that change something, the later one's table must not be the earlier one's.
            self.table.store(Arc::new(Table::of(slots)));
        });
    }

    /// Notes that no newer one could be had. What is in force stays so.
    pub(crate) fn fail(&self, slot: usize, problem: &'static str) {
        self.with(|slots| slots.get_mut(slot).map(|slot| slot.problem = Some(problem)));
    }

    /// Notes when the next one is asked for.
    pub(crate) fn plan(&self, slot: usize, renews_at: Timestamp) {
        self.with(|slots| slots.get_mut(slot).map(|slot| slot.renews_at = Some(renews_at)));
    }

    /// How all of them stand.
    pub(crate) fn standing(&self, now: Timestamp) -> Vec<Standing> {
        self.with(|slots| slots.iter().map(|slot| slot.standing(now)).collect())
    }

    /// Tells the log of those that end soon or have ended: once, and again each day.
    pub(crate) fn tell_ends(&self, now: Timestamp) {
        self.with(|slots| {
            for slot in slots {
                let Standing { state, names, expires_at, .. } = slot.standing(now);
                let again = slot.told.is_none_or(|(was, at)| was != state || now.since(at) >= TELL_AGAIN);
                let (Some(at), true) = (expires_at, again) else { continue };
                let names = names.join(" ");
                match state {
                    State::Expired => error!(%names, expired_at = %at, "a certificate has EXPIRED: senders refuse to connect until there is a new one"),
                    State::Expiring => warn!(%names, expires_at = %at, "a certificate ends soon and there is no newer one"),
                    State::Ok | State::None => {}
                }
                slot.told = Some((state, now));
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Slot>) -> T) -> T {
        work(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slot {
    fn standing(&self, now: Timestamp) -> Standing {
        let state = self.pair.as_ref().map_or(State::None, |pair| state(pair, now));
        Standing {
            source: self.source,
            state,
            names: self.pair.as_ref().map(|p| p.names.clone()).unwrap_or_default(),
            expires_at: self.pair.as_ref().map(|p| p.not_after),
            renews_at: self.renews_at,
            problem: self.problem.map(str::to_owned),
        }
    }
}

fn state(pair: &Pair, now: Timestamp) -> State {
    if now >= pair.not_after {
        return State::Expired;
    }
    let soon = SOON.min(pair.not_after.since(pair.not_before) / 4);
    if pair.not_after.since(now) < soon { State::Expiring } else { State::Ok }
}

impl Table {
    fn of(slots: &[Slot]) -> Table {
        let mut table = Table::default();
        for pair in slots.iter().filter_map(|slot| slot.pair.as_ref()) {
            if table.first.is_empty() {
                table.first.push(Arc::clone(&pair.key));
            }
            for name in &pair.names {
                table.by_name.entry(name.clone()).or_default().push(Arc::clone(&pair.key));
            }
        }
        table
    }

    /// The certificate for that name: its own, the wildcard's one label up, or the first there is.
    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |keys: &[Arc<CertifiedKey>]| {
            keys.iter().find(|k| k.key.choose_scheme(schemes).is_some()).or(keys.first()).cloned()
        };
        if let Some(name) = name {
            let name = name.to_ascii_lowercase();
            if let Some(keys) = self.by_name.get(&name) {
                return usable(keys);
            }
            if let Some((_, rest)) = name.split_once('.')
                && let Some(keys) = self.by_name.get(&format!("*.{rest}"))
            {
                return usable(keys);
            }
        }
        usable(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(mut offered) = hello.alpn()
            && offered.next() == Some(ACME_TLS)
            && offered.next().is_none()
        {
            return hello.server_name().and_then(|name| self.challenges.certificate(name));
        }
        self.table.load().pick(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Pair::from_pem((made.cert.pem() + &made.signing_key.serialize_pem()).as_bytes()).unwrap()
    }

    const ALL: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn a_name_gets_its_own_certificate_and_no_name_the_first() {
        let certificates = Certificates::new(2, false);
        let (wild, own) = (pair(&["relay.test", "*.relay.test"]), pair(&["own.relay.test"]));
        assert!(certificates.table.load().pick(Some("relay.test"), &ALL).is_none(), "none is there yet");
        certificates.put(0, own.clone());
        certificates.put(1, wild.clone());
        let table = certificates.table.load();
        let got = |name: Option<&str>| {
            let key = table.pick(name, &ALL).unwrap();
            if Arc::ptr_eq(&key, &own.key) { "own" } else { "wild" }
        };
        assert_eq!(got(Some("own.relay.test")), "own");
        assert_eq!(got(Some("OWN.relay.test")), "own");
        assert_eq!(got(Some("other.relay.test")), "wild");
        assert_eq!(got(Some("a.b.relay.test")), "own", "a wildcard is for one label");
        assert_eq!(got(None), "own");
        assert_eq!(got(Some("strange.test")), "own");
    }

    #[test]
    fn a_failure_leaves_what_is_in_force_and_is_told() {
        let certificates = Certificates::new(1, true);
        let made = pair(&["relay.test"]);
        let (begin, end) = (made.not_before, made.not_after);
        let at = |before_end: u64| end.earlier(Duration::from_secs(before_end));
        certificates.put(0, made);
        certificates.fail(0, "no");
        let states = |now| certificates.standing(now).iter().map(|s| s.state).collect::<Vec<_>>();
        assert_eq!(states(begin), [State::Ok, State::None]);
        assert_eq!(states(at(3600)), [State::Expiring, State::None]);
        assert_eq!(states(end), [State::Expired, State::None]);
        assert_eq!(certificates.standing(begin)[0].problem.as_deref(), Some("no"));
        certificates.put(0, pair(&["relay.test"]));
        assert_eq!(certificates.standing(begin)[0].problem, None);
    }
}
