//! Whose a device is: with which token it came last, and when it left. So that nothing is sealed to it and nothing kept for it once that token opens the
//! tunnel no more, whether the relay ran at that moment or not; and so that one that is gone is forgotten in time though the relay was started anew.
//!
//! What is noted holds at once and is written to the file beside the spool (`book`) after that; [`Whose::keep`] returns when it is durable, and whoever
//! builds on it waits for that: were the line of a device's new token lost in a power cut, it would be taken for one whose token was revoked, and forgotten with
//! all that waits for it. Many wait for one write. It knows nothing of sessions and keys; what is done with the spool is `relay`'s.

mod alive;
mod book;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};

use crate::ground::Offload;
use crate::registry::Snapshot;
use crate::tokens::TokenId;
use book::{Book, Entries};

/// The most that waits to be written, in bytes; beyond that everything is written anew, which takes no more memory than it has already.
const WAITING: usize = 1 << 20;

/// How a device stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    token: TokenId,
    /// When it left; nothing while it is there, or was when this process or the one before it ended.
    left: Option<Timestamp>,
    /// Until when at least it was there, where a process before this one ended and it has not come again.
    seen: Option<Timestamp>,
    /// It was told that it stays although its token is gone. Not noted.
    told: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    tunnel: TunnelName,
    device: DeviceName,
    /// Nothing where the device was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Timestamp>,
}

/// Until when a device that is not there was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It left then.
    Until(Timestamp),
    /// It was there when the relay last gave a sign of itself, and may have been for a little longer.
    AtLeast(Timestamp),
}

#[derive(Default)]
struct Known {
    devices: BTreeMap<TunnelName, BTreeMap<DeviceName, Came>>,
    /// How many there are.
    count: usize,
    /// Changes since the file was read.
    changes: u64,
    /// The lines of those that are still to be written.
    waiting: Vec<u8>,
    /// Some of those are not among the lines that wait: everything is to be written anew.
    anew: bool,
    /// Until when a device was there is another than the file says. That waits for the next sign of this process: thousands come again after a start, and none
    /// should wait for the disk because of it.
    later: bool,
}

/// Whose the devices are.
pub(crate) struct Whose {
    /// Held for moments, and never while the disk is waited for.
    known: Mutex<Known>,
    /// The folder that all of it is in.
    spool: PathBuf,
    /// Held by who writes. Taken before `known`, never after it.
    book: Mutex<Book>,
    /// Changes that are on the disk.
    kept: AtomicU64,
    /// Those who wait for a write stand here, and not on threads.
    turn: tokio::sync::Mutex<()>,
}

impl Known {
    fn set(&mut self, line: Line) {
        let Line { tunnel, device, token, left, seen } = line;
        let Some(token) = token else {
            let Some(of) = self.devices.get_mut(&tunnel) else { return };
            self.count -= usize::from(of.remove(&device).is_some());
            if of.is_empty() {
                self.devices.remove(&tunnel);
            }
            return;
        };
        let before = self.devices.entry(tunnel).or_default().insert(device, Came { token, left, seen, told: false });
        self.count += usize::from(before.is_none());
    }

    fn get(&self, tunnel: &TunnelName, device: &DeviceName) -> Option<&Came> {
        self.devices.get(tunnel)?.get(device)
    }

    /// The lines that say all of it.
    fn all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (tunnel, devices) in &self.devices {
            for (device, Came { token, left, seen, .. }) in devices {
                let (tunnel, device) = (tunnel.clone(), device.clone());
                all.extend(text(&Line { tunnel, device, token: Some(token.clone()), left: *left, seen: *seen }));
            }
        }
        all
    }
}

