//! Measures `path`: from sender to handler through both programs, beside a direct call, and the memory that the programs hold.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::error::{BenchError, wrong};
use crate::figures::{Turns, percentile_ms};
use crate::load::{Connections, Limit, Outcome, load};
use crate::programs::Programs;
use crate::rig::{Rig, Way};
use crate::table::{Printer, Table};
use crate::{Arguments, machine};

const ABOUT: &str = "signed 200-byte deliveries to a handler on a thread of the bench, beside direct calls to it; delivered = arrived there";
const HELD: &str =
    "resident MiB at rest with both agents connected, after the load above, and after as many more as asked for";

/// In how many turns each case is measured.
const TURNS: usize = 3;

/// Senders at once.
const SENDERS: [usize; 3] = [1, 16, 64];

/// The most deliveries in one turn, whatever the time: it bounds what the programs store.
const MOST: u64 = 50_000;

/// How long nothing may arrive before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the programs are left alone before their memory at rest is read.
const REST: Duration = Duration::from_secs(1);

/// The most time that the deliveries asked for may take through one tunnel.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Measures, and prints two tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let programs = Programs::find(arguments.programs.as_deref())?;
    let rig = Rig::start(&programs)?;
    tokio::time::sleep(REST).await;
    let at_rest = resident(&rig);

    let mut bench = Bench { rig, numbers: Arc::new(AtomicU64::new(0)), lost: 0 };
    let columns = [
        "per second",
        "x direct",
        "p50 ms",
        "p50 x direct",
        "p99 ms",
        "delivered per second",
        "delivered x direct",
        "not 2xx",
        "missing",
    ];
    let mut table = Table::new("path", ABOUT, columns);
    let warm = Limit { time: arguments.turn(TURNS).min(Duration::from_millis(300)), count: MOST };
    for way in Way::ALL {
        bench.send(way, Connections::Kept, 4, warm).await?;
    }
    for connections in [Connections::New, Connections::Kept] {
        for senders in SENDERS {
            bench.case(arguments, connections, senders, &mut table).await?;
        }
    }
    printer.print(&table)?;

    let after = resident(&bench.rig);
    let mut more = vec![None; after.len()];
    if arguments.deliveries > 0 {
        for way in [Way::Passthrough, Way::Ack] {
            let sent =
                bench.send(way, Connections::Kept, 16, Limit { time: LONGEST, count: arguments.deliveries }).await?;
            if sent.failed > 0 {
                return Err(wrong(format!("{} deliveries through {} were not answered 2xx", sent.failed, way.name())));
            }
        }
        more = resident(&bench.rig);
    }
    let mut held =
        Table::new("path", HELD, ["at rest", "after the load", "after more", "x at rest", "more deliveries"]);
    for (at, (name, _)) in bench.rig.processes().enumerate() {
        let last = more[at].or(after[at]);
        let count = (arguments.deliveries * if name == "relay" { 2 } else { 1 }) as f64;
        let ratio = last.zip(at_rest[at]).map(|(last, first)| last / first);
        held.row(name, [at_rest[at], after[at], more[at], ratio, Some(count)]);
    }
    printer.print(&held)?;
    if bench.lost == 0 { Ok(()) } else { Err(BenchError::Missing(bench.lost)) }
}

fn resident(rig: &Rig) -> Vec<Option<f64>> {
    rig.processes().map(|(_, pid)| machine::resident_mib(pid)).collect()
}

struct Bench {
    rig: Rig,
    numbers: Arc<AtomicU64>,
    lost: usize,
}

/// What was sent, and what came of it at the other end.
struct Sent {
    outcome: Outcome,
    failed: u64,
    missing: usize,
    /// Deliveries per second from the first request to the last arrival.
    delivered: f64,
}

impl Bench {
    /// Sends, and waits until what was answered 2xx has arrived.
    async fn send(
        &mut self,
        way: Way,
        connections: Connections,
        senders: usize,
        limit: Limit,
    ) -> Result<Sent, BenchError> {
        let outcome = load(&self.rig.door(way), connections, senders, limit, &self.numbers).await?;
        let seen = self.rig.handler().seen();
        let missing = seen.wait(&outcome.answered, PATIENCE).await;
        self.lost += missing;
        let arrived = outcome.answered.len() - missing;
        let took = seen.last().zip(outcome.began).map(|(last, began)| last.duration_since(began));
        let delivered = took.map_or(0.0, |took| arrived as f64 / took.as_secs_f64());
        Ok(Sent { failed: outcome.failed, outcome, missing, delivered })
    }

    /// One number of senders on one kind of connection, each way in turn.
    async fn case(
        &mut self,
        arguments: &Arguments,
        connections: Connections,
        senders: usize,
        table: &mut Table<9>,
    ) -> Result<(), BenchError> {
        let limit = Limit { time: arguments.turn(TURNS), count: MOST };
        let (mut answered, mut delivered) = (Turns::default(), Turns::default());
        let mut micros = [const { Vec::new() }; Way::ALL.len()];
        let (mut failed, mut missing) = ([0; Way::ALL.len()], [0; Way::ALL.len()]);
        for _ in 0..TURNS {
            let (mut rates, mut arrivals) = (Vec::new(), Vec::new());
            for (at, way) in Way::ALL.into_iter().enumerate() {
                let sent = self.send(way, connections, senders, limit).await?;
                rates.push(sent.outcome.rate());
                arrivals.push(sent.delivered);
                micros[at].extend(sent.outcome.micros);
                failed[at] += sent.failed;
                missing[at] += sent.missing;
            }
            answered.add(rates);
            delivered.add(arrivals);
        }
        let kind = if connections == Connections::New { "new connection each" } else { "kept alive" };
        let mut direct_p50 = None;
        for (at, way) in Way::ALL.into_iter().enumerate() {
            micros[at].sort_unstable();
            let (p50, p99) = (percentile_ms(&micros[at], 50.0), percentile_ms(&micros[at], 99.0));
            direct_p50 = direct_p50.or(p50);
            let x_direct = p50.zip(direct_p50).map(|(p50, direct)| p50 / direct);
            let figures = [
                answered.rate(at),
                answered.ratio(at, 0),
                p50,
                x_direct,
                p99,
                delivered.rate(at),
                delivered.ratio(at, 0),
                Some(failed[at] as f64),
                Some(missing[at] as f64),
            ];
            table.row(format!("{kind}, {senders} at once, {}", way.name()), figures);
        }
        Ok(())
    }
}
