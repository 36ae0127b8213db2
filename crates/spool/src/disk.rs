//! The spool's file: where it is, how it is made and opened, what its tables are, how much room is left.
//!
//! Knows redb and the file system, nothing of threads and queues. How the file is written anew is `anew`'s.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition, TableError,
};
use tunnel_delivery::TunnelName;
use tunnel_vault::{Entropy, UserKey, Vault};

use crate::format;
use crate::record::Record;
use crate::{Seq, SpoolError, anew};

/// `(tunnel's number, place)` to a delivery as format.rs writes it.
pub(crate) const DELIVERIES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("deliveries");
/// A tunnel's name to its record as format.rs writes it.
pub(crate) const TUNNELS: TableDefinition<&str, &[u8]> = TableDefinition::new("tunnels");
/// `format`, [`OWED`] where it is so, a [`purge_of`] for each tunnel that is being purged, and [`BORN`] and [`MADE`] where the file was written anew.
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// In [`META`] from the commit that removed something until its bytes have left the file, whatever happens in between.
pub(crate) const OWED: &str = "compaction owed";

/// In [`META`] of a file that was written anew: when the spool's first file was made (nanoseconds since 1970).
pub(crate) const BORN: &str = "born";
/// Likewise when this file was. Another than that of a file says that it was copied, and is no longer that spool.
pub(crate) const MADE: &str = "made";

/// Before the number of a tunnel, in [`META`].
const PURGE: &str = "purge of ";

/// The key in [`META`] of a purge that is under way, from the commit of its first portion to that of its last: the place before which all of the tunnel goes.
/// Whoever opens the spool goes on with it.
pub(crate) fn purge_of(tunnel: u32) -> String {
    format!("{PURGE}{tunnel}")
}

pub(crate) const FILE: &str = "spool.redb";
/// The layout of the tables. A change that older versions cannot read gets a new number.
const FORMAT: u64 = 1;
/// The same, with deliveries that may be encrypted.
const ENCRYPTED: u64 = 2;

/// redb's cache, in bytes. What is live is served from memory (recent.rs), so the cache only has to hold the tree's inner pages and
/// what one commit writes; 4 MiB gained no throughput worth their place in memory.
pub(crate) const CACHE: usize = 2 << 20;

/// A file below this size, in bytes, is not worth compacting.
const COMPACT_FROM: u64 = 64 << 20;

pub(crate) type Tunnels = HashMap<TunnelName, Record>;

pub(crate) struct Opened {
    pub(crate) db: Database,
    pub(crate) tunnels: Tunnels,
    pub(crate) vault: Option<Vault>,
    /// Bytes of what was removed are still in the file.
    pub(crate) owed: bool,
    /// The tunnels whose purge was cut short, and before which place they are purged.
    pub(crate) purges: Vec<(TunnelName, Seq)>,
    /// See [`born`].
    pub(crate) born: Option<u64>,
}

/// Opens the spool in `dir`, making folder, file and data keys where they are missing.
pub(crate) fn open(dir: &Path, key: Option<&UserKey>, entropy: Entropy) -> Result<Opened, SpoolError> {
    let path = file(dir);
    let io = |e: io::Error| SpoolError::Open { path: path.clone(), reason: e.to_string() };
    if !path.try_exists().map_err(io)? {
        tunnel_vault::private_folder(dir).map_err(io)?;
        create(dir, &path)?;
    } else if fs::metadata(&path).map_err(io)?.len() == 0 {
        // redb would make a new database of it, and what was acknowledged would be gone without a word.
        return Err(SpoolError::Damaged { path, reason: "it is empty".to_owned() });
    }
    // Bodies are in it; whoever else has an account on the machine has no business with them.
    tunnel_vault::tighten_all(dir).map_err(io)?;
    let mut db = open_file(&path)?;
    // Whoever has the file open is the only one who writes one anew.
    anew::sweep(dir).map_err(io)?;
    let found = check_format(&db, &path)?;
    let vault = Vault::open(dir, key, found >= ENCRYPTED, entropy)?;
    if vault.is_some() && found < ENCRYPTED {
        // The keys are on the disk by now. Before the first delivery that needs them: a program that knows none must not take those for damaged.
        set_format(&db, ENCRYPTED).map_err(|e| SpoolError::Open { path: path.clone(), reason: e.to_string() })?;
        tracing::info!("the spool is encrypted from now on; what is in it already stays as it is until it is taken");
    }
    if key.is_some() && !vault.as_ref().is_some_and(Vault::is_encrypting) {
        tracing::warn!(
            "a key is given and encrypting was turned off: what comes is not encrypted (`spool rekey --on` encrypts again)"
        );
    }
    let tunnels = read_tunnels(&db, &path)?;
    if is_mostly_empty(dir, tunnels.values().map(|t| t.bytes).sum(), false) {
        // An aid, not a need: the spool works as well in a large file. If the storage has failed, the first commit tells.
        if let Err(error) = compact(&mut db, dir) {
            tracing::warn!(%error, "could not compact the spool");
        }
    }
    let damaged = |e: redb::Error| SpoolError::Damaged { path: path.clone(), reason: e.to_string() };
    let owed = owed(&db).map_err(damaged)?;
    let purges = purges(&db, &tunnels).map_err(damaged)?;
    let born = born(&db, &path).map_err(damaged)?;
    Ok(Opened { db, tunnels, vault, owed, purges, born })
}

