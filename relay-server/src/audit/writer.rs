//! How the running relay writes its audit log: whatever happens is handed to a thread of its own, which writes all that waits at once. Nobody waits for
//! the disk, and what there is no room for is counted. So is what an agent does more often than is worth a line each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tunnel_delivery::{Timestamp, TunnelName};

use super::{Entry, What, Who, append};
use crate::ground::Clock;
use crate::recurring::{LeftOut, Measure, Recurring};
use crate::tokens::TokenId;

/// How many lines may wait for the disk; more than that are lost, and counted.
const WAITING: usize = 16_384;
/// How many are written at once at most.
const BATCH: usize = 1024;
/// How often a failure is told.
const TELL: Duration = Duration::from_secs(10);

/// How many lines an agent has at once, and one more after how long: for each token, tunnel and kind.
const OF_AGENTS: Measure = Measure { at_once: 60, again: Some(Duration::from_secs(60)) };

/// What agents' lines are told apart by.
type OfAgent = (What, TokenId, Vec<TunnelName>);

enum Order {
    Write(Box<Entry>),
    /// Answer once everything before this is done with.
    Flush(SyncSender<()>),
}

/// Where the relay's lines go. Cheap to clone; the last one to go lets the thread end.
#[derive(Clone, Default)]
pub(crate) struct Audit(Option<Inner>);

#[derive(Clone)]
struct Inner {
    to: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    of_agents: Arc<Recurring<OfAgent>>,
}

impl Audit {
    /// An audit log in that data folder.
    ///
    /// # Errors
    /// There can be no thread for it.
    pub(crate) fn open(data: &Path, clock: Clock) -> std::io::Result<Audit> {
        let (to, orders) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { data: data.to_owned(), clock, lost: Arc::clone(&lost), told: None };
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run(&orders))?;
        Ok(Audit(Some(Inner { to, lost, of_agents: Arc::default() })))
    }

    /// Nowhere: for a simulation.
    pub(crate) fn none() -> Audit {
        Audit(None)
    }

    /// Has a line written, soon; or counts it, where an agent has had as many as it may.
    pub(crate) fn note(&self, entry: Entry) {
        let Some(inner) = &self.0 else { return };
        if let Who::Agent { with_token } = &entry.who {
            let kind = (entry.what, with_token.clone(), entry.tunnels.clone());
            if !inner.of_agents.happened(&kind, OF_AGENTS, entry.at) {
                return;
            }
        }
        inner.write(entry);
    }

    /// Has it written how often agents did what they had no more lines for. To be called every few minutes, and at the end.
    pub(crate) fn sum_up(&self, now: Timestamp) {
        let Some(inner) = &self.0 else { return };
        for LeftOut { kind, times, since } in inner.of_agents.left_out(now) {
            let entry = match kind {
                // What has come to its end was told as a number before.
                Some(_) if times == 0 => continue,
                Some((what, with_token, tunnels)) => {
                    Entry { tunnels, ..Entry::new(now, what, Who::Agent { with_token }) }
                        .note(format!("{times} more since {since}, told as one"))
                }
                None => Entry::new(now, What::LinesLost, Who::Relay)
                    .note(format!("{times} of agents since {since}, too many to tell apart")),
            };
            inner.write(entry.times(times));
        }
    }

    /// Returns once everything is written, or could not be. Blocks.
    pub(crate) fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (done, is_done) = sync_channel(1);
        if inner.to.send(Order::Flush(done)).is_ok() {
            let _ = is_done.recv();
        }
    }
}

impl Inner {
    fn write(&self, entry: Entry) {
        let sent = self.to.try_send(Order::Write(Box::new(entry)));
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    data: PathBuf,
    clock: Clock,
    lost: Arc<AtomicU64>,
    /// When a failure was told last.
    told: Option<Instant>,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let (mut entries, mut flushed) = (Vec::new(), None);
            for order in std::iter::once(first).chain(orders.try_iter().take(BATCH)) {
                match order {
                    Order::Write(entry) => entries.push(*entry),
                    Order::Flush(done) => {
                        flushed = Some(done);
                        break;
                    }
                }
            }
            self.write(entries);
            if let Some(done) = flushed {
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, mut entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let count = entries.len() as u64;
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let said = Entry::new(self.clock.now(), What::LinesLost, Who::Relay);
            entries.insert(0, said.note(format!("{lost} before this one could not be written")));
        }
        if let Err(error) = append(&self.data, &entries) {
            let lost = self.lost.fetch_add(lost + count, Ordering::Relaxed) + lost + count;
            if self.told.is_none_or(|at| at.elapsed() >= TELL) {
                self.told = Some(Instant::now());
                tracing::error!(%error, lost, "THE AUDIT LOG CANNOT BE WRITTEN; deliveries go on, see to the disk and the data folder's rights");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn what_could_not_be_written_is_counted_in_the_next_line_that_can() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new(|| Timestamp::from_micros(5));
        let audit = Audit::open(dir.path(), clock.clone()).unwrap();
        let entry = |what| Entry::new(clock.now(), what, Who::Relay);
        let in_the_way = dir.path().join("audit.jsonl");
        std::fs::create_dir(&in_the_way).unwrap();
        audit.note(entry(What::RelayStarted));
        audit.note(entry(What::TunnelAdded));
        audit.flush();
        std::fs::remove_dir(&in_the_way).unwrap();
        audit.note(entry(What::RelayStopped));
        audit.flush();
        let lines = read(dir.path(), None, None).unwrap().lines;
        let what: Vec<_> = lines.iter().map(|l| l["what"].as_str().unwrap()).collect();
        assert_eq!(what, ["lines-lost", "relay-stopped"]);
        assert!(lines[0]["note"].as_str().unwrap().starts_with("2 "), "{lines:?}");
        Audit::none().note(entry(What::RelayStarted));
        Audit::none().flush();
    }

    /// Whoever has a good token must not push out of the files what others did, and yet it is seen how often.
    #[test]
    fn an_agent_that_comes_and_comes_again_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), Clock::default()).unwrap();
        let [restless, other] = ["0123456789ab", "ba9876543210"].map(|id| TokenId::parse(id).unwrap());
        let team: TunnelName = "team".parse().unwrap();
        let comes = |token: &TokenId, second: i64| {
            let who = Who::Agent { with_token: token.clone() };
            let at = Timestamp::from_micros(second * 1_000_000);
            audit.note(Entry::new(at, What::AgentConnected, who).tunnel(&team));
        };
        for n in 0..10_000 {
            comes(&restless, n / 100);
        }
        comes(&other, 100);
        audit.sum_up(Timestamp::from_micros(100_000_000));
        audit.sum_up(Timestamp::from_micros(101_000_000));
        audit.flush();
        let lines = read(dir.path(), Some(&team), None).unwrap().lines;
        let of = |token: &TokenId| lines.iter().filter(|l| l["with_token"] == token.to_string()).collect::<Vec<_>>();
        assert_eq!(of(&other).len(), 1, "others have their own");
        let its = of(&restless);
        assert_eq!(its.len(), 60 + 1 + 1, "so many at once, one a minute, and the number");
        assert_eq!(its.iter().map(|l| l["times"].as_u64().unwrap_or(1)).sum::<u64>(), 10_000);
        // What operators do has a line in any case.
        for _ in 0..100 {
            audit.note(Entry::new(Timestamp::default(), What::TunnelChanged, Who::Operator { uid: 7 }).tunnel(&team));
        }
        audit.flush();
        assert_eq!(read(dir.path(), Some(&team), None).unwrap().lines.len(), lines.len() + 100);
    }
}
