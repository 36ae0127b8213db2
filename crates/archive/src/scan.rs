//! Finding records in the raw bytes of a store's file by their seals. Knows nothing of the engine but that it keeps values in one
//! stretch; what the engine no longer uses is found too, and older: the greatest number wins, and what was removed is marked so.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tunnel_delivery::DeliveryId;

use crate::error::ArchiveError;
use crate::folder::io;
use crate::keys;
use crate::report::Progress;
use crate::seal::{self, Seal};
use crate::shelf::Shelf;
use crate::veil::Veil;

/// How much is read at a time.
const WINDOW: usize = 4 << 20;

/// Where the latest copy of something lies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    number: u64,
    file: u16,
    /// The whole seal.
    at: u64,
    seal_len: u16,
    /// Within what the seal holds.
    within: u16,
    len: u16,
}

/// Everything that was found.
pub(crate) struct Found {
    files: Vec<(PathBuf, File)>,
    /// By tag and key: what lies on shelves (one entry each), and pieces.
    places: BTreeMap<Vec<u8>, Place>,
    veil: Veil,
    locked: u64,
}

impl Found {
    /// Reads these files from end to end. One that is not there has nothing.
    pub(crate) fn scan(
        paths: &[PathBuf],
        veil: &Veil,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, ArchiveError> {
        let mut found = Found { files: Vec::new(), places: BTreeMap::new(), veil: veil.clone(), locked: 0 };
        let mut total = 0;
        for path in paths {
            match File::open(path) {
                Ok(file) => {
                    total += file.metadata().map_or(0, |m| m.len());
                    found.files.push((path.clone(), file));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(io("open", path)(error)),
            }
        }
        let mut done = 0;
        for number in 0..found.files.len().min(usize::from(u16::MAX)) {
            done = found.scan_file(number as u16, done, total, progress)?;
        }
        Ok(found)
    }

    fn scan_file(
        &mut self,
        number: u16,
        mut done: u64,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u64, ArchiveError> {
        let mut window = vec![0; WINDOW + seal::LONGEST];
        let mut at = 0;
        // Where the last seal ended: what lies within it is not looked at.
        let mut skip = 0;
        loop {
            progress(Progress { step: "searching for records", done, total });
            let (path, file) = &self.files[usize::from(number)];
            let len = read_at(file, &mut window, at).map_err(io("read", path))?;
            let until = len.min(WINDOW);
            let from = usize::try_from(skip).unwrap_or(usize::MAX).min(until);
            let mut end = from;
            let (places, veil, mut locked) = (&mut self.places, &self.veil, 0);
            seal::find(&window[from..len], until - from, |within, seal| {
                end = from + within + seal.len();
                locked += u64::from(!note(places, veil, number, at + (from + within) as u64, &seal));
            });
            self.locked += locked;
            if until < WINDOW {
                return Ok(done + until as u64);
            }
            skip = end.saturating_sub(WINDOW) as u64;
            at += WINDOW as u64;
            done += WINDOW as u64;
        }
    }

    /// The latest copy of a shelf's entry or of a piece, and the number of its commit.
    pub(crate) fn read(&self, key: &[u8]) -> Option<(Vec<u8>, u64)> {
        let place = self.places.get(key)?;
        let (_, file) = self.files.get(usize::from(place.file))?;
        let mut bytes = vec![0; usize::from(place.seal_len)];
        file.read_exact_at(&mut bytes, place.at).ok()?;
        let payload = self.veil.payload(&seal::at_start(&bytes)?).ok()?;
        let within = usize::from(place.within);
        Some((payload.get(within..within + usize::from(place.len))?.to_vec(), place.number))
    }

    /// How many pieces are encrypted with keys that are not there.
    pub(crate) fn locked(&self) -> u64 {
        self.locked
    }

    /// The numbers of a delivery's attempts of which something was found, in order.
    pub(crate) fn attempts(&self, id: DeliveryId) -> impl Iterator<Item = u32> {
        let key = |number| [&[keys::ATTEMPTS.tag][..], &keys::attempt(id, number)].concat();
        let found = self.places.range(key(0)..=key(u32::MAX));
        found.filter_map(|(key, _)| key.last_chunk().map(|number| u32::from_be_bytes(*number)))
    }

    /// All keys of a kind, in order, with the numbers of their latest commits.
    pub(crate) fn keys(&self, tag: u8) -> impl Iterator<Item = (&[u8], u64)> {
        self.places.range(vec![tag]..vec![tag + 1]).map(|(key, place)| (&key[1..], place.number))
    }
}

#[cfg(test)]
impl Found {
    /// Whether one of the latest copies of what belongs to a delivery, marks of its removal included, lies in or near this range.
    pub(crate) fn hit(&self, id: DeliveryId, range: &std::ops::Range<u64>) -> bool {
        let of = |key: &[u8]| key.get(1..17) == Some(&id.as_bytes()[..]);
        self.places.iter().filter(|(key, _)| of(key)).any(|(_, place)| {
            // A seal is broken as a whole: what it covers lies within this distance.
            let (low, high) = (place.at.saturating_sub(seal::LONGEST as u64), place.at + seal::LONGEST as u64);
            low < range.end && range.start < high
        })
    }
}

/// Whether what the seal holds could be looked at.
fn note(places: &mut BTreeMap<Vec<u8>, Place>, veil: &Veil, file: u16, at: u64, seal: &Seal<'_>) -> bool {
    let Some((&tag, _)) = seal.key.split_first() else { return true };
    let Ok(payload) = veil.payload(seal) else { return false };
    let mut put = |key: Vec<u8>, within: usize, len: usize| {
        // At most a piece with its seal.
        let (seal_len, within, len) = (seal.len() as u16, within as u16, len as u16);
        let place = Place { number: seal.number, file, at, seal_len, within, len };
        let known = places.entry(key).or_insert(place);
        if known.number < seal.number {
            *known = place;
        }
    };
    let shelves: [Shelf; 4] = [keys::LINES, keys::REQUESTS, keys::ATTEMPTS, keys::TOMBS];
    match shelves.into_iter().find(|shelf| shelf.tag == tag) {
        Some(shelf) => {
            for (key, within, len) in shelf.places(&payload) {
                put([&[tag], key].concat(), within, len);
            }
        }
        None => put(seal.key.to_vec(), 0, payload.len()),
    }
    true
}

/// Fills the buffer as far as the file goes. A part that the disk cannot read is passed over as zeros.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], at + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                let hole = buffer.len().min(len + 4096);
                buffer[len..hole].fill(0);
                len = hole;
                if file.metadata()?.len() <= at + len as u64 {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The files of these stores that hold records.
pub(crate) fn files(stores: &[PathBuf]) -> Vec<PathBuf> {
    stores.iter().map(|store: &PathBuf| Path::join(store, "db")).collect()
}
