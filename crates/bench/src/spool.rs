//! Measures `spool`: durable appends by one and by many at once, beside one write and sync of the same bytes; what it takes up; draining it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use tunnel_delivery::{DeviceName, Timestamp};
use tunnel_spool::{Limits, ReadLimit, RedbSpool, Seq, Spool as _, Start};
use tunnel_testkit::Stage;
use tunnel_vault::UserKey;

use crate::crowd::{Crowd, crowd};
use crate::error::{self, BenchError, wrong};
use crate::figures::{Turns, percentile_ms};
use crate::floor::{self, Floor};
use crate::sample::{self, SMALL, Sample};
use crate::table::{Printer, Table};
use crate::{Arguments, machine, protocol};

const ABOUT: &str =
    "durable appends of a 200-byte delivery beside write+fdatasync of its bytes, one at a time (the floor)";
const HELD: &str = "what it takes up; file bytes are for each delivery ever appended, before and after all are taken";

/// In how many turns it is measured.
const TURNS: usize = 5;

/// How many append at once.
const AT_ONCE: [usize; 3] = [1, 16, 64];

/// What the relay's session reads at a time.
const READ: ReadLimit = ReadLimit { count: 64, bytes: 256 << 10 };

/// How long emptying the spool may take before the bench goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures, and prints two tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let (stage, key) = (Stage::new(), arguments.key()?);
    let numbers = Arc::new(AtomicU64::new(1));
    let samples: Arc<[Sample]> = Sample::several(SMALL)?.into();
    let bytes = protocol::length(&Arc::new(samples[0].numbered(1)));
    let mut floor = Floor::create(&stage.folder().join("floor"), bytes)?;
    let mut held = Table::new("spool", HELD, ["resident MiB", "file bytes each", "deliveries"]);

    held.row("before it is opened", [machine::own_resident_mib(), None, Some(0.0)]);
    let waiting = Appender::open(&stage.data("waiting"), key.as_ref(), &samples, &numbers)?;
    let taken = Appender::open(&stage.data("taken"), key.as_ref(), &samples, &numbers)?;
    held.row("two spools opened, empty", [machine::own_resident_mib(), None, Some(0.0)]);
    taken.join().await?;

    let mut turns = Turns::default();
    let mut crowds: Vec<Crowd> = Vec::new();
    let mut commits: Vec<u64> = Vec::new();
    for _ in 0..TURNS {
        let turn = arguments.turn(TURNS);
        let mut rates = vec![floor.rate(turn)?, floor.growing_rate(turn)?];
        for (at, appender, at_once, take) in
            [(0, &waiting, 1, false), (1, &waiting, 16, false), (2, &waiting, 64, false), (3, &taken, 16, true)]
        {
            let before = appender.spool.counters().commits;
            let crowd = appender.appends(at_once, turn, take).await?;
            rates.push(crowd.rate());
            if crowds.len() <= at {
                crowds.push(Crowd::default());
                commits.push(0);
            }
            crowds[at].done += crowd.done;
            crowds[at].micros.extend(crowd.micros);
            commits[at] += appender.spool.counters().commits - before;
        }
        turns.add(rates);
    }

    let columns = ["per second", "x floor", "p50 ms", "p99 ms", "commits per append"];
    let mut table = Table::new("spool", ABOUT, columns);
    table.row(floor::NAMES[0], [turns.rate(0), Some(1.0), None, None, None]);
    table.row(floor::NAMES[1], [turns.rate(1), turns.ratio(1, 0), None, None, None]);
    let names =
        AT_ONCE.map(|n| format!("{n} at once")).into_iter().chain(["16 at once, taken as they come".to_owned()]);
    for (at, name) in names.enumerate() {
        let Crowd { done, micros, .. } = &mut crowds[at];
        micros.sort_unstable();
        let per_append = commits[at] as f64 / *done as f64;
        let (p50, p99) = (percentile_ms(micros, 50.0), percentile_ms(micros, 99.0));
        table.row(name, [turns.rate(at + 2), turns.ratio(at + 2, 0), p50, p99, Some(per_append)]);
    }

    let count = waiting.spool.counters().appended;
    let resident = machine::own_resident_mib();
    held.row("all of one spool waiting", [resident, waiting.file_bytes_each(), Some(count as f64)]);
    let drained = waiting.drain(count).await?;
    let x_floor = turns.rate(0).map(|floor| drained / floor);
    table.row("draining: read, taken, deleted", [Some(drained), x_floor, None, None, None]);
    held.row("drained", [machine::own_resident_mib(), waiting.file_bytes_each(), Some(count as f64)]);
    let count = taken.spool.counters().appended;
    held.row("the other, taken as they came", [None, taken.file_bytes_each(), Some(count as f64)]);
    printer.print(&table)?;
    printer.print(&held)
}

