//! How things stand at the moment: the spool of each tunnel, who is connected, certificates, the disk, the process. Gathered when it is asked for;
//! it reads the disk, so it runs where that may block.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tunnel_delivery::Timestamp;

use super::Outcome;
use super::process::{Process, free_bytes};
use crate::shared::Shared;
use crate::tls::certificates::{Source, Standing};

/// The most tunnels whose spools are looked at for one answer; a look costs a read of the disk. There are more only where one relay serves a great many,
/// and then those in front of the alphabet are shown.
const TUNNELS_MOST: usize = 2000;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// A page of figures in the making.
struct Page(Registry);

impl Page {
    fn gauges(&mut self, name: &str, help: &str, unit: Option<Unit>) -> Gauges {
        let family = Gauges::default();
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family.clone()),
            None => self.0.register(name, help, family.clone()),
        }
        family
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: Option<f64>) {
        let Some(value) = value else { return };
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, gauge),
            None => self.0.register(name, help, gauge),
        }
    }

    fn counters(&mut self, name: &str, help: &str, unit: Option<Unit>) -> Counters {
        let family = Counters::default();
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family.clone()),
            None => self.0.register(name, help, family.clone()),
        }
        family
    }
}

fn set(family: &Gauges, labels: Labels, value: f64) {
    family.get_or_create(&labels).set(value);
}

fn count(family: &Counters, labels: Labels, value: u64) {
    family.get_or_create(&labels).inc_by(value);
}

fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// How the relay stands. Blocks on the disk.
pub(super) fn gather(shared: &Shared) -> Vec<Registry> {
    let mut page = Page(Registry::with_prefix("healthie_relay"));
    page.0.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    deliveries(&mut page, shared);
    spool(&mut page, shared);
    if let Some(tls) = &shared.tls {
        certificates(&mut page, &tls.standing(&shared.clock));
    }
    let free = free_bytes(&shared.config.data).map(|b| b as f64);
    page.gauge("disk_free", "Free bytes on the disk of the data folder", Some(Unit::Bytes), free);
    let reserve = Some(shared.config.spool.min_free_bytes as f64);
    let help = "Free bytes that are left on the disk; with less, deliveries are refused";
    page.gauge("disk_reserve", help, Some(Unit::Bytes), reserve);
    vec![page.0, process(shared.started)]
}

/// What the tunnels have counted.
fn deliveries(page: &mut Page, shared: &Shared) {
    let help = "Deliveries by tunnel and by what came of them; names that are no tunnel's have none";
    let ends = page.counters("deliveries", help, None);
    let bytes = page.counters("delivery_body", "Bytes of the bodies that were taken in", Some(Unit::Bytes));
    for (tunnel, counts) in shared.metrics.tunnels.all() {
        let name = tunnel.map(|name| name.to_string()).unwrap_or_default();
        for outcome in Outcome::ALL {
            let n = counts.outcome(*outcome);
            // What never came about says nothing, and for each tunnel it would say it some twenty times.
            if n > 0 || (*outcome == Outcome::Accepted && !name.is_empty()) {
                count(&ends, vec![("tunnel", name.clone()), ("outcome", outcome.as_str().to_owned())], n);
            }
        }
        count(&bytes, vec![("tunnel", name)], counts.bytes());
    }
}

