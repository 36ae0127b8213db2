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

/// The same for entries that begin with a hash or another id: they never come in order, so each of them rewrites a block of its own.
const HASHED_BLOCK: usize = 12;

/// The widest entry: two ids.
const WIDTH_MAX: usize = 32;
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
    if entries.len() * entry.len() == block.len() {
        return Ok(());
    }
    if entries.is_empty() {
        batch.remove(key.to_vec());
        return Ok(());
    }
    let entries = entries.concat();
    // A block that became sparse is put together with a neighbour, unless that would soon be divided again.
    let full = capacity(entry.len()) * entry.len();
    if entries.len() <= full / 4 {
        let room = |neighbour: &[u8]| neighbour.len() + entries.len() <= full / 4 * 3;
        if let Some((before, block)) = batch.last_in(prefix, &key)?
            && room(&block)
        {
            batch.remove(key.to_vec());
            put(batch, before.to_vec(), &[&block[..], &entries].concat());
            return Ok(());
        }
        if let Some((next, block)) = batch.first_in(&keys::successor(&key), &keys::after(prefix))?
            && room(&block)
        {
            batch.remove(next.to_vec());
            put(batch, key.to_vec(), &[&entries[..], &block].concat());
            return Ok(());
        }
    }
    put(batch, key.to_vec(), &entries);
    Ok(())
}

/// Whether an entry is there.
pub(crate) fn contains(kv: &impl Kv, prefix: &[u8], entry: &[u8]) -> Result<bool, Fault> {
    let block = block_of(kv, prefix, &[prefix, entry].concat())?;
    Ok(block.is_some_and(|(_, block)| block.chunks(entry.len()).any(|e| e == entry)))
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
    /// The entry given last. Blocks may be divided, renamed or put together meanwhile: where to go on is found by it and not by a block.
    last: Option<Vec<u8>>,
    ended: bool,
}

impl Walk {
    pub(crate) fn new(prefix: Vec<u8>, low: Vec<u8>, high: Vec<u8>, order: Order) -> Walk {
        Walk { prefix, low, high, order, ready: Vec::new(), last: None, ended: false }
    }

    /// The next entry.
    pub(crate) fn next(&mut self, kv: &impl Kv) -> Result<Option<Vec<u8>>, Fault> {
        if self.ready.is_empty() && !self.ended {
            self.load(kv)?;
            self.ended = self.ready.is_empty();
        }
        let Some(entry) = self.ready.pop() else { return Ok(None) };
        self.last = Some(entry.clone());
        Ok(Some(entry))
    }

    /// Loads what comes next of the block where that lies, or of the first one after it that has any.
    fn load(&mut self, kv: &impl Kv) -> Result<(), Fault> {
        let width = self.low.len();
        let key = |entry: &[u8]| [&self.prefix[..], entry].concat();
        // Of keys, what is not looked at yet.
        let (mut from, mut until) = (self.prefix.clone(), keys::successor(&key(&self.high)));
        let mut found = match (self.order, &self.last) {
            (Order::NewestFirst, last) => {
                if let Some(last) = last {
                    until = key(last);
                }
                kv.last_in(&from, &until)?
            }
            (Order::OldestFirst, last) => match block_of(kv, &self.prefix, &key(last.as_ref().unwrap_or(&self.low)))? {
                Some(found) => Some(found),
                None => kv.first_in(&from, &until)?,
            },
        };
        while let Some((block_key, block)) = found {
            let bounds = &self.low[..]..=&self.high[..];
            let within = block
                .chunks(width)
                .filter(|e| bounds.contains(e) && self.order.follows(e, self.last.as_deref()))
                .map(<[u8]>::to_vec);
            self.ready = within.collect();
            if self.order == Order::OldestFirst {
                self.ready.reverse();
            }
            if !self.ready.is_empty() {
                return Ok(());
            }
            found = match self.order {
                Order::NewestFirst if block_key[self.prefix.len()..] <= self.low[..] => return Ok(()),
                Order::NewestFirst => {
                    until = block_key.to_vec();
                    kv.last_in(&from, &until)?
                }
                Order::OldestFirst => {
                    from = keys::successor(&block_key);
                    kv.first_in(&from, &until)?
                }
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::{Engine, Kind};
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
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Blocks are divided and put together while it walks: everything that is there all the time is seen once, and in order.
        #[test]
        fn a_walk_among_changes(
            stays in proptest::collection::btree_set(0u16..400, 1..60), newest in any::<bool>(),
            changes in proptest::collection::vec((0u16..400, proptest::bool::weighted(0.3)), 0..600),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
            let mut batch = Pending::new(&engine);
            (0..400).for_each(|n| insert(&mut batch, b"t", &entry(n), |_| false).unwrap());
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let mut walk = Walk::new(b"t".to_vec(), entry(0), entry(u16::MAX), order);
            let mut changes = changes.into_iter().filter(|(n, _)| !stays.contains(n));
            let mut seen = Vec::new();
            while let Some(e) = walk.next(&batch).unwrap() {
                seen.push(u16::from_be_bytes([e[14], e[15]]));
                for (n, add) in changes.by_ref().take(12) {
                    match add {
                        true => insert(&mut batch, b"t", &entry(n), |_| false).unwrap(),
                        false => remove(&mut batch, b"t", &entry(n)).unwrap(),
                    }
                }
            }
            if newest {
                seen.reverse();
            }
            prop_assert!(seen.is_sorted_by(|a, b| a < b), "{:?}", seen);
            seen.retain(|n| stays.contains(n));
            prop_assert!(seen.iter().eq(&stays), "{:?} {:?}", seen, stays);
        }
    }

    #[test]
    fn postings_that_become_sparse_have_few_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut batch = Pending::new(&engine);
        // By hash: in no order.
        let entry = |n: u64| [&keys::hash(&[&n.to_be_bytes()])[..], &[0; 16]].concat();
        (0..2000).for_each(|n| insert(&mut batch, b"t", &entry(n), |_| false).unwrap());
        (0..2000).filter(|n| n % 10 != 3).for_each(|n| remove(&mut batch, b"t", &entry(n)).unwrap());
        let mut blocks = 0;
        let mut from = b"t".to_vec();
        while let Some((key, _)) = batch.first_in(&from, b"u").unwrap() {
            from = keys::successor(&key);
            blocks += 1;
        }
        assert!(blocks <= 200 / 12 * 4, "{blocks} blocks of 200 entries");
    }

    #[test]
    fn what_comes_in_order_fills_its_blocks_and_the_expired_go() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
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
