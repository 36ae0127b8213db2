//! The course of a replay: from deliveries in their order to requests in theirs, each with the time at which it is due. Pure.
//!
//! Deliveries are offered one after the other and requests taken as they are known, so that a million deliveries need no room; what is held
//! back are late ones ([`MOST_HELD`]) and repeats (a handful). The same deliveries and the same [`Manner`] give the same course, however
//! fast they are offered and taken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use tunnel_delivery::{DeliveryId, Timestamp};

use super::chaos::{Chaos, Roll, roll};

/// The most deliveries that are put into another order: all of them must be known first. They take some 30 MB.
pub const MOST_SHUFFLED: usize = 1_000_000;
/// The most late ones that are held back at a time; while there are so many no other is late.
pub const MOST_HELD: usize = 1_000_000;
/// A repeat comes at most so many requests later.
const MOST_GAP: u64 = 8;

/// A delivery of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub id: DeliveryId,
    /// When it was received; in a shuffled selection when the one was whose turn it takes.
    pub received_at: Timestamp,
}

/// One request of the course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shot {
    /// Of this delivery.
    pub id: DeliveryId,
    /// Which copy of it, from 1.
    pub copy: u32,
    /// Whether no other copy of it is to come as far as its own turn goes: a repeat of chaos may.
    pub last: bool,
    /// Its place in the course, from 0.
    pub number: u64,
    /// Not before so long after the beginning.
    pub at: Duration,
}

/// In which order and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// Each so many times in a row.
    pub times: u32,
    /// With the gaps that they were received with, divided by this; `None` for no gaps.
    pub speed: Option<f64>,
    /// Requests are this far apart; none where there is no limit. The pace keeps it, and late ones count from it.
    pub interval: Duration,
    /// Disorder.
    pub chaos: Chaos,
    /// Decides what is random.
    pub seed: u64,
    /// The first so many requests of the course are left out.
    pub skip: u64,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { times: 1, speed: None, interval: Duration::ZERO, chaos: Chaos::default(), seed: 0, skip: 0 }
    }
}

impl Manner {
    fn is(&self, what: super::chaos::Share, n: u64, of: Roll) -> bool {
        what.holds(roll(self.seed, n, of))
    }

    /// How many requests the `n`th delivery makes.
    fn copies(&self, n: u64) -> u64 {
        if self.is(self.chaos.drop, n, Roll::Drop) {
            return 0;
        }
        u64::from(self.times) + u64::from(self.is(self.chaos.twice, n, Roll::Twice))
    }

    /// How many requests so many deliveries make, those left out at the beginning not counted.
    pub fn requests(&self, deliveries: u64) -> u64 {
        let all = if self.chaos.any() {
            (0..deliveries).map(|n| self.copies(n)).sum()
        } else {
            deliveries.saturating_mul(u64::from(self.times))
        };
        all.saturating_sub(self.skip)
    }

    /// Whether the course is the deliveries' own order, so that one of them names a place in it.
    pub fn is_plain(&self) -> bool {
        !self.chaos.any()
    }

    /// Puts deliveries into another order, each with the time of the one whose turn it takes.
    pub fn shuffle(&self, items: &mut [Item]) {
        let times: Vec<Timestamp> = items.iter().map(|i| i.received_at).collect();
        for last in (1..items.len()).rev() {
            // The bias for a million is below one in 10^13.
            let other = roll(self.seed, last as u64, Roll::Shuffle) % (last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(0));
        }
        for (item, at) in items.iter_mut().zip(times) {
            item.received_at = at;
        }
    }
}

/// What a course has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next request.
    Shot(Shot),
    /// Nothing before it is offered the next delivery, or told that there is none.
    Want,
    /// There is no more.
    Over,
}

/// A request before it has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    id: DeliveryId,
    copy: u32,
    last: bool,
    /// The delivery's place in the selection.
    nth: u64,
}

/// The course as it becomes known.
#[derive(Debug)]
pub struct Course {
    manner: Manner,
    offered: u64,
    dropped: u64,
    ended: bool,
    /// When the first delivery was received.
    began: Option<Timestamp>,
    /// The time of the request that was placed last, late or not.
    clock: Duration,
    /// How many were placed.
    placed: u64,
    /// Repeats by the place after which they come.
    again: BTreeMap<(u64, u64), Copy>,
    /// In their order and on time.
    ready: VecDeque<(Duration, Copy)>,
    /// Late ones by when they are due.
    late: BinaryHeap<Reverse<(Duration, u64, Copy)>>,
    /// How many were taken, those left out included.
    taken: u64,
    /// The time of the first that was not left out.
    origin: Option<Duration>,
}

