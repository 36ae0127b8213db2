//! Sketches: what bodies hold, roughly and in little room, so that a search for text passes over what cannot have it.
//!
//! A sketch stands for a stretch of deliveries: all whose ids lie above the sketch before it, up to and including its own. So sketches follow each
//! other without gaps, from the first id there can be up to the *frontier*, the id of the last sketch. What is newer has none yet and is read.
//! Its value is one piece: how many deliveries it was made of (4 bytes), which environments they came from (a bit for each, by its code), three
//! bytes that are zero, and a Bloom filter of the [`GRAM`]-byte sequences of their bodies, ASCII letters in lower case.
//!
//! What holds at every commit: a delivery that is stored and not above the frontier is in its sketch. A delivery that comes late, below the
//! frontier, is added to its sketch in the commit that stores it (`ledger`). One that is removed stays in it, which is harmless: a sketch says
//! "perhaps" or "certainly not". Sketches are made by the writer when it has nothing else to do (`sketching`), by reading what is stored;
//! a store that has none, as after a repair, is one whose frontier is at the beginning.
//!
//! Why a stretch ends by how full its filter is and not by a number: so a search errs about as often whatever bodies look like.

use tunnel_delivery::{DeliveryId, Environment};

use crate::codes;
use crate::engine::{Fault, Value};
use crate::keys;
use crate::pending::Kv;
use crate::piece::Piece;
use crate::query::{Order, Query};

/// The length of what is looked up. Three bytes would all be there wherever there are a few hexadecimal identifiers; five would leave shorter
/// texts without help.
pub(crate) const GRAM: usize = 4;

const HEAD: usize = 8;
const BITS: usize = (Piece::MAX - HEAD) * 8;

/// A stretch ends when so many bits are set: a text of six letters then errs once in some forty stretches, a longer one hardly ever.
const FULL: u32 = BITS as u32 / 100 * 27;

/// And when it has that many deliveries, so that where a search errs it reads no more than these.
const MOST: u32 = 256;

/// A longer body would fill a sketch by itself: it counts as one that has everything.
pub(crate) const LONG: usize = 128 * 1024;

/// As many sketches are passed over at one look at most.
const AT_ONCE: usize = 128;

/// What a stretch of deliveries holds.
#[derive(Clone, PartialEq)]
pub(crate) struct Sketch {
    bytes: Vec<u8>,
    count: u32,
    set: u32,
}

impl Sketch {
    /// Of no deliveries.
    pub(crate) fn new() -> Sketch {
        Sketch { bytes: vec![0; Piece::MAX], count: 0, set: 0 }
    }

    /// One that was stored.
    pub(crate) fn read(value: &[u8]) -> Option<Sketch> {
        if value.len() != Piece::MAX {
            return None;
        }
        let set = value[HEAD..].iter().map(|byte| byte.count_ones()).sum();
        Some(Sketch { bytes: value.to_vec(), count: count(value), set })
    }

    /// Adds a delivery.
    pub(crate) fn add(&mut self, environment: Environment, body: &[u8]) {
        if body.len() > LONG {
            return self.add_long(environment);
        }
        self.count = self.count.saturating_add(1);
        self.bytes[4] |= bit(environment);
        let bits = &mut self.bytes[HEAD..];
        for at in grams(body) {
            let mask = 1 << (at % 8);
            self.set += u32::from(bits[at / 8] & mask == 0);
            bits[at / 8] |= mask;
        }
    }

    /// Adds one whose body is longer than [`LONG`].
    pub(crate) fn add_long(&mut self, environment: Environment) {
        self.count = self.count.saturating_add(1);
        self.bytes[4] |= bit(environment);
        self.bytes[HEAD..].fill(255);
        self.set = BITS as u32;
    }

    /// Whether it should stand for no more deliveries.
    pub(crate) fn is_full(&self) -> bool {
        self.set >= FULL || self.count >= MOST
    }

    /// Whether it has become too full to be of use.
    pub(crate) fn is_blurred(&self) -> bool {
        self.set >= 2 * FULL || self.count >= 4 * MOST
    }

    /// As it is stored.
    pub(crate) fn piece(mut self) -> Option<Piece> {
        self.bytes[..4].copy_from_slice(&self.count.to_be_bytes());
        Piece::new(&self.bytes).ok()
    }
}

