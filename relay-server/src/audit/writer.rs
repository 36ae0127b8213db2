//! How the running relay writes its audit log: whatever happens is handed to a thread of its own, which writes all that waits at once. Nobody waits for
//! the disk, and what there is no room for is counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::{Entry, What, Who, append};
use crate::ground::Clock;

/// How many lines may wait for the disk; more than that are lost, and counted.
const WAITING: usize = 16_384;
/// How many are written at once at most.
const BATCH: usize = 1024;
/// How often a failure is told.
const TELL: Duration = Duration::from_secs(10);

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
        Ok(Audit(Some(Inner { to, lost })))
    }

    /// Nowhere: for a simulation.
    pub(crate) fn none() -> Audit {
        Audit(None)
    }

    /// Has a line written, soon.
    pub(crate) fn note(&self, entry: Entry) {
        let Some(inner) = &self.0 else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            inner.to.try_send(Order::Write(Box::new(entry)))
        {
            inner.lost.fetch_add(1, Ordering::Relaxed);
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
    use tunnel_delivery::Timestamp;

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
}
