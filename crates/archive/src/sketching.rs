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
mod tests;
