//! Which gaps of a tunnel's stream were told: the relay repeats a gap at each connection until something behind it is taken, and whoever read of it once
//! need not read of it at each. Kept in the data folder, so that an agent that is started again knows it too, and with it when what was told, for whoever
//! looks afterwards ([`Missed`]).
//!
//! It errs only towards telling again. What was told is believed for the same stream and tunnel, and only where the relay stands no earlier than it did then
//! and its stream reaches as far: a tunnel that was removed and added again is another stream, and its gaps are news. It knows no sockets and tells nobody.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_protocol::{Gap, GapReason, Welcome};

use crate::inflight::Inflight;

/// The file's name within the data folder.
const NAME: &str = "gaps.json";
/// A longer file was not written here, in bytes.
const FILE_MAX: u64 = 32 << 10;
/// The most runs that are remembered; of more the first are forgotten, and told again.
const MOST: usize = 64;
/// The most lines that are kept of what was told; of more the first go.
const MOST_MISSED: usize = 32;
/// So long they are.
const MISSED_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// What is told of the same tunnel for the same reason within this time is one line.
const ONE_LINE: Duration = Duration::from_secs(3600);

/// Deliveries that the relay had and could not give any more, as it was told then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// When it was told last.
    pub at: Timestamp,
    /// Of which tunnel.
    pub tunnel: TunnelName,
    /// How many.
    pub count: u64,
    /// `age`, `size`, `removed`, `unreadable` or `other`.
    pub reason: String,
}

/// The word for a reason.
pub(crate) fn word(reason: &GapReason) -> &'static str {
    match reason {
        GapReason::Age => "age",
        GapReason::Size => "size",
        GapReason::Removed => "removed",
        GapReason::Unreadable => "unreadable",
        GapReason::Other(_) => "other",
    }
}

/// What was told of one tunnel's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// [`Welcome::stream`], in hexadecimal.
    stream: String,
    tunnel: Option<TunnelName>,
    /// The first and the last place of each run that was told as missing, in order, neither overlapping nor touching.
    runs: Vec<(u64, u64)>,
}

impl Told {
    /// A session begins: what was told counts where this is what it was told of.
    fn welcomed(&mut self, welcome: &Welcome) {
        let stream: String = welcome.stream.iter().map(|b| format!("{b:02x}")).collect();
        if self.stream != stream || self.tunnel.as_ref() != Some(&welcome.tunnel) {
            *self = Told { stream, tunnel: Some(welcome.tunnel.clone()), runs: Vec::new() };
        }
        let last = welcome.after.saturating_add(welcome.waiting);
        self.runs.retain(|&(from, upto)| from.saturating_sub(1) <= welcome.after && upto <= last);
    }

    /// How many of those missing are not known to be missing yet; they are from now on.
    fn news(&mut self, gap: &Gap) -> u64 {
        let Some(width) = gap.upto.checked_sub(gap.from) else { return gap.count };
        let width = width.saturating_add(1);
        let known = |&(from, upto): &(u64, u64)| {
            let (from, upto) = (from.max(gap.from), upto.min(gap.upto));
            upto.checked_sub(from).map_or(0, |more| more.saturating_add(1))
        };
        let fresh = width.saturating_sub(self.runs.iter().map(known).fold(0, u64::saturating_add));
        let mut run = (gap.from, gap.upto);
        self.runs.retain(|&(from, upto)| {
            let touches = from <= run.1.saturating_add(1) && run.0 <= upto.saturating_add(1);
            if touches {
                run = (run.0.min(from), run.1.max(upto));
            }
            !touches
        });
        self.runs.insert(self.runs.partition_point(|known| *known < run), run);
        if self.runs.len() > MOST {
            self.runs.remove(0);
        }
        if fresh == width { gap.count } else { gap.count.min(fresh) }
    }

    /// The delivery at that place is stored: the relay repeats no gap before it. Whether one was known.
    fn stored(&mut self, seq: u64) -> bool {
        let before = self.runs.len();
        self.runs.retain(|&(_, upto)| upto >= seq);
        self.runs.len() != before
    }
}

/// All that is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    told: Told,
    /// The oldest first.
    #[serde(default)]
    missed: Vec<Missed>,
}

impl Known {
    /// That was told now.
    fn miss(&mut self, count: u64, reason: &'static str, now: Timestamp) {
        let Some(tunnel) = self.told.tunnel.clone() else { return };
        self.missed.retain(|missed| now.since(missed.at) < MISSED_KEPT);
        match self.missed.last_mut() {
            Some(last) if last.tunnel == tunnel && last.reason == reason && now.since(last.at) < ONE_LINE => {
                (last.at, last.count) = (now, last.count.saturating_add(count));
            }
            _ => self.missed.push(Missed { at: now, tunnel, count, reason: reason.to_owned() }),
        }
        let more = self.missed.len().saturating_sub(MOST_MISSED);
        self.missed.drain(..more);
    }
}

#[derive(Debug, Default)]
struct Inner {
    known: Mutex<Known>,
    kept: Option<Kept>,
}