impl Course {
    /// The course of nothing yet.
    pub fn new(manner: Manner) -> Course {
        Course {
            manner,
            offered: 0,
            dropped: 0,
            ended: false,
            began: None,
            clock: Duration::ZERO,
            placed: 0,
            again: BTreeMap::new(),
            ready: VecDeque::new(),
            late: BinaryHeap::new(),
            taken: 0,
            origin: None,
        }
    }

    /// How many deliveries were offered.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// How many of them are not sent at all.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next delivery of the selection.
    pub fn offer(&mut self, item: Item) {
        let nth = self.offered;
        self.offered += 1;
        let began = *self.began.get_or_insert(item.received_at);
        if self.manner.copies(nth) == 0 {
            self.dropped += 1;
            return;
        }
        let due = match self.manner.speed {
            // Ids of one millisecond may not be in the order of their times: nothing goes back.
            Some(speed) => divided(item.received_at.since(began), speed).max(self.clock),
            None => self.clock,
        };
        for copy in 1..=self.manner.times {
            self.place(Copy { id: item.id, copy, last: copy == self.manner.times, nth }, due);
        }
        if self.manner.is(self.manner.chaos.twice, nth, Roll::Twice) {
            let copy = Copy { id: item.id, copy: self.manner.times + 1, last: true, nth };
            let gap = roll(self.manner.seed, nth, Roll::Gap) % (MOST_GAP + 1);
            self.again.insert((self.placed + gap, nth), copy);
        }
        self.repeats(false);
    }

    /// There are no more deliveries.
    pub fn end(&mut self) {
        self.ended = true;
        self.repeats(true);
    }

    /// Places the repeats whose turn it is.
    fn repeats(&mut self, all: bool) {
        while let Some(entry) = self.again.first_entry()
            && (all || entry.key().0 <= self.placed)
        {
            let copy = entry.remove();
            self.place(copy, self.clock);
        }
    }

    fn place(&mut self, copy: Copy, due: Duration) {
        // The first one has no wait, and every other one waits for the one before it.
        let next = if self.placed == 0 { Duration::ZERO } else { self.clock.saturating_add(self.manner.interval) };
        let due = if self.manner.speed.is_some() { due } else { next };
        self.clock = due;
        let place = self.placed;
        self.placed += 1;
        if self.late.len() < MOST_HELD && self.manner.is(self.manner.chaos.late, place, Roll::Late) {
            let most = u64::try_from(self.manner.chaos.late_by.as_micros()).unwrap_or(u64::MAX);
            let by = Duration::from_micros(1 + roll(self.manner.seed, place, Roll::LateBy) % most.max(1));
            let by = self.manner.speed.map_or(by, |speed| divided(by, speed));
            self.late.push(Reverse((due.saturating_add(by), place, copy)));
        } else {
            self.ready.push_back((due, copy));
        }
    }

    /// The next request, if it is known.
    pub fn step(&mut self) -> Step {
        loop {
            let late = self.late.peek().map(|Reverse((at, ..))| *at);
            let (at, copy) = match (late, self.ready.front()) {
                (Some(late), Some((ready, _))) if late < *ready => self.take_late(),
                (_, Some(_)) => self.ready.pop_front(),
                // Whatever is offered later is due at the clock or later.
                (Some(late), None) if self.ended || late < self.clock => self.take_late(),
                (_, None) if self.ended => None,
                _ => return Step::Want,
            }
            .map_or((None, None), |(at, copy)| (Some(at), Some(copy)));
            let (Some(at), Some(copy)) = (at, copy) else { return Step::Over };
            let number = self.taken;
            self.taken += 1;
            if number < self.manner.skip {
                continue;
            }
            // What goes on in the middle does not wait for what was before.
            let origin = *self.origin.get_or_insert(if self.manner.skip > 0 { at } else { Duration::ZERO });
            return Step::Shot(Shot {
                id: copy.id,
                copy: copy.copy,
                last: copy.last,
                number,
                at: at.saturating_sub(origin),
            });
        }
    }

    fn take_late(&mut self) -> Option<(Duration, Copy)> {
        self.late.pop().map(|Reverse((at, _, copy))| (at, copy))
    }
}

/// A time at another speed; more than anybody waits where that is too long to say.
fn divided(span: Duration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() / speed).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
