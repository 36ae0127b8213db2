//! The relay's figures, for its operator: what was counted as it happened, and how things stand when somebody asks.
//!
//! Each relay has its own; there is nothing global, because several relays live in one process in tests, the demo and the simulation. What happens
//! is counted here ([`Metrics`]); how things stand is gathered when it is asked for (`standing`, `process`), off the async workers, one at a time
//! (`scrape`). A label is always one of a closed list ([`Limit`], [`Outcome`] …) or names something of the operator's or of a tunnel that exists, so
//! that no stranger can make series. Time is measured by whoever counts: how long something took is an argument.

mod closed;
mod ending;
mod limit;
mod outcome;
mod process;
pub(crate) mod scrape;
mod standing;
mod text;
mod tunnels;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tunnel_delivery::TunnelName;

pub(crate) use ending::handshake::Handshake;
pub(crate) use ending::session::SessionEnd;
pub(crate) use limit::Limit;
pub(crate) use outcome::Outcome;
use tunnels::Tunnels;

/// One label of a series: its name and one of a closed list of values.
type Label = [(&'static str, &'static str); 1];

/// Upper bounds of latencies, in seconds. A commit takes some 2 ms; a handler may take as long as its tunnel allows, 15 s unless set otherwise.
const LATENCIES: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds of the time until an agent has something, in seconds: it may have been away for days.
const WAITS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0];

type Histograms = Family<Label, Histogram, fn() -> Histogram>;

/// What one relay counts. Counting takes no lock that anything slow holds.
pub(crate) struct Metrics {
    registry: Registry,
    /// One scrape at a time; whoever gathers holds it to the end, also where nobody waits for it any more.
    scraping: Arc<tokio::sync::Mutex<()>>,
    tunnels: Tunnels,
    limits: Family<Label, Counter>,
    answered: Histograms,
    spooled: Histogram,
    taken: Histogram,
    round_trip: Histogram,
    requests: Family<[(&'static str, &'static str); 2], Counter>,
    connections: Family<Label, Gauge>,
    accepted: Family<Label, Counter>,
    not_accepted: Counter,
    handshakes: Family<Label, Counter>,
    sessions: Family<Label, Counter>,
    ended: Family<Label, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A listener, as connections are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Http,
    Https,
    Admin,
}

impl Listener {
    /// Its name in figures.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Listener::Http => "http",
            Listener::Https => "https",
            Listener::Admin => "admin",
        }
    }
}

/// Counted as long as it is there.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A family whose series are all there from the start: a rate is only seen between two values.
fn from_the_start(name: &'static str, values: impl Iterator<Item = &'static str>) -> Family<Label, Counter> {
    let family = Family::<Label, Counter>::default();
    for value in values {
        let _ = family.get_or_create(&[(name, value)]);
    }
    family
}

impl Metrics {
    /// Everything at zero, and no tunnels.
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("healthie_relay");
        let listeners = || [Listener::Http, Listener::Https, Listener::Admin].map(Listener::as_str).into_iter();
        let metrics = Metrics {
            scraping: Arc::default(),
            tunnels: Tunnels::default(),
            limits: from_the_start("limit", Limit::ALL.iter().map(|l| l.as_str())),
            answered: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            spooled: Histogram::new(LATENCIES),
            taken: Histogram::new(WAITS),
            round_trip: Histogram::new(LATENCIES),
            requests: Family::default(),
            connections: Family::default(),
            accepted: from_the_start("listener", listeners()),
            not_accepted: Counter::default(),
            handshakes: from_the_start("result", Handshake::ALL.iter().map(|h| h.as_str())),
            sessions: from_the_start("device", ["new", "known"].into_iter()),
            ended: from_the_start("reason", SessionEnd::ALL.iter().map(|e| e.as_str())),
            registry: Registry::default(),
        };
        let mut counter = |name: &str, help: &str, family: &Family<Label, Counter>| {
            registry.register(name, help, family.clone());
        };
        counter("limit_hits", "How often a limit kept something out or ended it", &metrics.limits);
        counter("connections_accepted", "Connections that were accepted", &metrics.accepted);
        counter("tls_handshakes", "TLS handshakes by how they ended", &metrics.handshakes);
        counter("sessions_opened", "Agents' sessions that were opened; known devices came again", &metrics.sessions);
        counter("sessions_ended", "Agents' sessions that ended, or were refused, by reason", &metrics.ended);
        let help = "Requests answered, by what they were for and the class of their status";
        registry.register("http_requests", help, metrics.requests.clone());
        registry.register("connections", "Connections that are open, agents' included", metrics.connections.clone());
        let help = "Connections that the system did not let be accepted, mostly for want of file descriptors";
        registry.register("accept_failures", help, metrics.not_accepted.clone());
        let help = "Time from a delivery's head to its answer";
        registry.register_with_unit("delivery_answer", help, Unit::Seconds, metrics.answered.clone());
        let help = "Time until a delivery was durably in the spool";
        registry.register_with_unit("spool_append", help, Unit::Seconds, metrics.spooled.clone());
        let help = "Time from a delivery's receipt until an agent durably had it; the agent may have been away";
        registry.register_with_unit("delivery_taken", help, Unit::Seconds, metrics.taken.clone());
        let help = "Time from sending a delivery to an agent until it durably had it";
        registry.register_with_unit("agent_round_trip", help, Unit::Seconds, metrics.round_trip.clone());
        Metrics { registry, ..metrics }
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

    /// A delivery's body of so many bytes was read.
    pub(crate) fn body(&self, tunnel: &TunnelName, bytes: u64) {
        self.tunnels.bytes(tunnel, bytes);
    }

    /// A delivery was durably spooled.
    pub(crate) fn spooled(&self, took: Duration) {
        self.spooled.observe(took.as_secs_f64());
    }

    /// An agent durably has a delivery: so long after it was sent to it, and so long after it was received.
    pub(crate) fn taken(&self, round_trip: Duration, since_receipt: Duration) {
        self.round_trip.observe(round_trip.as_secs_f64());
        self.taken.observe(since_receipt.as_secs_f64());
    }

    /// A request was answered; `route` is one of a few words.
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        let class = match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("route", route), ("status", class)]).inc();
    }

    /// A connection was accepted; it is open until what is returned is dropped.
    pub(crate) fn connection(&self, listener: Listener) -> Open {
        let label = [("listener", listener.as_str())];
        self.accepted.get_or_create(&label).inc();
        let open = self.connections.get_or_create_owned(&label);
        open.inc();
        Open(open)
    }

    /// A connection could not be accepted.
    pub(crate) fn not_accepted(&self) {
        self.not_accepted.inc();
    }

    /// A TLS handshake ended.
    pub(crate) fn handshake(&self, result: Handshake) {
        self.handshakes.get_or_create(&[("result", result.as_str())]).inc();
    }

    /// An agent's session was opened, of a device that was there before or not.
    pub(crate) fn session_opened(&self, known: bool) {
        self.sessions.get_or_create(&[("device", if known { "known" } else { "new" })]).inc();
    }

    /// An agent's session ended.
    pub(crate) fn session_ended(&self, why: SessionEnd) {
        self.ended.get_or_create(&[("reason", why.as_str())]).inc();
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

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let metrics = Metrics::new();
        let line = |n| format!("healthie_relay_connections{{listener=\"https\"}} {n}\n");
        let open = metrics.connection(Listener::Https);
        assert!(text(&metrics).contains(&line(1)));
        drop(open);
        assert!(text(&metrics).contains(&line(0)));
        assert!(text(&metrics).contains("healthie_relay_connections_accepted_total{listener=\"https\"} 1\n"));
    }
}
