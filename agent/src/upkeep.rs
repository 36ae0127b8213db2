//! Keeps the store within its bounds while the agent runs: retention at the start and every few minutes, sooner when the store is over a bound that can
//! be seen at a glance, and after it compaction where that gives disk space back. Whatever is removed is told.
//!
//! What may be removed is the archive's to know (never what is pinned, waits to be forwarded, or has just come). The clock is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tunnel_archive::{Archive, ArchiveError, Compacted, Keep, Trimmed};
use tunnel_delivery::Timestamp;

use crate::notice::{Announcer, Notice};

/// How often retention runs.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// How often it is looked whether it should run sooner.
const LOOK: Duration = Duration::from_secs(10);

/// The part of a bound by which the store may be over it until retention runs anyway: a twentieth.
const SLACK: u64 = 20;

/// What is kept, and what was last done about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upkept {
    /// Deliveries older than this many seconds are removed.
    pub keep_seconds: Option<u64>,
    /// How many deliveries are kept.
    pub keep_count: Option<u64>,
    /// How many bytes of records are kept.
    pub keep_bytes: Option<u64>,
    /// How many bytes of records there were when it was looked last.
    pub record_bytes: u64,
    /// The last retention.
    pub last: Option<Retention>,
    /// The last compaction.
    pub compaction: Option<Compaction>,
}

/// One retention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// When.
    pub at: Timestamp,
    /// How many deliveries were removed.
    pub removed: u64,
    /// How many bytes of records they had.
    pub bytes: u64,
    /// How many stayed over the bounds, because they are pinned, wait to be forwarded, or had just come.
    pub spared: u64,
    /// Why it could not be done to its end.
    pub error: Option<String>,
}

/// One compaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compaction {
    /// When it was done.
    pub at: Timestamp,
    /// The length of the store's file before, in bytes.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// What upkeep needs of the store.
pub(crate) trait Store {
    /// How many deliveries there are, and how many bytes of records.
    fn size(&self) -> (u64, u64);
    /// Removes what is over the bounds.
    fn retain(&self, keep: &Keep, now: Timestamp) -> impl Future<Output = Result<Trimmed, ArchiveError>> + Send;
    /// Whether compaction would give much back.
    fn wants_compaction(&self) -> bool;
    /// Gives back what is not used.
    fn compact(&self) -> impl Future<Output = Result<Compacted, ArchiveError>> + Send;
}

impl Store for Archive {
    fn size(&self) -> (u64, u64) {
        let s = self.stats();
        (s.deliveries, s.record_bytes)
    }

    async fn retain(&self, keep: &Keep, now: Timestamp) -> Result<Trimmed, ArchiveError> {
        Archive::retain(self, keep, now).await
    }

    fn wants_compaction(&self) -> bool {
        Archive::wants_compaction(self)
    }

    async fn compact(&self) -> Result<Compacted, ArchiveError> {
        Archive::compact(self).await
    }
}

/// The upkeep of one store.
pub(crate) struct Upkeep<S> {
    store: S,
    keep: Keep,
    announcer: Announcer,
    clock: fn() -> Timestamp,
    upkept: watch::Sender<Upkept>,
    /// What was last warned of; the same again is not told again.
    warned: Option<String>,
}

impl<S: Store> Upkeep<S> {
    /// Ready to run; the receiver has what was last done.
    pub(crate) fn new(
        store: S,
        keep: Keep,
        announcer: Announcer,
        clock: fn() -> Timestamp,
    ) -> (Upkeep<S>, watch::Receiver<Upkept>) {
        let (upkept, seen) = watch::channel(Upkept {
            keep_seconds: keep.age.map(|age| age.as_secs()),
            keep_count: keep.count,
            keep_bytes: keep.bytes,
            ..Upkept::default()
        });
        (Upkeep { store, keep, announcer, clock, upkept, warned: None }, seen)
    }

