//! The relay's figures, for its operator: what was counted as it happened, and how things stand when somebody asks.
//!
//! Each relay has its own; there is nothing global, because several relays live in one process in tests, the demo and the simulation. What happens
//! is counted here ([`Metrics`]); a label is always one of a closed list ([`Limit`], [`Outcome`]) or the name of a tunnel that exists, so that no
//! stranger can make series. It measures no time by itself: how long something took is an argument.

mod limit;
mod outcome;
mod tunnels;

use std::fmt;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tunnel_delivery::TunnelName;

pub(crate) use limit::Limit;
pub(crate) use outcome::Outcome;
use tunnels::Tunnels;

/// One label of a series: its name and one of a closed list of values.
type Label = [(&'static str, &'static str); 1];

/// Upper bounds of latencies, in seconds. A commit takes some 2 ms; a handler may take as long as its tunnel allows, 15 s unless set otherwise.
const LATENCIES: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A histogram of latencies.
fn latencies() -> Histogram {
    Histogram::new(LATENCIES)
}

/// What one relay counts. Counting takes no lock that anything slow holds.
pub(crate) struct Metrics {
    registry: Registry,
    tunnels: Tunnels,
    limits: Family<Label, Counter>,
    answered: Family<Label, Histogram, fn() -> Histogram>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Everything at zero, and no tunnels.
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("healthie_relay");
        let limits = Family::<Label, Counter>::default();
        // There from the start: a rate is only seen between two values.
        for limit in Limit::ALL {
            let _ = limits.get_or_create(&[("limit", limit.as_str())]);
        }
        registry.register("limit_hits", "How often a limit kept something out or ended it", limits.clone());
        let answered = Family::new_with_constructor(latencies as fn() -> Histogram);
        let help = "Time from a delivery's head to its answer";
        registry.register_with_unit("delivery_answer", help, Unit::Seconds, answered.clone());
        Metrics { registry, tunnels: Tunnels::default(), limits, answered }
    }

    /// A limit kept something out, or ended it.
    pub(crate) fn limit_hit(&self, limit: Limit) {
        self.limits.get_or_create(&[("limit", limit.as_str())]).inc();
    }

    /// A delivery for `tunnel` was answered so long after its head was there. A name that is no tunnel's is counted under none.
    pub(crate) fn delivery(&self, tunnel: &TunnelName, outcome: Outcome, took: Duration) {
        self.tunnels.count(tunnel, outcome);
        self.answered.get_or_create(&[("outcome", outcome.as_str())]).observe(took.as_secs_f64());
    }

    /// These tunnels there are now: of all others, nothing is shown any more.
    pub(crate) fn tunnels<'a>(&self, names: impl Iterator<Item = &'a TunnelName>) {
        self.tunnels.keep(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut out = String::new();
        prometheus_client::encoding::text::encode_registry(&mut out, &metrics.registry).unwrap();
        out
    }

    #[test]
    fn every_limit_is_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.limit_hit(Limit::Disk);
        let text = text(&metrics);
        for limit in Limit::ALL {
            let count = u32::from(*limit == Limit::Disk);
            let line = format!("healthie_relay_limit_hits_total{{limit=\"{}\"}} {count}\n", limit.as_str());
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