fn count(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn bit(environment: Environment) -> u8 {
    1 << (codes::environment::code(environment) % 8)
}

/// Where the filter has its bits for these bytes.
fn grams(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut last = 0u32;
    let windows = bytes.iter().map(move |byte| {
        last = (last << 8) | u32::from(byte.to_ascii_lowercase());
        // Fibonacci hashing; the high bits are the good ones, and this spreads them over the filter.
        let mixed = (last ^ (last >> 15)).wrapping_mul(0x9e37_79b1);
        ((u64::from(mixed) * BITS as u64) >> 32) as usize
    });
    windows.skip(GRAM - 1)
}

/// What a sketch must have for its deliveries to be looked at.
pub(crate) struct Wanted {
    bits: Vec<usize>,
    environments: u8,
}

impl Wanted {
    /// What this query wants; `None` where no sketch can tell anything about it.
    pub(crate) fn of(query: &Query) -> Option<Wanted> {
        let mut bits: Vec<usize> = query.text.iter().flat_map(|text| grams(text.as_bytes())).collect();
        bits.sort_unstable();
        bits.dedup();
        let environments = query.environment.iter().fold(0, |all, e| all | bit(*e));
        (!bits.is_empty() || environments != 0).then_some(Wanted { bits, environments })
    }

    /// For one body: what it must find in its own sketch.
    pub(crate) fn whole(environment: Environment, body: &[u8]) -> Wanted {
        Wanted { bits: grams(body).collect(), environments: bit(environment) }
    }

    /// Whether deliveries of this sketch may be wanted. What is no sketch rules nothing out.
    pub(crate) fn perhaps(&self, value: &[u8]) -> bool {
        if value.len() != Piece::MAX {
            return true;
        }
        let bits = &value[HEAD..];
        (self.environments == 0 || value[4] & self.environments != 0)
            && self.bits.iter().all(|at| bits[at / 8] & 1 << (at % 8) != 0)
    }
}

/// Deliveries that follow each other, and whether any of them may be wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) low: DeliveryId,
    pub(crate) high: DeliveryId,
    pub(crate) perhaps: bool,
    /// About how many deliveries are passed over, and how many sketches were looked at for that.
    pub(crate) count: u64,
    pub(crate) looks: usize,
}

impl Stretch {
    pub(crate) fn has(&self, id: DeliveryId) -> bool {
        self.low <= id && id <= self.high
    }
}

/// The first and the last id there can be.
fn ends() -> (DeliveryId, DeliveryId) {
    (DeliveryId::from_bytes([0; 16]), DeliveryId::from_bytes([255; 16]))
}

/// The stretch that this id lies in. Where it cannot have what is wanted, those that lie behind it in that order belong to it as long as they cannot
/// either.
pub(crate) fn stretch(kv: &impl Kv, wanted: &Wanted, id: DeliveryId, order: Order) -> Result<Stretch, Fault> {
    let (first, last) = ends();
    let covering = covering(kv, id)?;
    let before = keys::sketch(id);
    let previous = end_of(kv.last_in(&[keys::SKETCH], &before)?).map_or(first, following);
    let Some((key, value)) = covering else {
        return Ok(Stretch { low: previous, high: last, perhaps: true, count: 0, looks: 1 });
    };
    let high = id_of(&key).unwrap_or(last);
    let mut all =
        Stretch { low: previous, high, perhaps: wanted.perhaps(&value), count: count(&value).into(), looks: 1 };
    if all.perhaps {
        return Ok(all);
    }
    // Whether there is none beyond those that were looked at.
    let mut ended = true;
    let mut each = |key: &[u8], value: &[u8]| {
        let Some(end) = id_of(key).filter(|_| !wanted.perhaps(value)) else {
            ended = false;
            if order == Order::NewestFirst {
                all.low = id_of(key).map_or(all.low, following);
            }
            return false;
        };
        match order {
            // Its beginning is the end of the one before, which the next look tells; until then its end is certain.
            Order::NewestFirst => all.low = end,
            Order::OldestFirst => all.high = end,
        }
        all.count += u64::from(count(value));
        all.looks += 1;
        ended = all.looks < AT_ONCE;
        ended
    };
    match order {
        Order::NewestFirst => kv.each_in(&[keys::SKETCH], &keys::sketch(previous), order, &mut each)?,
        Order::OldestFirst => {
            kv.each_in(&keys::successor(&keys::sketch(high)), &[keys::SKETCH + 1], order, &mut each)?;
        }
    }
    if ended && order == Order::NewestFirst {
        // Nothing is before the first.
        all.low = first;
    }
    Ok(all)
}

/// The sketch that this id belongs to, if it is not above the frontier.
pub(crate) fn covering(kv: &impl Kv, id: DeliveryId) -> Result<Option<(Value, Value)>, Fault> {
    kv.first_in(&keys::sketch(id), &[keys::SKETCH + 1])
}

/// The end of the last sketch; `None` if there is none.
pub(crate) fn frontier(kv: &impl Kv) -> Result<Option<DeliveryId>, Fault> {
    Ok(end_of(kv.last_in(&[keys::SKETCH], &[keys::SKETCH + 1])?))
}

fn end_of(entry: Option<(Value, Value)>) -> Option<DeliveryId> {
    entry.and_then(|(key, _)| id_of(&key))
}

/// The id in a sketch's key.
pub(crate) fn id_of(key: &[u8]) -> Option<DeliveryId> {
    key.get(1..).and_then(DeliveryId::from_slice)
}

/// The first id after this one; there is none after the last.
pub(crate) fn following(id: DeliveryId) -> DeliveryId {
    DeliveryId::from_bytes(u128::from_be_bytes(*id.as_bytes()).saturating_add(1).to_be_bytes())
}
