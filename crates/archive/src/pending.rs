//! Changes that are not in the store yet, laid over what is: one batch under construction. Reads see the changes.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::{BATCH_FULL, Engine, Fault, Value};
use crate::keys;
use crate::piece::Piece;
use crate::query::Order;
use crate::veil::Veil;

/// Ordered bytes that can be read: the store, or a batch laid over it.
pub(crate) trait Kv {
    /// What hides what is stored.
    fn veil(&self) -> &Veil;
    /// The value of this key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault>;
    /// The first entry from `low` on and before `high`.
    fn first_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault>;
    /// The last entry from `low` on and before `high`.
    fn last_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault>;

    /// Shows the entries from `low` on and before `high`, in this order, until one is answered with `false`.
    fn each_in(
        &self,
        low: &[u8],
        high: &[u8],
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Fault> {
        let (mut low, mut high) = (low.to_vec(), high.to_vec());
        loop {
            let next = match order {
                Order::NewestFirst => self.last_in(&low, &high)?,
                Order::OldestFirst => self.first_in(&low, &high)?,
            };
            let Some((key, _)) = next.filter(|(key, value)| each(key, value)) else { return Ok(()) };
            match order {
                Order::NewestFirst => high = key.to_vec(),
                Order::OldestFirst => low = keys::successor(&key),
            }
        }
    }
}

/// Bytes of this length and less go into the batch of their operation whatever that weighs already.
const STAGED_ABOVE: usize = BATCH_FULL / 3;

/// What the removal of a key weighs: the engine writes anew what stays of its leaf, up to 16 values, after ten removals. So it is at most some
/// four times this, as with what is set ([`BATCH_FULL`]).
const REMOVAL: usize = 1024;
const _: () = assert!((16 - 10) * Piece::MAX / 10 <= 4 * REMOVAL);

/// The most bytes that one value may have before it is cut: a piece's number has 16 bits.
pub(crate) const BYTES_MAX: usize = Piece::MAX * (u16::MAX as usize + 1);

/// One batch under construction.
pub(crate) struct Pending<'e> {
    engine: &'e Engine,
    changes: BTreeMap<Vec<u8>, Option<Piece>>,
    weight: usize,
}

impl<'e> Pending<'e> {
    pub(crate) fn new(engine: &'e Engine) -> Pending<'e> {
        Pending { engine, changes: BTreeMap::new(), weight: 0 }
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, key: Vec<u8>, piece: Piece) {
        self.weight += key.len() + piece.value().len();
        if let Some(Some(old)) = self.changes.insert(key, Some(piece)) {
            self.weight -= old.value().len();
        }
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.weight += key.len() + REMOVAL;
        if let Some(Some(old)) = self.changes.insert(key, None) {
            self.weight -= old.value().len();
        }
    }

    /// The number that the next commit will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.engine.next_number()
    }

    /// Roughly how many bytes the batch will write.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Whether the batch should be committed before more comes into it.
    pub(crate) fn is_full(&self) -> bool {
        self.weight >= BATCH_FULL
    }

    /// Writes bytes of any length as pieces under `prefix`. What does not fit into one batch is committed on the way, so this must be
    /// called before the other changes of an operation; until the operation is committed a mark says that the pieces have no owner
    /// yet ([`sweep`] removes such pieces when the store is opened).
    pub(crate) fn put_pieces(&mut self, prefix: &[u8], bytes: &[u8]) -> Result<(), Fault> {
        let staged = bytes.len() > STAGED_ABOVE;
        if self.get(&keys::intent(prefix))?.is_some() {
            // What was there before is being removed; it must be gone before it comes again.
            self.commit()?;
            sweep_one(self.engine, &keys::intent(prefix))?;
        }
        if staged {
            self.commit()?;
            self.put(keys::intent(prefix), Piece::mark());
        }
        for (number, piece) in (0u16..).zip(Piece::cut(bytes)) {
            self.put(keys::piece(prefix, number), piece);
            if staged && self.is_full() {
                self.commit()?;
            }
        }
        if staged {
            self.remove(keys::intent(prefix));
        }
        Ok(())
    }