/// Where it is kept.
#[derive(Debug)]
struct Kept {
    /// Held while the file is written, so that what is written last is what is known last.
    file: Mutex<PathBuf>,
    clock: fn() -> Timestamp,
}

/// The gaps that were told; clones are the same. By default nothing was told, and nothing is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps(Arc<Inner>);

impl Gaps {
    /// Those that were told in that data folder. A file that cannot be read tells of none. `clock` is the wall clock.
    pub(crate) fn kept_in(data: &Path, clock: fn() -> Timestamp) -> Gaps {
        let file = data.join(NAME);
        let mut text = String::new();
        let read = fs::File::open(&file).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
        let known = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        let kept = Some(Kept { file: Mutex::new(file), clock });
        Gaps(Arc::new(Inner { known: Mutex::new(known), kept }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here can panic half-way.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was told in the last weeks, the oldest first; nothing where none of it is kept.
    pub(crate) fn missed(&self) -> Vec<Missed> {
        let Some(kept) = &self.0.kept else { return Vec::new() };
        let now = (kept.clock)();
        let missed = self.known().missed.clone();
        missed.into_iter().filter(|missed| now.since(missed.at) < MISSED_KEPT).collect()
    }

    /// A session begins.
    pub(crate) fn welcomed(&self, welcome: &Welcome) {
        self.known().told.welcomed(welcome);
    }

    /// How many deliveries of that gap are to be told of; nothing where all were. They count as told from now on, over a restart once they are kept.
    pub(crate) fn news(&self, gap: &Gap) -> Option<u64> {
        let mut known = self.known();
        let news = Some(known.told.news(gap)).filter(|news| *news > 0)?;
        if let Some(kept) = &self.0.kept {
            known.miss(news, word(&gap.reason), (kept.clock)());
        }
        Some(news)
    }

    /// The delivery at that place of the stream is stored. Whether that is to be kept.
    pub(crate) fn stored(&self, seq: u64) -> bool {
        self.known().told.stored(seq)
    }

    /// Keeps it, aside: the agent's end waits for it.
    pub(crate) fn keep(&self, inflight: &Inflight) {
        if self.0.kept.is_none() {
            return;
        }
        let (gaps, inflight) = (self.clone(), inflight.clone());
        tokio::task::spawn_blocking(move || {
            // What cannot be kept is told again, which is all that comes of it.
            let _ = gaps.write();
            drop(inflight);
        });
    }

    fn write(&self) -> io::Result<()> {
        let Some(Kept { file, .. }) = &self.0.kept else { return Ok(()) };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_vec(&*self.known())?;
        let new = file.with_extension("json.new");
        tunnel_vault::write_private(&new, &text)?.sync_all()?;
        fs::rename(new, &*file)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicI64, Ordering};

    use bytes::Bytes;
    use proptest::prelude::*;
    use tunnel_protocol::AnswerMode;

    use super::*;

    fn gap(from: u64, upto: u64) -> Gap {
        Gap { from, upto, count: upto - from + 1, reason: GapReason::Removed }
    }

    fn welcome(stream: &'static [u8], after: u64, last: u64) -> Welcome {
        Welcome {
            version: 1,
            tunnel: "team".parse().unwrap(),
            answer_mode: AnswerMode::Ack,
            public_urls: Vec::new(),
            max_body: 1,
            heartbeat: Duration::from_secs(1),
            dead_after: Duration::from_secs(2),
            stream: Bytes::from_static(stream),
            after,
            waiting: last - after,
            software: String::new(),
            sets_answer: true,
            sealed: false,
            notice: None,
            read_only: false,
        }
    }

    #[test]
    fn a_gap_is_news_once_whoever_asks_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let gaps = || Gaps::kept_in(data.path(), || Timestamp::from_micros(0));
        let first = gaps();
        first.welcomed(&welcome(b"a", 9, 9));
        assert_eq!((first.news(&gap(5, 9)), first.news(&gap(5, 9))), (Some(5), None));
        first.write().unwrap();
        let second = gaps();
        second.welcomed(&welcome(b"a", 9, 9));
        assert_eq!(second.news(&gap(5, 9)), None);
        // More of it went meanwhile: only that is told.
        second.welcomed(&welcome(b"a", 12, 14));
        assert_eq!((second.news(&gap(5, 12)), second.news(&gap(5, 12))), (Some(3), None));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(data.path().join(NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(data.path().join(NAME), "{").unwrap();
        let third = gaps();
        third.welcomed(&welcome(b"a", 12, 14));
        assert_eq!(third.news(&gap(5, 12)), Some(8), "what cannot be read was not told");
    }

    /// The only test that moves it.
    static NOW: AtomicI64 = AtomicI64::new(0);

    #[test]
    fn what_was_told_is_found_afterwards() {
        const HOUR: i64 = 3_600_000_000;
        let at = |hours: i64| NOW.store(hours * HOUR, Ordering::Relaxed);
        let data = tempfile::tempdir().unwrap();
        let gaps = || Gaps::kept_in(data.path(), || Timestamp::from_micros(NOW.load(Ordering::Relaxed)));
        let seen = |gaps: &Gaps| -> Vec<_> {
            let hours = |missed: &Missed| missed.at.as_micros() / HOUR;
            gaps.missed().iter().map(|m| (hours(m), m.tunnel.to_string(), m.count, m.reason.clone())).collect()
        };
        let line = |hours, tunnel: &str, count, reason: &str| (hours, tunnel.to_owned(), count, reason.to_owned());
        at(1000);
        let first = gaps();
        assert_eq!(seen(&first), []);
        first.welcomed(&welcome(b"a", 9, 40));
        assert_eq!((first.news(&gap(5, 9)), first.news(&gap(5, 9))), (Some(5), None));
        assert_eq!(first.news(&gap(5, 11)), Some(2), "a moment later");
        assert_eq!(first.news(&Gap { reason: GapReason::Age, ..gap(12, 12) }), Some(1));
        first.write().unwrap();

        at(1024);
        let second = gaps();
        let told = [line(1000, "team", 7, "removed"), line(1000, "team", 1, "age")];
        assert_eq!(seen(&second), told, "over a restart");
        // Once what is behind it is stored the relay repeats it no more; whoever looks still finds it, also of another tunnel.
        assert!(second.stored(40));
        second.welcomed(&Welcome { tunnel: "other".parse().unwrap(), ..welcome(b"b", 9, 9) });
        assert_eq!(second.news(&gap(5, 5)), Some(1));
        second.write().unwrap();
        assert_eq!(seen(&gaps()), [&told[..], &[line(1024, "other", 1, "removed")]].concat());
        at(1024 + 30 * 24 - 1);
        assert_eq!(seen(&gaps()), [line(1024, "other", 1, "removed")]);
        // What an earlier version wrote has no such lines.
        fs::write(data.path().join(NAME), r#"{"stream":"61","tunnel":"team","runs":[[5,9]]}"#).unwrap();
        let earlier = gaps();
        earlier.welcomed(&welcome(b"a", 9, 9));
        assert_eq!((seen(&earlier), earlier.news(&gap(5, 9))), (Vec::new(), None));
    }

    #[test]
    fn what_was_told_of_another_stream_says_nothing() {
        let told = |next: Welcome| {
            let gaps = Gaps::default();
            gaps.welcomed(&welcome(b"a", 9, 9));
            gaps.news(&gap(5, 9));
            gaps.welcomed(&next);
            gaps.news(&gap(6, 7))
        };
        assert_eq!(told(welcome(b"a", 9, 11)), None);
        assert_eq!(told(welcome(b"b", 9, 11)), Some(2));
        assert_eq!(told(Welcome { tunnel: "other".parse().unwrap(), ..welcome(b"a", 9, 11) }), Some(2));
        assert_eq!(
            told(welcome(b"a", 7, 7)),
            Some(2),
            "a tunnel that was removed and added again, which did not get as far"
        );
        assert_eq!(
            told(welcome(b"a", 0, 11)),
            Some(2),
            "the same, which got further, and of which this device has nothing"
        );
    }

    #[test]
    fn what_the_relay_will_not_repeat_is_forgotten() {
        let gaps = Gaps::default();
        gaps.news(&gap(5, 9));
        assert!(!gaps.stored(4), "it was on its way before the gap");
        assert!(gaps.stored(10) && !gaps.stored(11));
        assert_eq!(gaps.news(&gap(5, 9)), Some(5));
    }

    #[test]
    fn nonsense_is_told_and_not_remembered() {
        let mut told = Told::default();
        assert_eq!(told.news(&Gap { from: 9, ..gap(2, 3) }), 2);
        assert_eq!(told.runs, []);
        assert_eq!(told.news(&Gap { from: 0, upto: u64::MAX, ..gap(1, 3) }), 3);
        assert_eq!(told.news(&Gap { from: 0, upto: u64::MAX, ..gap(1, 3) }), 0);
    }

    proptest! {
        #[test]
        fn every_missing_place_is_counted_once(gaps in proptest::collection::vec((1_u64..60, 0_u64..9), 0..40)) {
            let (mut told, mut places) = (Told::default(), BTreeSet::new());
            for (from, more) in gaps {
                let news = told.news(&gap(from, from + more));
                let fresh = (from..=from + more).filter(|place| places.insert(*place)).count();
                prop_assert_eq!(news, fresh as u64);
                prop_assert!(told.runs.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{:?}", told.runs);
            }
        }

        #[test]
        fn so_many_are_remembered(count in 0_u64..200) {
            let mut known = Known::default();
            known.told.tunnel = Some("a".repeat(40).parse().unwrap());
            for n in 0..count {
                known.told.news(&gap(3 * n + 1, 3 * n + 1));
                known.miss(1, "unreadable", Timestamp::from_micros(i64::try_from(n).unwrap() * 3_600_000_000));
            }
            prop_assert_eq!(known.told.runs.len() as u64, count.min(MOST as u64));
            prop_assert_eq!(known.missed.len() as u64, count.min(MOST_MISSED as u64));
            prop_assert!(serde_json::to_vec(&known).unwrap().len() as u64 * 4 < FILE_MAX);
        }
    }
}
