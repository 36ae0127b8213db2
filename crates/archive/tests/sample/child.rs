//! A process that writes into an archive, removes, trims and compacts meanwhile, and says on stdout what was acknowledged; and the check
//! of what it did. The process is the test's own program, started again with a variable that says where to write.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tunnel_archive::{Archive, ArchiveError, Keep, Order, Query};
use tunnel_delivery::Timestamp;

use crate::sample;

const DIR: &str = "HEALTHIE_TUNNEL_TEST_DIR";
const FROM: &str = "HEALTHIE_TUNNEL_TEST_FROM";

/// How many deliveries one process may write at most.
pub(crate) const SPAN: u64 = 1_000_000;

/// What a child does: to be called by the test named `writer`; returns at once in any other process.
pub(crate) fn run() {
    let (Ok(dir), Ok(from)) = (std::env::var(DIR), std::env::var(FROM)) else { return };
    let from: u64 = from.parse().unwrap();
    let archive = Archive::open(Path::new(&dir), sample::small()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let newest = Arc::new(AtomicU64::new(from));
    runtime.spawn(keep(archive.clone(), from, Arc::clone(&newest)));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (archive, newest) = (archive.clone(), Arc::clone(&newest));
            runtime.spawn(async move {
                for n in (from + task..from + SPAN).step_by(8) {
                    if archive.insert(sample::intake(n)).await.is_err() {
                        return; // A full disk ends the run.
                    }
                    say("delivery", n);
                    newest.fetch_max(n, Ordering::Relaxed);
                    if n % 3 == 0 {
                        archive.record_soon(sample::id_of(n), sample::attempt(n + 1)).unwrap();
                    }
                    if n % 2 == 0 {
                        match archive.record(sample::id_of(n), sample::attempt(n)).await {
                            Ok(_) => say("attempt", n),
                            // A task that lags behind may come after retention.
                            Err(ArchiveError::Unknown(_)) => continue,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    if n % 16 == 0 {
                        match archive.set_note(sample::id_of(n), Some(format!("note {n}"))).await {
                            Ok(()) => say("note", n),
                            Err(ArchiveError::Unknown(_)) => continue,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// What a child does that fills gaps in an archive, one delivery after the other, while the archive sketches what is there: to be called by the test
/// named `late`.
#[allow(dead_code)] // Only kills need this.
pub(crate) fn run_late() {
    let (Ok(dir), Ok(from)) = (std::env::var(DIR), std::env::var(FROM)) else { return };
    let archive = Archive::open(Path::new(&dir), sample::small()).unwrap();
    let mut dice = sample::Dice(from.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        loop {
            let n = dice.below(GAPS / 2) * 2 + 1;
            archive.insert(sample::intake(n)).await.unwrap();
            say("delivery", n);
            // Sketching is for when the writer rests.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

#[allow(dead_code)]
/// Below this every odd number is a gap for [`run_late`].
pub(crate) const GAPS: u64 = 3000;

/// Keeps the archive within bounds all the time.
async fn keep(archive: Archive, from: u64, newest: Arc<AtomicU64>) {
    let mut removed = from;
    loop {
        let until = newest.load(Ordering::Relaxed).saturating_sub(150);
        // One in ten is removed by name.
        let named: Vec<u64> = (removed..until).filter(|n| n % 10 == 7).collect();
        removed = removed.max(until);
        named.iter().for_each(|n| say("remove", *n));
        archive.remove(named.iter().map(|n| sample::id_of(*n)).collect()).await.unwrap();
        named.iter().for_each(|n| say("removed", *n));
        // What was tried and is older than this goes; what still waits to be forwarded stays.
        let limit = until.saturating_sub(150);
        say("limit", limit);
        let age = Duration::from_secs(600);
        let now = sample::time_of(limit).as_micros() + 600_000_000;
        let keep = Keep { age: Some(age), ..Keep::default() };
        archive.retain(&keep, Timestamp::from_micros(now)).await.unwrap();
        match archive.compact().await {
            Ok(_) | Err(ArchiveError::DiskFull { .. }) => say("compacted", limit),
            Err(error) => panic!("{error}"),
        }
    }
}

fn say(what: &str, n: u64) {
    // One write of a short line to a pipe is not mixed with others.
    std::io::stdout().lock().write_all(format!("\nack {what} {n}\n").as_bytes()).unwrap();
}

/// What was acknowledged of one delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acked {
    pub(crate) delivery: bool,
    pub(crate) attempt: bool,
    pub(crate) note: bool,
    /// It was about to be removed.
    pub(crate) remove: bool,
    /// It was removed.
    pub(crate) removed: bool,
}

/// Everything that was acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Acks {
    each: BTreeMap<u64, Acked>,
    /// Retention was to remove what is older.
    limit: u64,
    /// How often the archive was compacted.
    pub(crate) compactions: usize,
}

impl Acks {
    pub(crate) fn new() -> Acks {
        Acks::default()
    }

    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// Adds what one process more was told.
    pub(crate) fn extend(&mut self, more: Acks) {
        self.each.extend(more.each);
        self.limit = self.limit.max(more.limit);
        self.compactions += more.compactions;
    }

    fn may_be_gone(&self, n: u64, acked: &Acked) -> bool {
        // What was never tried waits to be forwarded.
        acked.remove || (n < self.limit && (n.is_multiple_of(2) || n.is_multiple_of(3)))
    }
}

/// A writing process.
pub(crate) struct Writer {
    child: Child,
    acks: Arc<(Mutex<(Acks, bool)>, Condvar)>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(dir: &Path, from: u64) -> Writer {
        Writer::start_as("writer", dir, from)
    }

    /// Starts the test of this name as a process.
    pub(crate) fn start_as(test: &str, dir: &Path, from: u64) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(FROM, from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let acks: Arc<(Mutex<(Acks, bool)>, Condvar)> = Arc::default();
        let shared = Arc::clone(&acks);
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                let ["ack", what, n] = words[..] else { continue };
                let mut state = shared.0.lock().unwrap();
                let n = n.parse().unwrap();
                match what {
                    "limit" => state.0.limit = state.0.limit.max(n),
                    "compacted" => state.0.compactions += 1,
                    _ => {
                        let acked = state.0.each.entry(n).or_default();
                        match what {
                            "delivery" => acked.delivery = true,
                            "attempt" => acked.attempt = true,
                            "note" => acked.note = true,
                            "remove" => acked.remove = true,
                            _ => acked.removed = true,
                        }
                    }
                }
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().1 = true;
            shared.1.notify_all();
        });
        Writer { child, acks, reader: Some(reader) }
    }

    /// Waits until so many deliveries were acknowledged and so many compactions, or the process ended.
    pub(crate) fn wait_for(&self, deliveries: usize, compactions: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut state = self.acks.0.lock().unwrap();
        while (state.0.len() < deliveries || state.0.compactions < compactions) && !state.1 {
            assert!(Instant::now() < deadline, "only {} deliveries were acknowledged in a minute", state.0.len());
            state = self.acks.1.wait_timeout(state, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// Stops the process where it is.
    #[allow(dead_code)] // Only a power cut needs this.
    pub(crate) fn freeze(&self) {
        let status = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "cannot stop the writer");
    }

    /// kill -9; returns everything that was acknowledged before.
    pub(crate) fn kill(mut self) -> Acks {
        self.end();
        self.acks.0.lock().unwrap().0.clone()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens the archive and checks that everything acknowledged is there, byte for byte, that what was not acknowledged is there whole or
/// not at all, that what was removed is gone, and that the indexes agree with the deliveries. Returns how many deliveries there are.
pub(crate) fn check(dir: &Path, acks: &Acks) -> usize {
    let archive = Archive::open(dir, sample::small()).unwrap_or_else(|error| panic!("does not open: {error}"));
    for (&n, acked) in &acks.each {
        let stored = archive.get(sample::id_of(n)).unwrap_or_else(|error| panic!("delivery {n}: {error}"));
        assert!(stored.is_none() || !acked.removed, "delivery {n} was removed and is there");
        let Some(stored) = stored else {
            assert!(acks.may_be_gone(n, acked), "delivery {n} was acknowledged and is lost ({acked:?})");
            continue;
        };
        let sent = sample::intake(n);
        assert!(stored.delivery == *sent.delivery, "delivery {n} is not what was sent");
        assert_eq!((stored.body_sha256, &stored.event), (sent.body_sha256, &sent.event));
        if acked.attempt {
            let there = stored.attempts.contains(&sample::attempt(n));
            assert!(there, "the attempt at {n} was acknowledged and is lost: {} there", stored.attempts.len());
        }
        if acked.note {
            assert_eq!(stored.note, Some(format!("note {n}")));
        }
    }
    let all = list(&archive, Query::default());
    for id in &all {
        archive.get(*id).unwrap_or_else(|error| panic!("{id}: {error}")).unwrap_or_else(|| panic!("{id} is not there"));
    }
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?} {report:?}", report.findings());
    assert_eq!(archive.stats().deliveries, all.len() as u64, "count and deliveries differ");
    all.len()
}

fn list(archive: &Archive, mut query: Query) -> Vec<tunnel_delivery::DeliveryId> {
    query.order = Order::OldestFirst;
    let mut ids = Vec::new();
    loop {
        let page = archive.list(&query).unwrap();
        ids.extend(page.items.iter().map(|s| s.id));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return ids,
        }
    }
}

/// A number from the environment, or the default.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name} is not a number: {n}")))
}

/// A seed that is another one each time; tests say it when they fail.
pub(crate) fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_nanos() as u64
}