    /// Removes everything under a prefix.
    pub(crate) fn remove_all(&mut self, prefix: &[u8]) -> Result<(), Fault> {
        let end = keys::after(prefix);
        let mut from = prefix.to_vec();
        while let Some((key, _)) = self.first_in(&from, &end)? {
            self.remove(key.to_vec());
            from = keys::successor(&key);
        }
        Ok(())
    }

    /// Brings the batch to the disk and begins a new one.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.engine.commit(self.changes.iter().map(|(key, piece)| (&**key, piece.as_ref())))?;
        self.changes.clear();
        self.weight = 0;
        Ok(())
    }
}

impl Kv for Pending<'_> {
    fn veil(&self) -> &Veil {
        self.engine.veil()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        match self.changes.get(key) {
            Some(change) => Ok(change.as_ref().map(|piece| piece.value().clone())),
            None => self.engine.get(key),
        }
    }

    fn first_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        let mut stored = self.engine.first_in(low, high)?;
        while let Some((key, _)) = &stored {
            match self.changes.get(&**key) {
                Some(None) => stored = self.engine.first_in(&keys::successor(key), high)?,
                _ => break,
            }
        }
        let range = (Bound::Included(low), Bound::Excluded(high));
        let changed = self.changes.range::<[u8], _>(range).find_map(|(k, c)| c.as_ref().map(|c| (k, c)));
        Ok(match (stored, changed) {
            (Some((key, value)), Some((k, _))) if *key < **k => Some((key, value)),
            (_, Some((k, piece))) => Some((Value::from(&**k), piece.value().clone())),
            (stored, None) => stored,
        })
    }

    fn last_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        let mut stored = self.engine.last_in(low, high)?;
        while let Some((key, _)) = &stored {
            match self.changes.get(&**key) {
                Some(None) => stored = self.engine.last_in(low, key)?,
                _ => break,
            }
        }
        let range = (Bound::Included(low), Bound::Excluded(high));
        let changed = self.changes.range::<[u8], _>(range).rev().find_map(|(k, c)| c.as_ref().map(|c| (k, c)));
        Ok(match (stored, changed) {
            (Some((key, value)), Some((k, _))) if *key > **k => Some((key, value)),
            (_, Some((k, piece))) => Some((Value::from(&**k), piece.value().clone())),
            (stored, None) => stored,
        })
    }
}

