//! Postings: a sorted set of entries of one width under a key's prefix, kept in blocks of up to [`BLOCK`] entries.
//!
//! Why blocks: the engine splits a leaf at 16 values whatever their size and keeps something in memory for every leaf, so one value
//! per entry would cost most of the store's memory. A block's key is its prefix and a lower bound of its entries. Entries that come
//! in order (ids do, by time) fill one block after the other; one that comes late splits a full block in two.

use crate::engine::{Fault, Value};
use crate::keys;
use crate::pending::{Kv, Pending};
use crate::piece::Piece;
use crate::query::Order;

/// How many entries a block holds at most.
pub(crate) const BLOCK: usize = 32;

/// The same for entries that begin with a hash: they never come in order, so each of them rewrites a block of its own.
const HASHED_BLOCK: usize = 12;

/// The widest entry: a hash and an id.
const WIDTH_MAX: usize = 24;
const _: () = assert!(BLOCK * WIDTH_MAX <= Piece::MAX);

fn capacity(width: usize) -> usize {
    if width == 16 { BLOCK } else { HASHED_BLOCK }
}

/// Adds an entry; `expired` tells which of its neighbours may be dropped on this occasion.
pub(crate) fn insert(
    batch: &mut Pending<'_>,
    prefix: &[u8],
    entry: &[u8],
    expired: impl Fn(&[u8]) -> bool,
) -> Result<(), Fault> {
    let width = entry.len();
    let at = [prefix, entry].concat();
    let Some((key, block)) = block_of(batch, prefix, &at)? else {
        // Smaller than all there are: the first block takes it, if it has room.
        let first = batch.first_in(prefix, &keys::after(prefix))?;
        match first {
            Some((key, block)) if block.len() < capacity(width) * width => {
                batch.remove(key.to_vec());
                put(batch, at, &[entry, &block].concat());
            }
            _ => put(batch, at, entry),
        }
        return Ok(());
    };
    let mut entries: Vec<&[u8]> = block.chunks(width).filter(|e| !expired(e)).collect();
    let Err(place) = entries.binary_search(&entry) else { return Ok(()) };
    if entries.len() < capacity(width) {
        entries.insert(place, entry);
        put(batch, key.to_vec(), &entries.concat());
    } else if place == entries.len() {
        put(batch, at, entry);
    } else {
        entries.insert(place, entry);
        let right = entries.split_off(entries.len() / 2);
        put(batch, [prefix, right[0]].concat(), &right.concat());
        put(batch, key.to_vec(), &entries.concat());
    }
    Ok(())
}

/// Takes an entry out, if it is there.
pub(crate) fn remove(batch: &mut Pending<'_>, prefix: &[u8], entry: &[u8]) -> Result<(), Fault> {
    let Some((key, block)) = block_of(batch, prefix, &[prefix, entry].concat())? else { return Ok(()) };
    let entries: Vec<&[u8]> = block.chunks(entry.len()).filter(|e| *e != entry).collect();
    if entries.is_empty() {
        batch.remove(key.to_vec());
    } else if entries.len() * entry.len() < block.len() {
        put(batch, key.to_vec(), &entries.concat());
    }
    Ok(())
}

/// The block that holds an entry, or would: the last one whose key is not above it.
fn block_of(kv: &impl Kv, prefix: &[u8], at: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
    kv.last_in(prefix, &keys::successor(at))
}

fn put(batch: &mut Pending<'_>, key: Vec<u8>, entries: &[u8]) {
    // BLOCK entries fit by the assertion above; blocks are cut before they grow beyond that.
    if let Ok(piece) = Piece::new(entries) {
        batch.put(key, piece);
    }
}

/// Walks the entries from `low` to `high` (both included) in either order, a block at a time. It stands on keys and not on a
/// snapshot: what is added or removed meanwhile may or may not be seen, everything else is seen once.
pub(crate) struct Walk {
    prefix: Vec<u8>,
    low: Vec<u8>,
    high: Vec<u8>,
    order: Order,
    /// Entries of the current block within bounds, the next one last.
    ready: Vec<Vec<u8>>,
    /// The keys not looked at yet: from the first up to the second, which is not included.
    rest: (Vec<u8>, Vec<u8>),
    started: bool,
    /// The entry given last. A block that is divided or renamed meanwhile comes again with some of its entries.
    last: Option<Vec<u8>>,
}

impl Walk {
    pub(crate) fn new(prefix: Vec<u8>, low: Vec<u8>, high: Vec<u8>, order: Order) -> Walk {
        let end = keys::successor(&[&prefix[..], &high].concat());
        Walk { rest: (prefix.clone(), end), prefix, low, high, order, ready: Vec::new(), started: false, last: None }
    }

