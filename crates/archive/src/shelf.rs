//! A shelf: a sorted map from keys of one width to short values under a key's prefix, kept in blocks of about [`TARGET`] bytes.
//!
//! Why blocks: the reason is the one of `postings`. Values that come in the order of their keys (deliveries do, by time) fill one
//! block after the other; a block that outgrows its size is divided. A block's key is its prefix and a lower bound of its keys.

use crate::engine::{Fault, Value};
use crate::keys;
use crate::pending::{Kv, Pending};
use crate::piece::Piece;
use crate::query::Order;

/// A block is divided above this many bytes. Larger blocks mean fewer of them (memory), and more bytes written for one small change
/// (disk): with 100,000 deliveries, 2048 saved 1.2 MiB of memory at rest and cost a quarter more on the disk.
const TARGET: usize = 1024;

/// A kind of records: its tag, and the width of its keys in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf {
    pub(crate) tag: u8,
    pub(crate) width: usize,
}

impl Shelf {
    /// The longest value, in bytes.
    pub(crate) const fn value_max(self) -> usize {
        Piece::MAX - self.width - 2
    }

    /// The value of this key.
    pub(crate) fn get(self, kv: &impl Kv, key: &[u8]) -> Result<Option<Value>, Fault> {
        let Some((_, block)) = self.block_of(kv, key)? else { return Ok(None) };
        let found = self.places(&block).find(|(k, ..)| *k == key).map(|(_, at, len)| (at, len));
        Ok(found.map(|(at, len)| block.subslice(at, len)))
    }

    /// Sets the value of this key, at most [`Shelf::value_max`] bytes long; a longer one is not set, and `false` returned.
    pub(crate) fn put(self, batch: &mut Pending<'_>, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        if value.len() > self.value_max() {
            return Ok(false);
        }
        let (block_key, block) = match self.block_of(batch, key)? {
            Some((block_key, block)) => (block_key.to_vec(), block),
            // Below all there are: a block of its own.
            None => (self.key(key), Value::default()),
        };
        let mut entries: Vec<(&[u8], &[u8])> = self.entries(&block).collect();
        let place = entries.binary_search_by(|(k, _)| (*k).cmp(key));
        match place {
            Ok(at) => entries[at].1 = value,
            Err(at) if at == entries.len() && at > 0 && block.len() + self.size(value) > TARGET => {
                // In order: leave the full block as it is.
                self.write(batch, self.key(key), &[(key, value)]);
                return Ok(true);
            }
            Err(at) => entries.insert(at, (key, value)),
        }
        self.divide(batch, block_key, &entries);
        Ok(true)
    }

    /// Takes a key out, returns its value if it was there.
    pub(crate) fn remove(self, batch: &mut Pending<'_>, key: &[u8]) -> Result<Option<Value>, Fault> {
        let Some((block_key, block)) = self.block_of(batch, key)? else { return Ok(None) };
        let mut removed = None;
        let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
        for (k, value) in self.entries(&block) {
            if k == key {
                removed = Some(Value::from(value));
            } else {
                entries.push((k, value));
            }
        }
        if removed.is_none() {
            return Ok(None);
        }
        if entries.is_empty() {
            batch.remove(block_key.to_vec());
            return Ok(removed);
        }
        let len: usize = entries.iter().map(|(_, value)| self.size(value)).sum();
        // A block that became sparse is put together with a neighbour, unless that would soon be divided again.
        if len <= TARGET / 4 {
            let room = |neighbour: &[u8]| neighbour.len() + len <= TARGET / 4 * 3;
            if let Some((before, block)) = batch.last_in(&[self.tag], &block_key)?
                && room(&block)
            {
                let both: Vec<_> = self.entries(&block).chain(entries).collect();
                batch.remove(block_key.to_vec());
                self.write(batch, before.to_vec(), &both);
                return Ok(removed);
            }
            if let Some((next, block)) = batch.first_in(&keys::successor(&block_key), &[self.tag + 1])?
                && room(&block)
            {
                entries.extend(self.entries(&block));
                batch.remove(next.to_vec());
                self.write(batch, block_key.to_vec(), &entries);
                return Ok(removed);
            }
        }
        self.write(batch, block_key.to_vec(), &entries);
        Ok(removed)
    }

    /// Writes entries as one block, or as several if they are too much for one.
    fn divide(self, batch: &mut Pending<'_>, block_key: Vec<u8>, entries: &[(&[u8], &[u8])]) {
        let total: usize = entries.iter().map(|(_, value)| self.size(value)).sum();
        if total <= TARGET || entries.len() == 1 {
            return self.write(batch, block_key, entries);
        }
        let mut left = 0;
        let middle = entries.iter().take_while(|(_, value)| {
            left += self.size(value);
            left <= total / 2
        });
        let at = middle.count().clamp(1, entries.len() - 1);
        self.divide(batch, block_key, &entries[..at]);
        self.divide(batch, self.key(entries[at].0), &entries[at..]);
    }

    fn write(self, batch: &mut Pending<'_>, block_key: Vec<u8>, entries: &[(&[u8], &[u8])]) {
        let mut block = Vec::with_capacity(1024);
        for (key, value) in entries {
            block.extend_from_slice(key);
            // At most value_max, which is below 2^16.
            block.extend_from_slice(&(value.len() as u16).to_be_bytes());
            block.extend_from_slice(value);
        }
        // Several entries are at most TARGET, one is at most value_max: both fit.
        if let Ok(piece) = Piece::new(&block) {
            batch.put(block_key, piece);
        }
    }

    fn size(self, value: &[u8]) -> usize {
        self.width + 2 + value.len()
    }

    fn key(self, key: &[u8]) -> Vec<u8> {
        [&[self.tag], key].concat()
    }

    /// The last block whose key is not above this one.
    fn block_of(self, kv: &impl Kv, key: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        kv.last_in(&[self.tag], &keys::successor(&self.key(key)))
    }

    /// The entries of a block. What cannot be an entry ends it.
    fn entries(self, mut block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::from_fn(move || {
            let (key, rest) = block.split_at_checked(self.width)?;
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            block = rest;
            Some((key, value))
        })
    }

    /// The entries of a block: their keys, and where in the block their values lie.
    pub(crate) fn places(self, block: &[u8]) -> impl Iterator<Item = (&[u8], usize, usize)> {
        let mut end = 0;
        self.entries(block).map(move |(key, value)| {
            let at = end + self.width + 2;
            end = at + value.len();
            (key, at, value.len())
        })
    }

    /// Walks the entries from `low` to `high`, both included, in either order.
    pub(crate) fn walk(self, low: &[u8], high: &[u8], order: Order) -> Walk {
        Walk { shelf: self, low: low.to_vec(), high: high.to_vec(), order, ready: Vec::new(), last: None, ended: false }
    }
}

