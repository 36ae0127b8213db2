//! Whatever is inserted, removed and sketched in whatever order: a search finds what is there, and passes over most of what is not.

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
    let mut body = format!("body of {n}!!common words, {}", if n % 14 == 3 { "fourteen" } else { "not" }).into_bytes();
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
