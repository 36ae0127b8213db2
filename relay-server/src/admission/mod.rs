//! Who may hold a connection, and which one has to go when all places are taken.
//!
//! A relay that stands on the internet can always be sent more connections than it has places. Refusing what comes then would let whoever came first
//! lock out all others; letting it wait in the kernel likewise. So every connection is accepted, and where there is no place, the one goes that is
//! worth the least: first those on which no delivery was ever taken and that wait for a request, then those that wait between requests, then those
//! whose request is still coming or whose answer is not taken; of equals the one that has been so for longest. A delivery needs its place for
//! a second or so, and who wants to push it out must open as many connections in that second as there are places. A connection whose request is being
//! worked at is never ended; if all are such, what comes is closed at once. Nobody has to go within the first seconds: when all agents come back at
//! once after a restart, those who were first in line for a handshake must not be sent to its end. Until then what comes waits.
//!
//! No address may have more than its part (an IPv6 address counts with all of its /64, which is one customer's). Healthie's addresses, trusted
//! proxies and those that the operator names have no such bound: all tunnels' deliveries come from those few. They count among those that have
//! brought a delivery.
//!
//! Agents have places of their own, which can be neither taken by strangers nor bounded by address (an office has one), only by a token: a
//! connection becomes an agent's when its token was checked. What it does then is bounded by its tunnel.
//!
//! It knows neither HTTP nor sockets.

mod place;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tunnel_delivery::TunnelName;

use crate::registry::Access;

pub(crate) use place::{InHand, Patience, Place};

/// At most one in so many goes at once.
const AT_ONCE: usize = 128;

/// How long everybody may stay.
const GRACE: Duration = Duration::from_secs(3);

/// Connections for each agent that a tunnel may have.
const AGENTS_FACTOR: usize = 3;

/// The most of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Connections that are no agent's.
    pub(crate) connections: usize,
    /// Of those, from one address.
    pub(crate) per_address: usize,
    /// Agents' connections.
    pub(crate) agents: usize,
    /// Of those, with one tunnel. It may have three times as many connections: agents that only look have a bound of their own, and a device that comes
    /// again takes over from itself.
    pub(crate) agents_per_tunnel: usize,
}

/// All places.
pub(crate) struct Admission {
    most: Most,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    next: u64,
    places: HashMap<u64, Arc<Place>>,
    per_address: HashMap<IpAddr, usize>,
    agents: usize,
    /// By tunnel and whether they only look: those must not keep out the others.
    agents_of: HashMap<(TunnelName, Access), usize>,
}

/// A connection's place, free again when this is dropped.
pub(crate) struct Held {
    admission: Arc<Admission>,
    id: u64,
    place: Arc<Place>,
    counted: Mutex<Counted>,
}

/// As what a connection is counted, besides among all.
#[derive(Default)]
enum Counted {
    #[default]
    Nobody,
    Address(IpAddr),
    Agent(TunnelName, Access),
}

/// What became of a connection that wants in.
pub(crate) enum Entry {
    /// It is in.
    Free(Held),
    /// It is in, and another had to go.
    InsteadOfAnother(Held),
    /// All others have come, or begun with what they do, a moment ago. It is to be asked again soon.
    Soon,
    /// All others are worked at.
    Full,
}

/// Everybody who is bounded together with this address: itself, or its /64.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl Admission {
    /// Nobody is in.
    pub(crate) fn new(most: Most) -> Arc<Admission> {
        Arc::new(Admission { most, books: Mutex::default() })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection that was accepted.
    pub(crate) fn enter(self: &Arc<Admission>) -> Entry {
        let mut books = self.books();
        let full = books.places.len() >= self.most.connections;
        if full {
            match books.evict(GRACE) {
                Evicted::Some => {}
                Evicted::TooSoon => return Entry::Soon,
                Evicted::None => return Entry::Full,
            }
        }
        let (id, place) = (books.next, Arc::new(Place::new()));
        books.next += 1;
        books.places.insert(id, Arc::clone(&place));
        let held = Held { admission: Arc::clone(self), id, place, counted: Mutex::default() };
        if full { Entry::InsteadOfAnother(held) } else { Entry::Free(held) }
    }

    /// Ends the connection that is worth the least, if there is one: files ran out before places did.
    pub(crate) fn make_room(&self) -> bool {
        self.books().evict(Duration::ZERO) == Evicted::Some
    }
}

/// Whether somebody had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evicted {
    Some,
    TooSoon,
    None,
}

impl Books {
    /// Ends the connection that is worth the least, and where that one never did anything some more like it: looking for them takes as long as there
    /// are places, and under an attack the next comes at once.
    fn evict(&mut self, grace: Duration) -> Evicted {
        let mut all: Vec<_> =
            self.places.iter().filter_map(|(id, place)| place.worth().map(|worth| (worth, *id))).collect();
        if all.is_empty() {
            return Evicted::None;
        }
        let now = Instant::now();
        all.retain(|((_, since), _)| now.saturating_duration_since(*since) >= grace);
        let Some(last) = all.len().checked_sub(1) else { return Evicted::TooSoon };
        let some = (all.len() / AT_ONCE).min(last);
        all.select_nth_unstable(some);
        all.truncate(some + 1);
        let least = all.iter().min().copied();
        for (worth, id) in all {
            if (worth.0 == 0 || least == Some((worth, id)))
                && let Some(place) = self.places.remove(&id)
            {
                place.give_way();
            }
        }
        Evicted::Some
    }

