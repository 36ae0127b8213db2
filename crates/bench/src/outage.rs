//! Measures `outage`: how soon deliveries come after one, how fast a backlog drains and what memory that takes, and the disk that each delivery
//! uses meanwhile.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::error::{BenchError, wrong};
use crate::figures::median;
use crate::load::{Connections, Limit, load};
use crate::programs::Programs;
use crate::sample::SMALL;
use crate::stand::{Stand, Through};
use crate::table::{Printer, Table};
use crate::{Arguments, machine};

const FIRST: &str = "from starting a killed relay to the first spooled delivery at the handler, beside until the relay listens; the agent tries meanwhile";
const DRAIN: &str = "what came while the agent was away, from starting it to the last one, beside taking them (64 at once, answered when spooled)";
const DISK: &str = "bytes on the disk for each delivery of that backlog, beside the bytes of its body (200)";

/// How long the relay is away, in seconds: the agent's pauses grow with it.
const AWAY: [f64; 3] = [0.2, 2.0, 8.0];

/// How often each outage is measured.
const TURNS: usize = 3;

/// How many deliveries wait through an outage.
const WAITING: u64 = 100;

/// Senders at once.
const SENDERS: usize = 64;

/// How long nothing may arrive before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that a backlog may take to come in, or to drain.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a program is left alone before its memory or disk at rest is read.
const REST: Duration = Duration::from_secs(1);

/// Measures, and prints three tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let programs = Programs::find(arguments.programs.as_deref())?;
    let numbers = Arc::new(AtomicU64::new(0));
    printer.print(&first(&programs, &numbers).await?)?;
    let mut drain = Table::new(
        "drain",
        DRAIN,
        [
            "deliveries",
            "taken per second",
            "drained per second",
            "x taken",
            "relay MiB before",
            "relay MiB most",
            "agent MiB most",
            "agent MiB after",
        ],
    );
    let mut disk = Table::new("disk", DISK, ["bytes each", "x body"]);
    for (through, case) in [(Through::Archive, "into the archive"), (Through::Handler, "on to the handler")] {
        let mut bench = Drain { stand: Stand::start(&programs)?, numbers: Arc::clone(&numbers) };
        drain.row(case, bench.measure(arguments.backlog, through).await?);
        if through == Through::Archive {
            bench.disk(arguments.backlog, &mut disk).await?;
        }
    }
    printer.print(&drain)?;
    printer.print(&disk)
}

/// Lets as many in as asked for; gives their numbers and how many a second were taken.
async fn fill(stand: &Stand<'_>, count: u64, numbers: &Arc<AtomicU64>) -> Result<(Vec<u64>, f64), BenchError> {
    let limit = Limit { time: LONGEST, count };
    let outcome = load(&stand.door(), Connections::Kept, SENDERS, limit, numbers).await?;
    if outcome.failed > 0 {
        return Err(wrong(format!("{} deliveries were not answered 2xx", outcome.failed)));
    }
    let rate = outcome.rate();
    Ok((outcome.answered, rate))
}

