//! Whatever falls together, deliveries are handed over in the order in which they came.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tunnel_delivery::{SignatureStatus, Verdict};

use super::super::*;
use super::delivery;
use crate::summary;

fn id(n: u8) -> DeliveryId {
    delivery(n.into()).id
}

fn job(n: u8) -> Job {
    let delivery = Arc::new(Delivery { body: vec![n].into(), ..delivery(n.into()) });
    let summary = summary::of_new(&delivery, None, &Verdict::bare(SignatureStatus::Unsigned), None, true);
    Job { delivery, matched: None, target: None, command: None, summary, trail: Trail::default() }
}

/// What the archive told, and what is behind it.
type Found = (Vec<u8>, Next);

/// A backlog between deliveries that come and an archive, with everything that happens beside something else cut into steps.
#[derive(Default)]
struct Scene {
    backlog: Arc<Backlog>,
    /// How many came so far.
    came: u8,
    /// Those that came and were neither pushed nor given up, oldest first, and whether they were there from before.
    under_way: VecDeque<(u8, Coming, bool)>,
    /// What the archive tells as queued.
    queued: BTreeSet<u8>,
    /// The reading under way, and what it found.
    reading: Option<(Reading, Option<Found>)>,
    /// The last reading said that it would be notified.
    waits: bool,
    begun: Vec<u8>,
}

impl Scene {
    fn comes(&mut self) {
        let n = self.came;
        self.came += 1;
        // What was stored before the relay heard of it comes once more.
        let again = self.queued.contains(&n) || self.begun.contains(&n);
        self.under_way.push_back((n, self.backlog.coming(id(n)), again));
    }

    /// One comes again over another connection, whatever became of it meanwhile.
    fn comes_again(&mut self, which: usize) {
        if let Some(n) = which.checked_rem(self.came.into()) {
            let n = n as u8;
            self.under_way.push_back((n, self.backlog.coming(id(n)), true));
        }
    }

    /// Any of those that came may be the next that is stored.
    fn is_stored(&mut self, which: usize) {
        let left: Vec<u8> = self.under_way.iter().map(|u| u.0).filter(|n| !self.begun.contains(n)).collect();
        if !left.is_empty() {
            self.queued.insert(left[which % left.len()]);
        }
    }

    /// The turn of the oldest of those that came.
    fn turn(&mut self) {
        let Some((n, _, again)) = self.under_way.front() else { return };
        if self.queued.contains(n) || self.begun.contains(n) {
            if !again {
                self.backlog.push(job(*n));
            }
            self.under_way.pop_front();
        }
    }

    fn reads(&mut self) {
        match self.reading.take() {
            None => {
                let mut inner = self.backlog.lock();
                if inner.spilled && inner.ready.is_empty() {
                    if std::mem::take(&mut self.waits) && self.backlog.more.notified().now_or_never().is_none() {
                        self.waits = true;
                        return;
                    }
                    self.reading = Some((inner.begin_reading(), None));
                }
            }
            Some((reading, None)) => {
                let (mut found, mut next) = (Vec::new(), Next::End);
                for n in &self.queued {
                    if reading.coming.contains(&id(*n)) {
                        next = Next::Coming;
                        break;
                    }
                    if found.len() == 3 {
                        next = Next::Full;
                        break;
                    }
                    if !reading.busy.contains(&id(*n)) {
                        found.push(*n);
                    }
                }
                self.reading = Some((reading, Some((found, next))));
            }
            Some((reading, Some((found, next)))) => {
                let mut inner = self.backlog.lock();
                self.waits = !inner.take_in(found.into_iter().map(job).collect(), &next, &reading);
                inner.since = None;
            }
        }
    }

    fn hands_one_over(&mut self) {
        if let Some(Due::Job(job)) = self.backlog.take() {
            let n = job.delivery.body[0];
            self.begun.push(n);
            self.queued.remove(&n);
            self.backlog.lock().busy.remove(&id(n));
        }
    }
}

/// It waits from an earlier run, and the relay was not told of it: it sends it, the connection breaks, and it sends it again.
#[test]
fn one_that_comes_twice_at_once_is_not_waited_for_in_vain() {
    let mut scene = Scene { queued: [0].into(), ..Scene::default() };
    scene.comes();
    (0..3).for_each(|_| scene.reads());
    assert!(scene.waits, "it is still coming");
    scene.comes_again(0);
    (0..2).for_each(|_| scene.turn());
    (0..3).for_each(|_| scene.reads());
    scene.hands_one_over();
    assert_eq!(scene.begun, [0]);
    assert!(scene.backlog.lock().coming.is_empty());
}

proptest! {
    /// However storing, pushing and reading back fall together, all are handed over once and in the order in which they came.
    #[test]
    fn the_order_is_that_of_coming(before in 0_u8..6, steps in prop::collection::vec((0_u8..9, any::<usize>()), 0..200)) {
        let mut scene = Scene { queued: (0..before).collect(), ..Scene::default() };
        for (step, which) in steps {
            match step {
                0 | 1 if scene.came < 60 => scene.comes(),
                2 | 3 => scene.is_stored(which),
                4 => scene.turn(),
                5 | 6 => scene.reads(),
                7 => scene.comes_again(which),
                _ => scene.hands_one_over(),
            }
        }
        let all = scene.came.max(before);
        for n in 0..2000 {
            scene.is_stored(n);
            scene.turn();
            scene.reads();
            scene.hands_one_over();
        }
        prop_assert_eq!(scene.begun, (0..all).collect::<Vec<_>>());
        prop_assert!(scene.backlog.lock().coming.is_empty());
    }
}
