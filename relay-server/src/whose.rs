//! Whose a device is: with which token it came last, and when it left. So that nothing is sealed to it and nothing kept for it once that token opens the
//! tunnel no more, whether the relay ran at that moment or not; and so that one that is gone is forgotten in time though the relay was started anew.
//!
//! Kept beside the spool in `devices.jsonl`, a line for each change, the last one counts. A line survives the end of this process but is not synced: what a
//! power cut costs is noted again when the device comes, and until then it is as with devices of a relay that knew nothing of this: they are forgotten by
//! their age alone. It knows nothing of sessions and keys; what is done with the spool is `relay`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};

use crate::registry::Snapshot;
use crate::tokens::TokenId;

/// What is read of the file at most, in bytes: a line has some 150, and it is written anew long before.
const LONGEST: u64 = 256 << 20;
/// The file is written anew when it has so many lines more than twice what they say.
const SPARE: usize = 1000;

/// How a device stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    token: TokenId,
    /// When it left; nothing while it is there, or was when this process or the one before it ended.
    left: Option<Timestamp>,
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
}

#[derive(Default)]
struct Known {
    devices: BTreeMap<TunnelName, BTreeMap<DeviceName, Came>>,
    /// How many there are.
    count: usize,
    /// Lines of the file.
    lines: usize,
    file: Option<File>,
}

/// Whose the devices are.
pub(crate) struct Whose {
    path: PathBuf,
    known: Mutex<Known>,
}

impl Known {
    fn set(&mut self, line: Line) {
        let Line { tunnel, device, token, left } = line;
        let Some(token) = token else {
            let Some(of) = self.devices.get_mut(&tunnel) else { return };
            self.count -= usize::from(of.remove(&device).is_some());
            if of.is_empty() {
                self.devices.remove(&tunnel);
            }
            return;
        };
        let before = self.devices.entry(tunnel).or_default().insert(device, Came { token, left, told: false });
        self.count += usize::from(before.is_none());
    }

    fn get(&self, tunnel: &TunnelName, device: &DeviceName) -> Option<&Came> {
        self.devices.get(tunnel)?.get(device)
    }
}

