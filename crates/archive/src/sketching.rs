//! Making sketches of what is stored, behind everything else: the writer does a slice of it when nothing waits. What is not sketched yet is found as well, only not as fast.
//!
//! It goes from the oldest to the newest, and holds a small distance from the newest: what comes at the same moment need not come in the order of
//! its ids, and what comes late costs more.

use std::time::{Duration, Instant};

use tunnel_delivery::DeliveryId;

use crate::engine::{Engine, Fault};
use crate::keys;
use crate::pending::{Kv as _, Pending};
use crate::query::Order;
use crate::reader;
use crate::record::{self, Entry};
use crate::sketch::{self, Sketch, following};
use crate::space::Space;

/// How long nothing must have come before a slice is done.
const IDLE: Duration = Duration::from_millis(5);
/// The same once one was done and nothing came since: half a million deliveries that wait for it are minutes otherwise.
const STILL_IDLE: Duration = Duration::from_millis(1);
/// How long before the first: whoever opens the archive wants something of it.
const AT_FIRST: Duration = Duration::from_millis(700);
/// How long a slice may take before its commit.
const SLICE: Duration = Duration::from_millis(3);
/// How far the newest that is sketched is from the newest there is.
const SETTLED: Duration = Duration::from_secs(2);
/// Where there is always something that waits, a slice is done each time the writer has rested so long all together: one that never rests is not
/// to be held up, and what comes at a rate it can keep up with is sketched as it comes.
const RESTED: Duration = Duration::from_millis(10);
/// It is looked for again once so many came.
const AGAIN: u64 = 64;

/// How far sketching is.
pub(crate) struct Sketching {
    /// Whether there may be something to sketch.
    wanted: bool,
    started: bool,
    /// Whether nothing waits, and how long that was so since a slice was done.
    idle: bool,
    rested: Duration,
    /// How many came since there was nothing to sketch.
    came: u64,
    /// The one that is being made.
    under_way: Option<UnderWay>,
    /// Whether sketches may be left whose deliveries are gone.
    prune: bool,
    /// A sketch that is to be made anew.
    blurred: Option<DeliveryId>,
}

/// A sketch that is being made, in memory only.
struct UnderWay {
    sketch: Sketch,
    /// Its stretch begins here.
    low: DeliveryId,
    /// What is not in it yet begins here.
    next: DeliveryId,
    /// The last one of its stretch, where that is known: one that is made anew.
    end: Option<DeliveryId>,
}

impl Default for Sketching {
    fn default() -> Sketching {
        Sketching {
            wanted: true,
            started: false,
            idle: false,
            rested: Duration::ZERO,
            came: 0,
            under_way: None,
            prune: true,
            blurred: None,
        }
    }
}

