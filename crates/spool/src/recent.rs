//! The last deliveries of each tunnel, kept in memory so that a live agent is served without reading the disk. Pure.
//!
//! For each tunnel the kept ones are a run without holes that ends at the tunnel's last delivery, or nothing. What does not fit is
//! forgotten oldest first, over all tunnels: this is a shortcut past the disk and never the only copy.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tunnel_delivery::Delivery;

use crate::{ReadLimit, Seq};

/// Stored bytes that are kept in all. A megabyte is some 300 typical deliveries, far more than a live agent lags behind.
const MAX_BYTES: usize = 1 << 20;
/// Deliveries that are kept in all, small ones carry more in headers and allocations than their bytes tell.
const MAX_COUNT: usize = 1024;

#[derive(Default)]
pub(crate) struct Recent {
    tunnels: HashMap<u32, VecDeque<Kept>>,
    /// In the order of arrival. May name deliveries that are gone already.
    order: VecDeque<(u32, Seq)>,
    bytes: usize,
}

struct Kept {
    seq: Seq,
    delivery: Arc<Delivery>,
    bytes: usize,
}

impl Recent {
    /// Adds the tunnel's newest delivery.
    pub(crate) fn push(&mut self, tunnel: u32, seq: Seq, delivery: Arc<Delivery>, bytes: usize) {
        self.forget_upto(tunnel, if self.ends_before(tunnel, seq) { Seq::ZERO } else { seq });
        self.tunnels.entry(tunnel).or_default().push_back(Kept { seq, delivery, bytes });
        self.order.push_back((tunnel, seq));
        self.bytes += bytes;
        while self.bytes > MAX_BYTES || self.order.len() > MAX_COUNT {
            let Some((tunnel, seq)) = self.order.pop_front() else { return };
            self.forget_upto(tunnel, seq);
        }
    }

    /// Whether `seq` follows the kept ones without a hole.
    fn ends_before(&self, tunnel: u32, seq: Seq) -> bool {
        self.tunnels.get(&tunnel).and_then(|kept| kept.back()).is_none_or(|last| last.seq.next() == seq)
    }

    /// Forgets the tunnel's deliveries up to and including `upto`.
    pub(crate) fn forget_upto(&mut self, tunnel: u32, upto: Seq) {
        let Some(kept) = self.tunnels.get_mut(&tunnel) else { return };
        while let Some(gone) = kept.pop_front_if(|k| k.seq <= upto) {
            self.bytes -= gone.bytes;
        }
        if kept.is_empty() {
            self.tunnels.remove(&tunnel);
        }
        if self.bytes == 0 {
            self.order.clear();
        }
    }

    /// What comes after `after`, if the next one is kept.
    pub(crate) fn read(&self, tunnel: u32, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>> {
        let kept = self.tunnels.get(&tunnel)?;
        let skip = usize::try_from(after.next().0.checked_sub(kept.front()?.seq.0)?).ok()?;
        let mut out = Vec::new();
        let mut bytes = 0usize;
        for k in kept.iter().skip(skip).take(limit.count.max(1)) {
            bytes += k.bytes;
            if bytes > limit.bytes && !out.is_empty() {
                break;
            }
            out.push((k.seq, Arc::clone(&k.delivery)));
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::{DeliveryId, Environment, Headers, HttpVersion, Timestamp};

    fn delivery() -> Arc<Delivery> {
        Arc::new(Delivery {
            id: DeliveryId::first_at(Timestamp::default()),
            received_at: Timestamp::default(),
            tunnel: "team".parse().unwrap(),
            source_ip: [127, 0, 0, 1].into(),
            environment: Environment::Unknown,
            method: "POST".parse().unwrap(),
            target: "/".parse().unwrap(),
            prefix_len: 0,
            http_version: HttpVersion::Http11,
            headers: Headers::default(),
            body: Default::default(),
            lost: vec![],
        })
    }

    const ALL: ReadLimit = ReadLimit { count: usize::MAX, bytes: usize::MAX };

    fn seqs(recent: &Recent, tunnel: u32, after: u64, limit: ReadLimit) -> Option<Vec<u64>> {
        recent.read(tunnel, Seq(after), limit).map(|all| all.into_iter().map(|(seq, _)| seq.0).collect())
    }

    #[test]
    fn serves_what_follows_and_nothing_with_a_hole() {
        let mut recent = Recent::default();
        for seq in 5..10 {
            recent.push(1, Seq(seq), delivery(), 10);
        }
        assert_eq!(seqs(&recent, 1, 6, ALL), Some(vec![7, 8, 9]));
        assert_eq!(seqs(&recent, 1, 4, ReadLimit { count: 2, bytes: 1000 }), Some(vec![5, 6]));
        assert_eq!(seqs(&recent, 1, 4, ReadLimit { count: 9, bytes: 25 }), Some(vec![5, 6]));
        assert_eq!(seqs(&recent, 1, 4, ReadLimit { count: 0, bytes: 0 }), Some(vec![5]), "always one");
        assert_eq!(seqs(&recent, 1, 3, ALL), None, "4 is not here");
        assert_eq!(seqs(&recent, 1, 9, ALL), None);
        assert_eq!(seqs(&recent, 2, 0, ALL), None);
        recent.push(1, Seq(12), delivery(), 10); // 10 and 11 were not kept
        assert_eq!(seqs(&recent, 1, 6, ALL), None);
        assert_eq!(seqs(&recent, 1, 11, ALL), Some(vec![12]));
    }

    #[test]
    fn forgets_the_oldest_over_all_tunnels_and_stays_bounded() {
        let mut recent = Recent::default();
        recent.push(1, Seq(1), delivery(), 10);
        for seq in 1..5000 {
            recent.push(2, Seq(seq), delivery(), 10);
            recent.forget_upto(2, Seq(seq)); // taken at once
        }
        assert!(recent.order.len() <= MAX_COUNT);
        assert_eq!(seqs(&recent, 1, 0, ALL), None, "pushed out by age");
        recent.push(3, Seq(1), delivery(), MAX_BYTES + 1);
        assert_eq!(seqs(&recent, 3, 0, ALL), None, "too large to be kept at all");
        assert_eq!((recent.bytes, recent.tunnels.len()), (0, 0));
    }
}