    fn leave(&mut self, counted: Counted) {
        fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        match counted {
            Counted::Nobody => {}
            Counted::Address(address) => one_less(&mut self.per_address, &address),
            Counted::Agent(tunnel, access) => {
                self.agents -= 1;
                one_less(&mut self.agents_of, &(tunnel, access));
            }
        }
    }
}

impl Held {
    /// What the connection does.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is known from where the connection comes; false if that address has as many as it may.
    #[must_use]
    pub(crate) fn belongs_to(&self, address: IpAddr) -> bool {
        let address = neighbourhood(address);
        let mut books = self.admission.books();
        let count = books.per_address.entry(address).or_default();
        if *count >= self.admission.most.per_address {
            return false;
        }
        *count += 1;
        *self.counted() = Counted::Address(address);
        true
    }

    /// It comes from where no bound is set.
    pub(crate) fn is_favoured(&self) {
        self.place.prove();
    }

    /// The connection is an agent's from now on; false if there are as many as there may be.
    #[must_use]
    pub(crate) fn become_agent(&self, tunnel: &TunnelName, access: Access) -> bool {
        let most = &self.admission.most;
        let mut books = self.admission.books();
        let of_tunnel = books.agents_of.get(&(tunnel.clone(), access)).copied().unwrap_or(0);
        if books.agents >= most.agents || of_tunnel >= most.agents_per_tunnel.saturating_mul(AGENTS_FACTOR) {
            return false;
        }
        books.agents += 1;
        books.agents_of.insert((tunnel.clone(), access), of_tunnel + 1);
        books.places.remove(&self.id);
        let before = std::mem::replace(&mut *self.counted(), Counted::Agent(tunnel.clone(), access));
        books.leave(before);
        drop(books);
        self.place.is_an_agent_s();
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let counted = std::mem::take(&mut *self.counted());
        let mut books = self.admission.books();
        books.places.remove(&self.id);
        books.leave(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize) -> Arc<Admission> {
        Admission::new(Most { connections, per_address: 2, agents: 4, agents_per_tunnel: 1 })
    }

    fn enter(admission: &Arc<Admission>) -> Held {
        match admission.enter() {
            Entry::Free(held) | Entry::InsteadOfAnother(held) => held,
            Entry::Soon | Entry::Full => panic!("there is no place"),
        }
    }

    fn has_to_go(held: &Held) -> bool {
        held.place().has_to_go()
    }

    #[test]
    fn an_address_of_version_6_counts_with_its_neighbours() {
        let near = |text: &str| neighbourhood(text.parse().unwrap()).to_string();
        assert_eq!(near("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(near("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(near("192.0.2.7"), "192.0.2.7");
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_worth_goes_first_and_what_is_worked_at_never() {
        let all = admission(5);
        let held: Vec<Held> = (0..5).map(|_| enter(&all)).collect();
        let step = || tokio::time::advance(GRACE);
        // The first is worked at, the second reads a body, the third has brought a delivery, the last two never did anything, the fifth for longer.
        let mut first = held[0].place().request();
        first.was_read();
        let _second = held[1].place().request();
        held[2].is_favoured();
        step().await;
        drop(held[3].place().request());
        let mut gone = Vec::new();
        let mut later = Vec::new();
        for expected in [4, 3, 2, 1] {
            step().await;
            let Entry::InsteadOfAnother(new) = all.enter() else { panic!("there was no place") };
            new.is_favoured();
            later.push((new.place().request(), new));
            later.last_mut().unwrap().0.was_read();
            gone.push(expected);
            let went: Vec<usize> = (0..5).filter(|n| has_to_go(&held[*n])).collect();
            let mut sorted = gone.clone();
            sorted.sort_unstable();
            assert_eq!(went, sorted);
        }
        assert!(matches!(all.enter(), Entry::Full));
        drop(first);
        assert!(all.make_room() && has_to_go(&held[0]));
    }

    #[test]
    fn an_address_has_its_part_and_gets_it_back() {
        let all = admission(9);
        let address = "2001:db8::1".parse().unwrap();
        let (one, two, three) = (enter(&all), enter(&all), enter(&all));
        assert!(one.belongs_to(address) && two.belongs_to("2001:db8::2".parse().unwrap()));
        assert!(!three.belongs_to(address));
        drop(one);
        assert!(three.belongs_to(address));
        // An agent's is no longer counted among them.
        assert!(two.become_agent(&"team".parse().unwrap(), Access::Full));
        assert!(enter(&all).belongs_to(address));
    }

    #[test]
    fn agents_have_places_of_their_own() {
        let all = admission(1);
        let [team, third] = ["team", "third"].map(|name| name.parse::<TunnelName>().unwrap());
        let agents: Vec<Held> = (0..3)
            .map(|_| {
                let held = enter(&all);
                assert!(held.become_agent(&team, Access::Full));
                held
            })
            .collect();
        assert!(matches!(all.enter(), Entry::Free(_)), "they take no places of others");
        let one = enter(&all);
        assert!(!one.become_agent(&team, Access::Full), "a tunnel has so many");
        assert!(one.become_agent(&team, Access::ReadOnly), "who only looks takes no room of the others'");
        assert!(!enter(&all).become_agent(&third, Access::Full), "all together have so many");
        assert!(agents.iter().all(|agent| !has_to_go(agent)));
        drop((agents, one));
        let books = all.books();
        assert_eq!((books.agents, books.agents_of.len(), books.places.len()), (0, 0, 0));
    }
}