/// Reads what [`Pending::put_pieces`] wrote.
pub(crate) fn read_pieces(kv: &impl Kv, prefix: &[u8], count: u32) -> Result<Option<Vec<u8>>, Fault> {
    let mut bytes = Vec::with_capacity((count as usize).min(1024) * Piece::MAX);
    for number in 0..count {
        let Ok(number) = u16::try_from(number) else { return Ok(None) };
        match kv.get(&keys::piece(prefix, number))? {
            Some(piece) => bytes.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok(Some(bytes))
}

/// How many pieces bytes of this length are cut into.
pub(crate) fn piece_count(len: usize) -> u32 {
    u32::try_from(len.div_ceil(Piece::MAX)).unwrap_or(u32::MAX)
}

/// Removes the pieces of operations that never came to their end. Returns how many operations.
pub(crate) fn sweep(engine: &Engine) -> Result<usize, Fault> {
    let (low, high) = ([keys::INTENT], [keys::INTENT + 1]);
    let mut swept = 0;
    while let Some((intent, _)) = engine.first_in(&low, &high)? {
        sweep_one(engine, &intent)?;
        swept += 1;
    }
    Ok(swept)
}

fn sweep_one(engine: &Engine, intent: &[u8]) -> Result<(), Fault> {
    let end = keys::after(&intent[1..]);
    let mut from = intent[1..].to_vec();
    let mut batch = Pending::new(engine);
    while let Some((key, _)) = engine.first_in(&from, &end)? {
        from = keys::successor(&key);
        batch.remove(key.to_vec());
        if batch.is_full() {
            batch.commit()?;
        }
    }
    batch.remove(intent.to_vec());
    batch.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Kind;
    use proptest::prelude::*;

    fn key(k: u8) -> Vec<u8> {
        vec![b'z', k]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// A batch over a store reads as the store will once it is committed.
        #[test]
        fn reads_see_the_changes(
            stored in proptest::collection::btree_set(0u8..24, 0..12),
            changes in proptest::collection::vec((0u8..24, any::<bool>()), 0..16),
            low in 0u8..26, high in 0u8..26,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
            let mut batch = Pending::new(&engine);
            stored.iter().for_each(|k| batch.put(key(*k), Piece::new(&[1]).unwrap()));
            batch.commit().unwrap();
            let mut model = stored.clone();
            for (k, put) in changes {
                if put {
                    batch.put(key(k), Piece::new(&[2]).unwrap());
                    model.insert(k);
                } else {
                    batch.remove(key(k));
                    model.remove(&k);
                }
            }
            for _ in 0..2 {
                let wanted: Vec<u8> = model.iter().copied().filter(|k| (low..high.max(low)).contains(k)).collect();
                let name = |e: Option<(Value, Value)>| e.map(|(k, _)| k[1]);
                prop_assert_eq!(name(batch.first_in(&key(low), &key(high)).unwrap()), wanted.first().copied());
                prop_assert_eq!(name(batch.last_in(&key(low), &key(high)).unwrap()), wanted.last().copied());
                for order in [Order::OldestFirst, Order::NewestFirst] {
                    let mut expected = wanted.clone();
                    if order == Order::NewestFirst {
                        expected.reverse();
                    }
                    expected.truncate(4);
                    let mut seen = Vec::new();
                    let mut each = |key: &[u8], _: &[u8]| {
                        seen.push(key[1]);
                        seen.len() < 4
                    };
                    batch.each_in(&key(low), &key(high), order, &mut each).unwrap();
                    prop_assert_eq!(&seen, &expected);
                }
                for k in 0..24 {
                    prop_assert_eq!(batch.get(&key(k)).unwrap().is_some(), model.contains(&k));
                }
                batch.commit().unwrap();
                // The store itself, which goes about it differently.
                let mut seen = Vec::new();
                let mut each = |key: &[u8], _: &[u8]| {
                    seen.push(key[1]);
                    true
                };
                engine.each_in(&key(low), &key(high), Order::NewestFirst, &mut each).unwrap();
                seen.reverse();
                prop_assert_eq!(&seen, &wanted);
            }
        }
    }

    #[test]
    fn what_comes_again_while_it_is_being_removed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        for len in [20_000, 300_000] {
            let mut batch = Pending::new(&engine);
            batch.put_pieces(b"r1", &vec![5; 300_000]).unwrap();
            batch.commit().unwrap();
            batch.put(keys::intent(b"r1"), Piece::mark());
            batch.put_pieces(b"r1", &vec![6; len]).unwrap();
            batch.commit().unwrap();
            assert_eq!(sweep(&engine).unwrap(), 0);
            assert_eq!(read_pieces(&engine, b"r1", piece_count(len)).unwrap().unwrap(), vec![6; len]);
            assert!(
                read_pieces(&engine, b"r1", piece_count(len) + 1).unwrap().is_none(),
                "something of the old is left"
            );
            batch.remove_all(b"r1").unwrap();
            batch.commit().unwrap();
        }
    }

    #[test]
    fn pieces_without_an_owner_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut batch = Pending::new(&engine);
        batch.put_pieces(b"r1", &vec![5; 300_000]).unwrap();
        batch.put_pieces(b"r2", &[6; 5000]).unwrap();
        // The operation of r1 stops here, before its last batch; that of r2 was never begun on the disk.
        drop(batch);
        assert!(engine.get(&keys::intent(b"r1")).unwrap().is_some());
        assert!(engine.get(&keys::piece(b"r1", 0)).unwrap().is_some());
        assert_eq!(sweep(&engine).unwrap(), 1);
        assert!(engine.first_in(&[0], keys::OPENED).unwrap().is_none(), "something is left");
        assert!(engine.first_in(&keys::successor(keys::OPENED), &[255]).unwrap().is_none(), "something is left");

        let mut batch = Pending::new(&engine);
        batch.put_pieces(b"r1", &vec![5; 300_000]).unwrap();
        batch.commit().unwrap();
        assert_eq!(sweep(&engine).unwrap(), 0);
        assert_eq!(read_pieces(&engine, b"r1", piece_count(300_000)).unwrap().unwrap(), vec![5; 300_000]);
    }
}
