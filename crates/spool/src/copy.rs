//! A spool copied while it is at work, and made again from the copy.
//!
//! A copy is one moment of the spool: a read transaction, so that writing goes on meanwhile. Only compacting waits for it, as it must be
//! alone. The entries of all tables go out as they are stored, in parts of bounded size. A part is `magic (8 bytes)`, then entries, each `table (1 byte) |
//! length of the key (4 bytes) | key | length of the value (4 bytes) | value`, numbers big-endian. Knows redb and no archive.

use std::io;
use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableHandle as _};

use crate::{SpoolError, disk};

/// How each part begins.
const MAGIC: &[u8; 8] = b"hrspool1";
/// A part is given away once it is so long, in bytes.
const PART: usize = 4 << 20;

/// The longest part there is, in bytes: one more delivery of the largest size may be in it.
pub const MAX_COPY_PART: usize = PART + crate::MAX_DELIVERY + (1 << 16);

/// Takes a copy.
pub trait CopySink {
    /// The moment that is copied is this one; what was appended before is in the copy.
    ///
    /// # Errors
    /// Ends the copy.
    fn begun(&mut self) -> io::Result<()>;

    /// The next part.
    ///
    /// # Errors
    /// Ends the copy.
    fn part(&mut self, part: &[u8]) -> io::Result<()>;
}

/// What is in a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Deliveries.
    pub deliveries: u64,
    /// Tunnels that had any, ever.
    pub tunnels: u64,
}

/// Why a copy broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The spool cannot be opened or read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Whoever takes it or gives it cannot.
    #[error("the copy broke off: {0}")]
    Taker(#[from] io::Error),
    /// What is given is not a copy of a spool.
    #[error("this is not a copy of a spool: {0}")]
    NotACopy(String),
}

fn failed(error: impl Into<redb::Error>) -> CopyError {
    CopyError::Spool(SpoolError::Failed { reason: error.into().to_string().into() })
}

/// Copies the spool in the folder `dir`, which nobody has open.
///
/// # Errors
/// [`CopyError`]; `Held` if a relay has it.
pub fn copy_closed(dir: &Path, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
    let db = disk::hold(dir)?;
    copy_moment(&db.begin_read().map_err(failed)?, to)
}

/// Copies the moment of a transaction.
pub(crate) fn copy_moment(txn: &ReadTransaction, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
    // A table that is not known here would be missing from the copy without a word.
    let known = [disk::META.name(), disk::TUNNELS.name(), disk::DELIVERIES.name()];
    if let Some(other) = txn.list_tables().map_err(failed)?.find(|table| !known.contains(&table.name())) {
        let reason = format!("it has a table {:?}, which is not known how to copy", other.name());
        return Err(SpoolError::Failed { reason: reason.into() }.into());
    }
    to.begun()?;
    let mut copied = Copied::default();
    let mut part = Part::new();
    let meta = txn.open_table(disk::META).map_err(failed)?;
    for entry in meta.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        part.add(Table::Meta, key.value().as_bytes(), &value.value().to_be_bytes());
    }
    let tunnels = txn.open_table(disk::TUNNELS).map_err(failed)?;
    for entry in tunnels.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        part.add(Table::Tunnels, key.value().as_bytes(), value.value());
        copied.tunnels += 1;
        part.give(PART, to)?;
    }
    let deliveries = txn.open_table(disk::DELIVERIES).map_err(failed)?;
    for entry in deliveries.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        let (tunnel, seq) = key.value();
        let mut place = [0; 12];
        place[..4].copy_from_slice(&tunnel.to_be_bytes());
        place[4..].copy_from_slice(&seq.to_be_bytes());
        part.add(Table::Deliveries, &place, value.value());
        copied.deliveries += 1;
        part.give(PART, to)?;
    }
    part.give(0, to)?;
    Ok(copied)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Meta = 1,
    Tunnels = 2,
    Deliveries = 3,
}

struct Part(Vec<u8>);

impl Part {
    fn new() -> Part {
        Part(MAGIC.to_vec())
    }

    fn add(&mut self, table: Table, key: &[u8], value: &[u8]) {
        // Keys and values are far shorter than 4 GiB: MAX_DELIVERY.
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.0.push(table as u8);
        self.0.extend_from_slice(&len(key));
        self.0.extend_from_slice(key);
        self.0.extend_from_slice(&len(value));
        self.0.extend_from_slice(value);
    }

    /// Gives it away if it is so long or longer, and has anything in it.
    fn give(&mut self, from: usize, to: &mut dyn CopySink) -> io::Result<()> {
        if self.0.len() > from.max(MAGIC.len()) {
            to.part(&self.0)?;
            self.0.truncate(MAGIC.len());
        }
        Ok(())
    }
}

/// One entry of a part.
struct Entry<'a> {
    table: Table,
    key: &'a [u8],
    value: &'a [u8],
}