/// A walk over a shelf, a block at a time. It stands on keys and not on a snapshot: what is added, removed or divided meanwhile may or
/// may not be seen, everything else is seen once.
pub(crate) struct Walk {
    shelf: Shelf,
    low: Vec<u8>,
    high: Vec<u8>,
    order: Order,
    /// Entries of the current block within bounds, the next one last.
    ready: Vec<Pair>,
    /// The key given last. Blocks may be divided, renamed or put together meanwhile: where to go on is found by it and not by a block.
    last: Option<Vec<u8>>,
    ended: bool,
}

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

impl Walk {
    /// The next key and its value.
    pub(crate) fn next(&mut self, kv: &impl Kv) -> Result<Option<Pair>, Fault> {
        if self.ready.is_empty() && !self.ended {
            self.load(kv)?;
            self.ended = self.ready.is_empty();
        }
        let Some(entry) = self.ready.pop() else { return Ok(None) };
        self.last = Some(entry.0.clone());
        Ok(Some(entry))
    }

    /// Passes over everything up to this key, it included.
    pub(crate) fn pass(&mut self, key: &[u8]) {
        let order = self.order;
        if order.follows(key, self.last.as_deref()) {
            self.last = Some(key.to_vec());
        }
        self.ready.retain(|(ready, _)| order.follows(ready, Some(key)));
    }

