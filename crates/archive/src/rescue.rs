//! Saving what is readable of a store that is damaged: [`rescue`] hands it out, [`repair`] builds a new store of it.
//!
//! The engine is not asked: opening a damaged store with it may change what is there, and it serves nothing more after the first
//! thing that it cannot read. Records are found by their seals (`scan`), older copies too where the latest is hit. A store of format 1
//! has no seals; of that the engine reads what it can. A delivery that was removed since the last compaction may rise again, if the mark of its
//! removal is hit and an older copy of it is not.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tunnel_delivery::{Answer, AnswerClass, Cause, DeliveryId, Stored};
use tunnel_vault::UserKey;

use crate::engine::{Engine, Fault, Kind};
use crate::error::ArchiveError;
use crate::folder::{Folder, remove_store};
use crate::keys;
use crate::ledger::{Counters, Ledger, Refusal};
use crate::pending::piece_count;
use crate::query::Order;
use crate::reader;
use crate::record::{self, Entry};
use crate::report::{Named, Progress};
use crate::scan::{self, Found};
use crate::space::Space;
use crate::veil::Veil;

/// A delivery that was saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescued {
    /// The delivery with those of its attempts that can be read.
    pub stored: Stored,
    /// What the last attempt came to, or that it waits to be forwarded.
    pub class: AnswerClass,
    /// How many attempts it had of which nothing can be read.
    pub attempts_lost: u32,
    /// Whether it had a note that cannot be read.
    pub note_lost: bool,
}

/// What a rescue found, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// How many deliveries were saved.
    pub deliveries: u64,
    /// How many attempts with them.
    pub attempts: u64,
    /// Deliveries that were there and of which too little is readable. There may have been others of which nothing is left.
    pub lost: Named,
    /// Deliveries that were saved without a note or an attempt that they had.
    pub incomplete: Named,
    /// Why not everything could be looked at: a store of format 1 could not be read to its end, or keys of what is encrypted are not there.
    pub stopped: Option<String>,
}

/// What [`repair`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What the new store has and what was lost.
    pub salvage: Salvage,
    /// Where the damaged files are now. They are not needed any more.
    pub aside: Vec<PathBuf>,
}

/// While a repair writes, this much stays free.
const FREE: u64 = 8 << 20;

const CACHE: u64 = 8 << 20;

/// Reads everything that is readable of the archive in this folder, whatever state it is in, and hands it out, oldest first.
/// The archive must not be open; nothing in it is changed, unless it has format 1. Blocks.
///
/// # Errors
/// [`ArchiveError::Held`], [`ArchiveError::Newer`], [`ArchiveError::Key`], [`ArchiveError::Io`].
pub fn rescue(
    dir: &Path,
    key: Option<&UserKey>,
    mut progress: impl FnMut(Progress),
    mut each: impl FnMut(Rescued),
) -> Result<Salvage, ArchiveError> {
    let mut folder = Folder::open_damaged(dir)?;
    let veil = folder.veil(key)?;
    from(&folder, &veil, &mut progress, &mut |rescued| {
        each(rescued);
        Ok(())
    })
}

/// Builds a new store of everything that is readable, puts the damaged files aside within the folder, and makes the folder usable
/// again. The archive must not be open. Ended half way, it leaves everything as it was and can be done again. Blocks.
///
/// # Errors
/// As [`rescue`]; [`ArchiveError::DiskFull`] if there is no room for the new store.
pub fn repair(dir: &Path, key: Option<&UserKey>, mut progress: impl FnMut(Progress)) -> Result<Repaired, ArchiveError> {
    let mut folder = Folder::open_damaged(dir)?;
    let veil = folder.veil(key)?;
    let space = Space::new(dir, 0, FREE);
    let damaged = folder.store_paths()?;
    let new = folder.next_store()?;
    let failed = |fault: Fault| ArchiveError::Failed { detail: fault.detail };
    let mut built = || {
        let engine = Engine::open(&new, CACHE, Kind::Building, &veil).map_err(failed)?;
        let mut ledger = Ledger::new(&engine, Counters::default());
        let salvage = from(&folder, &veil, &mut progress, &mut |rescued| {
            // A long body comes to the disk while it is restored, and a full disk is the end of the engine.
            let body = rescued.stored.delivery.body.len();
            let answers: usize = rescued.stored.attempts.iter().map(|a| a.response_body.len()).sum();
            space.check_room((ledger.batch.weight() + 3 * (body + answers)) as u64)?;
            match ledger.restore(&rescued.stored, rescued.class) {
                Ok(()) => {}
                Err(Refusal::No(error)) => return Err(error),
                Err(Refusal::Fault(fault)) => return Err(failed(fault)),
            }
            if ledger.batch.is_full() {
                ledger.batch.commit().map_err(failed)?;
            }
            Ok(())
        })?;
        ledger.put_counters();
        ledger.batch.commit().map_err(failed)?;
        drop(ledger);
        drop(engine.finish().map_err(failed)?);
        Ok(salvage)
    };
    let salvage = match built() {
        Ok(salvage) => salvage,
        Err(error) => {
            let _ = remove_store(&new);
            return Err(error);
        }
    };
    folder.switch(&new, &damaged)?;
    // The totals of the last close are those of the damaged store. Not sooner: until here they are what tells that it is damaged.
    folder.remove_closed()?;
    let aside = folder.tidy()?;
    Ok(Repaired { salvage, aside })
}

