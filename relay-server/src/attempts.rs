//! Failed attempts at the agents' door, counted for each address: a few a minute are answered, more are told to wait. Owns no sockets and decides nothing
//! about tokens.
//!
//! A good token always gets in, whatever its neighbours behind the same address do: a secret has 256 random bits, so guessing is hopeless with or
//! without a limit, and a lock-out would be a weapon in the hands of whoever shares an address with a team. What the limit keeps small is the work and the
//! noise that wrong tokens make: beyond it an attempt costs one hash and is answered without looking at the disk.
//!
//! An IPv6 host has a whole /64, so that is what counts there. Memory is bounded: with [`ADDRESSES`] of them failing within a minute, all further ones
//! are counted as one.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// The most addresses that are counted apart; some 100 bytes each.
const ADDRESSES: usize = 10_000;

/// How often those are looked for, at most, that may be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// The runtime's clock, which a test or a simulation can turn.
#[derive(Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// Whose attempts are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    Of(IpAddr),
    /// Everybody for whom there is no room.
    Others,
}

impl Network {
    fn of(address: IpAddr) -> Network {
        Network::Of(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }
}

/// Failed attempts, by address.
pub(crate) struct Attempts {
    clock: Since,
    counted: RateLimiter<Network, HashMapStateStore<Network>, Since, NoOpMiddleware<Nanos>>,
    swept: Mutex<Nanos>,
}

impl Attempts {
    /// So many a minute are let pass for each address.
    pub(crate) fn new(a_minute: NonZeroU32) -> Attempts {
        let clock = Since(Instant::now());
        let counted = RateLimiter::new(Quota::per_minute(a_minute), HashMapStateStore::default(), clock.clone());
        Attempts { swept: Mutex::new(clock.now()), clock, counted }
    }

    /// An attempt from there failed.
    ///
    /// # Errors
    /// It is one too many: how long to wait before the next.
    pub(crate) fn failed(&self, from: IpAddr) -> Result<(), Duration> {
        let mut network = Network::of(from);
        if self.counted.len() >= ADDRESSES {
            self.sweep();
            if self.counted.len() >= ADDRESSES {
                network = Network::Others;
            }
        }
        self.counted.check_key(&network).map_err(|not_yet| not_yet.wait_time_from(self.clock.now()))
    }

    /// Forgets those that may make as many attempts again as anybody.
    fn sweep(&self) {
        let now = self.clock.now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if Duration::from(now.duration_since(*swept)) >= SWEEP {
            *swept = now;
            self.counted.retain_recent();
            self.counted.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> Attempts {
        Attempts::new(NonZeroU32::new(3).unwrap())
    }

    fn passes(attempts: &Attempts, from: &str) -> bool {
        attempts.failed(from.parse().unwrap()).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_a_minute_pass_for_each_address() {
        let attempts = attempts();
        let three = [(); 3].map(|()| passes(&attempts, "192.0.2.1"));
        assert_eq!(three, [true; 3]);
        let wait = attempts.failed("::ffff:192.0.2.1".parse().unwrap()).unwrap_err();
        assert!(wait > Duration::from_secs(18) && wait <= Duration::from_secs(20), "{wait:?}");
        assert!(passes(&attempts, "192.0.2.2"), "another address");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(passes(&attempts, "192.0.2.1") && !passes(&attempts, "192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_s_whole_network_counts_in_ipv6() {
        let attempts = attempts();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"] {
            assert!(passes(&attempts, host));
        }
        assert!(!passes(&attempts, "2001:db8::4"));
        assert!(passes(&attempts, "2001:db8:0:1::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_comes_back() {
        let attempts = attempts();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..ADDRESSES {
            attempts.failed(address(n)).unwrap();
        }
        let further: Vec<bool> = (0..5).map(|n| attempts.failed(address(ADDRESSES + n)).is_ok()).collect();
        assert_eq!(further, [true, true, true, false, false], "they count as one");
        assert!(attempts.counted.len() <= ADDRESSES + 1);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(attempts.failed(address(1_000_000)).is_ok());
        assert!(attempts.counted.len() < 10);
    }
}