impl Sketching {
    /// How long the writer may wait for something else to do; for good if there is nothing to sketch.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let wait = match (self.started, self.idle) {
            (false, _) => AT_FIRST,
            (true, false) => IDLE,
            (true, true) => STILL_IDLE,
        };
        self.is_wanted().then_some(wait)
    }

    /// The writer had nothing to do for this long, and has nothing now or something that came.
    pub(crate) fn rested(&mut self, time: Duration, idle: bool) {
        self.rested += time;
        self.idle = idle;
    }

    fn is_wanted(&self) -> bool {
        self.wanted || self.prune || self.blurred.is_some()
    }

    /// A delivery comes, perhaps one that belongs into what is being made.
    pub(crate) fn arrives(&mut self, id: DeliveryId) {
        self.came += 1;
        self.wanted |= self.came >= AGAIN;
        if self.under_way.as_ref().is_some_and(|it| id >= it.low && id < it.next) {
            self.under_way = None;
        }
    }

    /// Deliveries were removed.
    pub(crate) fn prune(&mut self) {
        self.prune = true;
    }

    /// This sketch became too full.
    pub(crate) fn sharpen(&mut self, blurred: Option<DeliveryId>) {
        if self.blurred.is_none() && blurred.is_some() {
            self.blurred = blurred;
            // What goes on at the frontier may wait there for what comes; this need not wait for that.
            self.under_way = None;
        }
    }

    /// Goes on for a while.
    pub(crate) fn slice(&mut self, engine: &Engine, space: &Space) -> Result<(), Fault> {
        let rest = if self.started { RESTED } else { AT_FIRST };
        if !self.is_wanted() || (!self.idle && self.rested < rest) {
            return Ok(());
        }
        self.started = true;
        self.rested = Duration::ZERO;
        // A search can do without: it must not take the room of what cannot.
        if space.check(space.look(), 1 << 20).is_err() {
            (self.wanted, self.came, self.prune, self.blurred) = (false, 0, false, None);
            return Ok(());
        }
        let until = Instant::now() + SLICE;
        let mut batch = Pending::new(engine);
        if std::mem::take(&mut self.prune) {
            self.prune = prune(engine, &mut batch)?;
            // Its stretch may begin earlier now.
            self.under_way = None;
        } else {
            self.go_on(engine, &mut batch, until)?;
        }
        batch.commit()
    }

    fn go_on(&mut self, engine: &Engine, batch: &mut Pending<'_>, until: Instant) -> Result<(), Fault> {
        let Some(settled) = settled(engine)? else {
            (self.wanted, self.came, self.under_way, self.blurred) = (false, 0, None, None);
            return Ok(());
        };
        // However slow the machine is, each slice gets somewhere.
        let mut looked = 0;
        while !batch.is_full() && (looked == 0 || Instant::now() < until) {
            let mut it = match self.under_way.take() {
                Some(it) => it,
                None => self.begin(batch)?,
            };
            let high = it.end.unwrap_or(settled);
            let mut walk = keys::LINES.walk(it.next.as_bytes(), high.as_bytes(), Order::OldestFirst);
            let mut more = true;
            while !it.sketch.is_full() && (looked == 0 || Instant::now() < until) {
                looked += 1;
                let Some((key, line)) = walk.next(engine)? else {
                    more = false;
                    break;
                };
                let Some(id) = DeliveryId::from_slice(&key) else { continue };
                it.next = following(id);
                // What cannot be read cannot be found either; a check tells of it.
                let Ok(entry) = Entry::from_bytes(id, &line) else { continue };
                if entry.summary.body_len > sketch::LONG as u64 {
                    it.sketch.add_long(entry.summary.environment);
                    continue;
                }
                let body = match reader::request_bytes(engine, &entry) {
                    Ok(request) => record::body(request).unwrap_or_default(),
                    Err(reader::ReadError::Unreadable(_)) => continue,
                    Err(reader::ReadError::Fault(fault)) => return Err(fault),
                };
                it.sketch.add(entry.summary.environment, &body);
            }
            if it.sketch.is_full() && more {
                // Its last delivery is the one before what comes next.
                let last = before(it.next);
                put(batch, last, it.sketch);
                if it.end == Some(last) {
                    self.blurred = None;
                } else {
                    let end = it.end;
                    self.under_way = Some(UnderWay { sketch: Sketch::new(), low: it.next, next: it.next, end });
                }
            } else if let Some(end) = it.end.filter(|_| !more) {
                put(batch, end, it.sketch);
                self.blurred = None;
            } else {
                self.under_way = Some(it);
                if !more {
                    (self.wanted, self.came) = (false, 0);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is to be made next: one anew, or the first beyond the frontier.
    fn begin(&mut self, batch: &Pending<'_>) -> Result<UnderWay, Fault> {
        let after = |end: Option<DeliveryId>| end.map_or(DeliveryId::from_bytes([0; 16]), following);
        let (low, end) = match self.blurred {
            Some(end) => {
                let previous = batch.last_in(&[keys::SKETCH], &keys::sketch(end))?;
                (after(previous.and_then(|(key, _)| sketch::id_of(&key))), Some(end))
            }
            None => (after(sketch::frontier(batch)?), None),
        };
        Ok(UnderWay { sketch: Sketch::new(), low, next: low, end })
    }
}

/// Everything up to this id is sketched; `None` where nothing is stored.
fn settled(engine: &Engine) -> Result<Option<DeliveryId>, Fault> {
    let newest = keys::LINES.walk(&[0; 16], &[255; 16], Order::NewestFirst).next(engine)?;
    let newest = newest.and_then(|(key, _)| DeliveryId::from_slice(&key));
    Ok(newest.map(|id| DeliveryId::last_at(id.received_at().earlier(SETTLED))))
}

/// Removes the oldest sketches as far as their deliveries are gone. Returns whether there are more.
fn prune(engine: &Engine, batch: &mut Pending<'_>) -> Result<bool, Fault> {
    let oldest = keys::LINES.walk(&[0; 16], &[255; 16], Order::OldestFirst).next(engine)?;
    let oldest = oldest.map_or_else(|| vec![255; 16], |(key, _)| key);
    let end = [&[keys::SKETCH], &oldest[..]].concat();
    while let Some((key, _)) = batch.first_in(&[keys::SKETCH], &end)? {
        if batch.is_full() {
            return Ok(true);
        }
        batch.remove(key.to_vec());
    }
    Ok(false)
}

fn put(batch: &mut Pending<'_>, last: DeliveryId, sketch: Sketch) {
    if let Some(piece) = sketch.piece() {
        batch.put(keys::sketch(last), piece);
    }
}

/// The last id before this one.
fn before(id: DeliveryId) -> DeliveryId {
    DeliveryId::from_bytes(u128::from_be_bytes(*id.as_bytes()).saturating_sub(1).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};
    use tunnel_delivery::{Delivery, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};

    use super::*;
    use crate::engine::Kind;
    use crate::ledger::{Counters, Intake, Ledger};
    use crate::query::{Needle, Query};
    use crate::report::Report;

    const ENVIRONMENTS: [Environment; 3] = [Environment::Unknown, Environment::Staging, Environment::Production];
    /// What is looked for: in many bodies, in few, in none; too short for a sketch; at the seam of what bodies repeat.
    const TEXTS: [&str; 6] = ["Common words", "fourTEEN", "of 9", "never", "x", "!!comm"];

    /// Deliveries are a second apart. A tenth is so long that a few of them fill a sketch.
    fn intake(n: u16) -> Intake {
        let received_at = Timestamp::from_micros(1_763_714_000_000_000 + i64::from(n) * 1_000_000);
        let mut body =
            format!("body of {n}!!common words, {}", if n % 14 == 3 { "fourteen" } else { "not" }).into_bytes();
        let mut random = u32::from(n);
        let len = match n % 10 {
            7 if n % 50 == 7 => sketch::LONG + 1,
            7 => 4000,
            _ => 60,
        };
        while body.len() < len {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            body.push((random >> 24) as u8 | 128);
        }
        Intake {
            body_sha256: Sha256::digest(&body).into(),
            delivery: Arc::new(Delivery {
                id: DeliveryId::build(received_at, [n as u8; 10]),
                received_at,
                tunnel: "team".parse().unwrap(),
                source_ip: "18.206.70.225".parse().unwrap(),
                environment: ENVIRONMENTS[if n % 40 == 11 { 2 } else { usize::from(n % 2) }],
                method: "POST".parse().unwrap(),
                target: "/hook".parse().unwrap(),
                prefix_len: 0,
                http_version: HttpVersion::Http11,
                headers: Headers::default(),
                body: body.into(),
                lost: Vec::new(),
            }),
            event: None,
            signature: Verdict::bare(SignatureStatus::Unsigned),
            queued: false,
        }
    }

    /// An engine with its sketching, as the writer has them.
    struct Story {
        _dir: tempfile::TempDir,
        engine: Engine,
        space: Space,
        counters: Counters,
        sketching: Sketching,
        model: BTreeMap<DeliveryId, Intake>,
    }

    impl Story {
        fn new() -> Story {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
            let space = Space::new(dir.path(), 0, 0);
            let (counters, sketching) = (Counters::default(), Sketching { idle: true, ..Sketching::default() });
            Story { _dir: dir, engine, space, counters, sketching, model: BTreeMap::new() }
        }

        fn change(&mut self, change: impl FnOnce(&mut Ledger<'_>, &mut Sketching)) {
            let mut ledger = Ledger::new(&self.engine, self.counters);
            change(&mut ledger, &mut self.sketching);
            ledger.put_counters();
            ledger.batch.commit().unwrap();
            self.counters = ledger.counters;
            self.sketching.sharpen(ledger.blurred);
        }

        fn insert(&mut self, n: u16) {
            let intake = intake(n);
            self.change(|ledger, sketching| {
                sketching.arrives(intake.delivery.id);
                drop(ledger.insert(&intake).ok().unwrap());
            });
            self.model.entry(intake.delivery.id).or_insert(intake);
        }

        fn remove(&mut self, n: u16) {
            let id = intake(n).delivery.id;
            self.change(|ledger, sketching| {
                let _ = ledger.remove(id).ok().unwrap();
                sketching.prune();
            });
            self.model.remove(&id);
        }

        fn slice(&mut self) {
            self.sketching.wanted = true;
            self.sketching.slice(&self.engine, &self.space).unwrap();
        }

        /// Until there is nothing more to do.
        fn finish(&mut self) {
            self.slice();
            for _ in 0..10_000 {
                if !self.sketching.is_wanted() {
                    return;
                }
                self.sketching.slice(&self.engine, &self.space).unwrap();
            }
            panic!("it does not come to an end");
        }

        fn sketches(&self) -> usize {
            let (mut from, mut count) = (vec![keys::SKETCH], 0);
            while let Some((key, _)) = self.engine.first_in(&from, &[keys::SKETCH + 1]).unwrap() {
                (from, count) = (keys::successor(&key), count + 1);
            }
            count
        }

        /// All pages of a list, and how many deliveries were looked at or passed over.
        fn list(&self, mut query: Query) -> (Vec<DeliveryId>, usize) {
            let (mut found, mut scanned) = (Vec::new(), 0);
            loop {
                let page = reader::list(&self.engine, &query).unwrap();
                found.extend(page.items.iter().map(|s| s.id));
                scanned += page.scanned;
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => return (found, scanned),
                }
            }
        }

        fn expect(&self, query: &Query) -> Vec<DeliveryId> {
            let fits = |intake: &Intake| {
                let d = &intake.delivery;
                query.id_range().contains(&d.id)
                    && (query.environment.is_empty() || query.environment.contains(&d.environment))
                    && query.text.as_ref().is_none_or(|text| Needle::new(text).is_in(&d.body))
            };
            let mut all: Vec<_> = self.model.values().filter(|i| fits(i)).map(|i| i.delivery.id).collect();
            if query.order == Order::NewestFirst {
                all.reverse();
            }
            all
        }

        fn check(&self) {
            let mut report = Report::default();
            crate::check::live(&self.engine, &mut |_| (), &mut report).unwrap();
            assert!(report.is_sound(), "{report:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Run(u16, u16),
        Late(u16),
        Remove(u16, u16),
        Slice,
        Finish,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u16..600, 1u16..120).prop_map(|(from, len)| Step::Run(from, len)),
            4 => (0u16..800).prop_map(Step::Late),
            1 => (0u16..700, 1u16..200).prop_map(|(from, len)| Step::Remove(from, len)),
            2 => Just(Step::Slice),
            2 => Just(Step::Finish),
        ]
    }

    prop_compose! {
        fn queries()(
            newest in any::<bool>(), limit in 1usize..40, scan_limit in prop_oneof![Just(3usize), Just(20_000)],
            text in proptest::option::weighted(0.8, proptest::sample::select(TEXTS.to_vec())),
            environment in proptest::sample::subsequence(ENVIRONMENTS.to_vec(), 0..3),
            from in proptest::option::weighted(0.3, 0u16..800), until in proptest::option::weighted(0.3, 0u16..800),
            signature in any::<bool>(),
        ) -> Query {
            Query {
                order: if newest { Order::NewestFirst } else { Order::OldestFirst },
                limit,
                text: text.map(str::to_owned),
                environment,
                from: from.map(|n| intake(n).delivery.received_at),
                until: until.map(|n| intake(n).delivery.received_at),
                // An index as the plan, or time.
                signature: if signature { vec![SignatureStatus::Unsigned] } else { Vec::new() },
                scan_limit,
                ..Query::default()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Whatever comes late, goes, and is sketched when: a list finds what a look at everything finds.
        #[test]
        fn sketches_hide_nothing(
            steps in proptest::collection::vec(step(), 1..14), queries in proptest::collection::vec(queries(), 6),
        ) {
            let mut story = Story::new();
            for step in steps {
                match step {
                    Step::Run(from, len) => (from..from + len).for_each(|n| story.insert(n)),
                    Step::Late(n) => story.insert(n),
                    Step::Remove(from, len) => (from..from + len).for_each(|n| story.remove(n)),
                    Step::Slice => story.slice(),
                    Step::Finish => story.finish(),
                }
            }
            story.check();
            for query in queries {
                prop_assert_eq!(story.list(query.clone()).0, story.expect(&query), "{:?}", query);
            }
        }
    }

    #[test]
    fn most_is_passed_over_and_counted() {
        let mut story = Story::new();
        (0..600).for_each(|n| story.insert(n));
        story.finish();
        assert!(story.sketches() > 10, "{}", story.sketches());
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let text = Some("never".to_owned());
            let (found, scanned) = story.list(Query { order, text, limit: 1000, ..Query::default() });
            assert_eq!(found, []);
            assert!((590..=610).contains(&scanned), "{scanned} of 600");
            // One look at most at what has a sketch: what is read is what has none, and where a long body has everything.
            let query = Query { order, text: Some("never".into()), scan_limit: 400, ..Query::default() };
            let page = reader::list(&story.engine, &query).unwrap();
            assert_eq!(page.next, None, "{page:?}");
        }
    }

    #[test]
    fn one_that_is_blurred_is_made_anew_while_the_next_waits_for_more() {
        let mut story = Story::new();
        // Number 207 is so long that its sketch has everything; the next one is not full.
        (201..240).for_each(|n| story.insert(n));
        story.finish();
        story.insert(0);
        assert!(story.sketching.blurred.is_some());
        story.finish();
        story.check();
    }

    #[test]
    fn what_is_removed_takes_its_sketches_along_and_late_ones_do_not_blur_for_good() {
        let mut story = Story::new();
        (0..800).filter(|n| n % 4 == 0 && n % 10 != 7).for_each(|n| story.insert(n));
        story.finish();
        let few = story.sketches();
        // Many more come late, into the stretches that there are.
        (0..700).for_each(|n| story.insert(n));
        story.finish();
        assert!(story.sketches() > few, "{} {few}", story.sketches());
        let text = Some("never".to_owned());
        let query = Query { text, scan_limit: 500, ..Query::default() };
        assert_eq!(reader::list(&story.engine, &query).unwrap().next, None);
        (0..800).for_each(|n| story.remove(n));
        story.finish();
        assert_eq!((story.sketches(), story.counters.deliveries), (0, 0));
        story.check();
        (0..400).for_each(|n| story.insert(n));
        story.finish();
        assert!(story.sketches() > 5);
        story.check();
    }
}