/// Hands out everything that is readable.
pub(crate) fn from(
    folder: &Folder,
    veil: &Veil,
    progress: &mut dyn FnMut(Progress),
    each: &mut dyn FnMut(Rescued) -> Result<(), ArchiveError>,
) -> Result<Salvage, ArchiveError> {
    let mut salvage = Salvage::default();
    let mut hand_out = |rescued: Rescued, salvage: &mut Salvage| {
        salvage.deliveries += 1;
        salvage.attempts += rescued.stored.attempts.len() as u64;
        if rescued.attempts_lost > 0 || rescued.note_lost {
            salvage.incomplete.note(rescued.stored.delivery.id);
        }
        each(rescued)
    };
    if folder.is_old() {
        salvage.stopped = old(folder, &mut salvage, &mut hand_out)?;
        return Ok(salvage);
    }
    let found = Found::scan(&scan::files(&folder.store_paths()?), veil, progress)?;
    if found.locked() > 0 {
        salvage.stopped =
            Some(format!("{} pieces are encrypted with keys that keys.json does not have", found.locked()));
    }
    let total = found.keys(b'l').count() as u64;
    let mut orphans = found.keys(b'r').chain(found.keys(b'R')).filter_map(|(key, number)| {
        let id = DeliveryId::from_slice(key.get(..16)?)?;
        (number >= removed(&found, id) && found.read(&[b"l", &key[..16]].concat()).is_none()).then_some(id)
    });
    orphans.by_ref().for_each(|id| salvage.lost.note(id));
    for (done, (key, number)) in (0..).zip(found.keys(b'l')) {
        progress(Progress { step: "saving deliveries", done, total });
        let Some(id) = DeliveryId::from_slice(key) else { continue };
        if number < removed(&found, id) {
            continue;
        }
        match whole(&found, id) {
            Some(rescued) => hand_out(rescued, &mut salvage)?,
            None => salvage.lost.note(id),
        }
    }
    Ok(salvage)
}

/// The number of the commit that removed a delivery last; 0 if none did. What is older does not rise again.
fn removed(found: &Found, id: DeliveryId) -> u64 {
    let mark = found.read(&[&[keys::TOMB], &id.as_bytes()[..]].concat());
    mark.and_then(|(value, _)| value.first_chunk().map(|n| u64::from_be_bytes(*n))).unwrap_or(0)
}

