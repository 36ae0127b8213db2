//! Ids for deliveries, in the order in which they are asked for.

use std::sync::{Mutex, PoisonError};

use tunnel_delivery::{DeliveryId, Timestamp};

/// Gives ids that grow: by time, and within a millisecond by a counter.
pub(crate) struct Ids(Mutex<Last>);

struct Last {
    millis: i64,
    count: u16,
    random: Random,
}

/// Random bytes, drawn from the system 32 deliveries' worth at a time.
struct Random {
    bytes: [u8; 256],
    used: usize,
}

/// The counter's bits: the `rand_a` field of a version 7 UUID (RFC 9562, section 6.2, method 1).
const COUNTS: u16 = 1 << 12;

impl Default for Ids {
    fn default() -> Self {
        Ids(Mutex::new(Last { millis: 0, count: 0, random: Random { bytes: [0; 256], used: 256 } }))
    }
}

impl Ids {
    /// An id for a delivery received at `at`, greater than all before it. Where the clock goes back, or more come in a millisecond than the counter
    /// can tell apart, it runs ahead of the clock.
    pub(crate) fn next(&self, at: Timestamp) -> DeliveryId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = at.as_micros().div_euclid(1000);
        if millis > last.millis {
            last.millis = millis;
            last.count = 0;
        } else {
            last.count += 1;
            if last.count == COUNTS {
                last.millis += 1;
                last.count = 0;
            }
        }
        let mut random = [0; 10];
        random[..2].copy_from_slice(&last.count.to_be_bytes());
        random[2..].copy_from_slice(&last.random.eight());
        DeliveryId::build(Timestamp::from_micros(last.millis * 1000), random)
    }
}

impl Random {
    fn eight(&mut self) -> [u8; 8] {
        if self.used == self.bytes.len() {
            // An id need not be secret, only its own: should the system have no random bytes, time and counter still tell ids apart.
            let _ = getrandom::fill(&mut self.bytes);
            self.used = 0;
        }
        let mut out = [0; 8];
        out.copy_from_slice(&self.bytes[self.used..self.used + 8]);
        self.used += 8;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_millisecond_and_when_the_clock_goes_back() {
        let ids = Ids::default();
        let at = Timestamp::from_micros(1_763_714_000_000_000);
        let mut before = ids.next(at);
        for i in 0..10_000 {
            let clock = if i % 3 == 0 { at.earlier(std::time::Duration::from_secs(1)) } else { at };
            let id = ids.next(clock);
            assert!(id > before, "{id} after {before}");
            before = id;
        }
    }
}