    /// Loads what comes next of the block where that lies, or of the first one after it that has any.
    fn load(&mut self, kv: &impl Kv) -> Result<(), Fault> {
        let (shelf, tag) = (self.shelf, [self.shelf.tag]);
        // Of block keys, what is not looked at yet.
        let (mut from, mut until) = (tag.to_vec(), keys::successor(&shelf.key(&self.high)));
        let mut found = match self.order {
            Order::NewestFirst => {
                if let Some(last) = &self.last {
                    until = shelf.key(last);
                }
                kv.last_in(&from, &until)?
            }
            Order::OldestFirst => match shelf.block_of(kv, self.last.as_ref().unwrap_or(&self.low))? {
                Some(found) => Some(found),
                None => kv.first_in(&from, &until)?,
            },
        };
        while let Some((block_key, block)) = found {
            let entries = shelf.entries(&block);
            let within = entries.filter(|(key, _)| {
                *key >= &self.low[..] && *key <= &self.high[..] && self.order.follows(key, self.last.as_deref())
            });
            self.ready = within.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            if self.order == Order::OldestFirst {
                self.ready.reverse();
            }
            if !self.ready.is_empty() {
                return Ok(());
            }
            found = match self.order {
                Order::NewestFirst if block_key[1..] <= self.low[..] => return Ok(()),
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{Engine, Kind};
    use proptest::prelude::*;

    const SHELF: Shelf = Shelf { tag: b't', width: 2 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_sorted_map(
            run in 0u16..60,
            puts in proptest::collection::vec((0u16..120, prop_oneof![8 => 0usize..300, 1 => 0usize..=SHELF.value_max()]), 0..120),
            removes in proptest::collection::vec(0u16..130, 0..150),
            low in 0u16..130, high in 0u16..130,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
            let mut batch = Pending::new(&engine);
            let mut model = BTreeMap::new();
            for tag in [b's', b'u'] {
                Shelf { tag, width: 2 }.put(&mut batch, &[0, 7], b"neighbour").unwrap();
            }
            let run = (0..run).map(|n| (n, 150));
            for (n, len) in run.chain(puts) {
                let value = vec![n as u8; len];
                prop_assert!(SHELF.put(&mut batch, &n.to_be_bytes(), &value).unwrap());
                model.insert(n, value);
            }
            for n in removes {
                let removed = SHELF.remove(&mut batch, &n.to_be_bytes()).unwrap();
                let wanted = model.remove(&n);
                prop_assert_eq!(removed.as_deref(), wanted.as_deref());
            }
            for n in 0..130u16 {
                let found = SHELF.get(&batch, &n.to_be_bytes()).unwrap();
                prop_assert_eq!(found.as_deref(), model.get(&n).map(|v| &v[..]));
            }
            let mut wanted: Vec<_> = model.into_iter().filter(|(n, _)| (low..=high).contains(n)).collect();
            batch.commit().unwrap();
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let mut walk = SHELF.walk(&low.to_be_bytes(), &high.to_be_bytes(), order);
                let mut seen = Vec::new();
                while let Some((key, value)) = walk.next(&engine).unwrap() {
                    seen.push((u16::from_be_bytes([key[0], key[1]]), value));
                }
                prop_assert!(seen == wanted, "{:?}", order);
                wanted.reverse();
            }
        }

        #[test]
        fn any_bytes_may_be_read(block: Vec<u8>) {
            let _ = SHELF.entries(&block).count();
            for (_, at, len) in SHELF.places(&block) {
                prop_assert!(block.len() >= at + len);
            }
        }

        /// Blocks are divided and put together while it walks: everything that is there all the time is seen once, and in order.
        #[test]
        fn a_walk_among_changes(
            stays in proptest::collection::btree_set(0u16..200, 1..60), newest in any::<bool>(),
            changes in proptest::collection::vec((0u16..200, proptest::option::weighted(0.4, 0usize..400)), 0..200),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
            let mut batch = Pending::new(&engine);
            for n in 0..200u16 {
                SHELF.put(&mut batch, &n.to_be_bytes(), &[7; 100]).unwrap();
            }
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let mut walk = SHELF.walk(&[0; 2], &[255; 2], order);
            let mut changes = changes.into_iter().filter(|(n, _)| !stays.contains(n));
            let mut seen = Vec::new();
            while let Some((key, _)) = walk.next(&batch).unwrap() {
                seen.push(u16::from_be_bytes([key[0], key[1]]));
                for (n, len) in changes.by_ref().take(6) {
                    match len {
                        Some(len) => prop_assert!(SHELF.put(&mut batch, &n.to_be_bytes(), &vec![8; len]).unwrap()),
                        None => drop(SHELF.remove(&mut batch, &n.to_be_bytes()).unwrap()),
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
    fn a_shelf_that_becomes_sparse_has_few_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut batch = Pending::new(&engine);
        (0..1000u16).for_each(|n| assert!(SHELF.put(&mut batch, &n.to_be_bytes(), &[1; 100]).unwrap()));
        let left = (0..1000u16).filter(|n| n % 10 == 3);
        (0..1000u16).filter(|n| n % 10 != 3).for_each(|n| drop(SHELF.remove(&mut batch, &n.to_be_bytes()).unwrap()));
        let mut blocks = 0;
        let mut from = vec![b't'];
        while let Some((key, _)) = batch.first_in(&from, b"u").unwrap() {
            from = keys::successor(&key);
            blocks += 1;
        }
        let bytes = left.count() * 104;
        assert!(blocks <= 4 * bytes / TARGET + 1, "{blocks} blocks of {bytes} bytes");
    }

    #[test]
    fn too_long_a_value_is_not_set() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut batch = Pending::new(&engine);
        assert!(SHELF.put(&mut batch, &[0, 1], &vec![0; SHELF.value_max()]).unwrap());
        assert!(!SHELF.put(&mut batch, &[0, 2], &vec![0; SHELF.value_max() + 1]).unwrap());
        assert!(SHELF.get(&batch, &[0, 2]).unwrap().is_none());
    }
}