fn whole(found: &Found, id: DeliveryId) -> Option<Rescued> {
    let since = removed(found, id);
    let read = |key: &[u8]| found.read(key).filter(|(_, number)| *number >= since);
    let on_shelf = |tag: u8, key: &[u8]| read(&[&[tag], key].concat()).map(|(value, _)| value);
    let pieces = |prefix: &[u8], len: u64| {
        let len = usize::try_from(len).ok()?;
        let mut bytes = Vec::new();
        for number in 0..piece_count(len) {
            bytes.extend(read(&keys::piece(prefix, u16::try_from(number).ok()?))?.0);
        }
        (bytes.len() == len).then_some(bytes)
    };
    let entry = Entry::from_bytes(id, &on_shelf(b'l', id.as_bytes())?).ok()?;
    let request = match entry.request_len {
        None => on_shelf(b'r', id.as_bytes())?,
        Some(len) => pieces(&keys::request(id), len)?,
    };
    let whole = record::decode(&entry.summary, request.into()).ok()?;
    if whole.body_sha256[..] != Sha256::digest(&whole.delivery.body)[..] {
        return None;
    }
    let mut class = entry.summary.answer.class;
    let mut attempts = Vec::new();
    // How many there were is what the line says, which may be anything: only those that were found are looked at.
    let (said, mut next) = (entry.summary.attempts, entry.summary.attempts.saturating_add(1));
    let mut known_read = 0;
    for number in found.attempts(id) {
        let known = number <= said;
        if !known && number != next {
            break;
        }
        let attempt = on_shelf(b'a', &keys::attempt(id, number)).and_then(|on_shelf| {
            let bytes: Bytes = match on_shelf.split_first() {
                Some((0, attempt)) => attempt.to_vec().into(),
                Some((1, len)) => {
                    pieces(&keys::attempt_pieces(id, number), u64::from_be_bytes(len.try_into().ok()?))?.into()
                }
                _ => return None,
            };
            crate::attempt::decode(bytes).ok()
        });
        match attempt {
            Some(attempt) if known => {
                known_read += 1;
                attempts.push(attempt);
            }
            // A line that is an older copy does not know its last attempts.
            Some(attempt) => {
                if (class, attempt.cause) != (AnswerClass::Queued, Cause::Replay) {
                    class = AnswerClass::of(&attempt);
                }
                attempts.push(attempt);
                next = next.saturating_add(1);
            }
            None if known => {}
            None => break,
        }
    }
    let attempts_lost = said - known_read;
    let note = entry.note_len.and_then(|len| note(found, id, since, len));
    Some(Rescued {
        class,
        attempts_lost,
        note_lost: entry.note_len.is_some() && note.is_none(),
        stored: Stored {
            delivery: whole.delivery,
            body_sha256: whole.body_sha256,
            event: whole.event,
            signature: whole.signature,
            duplicate_of: whole.duplicate_of,
            repeats: Vec::new(),
            pinned: entry.summary.pinned,
            note,
            attempts,
        },
    })
}

/// A note is written by one commit; pieces of different ones are not of one note.
fn note(found: &Found, id: DeliveryId, since: u64, len: u64) -> Option<String> {
    let mut bytes = Vec::new();
    let mut commit = None;
    for number in 0..piece_count(usize::try_from(len).ok()?) {
        let (piece, of) = found.read(&keys::piece(&keys::note(id), u16::try_from(number).ok()?))?;
        if of < since || *commit.get_or_insert(of) != of {
            return None;
        }
        bytes.extend(piece);
    }
    String::from_utf8(bytes).ok().filter(|note| note.len() as u64 == len)
}

