//! How many deliveries a second: of each address, and for each tunnel.
//!
//! Of a tunnel Healthie's deliveries and everybody else's are counted apart: whoever knows a tunnel's name can use up what strangers may send to it, and
//! not what Healthie may. Healthie's addresses have no rate of their own, since all tunnels' deliveries come from those few.
//!
//! Memory is bounded: as many tunnels as there are, and so many addresses. When more come than are kept, all counts of addresses begin anew: whoever has so
//! many addresses is not held by a rate for each, and everybody else must not be refused for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;
use tunnel_delivery::TunnelName;

/// The most addresses that are counted at once, some 100 bytes each.
const ADDRESSES: usize = 1 << 16;

/// So many in a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In each second, in the long run.
    pub per_second: u32,
    /// At once, at most.
    pub burst: u32,
}

impl Rate {
    /// Nothing where there is no limit: a rate of 0 means that.
    fn quota(self) -> Option<Quota> {
        let per_second = NonZeroU32::new(self.per_second)?;
        let burst = NonZeroU32::new(self.burst).unwrap_or(per_second);
        Some(Quota::per_second(per_second).allow_burst(burst))
    }
}

/// The runtime's time, which a simulation can have its own way.
#[derive(Clone)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Addresses = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Duration>>;
type One = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;
/// By name, and whether they are Healthie's deliveries; the rate that is counted by, and the count where there is a limit.
type Tunnels = HashMap<(TunnelName, bool), (Rate, Option<One>)>;

/// Counts deliveries.
pub(crate) struct Rates {
    clock: Ticks,
    of_address: Option<Quota>,
    addresses: Mutex<Option<Addresses>>,
    tunnels: Mutex<Tunnels>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rates {
    /// With this rate for each address.
    pub(crate) fn new(of_address: Rate) -> Rates {
        let clock = Ticks(Instant::now());
        Rates { clock, of_address: of_address.quota(), addresses: Mutex::default(), tunnels: Mutex::default() }
    }

    /// Counts a request from this neighbourhood.
    ///
    /// # Errors
    /// It has had as many as it may; how long until it may have one more.
    pub(crate) fn address(&self, neighbourhood: IpAddr) -> Result<(), Duration> {
        let Some(quota) = self.of_address else { return Ok(()) };
        let mut addresses = lock(&self.addresses);
        if let Some(full) = addresses.take_if(|all| all.len() >= ADDRESSES) {
            full.retain_recent();
            if full.len() < ADDRESSES / 4 * 3 {
                *addresses = Some(full);
            }
        }
        let all =
            addresses.get_or_insert_with(|| RateLimiter::new(quota, HashMapStateStore::default(), self.clock.clone()));
        all.check_key(&neighbourhood).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Counts a delivery for this tunnel, which may have so many.
    ///
    /// # Errors
    /// It has had as many as it may; how long until it may have one more.
    pub(crate) fn tunnel(&self, name: &TunnelName, healthie: bool, rate: Rate) -> Result<(), Duration> {
        let mut tunnels = lock(&self.tunnels);
        let fresh = || (rate, rate.quota().map(|quota| RateLimiter::direct_with_clock(quota, self.clock.clone())));
        let entry = tunnels.entry((name.clone(), healthie)).or_insert_with(fresh);
        if entry.0 != rate {
            *entry = fresh();
        }
        match &entry.1 {
            Some(one) => one.check().map_err(|not_until| not_until.wait_time_from(self.clock.now())),
            None => Ok(()),
        }
    }

    /// Keeps the counts of these tunnels only.
    pub(crate) fn keep(&self, exists: impl Fn(&TunnelName) -> bool) {
        lock(&self.tunnels).retain(|(name, _), _| exists(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2, burst: 5 };

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate_and_each_address_for_itself() {
        let rates = Rates::new(RATE);
        for _ in 0..5 {
            rates.address(address(1)).unwrap();
        }
        let wait = rates.address(address(1)).unwrap_err();
        assert!(wait > Duration::from_millis(400) && wait <= Duration::from_millis(500), "{wait:?}");
        rates.address(address(2)).unwrap();
        tokio::time::advance(wait).await;
        rates.address(address(1)).unwrap();
        assert!(rates.address(address(1)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_cannot_use_up_what_is_healthie_s() {
        let rates = Rates::new(RATE);
        let team: TunnelName = "team".parse().unwrap();
        while rates.tunnel(&team, false, RATE).is_ok() {}
        rates.tunnel(&team, true, RATE).unwrap();
        // Another rate is in force at once.
        rates.tunnel(&team, false, Rate { per_second: 3, burst: 5 }).unwrap();
        rates.keep(|_| false);
        assert!(lock(&rates.tunnels).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nothing_is_no_limit() {
        let none = Rate { per_second: 0, burst: 5 };
        let rates = Rates::new(none);
        for _ in 0..1000 {
            rates.address(address(1)).unwrap();
            rates.tunnel(&"team".parse().unwrap(), false, none).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_addresses_are_counted_and_no_more() {
        let rates = Rates::new(RATE);
        for n in 0..(ADDRESSES as u32 * 2) {
            rates.address(address(n)).unwrap();
            assert!(lock(&rates.addresses).as_ref().unwrap().len() <= ADDRESSES);
        }
        // Those that have been quiet are forgotten first.
        tokio::time::advance(Duration::from_secs(10)).await;
        while rates.address(address(1)).is_ok() {}
        for n in 0..(ADDRESSES as u32 / 2) {
            let _ = rates.address(address(n + 9));
        }
        assert!(rates.address(address(1)).is_err());
    }
}