    /// Runs until `stop`. What is under way then is not waited for: the archive ends it in order.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.go_on() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn go_on(&mut self) {
        let mut look = interval(LOOK);
        // A laptop that slept has one look to make up for, not one for each that it missed.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Instant::now();
        // After a retention that could not bring the store within its bounds, looking more often would change nothing.
        let mut sooner = true;
        loop {
            look.tick().await;
            let over = self.over();
            if Instant::now() < due && !(over && sooner) {
                continue;
            }
            self.retain().await;
            self.compact().await;
            sooner = !self.over();
            due = Instant::now() + EVERY;
        }
    }

    /// Whether the store is well over a bound that needs no search. A store that is full removes as much as comes; that is done, and told, now and
    /// then and not at every look.
    fn over(&self) -> bool {
        let (count, bytes) = self.store.size();
        self.upkept.send_if_modified(|u| std::mem::replace(&mut u.record_bytes, bytes) != bytes);
        let over = |bound: Option<u64>, is: u64| bound.is_some_and(|most| is > most.saturating_add(most / SLACK));
        over(self.keep.count, count) || over(self.keep.bytes, bytes)
    }

    /// Applies one bound after the other, so that it can be told why something was removed.
    async fn retain(&mut self) {
        let Keep { age, count, bytes } = self.keep;
        let bounds = [
            (age.is_some(), "age", Keep { age, ..Keep::default() }),
            (count.is_some(), "count", Keep { count, ..Keep::default() }),
            (bytes.is_some(), "size", Keep { bytes, ..Keep::default() }),
        ];
        let now = (self.clock)();
        let mut done = Retention { at: now, removed: 0, bytes: 0, spared: 0, error: None };
        for (_, reason, keep) in bounds.into_iter().filter(|(set, ..)| *set) {
            match self.store.retain(&keep, now).await {
                Ok(trimmed) => {
                    done.removed += trimmed.deliveries;
                    done.bytes += trimmed.bytes;
                    done.spared = done.spared.max(trimmed.spared);
                    if trimmed.deliveries > 0 {
                        let (count, bytes) = (trimmed.deliveries, trimmed.bytes);
                        self.announcer.tell(Notice::Removed { count, reason, bytes });
                    }
                }
                Err(ArchiveError::Closed) => return,
                Err(e) => {
                    done.error = Some(e.to_string());
                    self.warn(format!("old deliveries could not be removed: {e}"));
                    break;
                }
            }
        }
        self.upkept.send_modify(|u| u.last = Some(done));
    }

    async fn compact(&mut self) {
        if !self.store.wants_compaction() {
            return;
        }
        match self.store.compact().await {
            Ok(Compacted { before, after }) => {
                self.announcer.tell(Notice::Compacted { before, after });
                let done = Compaction { at: (self.clock)(), before, after };
                self.upkept.send_modify(|u| u.compaction = Some(done));
            }
            Err(ArchiveError::Closed) => {}
            Err(e) => self.warn(format!(
                "the store could not be compacted: {e}; `healthie-tunnel store check` says whether it is damaged"
            )),
        }
    }

    fn warn(&mut self, message: String) {
        if self.warned.as_ref() != Some(&message) {
            self.announcer.warn(message.clone());
            self.warned = Some(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const MIN: Duration = Duration::from_secs(60);

    /// A store of so many deliveries of one byte, of which some stay whatever is asked.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        count: u64,
        pinned: u64,
        full: bool,
        /// When each retention was, and what it was asked.
        asked: Vec<(Instant, Keep)>,
        fluff: bool,
        compacted: u32,
    }

    impl Fake {
        fn set(&self, change: impl FnOnce(&mut State)) {
            change(&mut self.0.lock().unwrap());
        }

        fn times(&self) -> usize {
            self.0.lock().unwrap().asked.len()
        }
    }

    impl Store for Fake {
        fn size(&self) -> (u64, u64) {
            let count = self.0.lock().unwrap().count;
            (count, count)
        }

        async fn retain(&self, keep: &Keep, _: Timestamp) -> Result<Trimmed, ArchiveError> {
            let mut s = self.0.lock().unwrap();
            s.asked.push((Instant::now(), *keep));
            if s.full {
                return Err(ArchiveError::DiskFull { dir: "x".into(), free: 1, needed: 2 });
            }
            let left = s.count.min(keep.count.or(keep.bytes).unwrap_or(u64::MAX).max(s.pinned));
            let gone = s.count - left;
            s.count = left;
            Ok(Trimmed { deliveries: gone, bytes: gone, ..Trimmed::default() })
        }

        fn wants_compaction(&self) -> bool {
            self.0.lock().unwrap().fluff
        }

        async fn compact(&self) -> Result<Compacted, ArchiveError> {
            let mut s = self.0.lock().unwrap();
            s.fluff = false;
            s.compacted += 1;
            Ok(Compacted { before: 100, after: 10 })
        }
    }

    type Told = Arc<Mutex<Vec<String>>>;

    fn start(store: &Fake, keep: Keep) -> (Told, watch::Receiver<Upkept>, watch::Sender<bool>) {
        let told = Told::default();
        let notes = Arc::clone(&told);
        let sink = move |n: Arc<Notice>| notes.lock().unwrap().push(serde_json::to_string(&n).unwrap());
        let clock = || Timestamp::from_micros(1);
        let (upkeep, upkept) = Upkeep::new(store.clone(), keep, Announcer::new(Arc::new(sink)), clock);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(upkeep.run(stopped));
        (told, upkept, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn retention_runs_at_the_start_and_every_few_minutes_and_sooner_when_there_is_too_much() {
        let (store, began) = (Fake::default(), Instant::now());
        let (told, upkept, stop) = start(&store, Keep { count: Some(10), ..Keep::default() });
        tokio::time::sleep(MIN * 12).await;
        let at = |n: usize| (store.0.lock().unwrap().asked[n].0 - began).as_secs();
        assert_eq!((store.times(), at(0), at(1), at(2)), (3, 0, 300, 600));
        assert!(told.lock().unwrap().is_empty(), "nothing was removed");
        store.set(|s| s.count = 10);
        tokio::time::sleep(LOOK).await;
        assert_eq!(store.times(), 3, "full is not too much");
        store.set(|s| s.count = 25);
        tokio::time::sleep(LOOK).await;
        assert_eq!((store.times(), store.0.lock().unwrap().count), (4, 10));
        assert_eq!(*told.lock().unwrap(), [r#"{"type":"removed","count":15,"reason":"count","bytes":15}"#]);
        assert_eq!(upkept.borrow().last.as_ref().unwrap().removed, 15);
        tokio::time::sleep(LOOK).await;
        assert_eq!(upkept.borrow().record_bytes, 10);
        // The next one is counted from then.
        tokio::time::sleep(MIN * 4).await;
        assert_eq!(store.times(), 4);
        stop.send_replace(true);
        tokio::time::sleep(MIN * 60).await;
        assert_eq!(store.times(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_brought_within_bounds_is_not_tried_at_every_look() {
        let store = Fake::default();
        store.set(|s| (s.count, s.pinned) = (30, 20));
        let (_told, _upkept, _stop) = start(&store, Keep { bytes: Some(10), ..Keep::default() });
        tokio::time::sleep(MIN * 11).await;
        assert_eq!((store.times(), store.0.lock().unwrap().count), (3, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn each_bound_is_told_by_name_and_none_is_asked_for_where_none_is_set() {
        let store = Fake::default();
        let (_told, _upkept, _stop) = start(&store, Keep::default());
        let all = Fake::default();
        all.set(|s| s.count = 9);
        let (told, _upkept2, _stop2) = start(&all, Keep { age: Some(MIN), count: Some(8), bytes: Some(7) });
        tokio::time::sleep(MIN).await;
        assert_eq!((store.times(), all.times()), (0, 3));
        let told = told.lock().unwrap().join(" ");
        assert!(told.contains("\"count\"") && told.contains("\"size\"") && !told.contains("\"age\""), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_follows_where_it_is_wanted_and_a_full_disk_is_told_once() {
        let store = Fake::default();
        store.set(|s| (s.full, s.fluff) = (true, true));
        let (told, upkept, _stop) = start(&store, Keep { age: Some(MIN), ..Keep::default() });
        tokio::time::sleep(MIN * 30).await;
        let told = told.lock().unwrap().clone();
        assert_eq!(told.iter().filter(|t| t.contains("could not be removed")).count(), 1, "{told:?}");
        assert!(told.contains(&r#"{"type":"compacted","before":100,"after":10}"#.to_owned()), "{told:?}");
        assert_eq!(store.0.lock().unwrap().compacted, 1);
        assert!(upkept.borrow().last.as_ref().unwrap().error.as_ref().unwrap().contains("nearly full"));
        assert_eq!(upkept.borrow().compaction.as_ref().unwrap().after, 10);
    }
}