/// When the spool's first file was made, however often it was written anew since (nanoseconds since 1970); nothing where the file system does not say. A copy of
/// the file was made when it was copied.
pub(crate) fn born(db: &Database, path: &Path) -> Result<Option<u64>, redb::Error> {
    let made = made(path);
    let meta = db.begin_read()?.open_table(META)?;
    let same = made.is_some() && meta.get(MADE)?.map(|there| there.value()) == made;
    let born = if same { meta.get(BORN)?.map(|there| there.value()) } else { None };
    Ok(born.or(made))
}

/// When that file was made.
pub(crate) fn made(path: &Path) -> Option<u64> {
    let at = fs::metadata(path).and_then(|file| file.created()).ok()?;
    at.duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok()
}

fn purges(db: &Database, tunnels: &Tunnels) -> Result<Vec<(TunnelName, Seq)>, redb::Error> {
    let mut purges = Vec::new();
    for entry in db.begin_read()?.open_table(META)?.iter()? {
        let (key, before) = entry?;
        let Some(id) = key.value().strip_prefix(PURGE).and_then(|id| id.parse::<u32>().ok()) else { continue };
        let name = tunnels.iter().find(|(_, record)| record.id == id).map(|(name, _)| name.clone());
        purges.extend(name.map(|name| (name, Seq(before.value()))));
    }
    Ok(purges)
}

fn owed(db: &Database) -> Result<bool, redb::Error> {
    Ok(db.begin_read()?.open_table(META)?.get(OWED)?.is_some())
}

/// Whether the file holds so much more room than `live` bytes of deliveries need that compacting it is worth the while; where the disk
/// is nearly full (`urgent`) that is sooner. A full file is about twice as large as its deliveries.
pub(crate) fn is_mostly_empty(dir: &Path, live: u64, urgent: bool) -> bool {
    let (from, share) = if urgent { (1 << 20, 3) } else { (COMPACT_FROM, 8) };
    let len = file_len(dir);
    len > from && live < len / share
}

/// The length of the spool's file; 0 where it cannot be told.
pub(crate) fn file_len(dir: &Path) -> u64 {
    fs::metadata(file(dir)).map_or(0, |m| m.len())
}

/// Gives free pages of the file back to the file system.
pub(crate) fn compact(db: &mut Database, dir: &Path) -> Result<(), redb::Error> {
    let (before, began) = (file_len(dir), Instant::now());
    db.compact()?;
    let took_ms = began.elapsed().as_millis() as u64;
    tracing::info!(before, after = file_len(dir), took_ms, "compacted the spool");
    Ok(())
}

/// Makes the file under another name first: a crash leaves either no spool or a whole one.
fn create(dir: &Path, path: &Path) -> Result<(), SpoolError> {
    let io = |e: io::Error| SpoolError::Open { path: path.to_owned(), reason: e.to_string() };
    let draft = dir.join(format!("{FILE}.new-{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let made: Result<(), redb::Error> = (|| {
        let db = Database::builder().set_cache_size(CACHE).create(&draft)?;
        let txn = db.begin_write()?;
        txn.open_table(META)?.insert("format", FORMAT)?;
        txn.open_table(TUNNELS)?;
        txn.open_table(DELIVERIES)?;
        txn.commit()?;
        Ok(())
    })();
    made.map_err(|e| SpoolError::Open { path: path.to_owned(), reason: e.to_string() })?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
    // A link and not a rename: whoever else makes a spool here at the same moment must not lose theirs.
    let linked = match fs::hard_link(&draft, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&draft).and(linked).map_err(io)?;
    for dir in [Some(dir), dir.parent()].into_iter().flatten() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    }
    Ok(())
}

fn set_format(db: &Database, format: u64) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    txn.open_table(META)?.insert("format", format)?;
    txn.commit()?;
    Ok(())
}