fn spool(page: &mut Page, shared: &Shared) {
    let usable = shared.spool.accepts().is_ok();
    page.gauge(
        "spool_usable",
        "Whether the spool takes deliveries: it has not failed, and its disk has room",
        None,
        Some(f64::from(u8::from(usable))),
    );
    let waiting = page.gauges("spool_waiting", "Deliveries that some device has not taken", None);
    let bytes = page.gauges("spool", "Bytes of the deliveries that are spooled", Some(Unit::Bytes));
    let share = page.gauges("spool_share", "Bytes that a tunnel may hold in the spool", Some(Unit::Bytes));
    let help = "Age of the oldest delivery that some device has not taken; 0 where there is none";
    let oldest = page.gauges("spool_oldest_age", help, Some(Unit::Seconds));
    let help = "Deliveries that were dropped before every device had them";
    let dropped = page.counters("spool_dropped", help, None);
    let help = "Deliveries that were dropped before a device had them and that it was not told of yet";
    let missed = page.gauges("spool_missed", help, None);
    let devices = page.gauges("devices", "Devices that deliveries are kept for", None);
    let agents = page.gauges("agents", "Agents that are connected", None);
    let (all, now) = (shared.registry.snapshot(), shared.now());
    page.gauge("tunnels", "Tunnels that there are", None, Some(all.tunnels.len() as f64));
    page.gauge("tokens", "Tokens that there are", None, Some(all.tokens.len() as f64));
    for (name, settings) in all.tunnels.iter().take(TUNNELS_MOST) {
        let of = || vec![("tunnel", name.to_string())];
        set(&share, of(), shared.config.spool.bytes_of(settings.share().as_ref()) as f64);
        set(&agents, of(), shared.hub.connected(name) as f64);
        // After a failure the spool tells nothing; that it has failed is told above.
        if let Ok(places) = shared.spool.devices(name) {
            set(&devices, of(), places.len() as f64);
            let lost: u64 = places.iter().filter_map(|place| place.gap).map(|gap| gap.count()).sum();
            set(&missed, of(), lost as f64);
        }
        if let Ok(stats) = shared.spool.stats(name) {
            set(&waiting, of(), stats.waiting as f64);
            set(&bytes, of(), stats.bytes as f64);
            let age = stats.oldest.filter(|_| stats.waiting > 0).map_or(0.0, |at| now.since(at).as_secs_f64());
            set(&oldest, of(), age);
            let because = |why: &str| vec![("tunnel", name.to_string()), ("reason", why.to_owned())];
            count(&dropped, because("age"), stats.dropped_age);
            count(&dropped, because("size"), stats.dropped_size);
        }
    }
}

fn certificates(page: &mut Page, all: &[Standing]) {
    let help = "When a certificate ends";
    let ends = page.gauges("certificate_expires_timestamp", help, Some(Unit::Seconds));
    let help = "When the next certificate is asked for from the ACME server";
    let renews = page.gauges("certificate_renews_timestamp", help, Some(Unit::Seconds));
    let help = "Whether the last try to get a newer certificate failed";
    let problem = page.gauges("certificate_problem", help, None);
    let help = "Whether there is a certificate that is valid now";
    let valid = page.gauges("certificate_valid", help, None);
    for (i, one) in all.iter().enumerate() {
        let source = match one.source {
            Source::Files => "files",
            Source::Acme => "acme",
        };
        // By number too: two that differ in their kind of key have the same names.
        let of = || {
            let name = one.names.first().cloned().unwrap_or_default();
            vec![("certificate", i.to_string()), ("name", name), ("source", source.to_owned())]
        };
        let is = |yes: bool| f64::from(u8::from(yes));
        if let Some(at) = one.expires_at {
            set(&ends, of(), seconds(at));
        }
        if let Some(at) = one.renews_at {
            set(&renews, of(), seconds(at));
        }
        set(&problem, of(), is(one.problem.is_some()));
        set(&valid, of(), is(one.is_usable()));
    }
}

/// The process, under the names that all have for it.
fn process(started: Timestamp) -> Registry {
    let mut page = Page(Registry::with_prefix("process"));
    let now = Process::look();
    let help = "When the relay began";
    page.gauge("start_time", help, Some(Unit::Seconds), Some(seconds(started)));
    let float = |n: Option<u64>| n.map(|n| n as f64);
    page.gauge("resident_memory", "Memory in use", Some(Unit::Bytes), float(now.resident_bytes));
    page.gauge("open_fds", "File descriptors that are open", None, float(now.open_fds));
    page.gauge("max_fds", "File descriptors that may be open", None, float(now.max_fds));
    if let Some(seconds) = now.cpu_seconds {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(seconds);
        page.0.register_with_unit("cpu", "Processor time", Unit::Seconds, cpu);
    }
    page.0
}