/// The entries of a part; nothing is believed of it.
fn entries(part: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut rest = part.strip_prefix(MAGIC).ok_or("a part does not begin as one")?;
    let mut all = Vec::new();
    while let Some((table, after)) = rest.split_first() {
        let table = match table {
            1 => Table::Meta,
            2 => Table::Tunnels,
            3 => Table::Deliveries,
            other => return Err(format!("there is no table {other}; was it made by a newer version?")),
        };
        let (key, after) = bytes(after).ok_or("a part ends in the middle")?;
        let (value, after) = bytes(after).ok_or("a part ends in the middle")?;
        all.push(Entry { table, key, value });
        rest = after;
    }
    Ok(all)
}

fn bytes(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = from.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

/// Counts what is in a part without making anything of it.
///
/// # Errors
/// It is not a part of a copy.
pub fn count_part(part: &[u8]) -> Result<Copied, CopyError> {
    let entries = entries(part).map_err(CopyError::NotACopy)?;
    let of = |table| entries.iter().filter(|entry| entry.table == table).count() as u64;
    Ok(Copied { deliveries: of(Table::Deliveries), tunnels: of(Table::Tunnels) })
}

/// A spool that is made from a copy, part by part.
pub struct Restoring {
    db: Database,
    copied: Copied,
}

impl Restoring {
    /// Makes an empty spool in the folder `dir`, which must have none.
    ///
    /// # Errors
    /// There is one, or it cannot be made.
    pub fn begin(dir: &Path) -> Result<Restoring, CopyError> {
        Ok(Restoring { db: disk::make(dir)?, copied: Copied::default() })
    }

    /// Adds a part.
    ///
    /// # Errors
    /// It is not a part of a copy, or cannot be written.
    pub fn part(&mut self, part: &[u8]) -> Result<(), CopyError> {
        let txn = self.db.begin_write().map_err(failed)?;
        {
            let mut meta = txn.open_table(disk::META).map_err(failed)?;
            let mut tunnels = txn.open_table(disk::TUNNELS).map_err(failed)?;
            let mut deliveries = txn.open_table(disk::DELIVERIES).map_err(failed)?;
            for Entry { table, key, value } in entries(part).map_err(CopyError::NotACopy)? {
                let text =
                    || std::str::from_utf8(key).map_err(|_| CopyError::NotACopy("a name is not text".to_owned()));
                match table {
                    Table::Meta => {
                        let value = value.try_into().map(u64::from_be_bytes);
                        let value = value.map_err(|_| CopyError::NotACopy("a number has not its length".to_owned()))?;
                        meta.insert(text()?, value).map_err(failed)?;
                    }
                    Table::Tunnels => {
                        tunnels.insert(text()?, value).map_err(failed)?;
                        self.copied.tunnels += 1;
                    }
                    Table::Deliveries => {
                        let place = key.split_first_chunk::<4>().and_then(|(tunnel, seq)| {
                            Some((u32::from_be_bytes(*tunnel), u64::from_be_bytes(seq.try_into().ok()?)))
                        });
                        let place =
                            place.ok_or_else(|| CopyError::NotACopy("a place has not its length".to_owned()))?;
                        deliveries.insert(place, value).map_err(failed)?;
                        self.copied.deliveries += 1;
                    }
                }
            }
        }
        txn.commit().map_err(failed)
    }

    /// Closes it, and reads the records back and compares them with the deliveries that are there.
    ///
    /// # Errors
    /// It is not whole.
    pub fn end(self, dir: &Path) -> Result<Copied, CopyError> {
        let Restoring { db, copied } = self;
        drop(db);
        disk::read_whole(dir)?;
        Ok(copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_is_read_as_a_part_panics(mut junk: Vec<u8>, magic: bool) {
            if magic {
                junk.splice(..0, MAGIC.iter().copied());
            }
            prop_assert!(count_part(&junk).is_err() || junk.starts_with(MAGIC));
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut restoring = Restoring::begin(&dir.path().join("spool")).unwrap();
        let mut wrong = Part::new();
        wrong.add(Table::Deliveries, b"no place", b"");
        let mut number = Part::new();
        number.add(Table::Meta, b"format", b"short");
        for junk in [&b""[..], b"hrspool2", b"hrspool1\x09", &wrong.0, &number.0] {
            assert!(restoring.part(junk).is_err(), "{junk:?}");
        }
    }

    #[test]
    fn a_part_that_is_cut_is_no_part() {
        let mut part = Part::new();
        part.add(Table::Tunnels, b"team", b"value");
        let ends: Vec<usize> = (0..=part.0.len()).filter(|n| entries(&part.0[..*n]).is_ok()).collect();
        assert_eq!(ends, [MAGIC.len(), part.0.len()]);
    }
}