    /// The next entry.
    pub(crate) fn next(&mut self, kv: &impl Kv) -> Result<Option<Vec<u8>>, Fault> {
        while self.ready.is_empty() {
            if !self.load(kv)? {
                return Ok(None);
            }
        }
        let entry = self.ready.pop();
        self.last.clone_from(&entry);
        Ok(entry)
    }

    /// Loads the next block, returns whether there was one.
    fn load(&mut self, kv: &impl Kv) -> Result<bool, Fault> {
        let found = match self.order {
            Order::NewestFirst => kv.last_in(&self.rest.0, &self.rest.1)?,
            Order::OldestFirst if self.started => kv.first_in(&self.rest.0, &self.rest.1)?,
            Order::OldestFirst => match block_of(kv, &self.prefix, &[&self.prefix[..], &self.low].concat())? {
                Some(found) => Some(found),
                None => kv.first_in(&self.rest.0, &self.rest.1)?,
            },
        };
        self.started = true;
        let Some((key, block)) = found else { return Ok(false) };
        let width = self.low.len();
        let bounds = &self.low[..]..=&self.high[..];
        let within = block
            .chunks(width)
            .filter(|e| bounds.contains(e) && self.order.follows(e, self.last.as_deref()))
            .map(<[u8]>::to_vec);
        match self.order {
            Order::NewestFirst => {
                self.ready = within.collect();
                self.rest.1 = if key[self.prefix.len()..] <= self.low[..] { self.prefix.clone() } else { key.to_vec() };
            }
            Order::OldestFirst => {
                self.ready = within.rev().collect();
                self.rest.0 = keys::successor(&key);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::Engine;
    use proptest::prelude::*;

    fn entry(n: u16) -> Vec<u8> {
        [&[0u8; 14][..], &n.to_be_bytes()].concat()
    }

    fn walk(kv: &impl Kv, low: u16, high: u16, order: Order) -> Vec<u16> {
        let mut walk = Walk::new(b"t".to_vec(), entry(low), entry(high), order);
        let mut seen = Vec::new();
        while let Some(e) = walk.next(kv).unwrap() {
            seen.push(u16::from_be_bytes([e[14], e[15]]));
        }
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_sorted_set(
            ops in proptest::collection::vec((0u16..400, proptest::bool::weighted(0.8)), 0..400),
            run in 0u16..200, low in 0u16..420, high in 0u16..420,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20).unwrap();
            let mut batch = Pending::new(&engine);
            let mut model = BTreeSet::new();
            // Neighbours in the key space must stay out of sight.
            insert(&mut batch, b"s", &entry(1), |_| false).unwrap();
            insert(&mut batch, b"u", &entry(1), |_| false).unwrap();
            for n in 0..run {
                insert(&mut batch, b"t", &entry(n), |_| false).unwrap();
                model.insert(n);
            }
            for (n, add) in ops {
                if add {
                    insert(&mut batch, b"t", &entry(n), |_| false).unwrap();
                    model.insert(n);
                } else {
                    remove(&mut batch, b"t", &entry(n)).unwrap();
                    model.remove(&n);
                }
            }
            let mut wanted: Vec<u16> = model.iter().copied().filter(|n| (low..=high).contains(n)).collect();
            prop_assert_eq!(walk(&batch, low, high, Order::OldestFirst), wanted.clone());
            wanted.reverse();
            prop_assert_eq!(walk(&batch, low, high, Order::NewestFirst), wanted.clone());
            batch.commit().unwrap();
            prop_assert_eq!(walk(&engine, low, high, Order::NewestFirst), wanted);
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_blocks_and_the_expired_go() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20).unwrap();
        let mut batch = Pending::new(&engine);
        let count = 10 * BLOCK as u16;
        (0..count).for_each(|n| insert(&mut batch, b"t", &entry(n), |_| false).unwrap());
        let mut blocks = 0;
        let mut from = b"t".to_vec();
        while let Some((key, block)) = batch.first_in(&from, b"u").unwrap() {
            assert_eq!(block.len(), BLOCK * 16);
            from = keys::successor(&key);
            blocks += 1;
        }
        assert_eq!(blocks, 10);
        let old = entry(count - 5);
        insert(&mut batch, b"t", &entry(count - 1), |e| e < &old[..]).unwrap();
        insert(&mut batch, b"t", &entry(count), |e| e < &old[..]).unwrap();
        assert_eq!(walk(&batch, count - 20, count, Order::OldestFirst).len(), 6 + (20 - BLOCK.min(20)));
    }
}