impl Whose {
    /// Reads the file beside the spool. Without one nothing is known; a line that is none was cut, and is passed over. Those that were there when the process
    /// before this one ended were there at least until it last gave a sign of itself ([`Whose::note_alive`]). Blocks.
    pub(crate) fn load(spool: &Path) -> Whose {
        let (book, text) = Book::open(spool);
        let mut known = Known::default();
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice(line) {
                known.set(line);
            }
        }
        if let Some(seen) = alive::read(spool) {
            let there = |came: &&mut Came| came.left.is_none() && came.seen.is_none();
            for came in known.devices.values_mut().flat_map(BTreeMap::values_mut).filter(there) {
                came.seen = Some(seen);
                known.later = true;
            }
        }
        let (known, book) = (Mutex::new(known), Mutex::new(book));
        let spool = spool.to_owned();
        Whose { known, spool, book, kept: AtomicU64::new(0), turn: tokio::sync::Mutex::new(()) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device came with that token. This and all that follow hold at once; that they last, [`Whose::keep`] sees to.
    pub(crate) fn came(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) {
        {
            let mut known = self.known();
            let came = known.devices.get_mut(tunnel).and_then(|of| of.get_mut(device));
            let seen = came.and_then(|came| came.seen.take());
            known.later |= seen.is_some();
        }
        let other = |came: Option<&Came>| came.is_none_or(|came| came.token != *token || came.left.is_some());
        self.note(tunnel, device, (Some(token.clone()), None), other);
    }

    /// A device that came with that token has left.
    pub(crate) fn left(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId, at: Timestamp) {
        let there = |came: Option<&Came>| came.is_some_and(|came| came.token == *token && came.left.is_none());
        self.note(tunnel, device, (Some(token.clone()), Some(at)), there);
    }

    /// A device of which it was noted that it left, with that token, is there all the same: it came again meanwhile.
    pub(crate) fn is_back(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) {
        let away = |came: Option<&Came>| came.is_some_and(|came| came.token == *token && came.left.is_some());
        self.note(tunnel, device, (Some(token.clone()), None), away);
    }

    /// Nothing is kept for a device any more.
    pub(crate) fn forgotten(&self, tunnel: &TunnelName, device: &DeviceName) {
        self.note(tunnel, device, (None, None), |came| came.is_some());
    }

    /// Notes how a device stands if `fits` says so of how it stood: sessions of one device come and go beside each other, and the one that goes must not
    /// write over what the one that came has written.
    fn note(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        (token, left): (Option<TokenId>, Option<Timestamp>),
        fits: impl Fn(Option<&Came>) -> bool,
    ) {
        let mut known = self.known();
        if !fits(known.get(tunnel, device)) {
            return;
        }
        let line = Line { tunnel: tunnel.clone(), device: device.clone(), token, left, seen: None };
        known.changes += 1;
        if known.anew || known.waiting.len() > WAITING {
            known.anew = true;
            known.waiting = Vec::new();
        } else {
            known.waiting.extend(text(&line));
        }
        known.set(line);
    }

    /// Returns once all that was noted so far is on the disk, or could not be written, which is told and tried again with the next call.
    pub(crate) async fn keep(self: &Arc<Self>, offload: Offload) {
        let upto = self.known().changes;
        if self.is_kept(upto) {
            return;
        }
        let _turn = self.turn.lock().await;
        // Whoever was before may have written it along with his own.
        if !self.is_kept(upto) {
            let whose = Arc::clone(self);
            let _ = offload.run(move || whose.write()).await;
        }
    }

    fn is_kept(&self, upto: u64) -> bool {
        self.kept.load(Ordering::Acquire) >= upto
    }

    /// Writes what is not written yet. Blocks on the disk.
    fn write(&self) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (upto, entries) = {
            let mut known = self.known();
            if self.is_kept(known.changes) {
                return;
            }
            let more = std::mem::take(&mut known.waiting);
            let anew = std::mem::take(&mut known.anew) || book.is_long(known.count);
            (known.changes, if anew { Entries::All(known.all()) } else { Entries::More(more) })
        };
        match book.write(&entries) {
            Ok(()) => self.kept.store(upto, Ordering::Release),
            Err(()) => self.known().anew = true,
        }
    }

    /// Whether it is to be told now that a device stays although its token is gone: once for each time that it came.
    pub(crate) fn tells_of(&self, tunnel: &TunnelName, device: &DeviceName) -> bool {
        let mut known = self.known();
        let came = known.devices.get_mut(tunnel).and_then(|of| of.get_mut(device));
        came.is_some_and(|came| !std::mem::replace(&mut came.told, true))
    }

    /// Why a device is nobody's any more: the token that it came with last does not open its tunnel at `now`. Nothing where it does, or where that token is
    /// not known.
    pub(crate) fn lost(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        all: &Snapshot,
        now: Timestamp,
    ) -> Option<&'static str> {
        lost(tunnel, self.known().get(tunnel, device)?, all, now)
    }

    /// All devices that are nobody's any more, and why.
    pub(crate) fn all_lost(&self, all: &Snapshot, now: Timestamp) -> Vec<(TunnelName, DeviceName, &'static str)> {
        let known = self.known();
        let each =
            known.devices.iter().flat_map(|(tunnel, of)| of.iter().map(move |(device, came)| (tunnel, device, came)));
        each.filter_map(|(tunnel, device, came)| Some((tunnel.clone(), device.clone(), lost(tunnel, came, all, now)?)))
            .collect()
    }

    /// The devices that came with that token last.
    pub(crate) fn came_with(&self, token: &TokenId) -> Vec<(TunnelName, DeviceName)> {
        let known = self.known();
        let each = known.devices.iter().flat_map(|(tunnel, of)| of.iter().map(move |one| (tunnel, one)));
        let its = each.filter(|(_, (_, came))| came.token == *token);
        its.map(|(tunnel, (device, _))| (tunnel.clone(), device.clone())).collect()
    }

    /// When a device left that is not there, as far as that is known.
    pub(crate) fn last_seen(&self, tunnel: &TunnelName, device: &DeviceName) -> Option<Timestamp> {
        self.known().get(tunnel, device)?.left
    }

    /// The same, and where it was there until a relay ended, when that was at the earliest.
    pub(crate) fn seen(&self, tunnel: &TunnelName, device: &DeviceName) -> Option<Seen> {
        let known = self.known();
        let came = known.get(tunnel, device)?;
        came.left.map(Seen::Until).or(came.seen.map(Seen::AtLeast))
    }

    /// Notes that this process is at work, for the one after it, and before that all else, which what is noted here could change. Blocks.
    pub(crate) fn note_alive(&self, now: Timestamp) {
        let upto = {
            let mut known = self.known();
            if std::mem::take(&mut known.later) {
                known.changes += 1;
                known.anew = true;
            }
            known.changes
        };
        self.write();
        // What came after that came after `now` too: where devices come and go all the time there is always something that is not written yet.
        if !self.is_kept(upto) {
            return;
        }
        // It is only for people to read, and tried again soon.
        if let Err(error) = alive::write(&self.spool, now) {
            tracing::debug!(%error, "that this relay is at work cannot be noted");
        }
    }
}

fn lost(tunnel: &TunnelName, came: &Came, all: &Snapshot, now: Timestamp) -> Option<&'static str> {
    match all.tokens.get(&came.token) {
        None => Some("its token was revoked"),
        Some(token) if token.is_expired(now) => Some("its token has expired"),
        Some(token) if !token.tunnels.contains(tunnel) => Some("the tunnel was withdrawn from its token"),
        Some(_) => None,
    }
}

fn text(line: &Line) -> Vec<u8> {
    // Nothing in it can fail to be JSON.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests;