/// Opens a spool that must be there, and does nothing with it: whoever has it holds its lock.
pub(crate) fn hold(dir: &Path) -> Result<Database, SpoolError> {
    let path = file(dir);
    let db = open_file(&path)?;
    check_format(&db, &path)?;
    Ok(db)
}

/// Makes an empty spool in `dir`, which must have none, and opens it.
pub(crate) fn make(dir: &Path) -> Result<Database, SpoolError> {
    let path = file(dir);
    let io = |e: io::Error| SpoolError::Open { path: path.clone(), reason: e.to_string() };
    if path.try_exists().map_err(io)? {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    tunnel_vault::private_folder(dir).map_err(io)?;
    create(dir, &path)?;
    tunnel_vault::tighten(&path).map_err(io)?;
    open_file(&path)
}

/// Reads all records of a spool that nobody has open, and compares them with the deliveries.
pub(crate) fn read_whole(dir: &Path) -> Result<(), SpoolError> {
    read_tunnels(&hold(dir)?, &file(dir)).map(drop)
}

fn open_file(path: &Path) -> Result<Database, SpoolError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    let name = path.to_owned();
    builder.set_repair_callback(move |repair| {
        if repair.progress() == 0.0 {
            tracing::info!(spool = %name.display(), "the spool was not closed: checking it");
        }
    });
    // A damaged file may send redb where it did not expect to be.
    let opened = catch_unwind(AssertUnwindSafe(|| builder.open(path)));
    let damaged = |reason: String| SpoolError::Damaged { path: path.to_owned(), reason };
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(SpoolError::Held { path: path.to_owned() }),
        Ok(Err(DatabaseError::Storage(StorageError::Io(e))))
            if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Err(SpoolError::Open { path: path.to_owned(), reason: e.to_string() })
        }
        Ok(Err(other)) => Err(damaged(other.to_string())),
        Err(_) => Err(damaged("the storage engine could not make sense of it".to_owned())),
    }
}

fn check_format(db: &Database, path: &Path) -> Result<u64, SpoolError> {
    let found = || -> Result<Option<u64>, redb::Error> {
        match db.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get("format")?.map(|v| v.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    };
    let damaged = |reason: String| SpoolError::Damaged { path: path.to_owned(), reason };
    match found().map_err(|e| damaged(e.to_string()))? {
        Some(found @ FORMAT..=ENCRYPTED) => Ok(found),
        Some(found) if found > ENCRYPTED => {
            Err(SpoolError::NewerFormat { path: path.to_owned(), found, known: ENCRYPTED })
        }
        Some(found) => Err(damaged(format!("its format {found} was never used"))),
        None => Err(damaged("it is not a spool".to_owned())),
    }
}

/// Reads all records and compares their bounds with the deliveries that are there.
fn read_tunnels(db: &Database, path: &Path) -> Result<Tunnels, SpoolError> {
    let damaged = |reason: String| SpoolError::Damaged { path: path.to_owned(), reason };
    let read = || -> Result<Tunnels, String> {
        let txn = db.begin_read().map_err(|e| e.to_string())?;
        let table = txn.open_table(TUNNELS).map_err(|e| e.to_string())?;
        let deliveries = txn.open_table(DELIVERIES).map_err(|e| e.to_string())?;
        let mut tunnels = Tunnels::new();
        for entry in table.iter().map_err(|e| e.to_string())? {
            let (name, value) = entry.map_err(|e| e.to_string())?;
            let tunnel: TunnelName = name.value().parse().map_err(|e| format!("{e}"))?;
            let record = format::decode_record(value.value()).map_err(|e| format!("the record of {tunnel}: {e}"))?;
            let mut there = deliveries.range((record.id, 0)..=(record.id, u64::MAX)).map_err(|e| e.to_string())?;
            let mut end = |back: bool| match if back { there.next_back() } else { there.next() } {
                Some(entry) => entry.map(|(key, _)| Some(Seq(key.value().1))).map_err(|e| e.to_string()),
                None => Ok(None),
            };
            let first = end(false)?;
            let last = end(true)?.or(first);
            let told = (record.first < record.next).then(|| (record.first, record.last()));
            if first.zip(last) != told {
                return Err(format!("tunnel {tunnel} should hold {told:?} and holds {:?}", first.zip(last)));
            }
            tunnels.insert(tunnel, record);
        }
        Ok(tunnels)
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(damaged),
        Err(_) => Err(damaged("the storage engine could not make sense of it".to_owned())),
    }
}

/// Bytes that the file system around `dir` has free for this process.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let fs = rustix::fs::statvfs(dir)?;
    Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// The file of the spool in `dir`.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
