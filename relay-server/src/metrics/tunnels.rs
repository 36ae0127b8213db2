//! What is counted for each tunnel. Only tunnels that exist have series: one that is removed loses its own at once, and the names that strangers try
//! share one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tunnel_delivery::TunnelName;

use super::Outcome;

/// The counts of one tunnel since the relay began, or since the tunnel was added.
pub(super) struct Counts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { outcomes: [const { AtomicU64::new(0) }; Outcome::ALL.len()] }
    }
}

impl Counts {
    /// How many deliveries came to that end.
    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()].load(Ordering::Relaxed)
    }

    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of all tunnels.
#[derive(Default)]
pub(super) struct Tunnels {
    known: RwLock<HashMap<TunnelName, Arc<Counts>>>,
    /// Of names that are no tunnel's.
    unknown: Counts,
}

impl Tunnels {
    /// Counts a delivery.
    pub(super) fn count(&self, tunnel: &TunnelName, outcome: Outcome) {
        match self.known.read().unwrap_or_else(PoisonError::into_inner).get(tunnel) {
            Some(counts) => counts.count(outcome),
            None => self.unknown.count(outcome),
        }
    }

    /// Forgets all tunnels but these, and begins with those that are new.
    pub(super) fn keep<'a>(&self, names: impl Iterator<Item = &'a TunnelName>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        *known = names.map(|name| (name.clone(), before.remove(name).unwrap_or_default())).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tunnel_makes_no_series_and_a_removed_tunnel_s_goes() {
        let tunnels = Tunnels::default();
        let (a, b): (TunnelName, TunnelName) = ("a".parse().unwrap(), "b".parse().unwrap());
        tunnels.keep([&a].into_iter());
        tunnels.count(&a, Outcome::Accepted);
        tunnels.count(&b, Outcome::NotFound);
        let count = |name: &TunnelName, outcome| tunnels.known.read().unwrap().get(name).map(|c| c.outcome(outcome));
        assert_eq!((count(&a, Outcome::Accepted), count(&b, Outcome::NotFound)), (Some(1), None));
        assert_eq!(tunnels.unknown.outcome(Outcome::NotFound), 1);
        tunnels.keep([&a, &b].into_iter());
        assert_eq!((count(&a, Outcome::Accepted), count(&b, Outcome::NotFound)), (Some(1), Some(0)));
        tunnels.keep([&b].into_iter());
        tunnels.keep([&a].into_iter());
        assert_eq!(count(&a, Outcome::Accepted), Some(0), "another tunnel of that name begins at zero");
    }
}