/// Reads a store of format 1 with the engine, as far as it gets. Returns why it did not get further.
fn old(
    folder: &Folder,
    salvage: &mut Salvage,
    hand_out: &mut dyn FnMut(Rescued, &mut Salvage) -> Result<(), ArchiveError>,
) -> Result<Option<String>, ArchiveError> {
    let engine = match Engine::open(&folder.store(), CACHE, Kind::Old, &Veil::default()) {
        Ok(engine) => engine,
        Err(fault) => return Ok(Some(fault.detail)),
    };
    let mut walk = keys::LINES.walk(&[0; 16], &[255; 16], Order::OldestFirst);
    loop {
        let (key, line) = match walk.next(&engine) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(fault) => return Ok(Some(fault.detail)),
        };
        let Some(id) = DeliveryId::from_slice(&key) else { continue };
        let Answer { class, .. } = match Entry::from_bytes(id, &line) {
            Ok(entry) => entry.summary.answer,
            Err(_) => {
                salvage.lost.note(id);
                continue;
            }
        };
        match reader::stored(&engine, id) {
            Ok(Some(stored)) => {
                hand_out(Rescued { stored, class, attempts_lost: 0, note_lost: false }, salvage)?;
            }
            Ok(None) => {}
            Err(reader::ReadError::Unreadable(_)) => salvage.lost.note(id),
            Err(reader::ReadError::Fault(fault)) => {
                salvage.lost.note(id);
                return Ok(Some(fault.detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::FileExt as _;
    use std::sync::Arc;

    use super::*;
    use crate::{Archive, Intake, Options};
    use tunnel_delivery::{Delivery, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};

    fn intake(n: u64, len: usize) -> Intake {
        let received_at = Timestamp::from_micros(1_763_714_000_000_000 + i64::try_from(n).unwrap() * 5000);
        let body = Bytes::from(format!("body {n} ").into_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>());
        Intake {
            body_sha256: Sha256::digest(&body).into(),
            delivery: Arc::new(Delivery {
                id: DeliveryId::build(received_at, [n as u8; 10]),
                received_at,
                tunnel: "team".parse().unwrap(),
                source_ip: "18.206.70.225".parse().unwrap(),
                environment: Default::default(),
                method: "POST".parse().unwrap(),
                target: "/hook".parse().unwrap(),
                prefix_len: 0,
                http_version: HttpVersion::Http11,
                headers: Headers::default(),
                body,
                lost: Vec::new(),
            }),
            event: None,
            signature: Verdict::bare(SignatureStatus::Unsigned),
            queued: false,
        }
    }

    /// A line may say anything of how many attempts there were; looking for each of them would take minutes.
    #[tokio::test]
    async fn attempts_that_are_only_said_to_be_there_are_counted_and_not_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { min_free_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
        let archive = Archive::open(dir.path(), options).unwrap();
        archive.insert(intake(1, 10)).await.unwrap();
        archive.close().await.unwrap();
        let id = intake(1, 10).delivery.id;
        let db = dir.path().join("store/db");
        let found = Found::scan(std::slice::from_ref(&db), &Veil::default(), &mut |_| ()).unwrap();
        let (line, number) = found.read(&[b"l", &id.as_bytes()[..]].concat()).unwrap();
        let mut entry = Entry::from_bytes(id, &line).unwrap();
        entry.summary.attempts = u32::MAX;
        let line = entry.to_bytes();
        let block = [&id.as_bytes()[..], &(line.len() as u16).to_be_bytes(), &line].concat();
        let sealed = crate::seal::seal(&[b"l", &id.as_bytes()[..]].concat(), number + 1, &block, false);
        let bytes = [std::fs::read(&db).unwrap(), sealed].concat();
        std::fs::write(&db, bytes).unwrap();
        let mut lost = Vec::new();
        rescue(dir.path(), None, |_| (), |r| lost.push((r.stored.delivery.id, r.attempts_lost))).unwrap();
        assert_eq!(lost, [(id, u32::MAX)]);
    }

    /// Everything that no byte was changed of is saved: the damage is compared with the places of what is latest.
    #[tokio::test]
    async fn all_that_was_not_hit_is_saved() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { min_free_bytes: 1 << 20, reserve_bytes: 0, ..Options::default() };
        let archive = Archive::open(dir.path(), options).unwrap();
        for n in 0..120 {
            let len = if n % 9 == 0 { 9000 } else { 50 + 10 * n as usize };
            archive.insert(intake(n, len)).await.unwrap();
            if n % 2 == 0 {
                archive.set_pinned(intake(n, len).delivery.id, true).await.unwrap();
            }
        }
        archive.remove((0..120).step_by(5).map(|n| intake(n, 0).delivery.id).collect()).await.unwrap();
        archive.close().await.unwrap();
        let db = dir.path().join("store/db");
        let original = std::fs::read(&db).unwrap();
        let found = Found::scan(std::slice::from_ref(&db), &Veil::default(), &mut |_| ()).unwrap();
        let saved = || {
            let mut ids = BTreeSet::new();
            let salvage = rescue(dir.path(), None, |_| (), |r| assert!(ids.insert(r.stored.delivery.id))).unwrap();
            (ids, salvage)
        };
        let (all, salvage) = saved();
        assert_eq!((all.len(), salvage.lost.count), (96, 0), "{salvage:?}");
        let mut seed: u64 = 7;
        for case in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 20) % (original.len() as u64 - 3000);
            let range = at..at + 3000;
            std::fs::write(&db, &original).unwrap();
            let file = std::fs::File::options().write(true).open(&db).unwrap();
            file.write_all_at(&vec![case; 3000], at).unwrap();
            let (ids, salvage) = saved();
            for id in &all {
                let hit = found.hit(*id, &range);
                assert!(ids.contains(id) || hit, "{id} was not hit and is lost (case {case})");
            }
            // Where the mark of a removal is hit, what was removed may be there again; nothing else that is not to be there.
            for id in ids.difference(&all).chain(salvage.lost.first.iter().filter(|id| !all.contains(*id))) {
                assert!(found.hit(*id, &range), "{id} was removed and is there again (case {case})");
            }
        }
    }
}