async fn first(programs: &Programs, numbers: &Arc<AtomicU64>) -> Result<Table<3>, BenchError> {
    let mut table = Table::new("outage", FIRST, ["listens ms", "first delivery ms", "x listens"]);
    for away in AWAY {
        let (mut listens, mut firsts, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let mut stand = Stand::start(programs)?;
            introduce(&mut stand)?;
            let (waiting, _) = fill(&stand, WAITING, numbers).await?;
            stand.kill_relay();
            stand.start_agent(Through::Handler)?;
            tokio::time::sleep(Duration::from_secs_f64(away)).await;
            let begin = Instant::now();
            let ready = stand.start_relay()?;
            let seen = stand.handler().seen();
            while seen.missing(&waiting) == waiting.len() {
                if begin.elapsed() > PATIENCE {
                    return Err(BenchError::Missing(waiting.len()));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let first = begin.elapsed();
            match seen.wait(&waiting, PATIENCE).await {
                0 => {}
                missing => return Err(BenchError::Missing(missing)),
            }
            listens.push(ready.as_secs_f64() * 1000.0);
            firsts.push(first.as_secs_f64() * 1000.0);
            ratios.push(first.as_secs_f64() / ready.as_secs_f64());
        }
        table.row(format!("away for {away} s"), [median(listens), median(firsts), median(ratios)]);
    }
    Ok(table)
}

/// The tunnel keeps deliveries for devices that it has seen.
fn introduce(stand: &mut Stand<'_>) -> Result<(), BenchError> {
    stand.start_agent(Through::Archive)?;
    stand.agent_ready()?;
    stand.kill_agent();
    Ok(())
}

struct Drain<'p> {
    stand: Stand<'p>,
    numbers: Arc<AtomicU64>,
}

/// The most memory that relay and agent held, in MiB.
#[derive(Default)]
struct Most([f64; 2]);

impl Most {
    fn look(&mut self, stand: &Stand<'_>) {
        for (most, now) in self.0.iter_mut().zip(resident(stand)) {
            *most = most.max(now.unwrap_or_default());
        }
    }
}

fn resident(stand: &Stand<'_>) -> [Option<f64>; 2] {
    stand.pids().map(|pid| pid.and_then(machine::resident_mib))
}

impl Drain<'_> {
    async fn measure(&mut self, count: u64, through: Through) -> Result<[Option<f64>; 8], BenchError> {
        let stand = &mut self.stand;
        introduce(stand)?;
        let (answered, taken) = fill(stand, count, &self.numbers).await?;
        tokio::time::sleep(REST).await;
        let relay_before = resident(stand)[0];
        let mut most = Most::default();
        let begin = Instant::now();
        stand.start_agent(through)?;
        let (mut before, mut moved) = (0, Instant::now());
        loop {
            most.look(stand);
            let done = match through {
                Through::Archive => stand.told(),
                Through::Handler => (answered.len() - stand.handler().seen().missing(&answered)) as u64,
            };
            if done >= count {
                break;
            }
            if done > before {
                (before, moved) = (done, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                return Err(BenchError::Missing(usize::try_from(count - done).unwrap_or(usize::MAX)));
            }
            tokio::time::sleep(LOOK).await;
        }
        let drained = count as f64 / begin.elapsed().as_secs_f64();
        tokio::time::sleep(REST).await;
        let agent_after = resident(stand)[1];
        Ok([
            Some(count as f64),
            Some(taken),
            Some(drained),
            Some(drained / taken),
            relay_before,
            Some(most.0[0]),
            Some(most.0[1]),
            agent_after,
        ])
    }

    /// The backlog is drained: what the archive holds, what is left of the spool, and what the same backlog takes there.
    async fn disk(&mut self, count: u64, table: &mut Table<2>) -> Result<(), BenchError> {
        let figures = |bytes: u64| {
            let each = bytes as f64 / count as f64;
            [Some(each), Some(each / SMALL as f64)]
        };
        let stand = &mut self.stand;
        table.row("archive", figures(used(&stand.agent_data())));
        stand.kill_agent();
        fill(stand, count, &self.numbers).await?;
        table.row("spool, while the agent is away", figures(used(&stand.relay_data())));
        stand.start_agent(Through::Archive)?;
        let end = Instant::now() + LONGEST;
        while stand.told() < count {
            if Instant::now() > end {
                return Err(BenchError::Missing(usize::try_from(count - stand.told()).unwrap_or(usize::MAX)));
            }
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(3 * REST).await;
        table.row("spool, when it has all of it", figures(used(&stand.relay_data())));
        Ok(())
    }
}

/// Bytes that a folder takes up on the disk, all that is below it included.
fn used(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => used(&entry.path()),
        // Blocks of 512 bytes, whatever the file system's own are.
        Ok(about) => about.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_uses_counts_blocks_and_all_below() {
        let stage = tunnel_testkit::Stage::new();
        let folder = stage.folder().join("some");
        std::fs::create_dir_all(folder.join("deeper")).unwrap();
        std::fs::write(folder.join("deeper/one"), vec![1; 100_000]).unwrap();
        std::fs::File::create(folder.join("hole")).unwrap().set_len(1 << 30).unwrap();
        let bytes = used(&folder);
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
        assert_eq!(used(&folder.join("nothing")), 0);
    }
}