/// A spool and what is appended to it.
#[derive(Clone)]
struct Appender {
    spool: RedbSpool,
    device: DeviceName,
    samples: Arc<[Sample]>,
    numbers: Arc<AtomicU64>,
    file: PathBuf,
}

impl Appender {
    fn open(
        folder: &Path,
        key: Option<&UserKey>,
        samples: &Arc<[Sample]>,
        numbers: &Arc<AtomicU64>,
    ) -> Result<Appender, BenchError> {
        let limits = Limits { max_bytes_per_tunnel: 8 << 30, ..Limits::default() };
        let spool = RedbSpool::open_with(folder, limits, key)?;
        let device = "laptop".parse().map_err(wrong)?;
        let (samples, numbers) = (Arc::clone(samples), Arc::clone(numbers));
        Ok(Appender { file: spool.file(), spool, device, samples, numbers })
    }

    /// Registers the device that takes; gives the place after which it reads.
    async fn join(&self) -> Result<Seq, BenchError> {
        let now = Timestamp::from_system(SystemTime::now());
        Ok(self.spool.join(&sample::tunnel()?, &self.device, Start::Beginning, now).await?.after)
    }

    async fn appends(&self, at_once: usize, limit: Duration, take: bool) -> Result<Crowd, BenchError> {
        let appender = self.clone();
        crowd(at_once, limit, &self.numbers, move |number| {
            let Appender { spool, device, samples, .. } = appender.clone();
            async move {
                let delivery = Arc::new(samples[number as usize % samples.len()].numbered(number));
                let seq = spool.append(Arc::clone(&delivery)).await?;
                if take {
                    spool.taken(&delivery.tunnel, &device, seq);
                }
                Ok(())
            }
        })
        .await
    }

    /// Takes all that waits, as a session does, and waits until it is deleted; gives deliveries per second.
    async fn drain(&self, expected: u64) -> Result<f64, BenchError> {
        let (tunnel, start) = (sample::tunnel()?, Instant::now());
        let mut after = self.join().await?;
        let mut count = 0;
        loop {
            let (spool, of) = (self.spool.clone(), tunnel.clone());
            let read = tokio::task::spawn_blocking(move || spool.read(&of, after, READ)).await.map_err(wrong)??;
            let Some((last, _)) = read.last() else { break };
            after = *last;
            count += read.len() as u64;
            self.spool.taken(&tunnel, &self.device, after);
        }
        if count != expected {
            return Err(wrong(format!("{expected} deliveries were appended and {count} came out of the spool")));
        }
        while self.spool.stats(&tunnel)?.bytes > 0 {
            if start.elapsed() > PATIENCE {
                return Err(wrong(format!("what was taken was not deleted within {PATIENCE:?}")));
            }
            self.spool.flush().await?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    fn file_bytes_each(&self) -> Option<f64> {
        let bytes = std::fs::metadata(&self.file).map_err(error::io("look at the spool's file")).ok()?.len();
        Some(bytes as f64 / self.spool.counters().appended as f64)
    }
}