impl Whose {
    /// Reads the file beside the spool. Without one nothing is known; a line that is none was cut, and is passed over. Blocks.
    pub(crate) fn load(spool: &Path) -> Whose {
        let path = spool.join("devices.jsonl");
        let mut known = Known::default();
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "with which tokens devices came cannot be read");
            }
            _ => {}
        }
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            known.lines += 1;
            if let Ok(line) = serde_json::from_slice(line) {
                known.set(line);
            }
        }
        // A cut line at the end must not take the next one with it.
        if !text.is_empty() && text.last() != Some(&b'\n') {
            known.lines = usize::MAX;
        }
        Whose { path, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Whose::came`] has nothing to note. Does not block.
    pub(crate) fn is_noted(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) -> bool {
        self.known().get(tunnel, device).is_some_and(|came| came.token == *token && came.left.is_none())
    }

    /// A device came with that token. Blocks, as all that follow do.
    pub(crate) fn came(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) {
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
        let line = Line { tunnel: tunnel.clone(), device: device.clone(), token, left };
        let text = text(&line);
        known.set(line);
        let written = if known.lines > 2 * known.count + SPARE {
            known.file = None;
            self.write_anew(&mut known)
        } else {
            self.append(&mut known, &text)
        };
        if let Err(error) = written {
            known.file = None;
            // What is known here is in force all the same.
            tracing::warn!(path = %self.path.display(), %error, "with which token a device came cannot be noted");
        }
    }

    /// Whether it is to be told now that a device stays although its token is gone: once for each time that it came.
    pub(crate) fn tells_of(&self, tunnel: &TunnelName, device: &DeviceName) -> bool {
        let mut known = self.known();
        let came = known.devices.get_mut(tunnel).and_then(|of| of.get_mut(device));
        came.is_some_and(|came| !std::mem::replace(&mut came.told, true))
    }

    fn append(&self, known: &mut Known, text: &[u8]) -> Result<(), Error> {
        let mut file = match known.file.take() {
            Some(file) => file,
            None => {
                let file = File::options().append(true).create(true).mode(0o600).open(&self.path)?;
                self.hand_over(&file)?;
                file
            }
        };
        file.write_all(text)?;
        known.lines += 1;
        known.file = Some(file);
        Ok(())
    }

    fn write_anew(&self, known: &mut Known) -> Result<(), Error> {
        let mut all = Vec::new();
        for (tunnel, devices) in &known.devices {
            for (device, Came { token, left, .. }) in devices {
                let (tunnel, device) = (tunnel.clone(), device.clone());
                all.extend(text(&Line { tunnel, device, token: Some(token.clone()), left: *left }));
            }
        }
        let new = self.path.with_extension("jsonl.new");
        let file = tunnel_vault::write_private(&new, &all)?;
        self.hand_over(&file)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        known.lines = known.count;
        Ok(())
    }

    /// The next relay may not be root's, as this one may be.
    fn hand_over(&self, file: &File) -> Result<(), Error> {
        self.path.parent().map_or(Ok(()), |folder| crate::ownership::hand_over(file, folder))
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
mod tests {
    use super::*;
    use crate::registry::{AnswerMode, NewToken, Registry, TunnelSettings};
    use std::os::unix::fs::MetadataExt as _;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_device_is_lost_with_its_token_and_is_found_with_another() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
        let new = || NewToken { tunnels: [team.clone()].into(), ..NewToken::default() };
        let stays = registry.issue_token(new(), at(1)).unwrap().id();
        let ends = registry.issue_token(NewToken { expires_at: Some(at(10)), ..new() }, at(1)).unwrap().id();
        let whose = Whose::load(dir.path());
        let why = |whose: &Whose, second| {
            registry.reload().unwrap();
            let all = registry.snapshot();
            let one = whose.lost(&team, &laptop, &all, at(second));
            let listed: Vec<_> = whose.all_lost(&all, at(second)).into_iter().map(|(_, _, why)| why).collect();
            assert_eq!(listed, one.into_iter().collect::<Vec<_>>());
            one
        };
        assert_eq!(why(&whose, 2), None, "one that is not known is nobody's business here");
        whose.came(&team, &laptop, &ends);
        assert_eq!(why(&whose, 9), None);
        assert!(why(&whose, 10).unwrap().contains("expired"));
        whose.came(&team, &laptop, &stays);
        assert_eq!(why(&whose, 10), None);
        registry.withdraw(&stays, &team).unwrap();
        assert!(why(&whose, 10).unwrap().contains("withdrawn"));
        registry.grant(&stays, &team).unwrap();
        assert_eq!(why(&whose, 10), None);
        registry.revoke_token(&stays).unwrap();
        // As another process sees it.
        let later = Whose::load(dir.path());
        assert!(why(&later, 10).unwrap().contains("revoked"));
        assert_eq!(later.came_with(&stays), [(team.clone(), laptop.clone())]);
        assert_eq!(later.came_with(&ends), []);
        later.forgotten(&team, &laptop);
        assert_eq!(why(&later, 10), None);
        assert_eq!(why(&Whose::load(dir.path()), 10), None);
        assert_eq!(std::fs::metadata(dir.path().join("devices.jsonl")).unwrap().mode() & 0o777, 0o600);
    }

    /// Sessions of one device come and go beside each other, in any order.
    #[test]
    fn who_goes_does_not_write_over_who_came() {
        let dir = tempfile::tempdir().unwrap();
        let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
        let [old, new] = ["0123456789ab", "ba9876543210"].map(|id| TokenId::parse(id).unwrap());
        let whose = Whose::load(dir.path());
        whose.came(&team, &laptop, &old);
        whose.came(&team, &laptop, &new);
        whose.left(&team, &laptop, &old, at(1));
        whose.is_back(&team, &laptop, &old);
        assert!(whose.is_noted(&team, &laptop, &new));
        whose.left(&team, &laptop, &new, at(2));
        assert_eq!(whose.last_seen(&team, &laptop), Some(at(2)));
        whose.is_back(&team, &laptop, &new);
        for whose in [whose, Whose::load(dir.path())] {
            assert!(whose.is_noted(&team, &laptop, &new), "it is there");
            assert!(whose.tells_of(&team, &laptop) && !whose.tells_of(&team, &laptop));
        }
    }

    #[test]
    fn the_file_is_read_as_far_as_it_goes_and_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devices.jsonl");
        let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
        let token = TokenId::parse("0123456789ab").unwrap();
        let whose = Whose::load(dir.path());
        for n in 0..3 * SPARE {
            whose.came(&team, &laptop, &token);
            whose.left(&team, &laptop, &token, at(n as i64));
            whose.left(&team, &laptop, &token, at(0));
        }
        let text = std::fs::read(&path).unwrap();
        assert!(text.iter().filter(|byte| **byte == b'\n').count() < 2 * SPARE, "{} bytes", text.len());
        let again = Whose::load(dir.path());
        assert_eq!(again.last_seen(&team, &laptop), Some(at(3 * SPARE as i64 - 1)));
        // Cut by a crash, and written on.
        std::fs::write(&path, [&text[..], b"nonsense\n{\"tunnel\":\"te"].concat()).unwrap();
        let again = Whose::load(dir.path());
        assert_eq!(again.last_seen(&team, &laptop), Some(at(3 * SPARE as i64 - 1)));
        again.came(&team, &laptop, &token);
        assert!(Whose::load(dir.path()).is_noted(&team, &laptop, &token));
    }
}
