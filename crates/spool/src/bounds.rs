//! How much a tunnel may hold right now: what all may, its own share, and what the disk has left for all. Pure.

use std::sync::Arc;
use std::time::Duration;

use tunnel_delivery::TunnelName;

use crate::{Limits, Shares, SpoolError};

/// A tunnel may hold so many times what is left for all.
const OF_ROOM: u64 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    all: Limits,
    shares: Arc<Shares>,
    /// The largest that any tunnel may hold.
    largest: u64,
    /// Bytes that were left for deliveries when last looked at; nothing where that is not to be minded.
    room: Option<u64>,
}

impl Bounds {
    pub(crate) fn new(all: Limits) -> Bounds {
        Bounds { all, shares: Arc::default(), largest: all.max_bytes_per_tunnel, room: None }
    }

    pub(crate) fn set_shares(&mut self, shares: Shares) {
        let own = shares.values().filter_map(|share| share.max_bytes).max().unwrap_or(0);
        self.largest = own.max(self.all.max_bytes_per_tunnel);
        self.shares = Arc::new(shares);
    }

    /// Notes how many bytes are free beside a file of that length, with `live` bytes of deliveries in it.
    pub(crate) fn looked_at_disk(&mut self, free: Option<u64>, file: u64, live: impl FnOnce() -> u64) {
        let reserve = self.all.min_free_bytes;
        let left = free.filter(|_| reserve > 0).map(|free| free.saturating_sub(reserve));
        // Mostly there is more than anybody may have in any case, and nothing to add up.
        self.room = left.filter(|left| left.saturating_mul(OF_ROOM) < self.largest).map(|left| {
            // Free pages of the file are room too. A full file is about twice as long as its deliveries.
            left.saturating_add(file.saturating_sub(live().saturating_mul(2)))
        });
    }

    /// The most that a tunnel may hold however much room there is.
    pub(crate) fn share_of(&self, tunnel: &TunnelName) -> u64 {
        self.all.bytes_of(self.shares.get(tunnel))
    }

    /// The most that a tunnel may hold now.
    pub(crate) fn bytes_of(&self, tunnel: &TunnelName) -> u64 {
        self.share_of(tunnel).min(self.room.map_or(u64::MAX, |room| room.saturating_mul(OF_ROOM)))
    }

    /// The most that a tunnel may hold with one more delivery where it makes room for that itself, by dropping what others have: want of room on the disk
    /// must not take more from a device that is behind than the new delivery needs, and what the tunnel holds already is on the disk in any case.
    pub(crate) fn in_exchange(&self, tunnel: &TunnelName, holds: u64) -> u64 {
        self.bytes_of(tunnel).max(holds.min(self.share_of(tunnel)))
    }

    /// What it may hold without anything being dropped that nobody has: a share that is lower than that of all drops nothing, and neither does want of room.
    pub(crate) fn dropped_beyond(&self, tunnel: &TunnelName) -> u64 {
        self.share_of(tunnel).max(self.all.max_bytes_per_tunnel)
    }

    /// How old what it holds may be.
    pub(crate) fn age_of(&self, tunnel: &TunnelName) -> Duration {
        self.all.age_of(self.shares.get(tunnel))
    }

    /// Why a tunnel that holds so many bytes gets no more.
    pub(crate) fn refusal(&self, tunnel: &TunnelName, bytes: u64) -> SpoolError {
        let (share, limit) = (self.share_of(tunnel), self.bytes_of(tunnel));
        let tunnel = tunnel.clone();
        if limit < share {
            SpoolError::DiskLow { tunnel, bytes, part: limit }
        } else {
            SpoolError::TunnelFull { tunnel, bytes, limit }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Share;
    use proptest::prelude::*;

    fn name(n: usize) -> TunnelName {
        format!("t{n}").parse().unwrap()
    }

    const ALL: Limits = Limits { max_age: Duration::from_secs(100), max_bytes_per_tunnel: 1000, min_free_bytes: 50 };

    #[test]
    fn a_tunnel_holds_its_share_as_long_as_the_disk_has_room() {
        let mut bounds = Bounds::new(ALL);
        let share = Share { max_bytes: Some(300), max_age: Some(Duration::from_secs(7)) };
        bounds.set_shares([(name(1), share), (name(2), Share { max_bytes: Some(5000), max_age: None })].into());
        let of = |bounds: &Bounds| [0, 1, 2].map(|n| bounds.bytes_of(&name(n)));
        assert_eq!(of(&bounds), [1000, 300, 5000]);
        assert_eq!([0, 1].map(|n| bounds.age_of(&name(n)).as_secs()), [100, 7]);
        assert_eq!([0, 1, 2].map(|n| bounds.dropped_beyond(&name(n))), [1000, 1000, 5000]);
        bounds.looked_at_disk(Some(50 + 2500), 0, || unreachable!("there is enough for everybody"));
        assert_eq!(of(&bounds), [1000, 300, 5000]);
        bounds.looked_at_disk(Some(50 + 1000), 0, || 0);
        assert_eq!(of(&bounds), [1000, 300, 2000], "enough for all but the one that may have more");
        bounds.looked_at_disk(Some(50 + 200), 100, || 100);
        assert_eq!(of(&bounds), [400, 300, 400]);
        assert!(matches!(bounds.refusal(&name(0), 400), SpoolError::DiskLow { part: 400, .. }));
        assert!(matches!(bounds.refusal(&name(1), 300), SpoolError::TunnelFull { limit: 300, .. }));
        assert_eq!([0, 300, 900, 1100].map(|holds| bounds.in_exchange(&name(0), holds)), [400, 400, 900, 1000]);
        // The disk is as full, and the file has free pages.
        bounds.looked_at_disk(Some(50 + 200), 900, || 100);
        assert_eq!(of(&bounds), [1000, 300, 1800]);
        bounds.looked_at_disk(None, 900, || 100);
        assert_eq!(of(&bounds), [1000, 300, 5000], "where it cannot be told the commit fails");
        let mut without = Bounds::new(Limits { min_free_bytes: 0, ..ALL });
        without.looked_at_disk(Some(1), 0, || 0);
        assert_eq!(without.bytes_of(&name(0)), 1000);
    }

    proptest! {
        /// However many tunnels take all they can get, in whatever order: whoever comes next still gets something.
        #[test]
        fn there_is_always_something_left_for_the_next(takers in 1usize..6, disk in 100_000u64..1_000_000, rounds in 1usize..5) {
            let mut bounds = Bounds::new(Limits { max_bytes_per_tunnel: u64::MAX, ..ALL });
            let mut held = vec![0u64; takers];
            for n in (0..takers).cycle().take(takers * rounds) {
                loop {
                    let live: u64 = held.iter().sum();
                    bounds.looked_at_disk(Some(50 + disk - live), live, || live);
                    if held[n] + 100 > bounds.bytes_of(&name(n)) {
                        break;
                    }
                    held[n] += 100;
                }
            }
            let left = disk - held.iter().sum::<u64>();
            let third_of_third = disk / 3u64.pow(takers as u32);
            prop_assert!(left + 100 >= third_of_third, "{left} of {disk} beside {held:?}");
            prop_assert!(bounds.bytes_of(&name(takers)) > left, "the next one may have all of it");
        }
    }
}
