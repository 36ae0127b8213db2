//! A process that writes into an archive and says on stdout what was acknowledged, and the check of what it wrote. The process is the
//! test's own program, started again with a variable that says where to write.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tunnel_archive::{Archive, Order, Query};
use tunnel_delivery::SignatureStatus;

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
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let archive = archive.clone();
            runtime.spawn(async move {
                for n in (from + task..from + SPAN).step_by(8) {
                    if archive.insert(sample::intake(n)).await.is_err() {
                        return; // A full disk ends the run.
                    }
                    say("delivery", n);
                    if n % 3 == 0 {
                        archive.record_soon(sample::id_of(n), sample::attempt(n + 1)).unwrap();
                    }
                    if n % 2 == 0 {
                        archive.record(sample::id_of(n), sample::attempt(n)).await.unwrap();
                        say("attempt", n);
                    }
                    if n % 16 == 0 {
                        archive.set_note(sample::id_of(n), Some(format!("note {n}"))).await.unwrap();
                        say("note", n);
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
}

pub(crate) type Acks = BTreeMap<u64, Acked>;

/// A writing process.
pub(crate) struct Writer {
    child: Child,
    acks: Arc<(Mutex<(Acks, bool)>, Condvar)>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(dir: &Path, from: u64) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
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
                let acked = state.0.entry(n.parse().unwrap()).or_default();
                match what {
                    "delivery" => acked.delivery = true,
                    "attempt" => acked.attempt = true,
                    _ => acked.note = true,
                }
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().1 = true;
            shared.1.notify_all();
        });
        Writer { child, acks, reader: Some(reader) }
    }

    /// Waits until so many deliveries were acknowledged, or the process ended.
    pub(crate) fn wait_for(&self, deliveries: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut state = self.acks.0.lock().unwrap();
        while state.0.len() < deliveries && !state.1 {
            assert!(Instant::now() < deadline, "only {} deliveries were acknowledged in a minute", state.0.len());
            state = self.acks.1.wait_timeout(state, Duration::from_secs(1)).unwrap().0;
        }
    }

    /// What has been acknowledged by now.
    pub(crate) fn acks(&self) -> Acks {
        self.acks.0.lock().unwrap().0.clone()
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
        self.acks()
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
/// not at all, and that the indexes agree with the deliveries. Returns how many deliveries there are.
pub(crate) fn check(dir: &Path, acks: &Acks) -> usize {
    let archive = Archive::open(dir, sample::small()).unwrap_or_else(|error| panic!("does not open: {error}"));
    for (&n, acked) in acks {
        let stored = archive.get(sample::id_of(n)).unwrap_or_else(|error| panic!("delivery {n}: {error}"));
        let stored = stored.unwrap_or_else(|| panic!("delivery {n} was acknowledged and is lost ({acked:?})"));
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
    let indexed: usize = SignatureStatus::ALL
        .iter()
        .map(|status| list(&archive, Query { signature: vec![*status], ..Query::default() }).len())
        .sum();
    assert_eq!(indexed, all.len(), "index and deliveries differ");
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
