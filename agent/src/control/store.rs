//! What can be done with the store as a whole: check it, give disk space back, save what is readable of a damaged one. Where an agent runs it does the
//! first two, since it has the store; a damaged store is nobody's, and only a command can save it. Writing it out is `export`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tunnel_archive::{ArchiveError, Named, Progress, Repaired, Report, Salvage};
use tunnel_delivery::DeliveryId;
use tunnel_vault::{KeySource, UserKey, Vault, VaultError};

use super::{
    Control, ControlError, HELD_WAIT, Kind, Local, Operations, data_flag, has_store, key_as_it_is, nothing_there,
    user_key,
};
use crate::audit::{Audit, By, Line, What};
use crate::device_keys::{self, KeysError};
use crate::key_guard::Guard;

/// Is told how far something is.
pub type Watch = Box<dyn FnMut(Progress) + Send>;

/// Deliveries: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// How many.
    pub count: u64,
    /// The first few.
    pub first: Vec<DeliveryId>,
}

impl From<&Named> for Ids {
    fn from(named: &Named) -> Ids {
        Ids { count: named.count, first: named.first.clone() }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many deliveries could be read whole.
    pub deliveries: u64,
    /// How many of their attempts.
    pub attempts: u64,
    /// How many bytes of bodies were compared with their SHA-256.
    pub body_bytes: u64,
    /// How many entries of indexes were compared with their deliveries.
    pub index_entries: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What can be saved of a store that cannot be read to its end.
    pub saved: Option<Saved>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// For programs: what it concerns.
    pub kind: String,
    /// For people.
    pub message: String,
    /// The deliveries that it concerns.
    #[serde(flatten)]
    pub ids: Ids,
}

impl From<Report> for Checked {
    fn from(report: Report) -> Checked {
        let messages = report.findings();
        let sound = report.is_sound();
        // In the order of the report's sentences. Taken apart whole, so that nothing that is added to a report is forgotten here.
        let Report {
            deliveries,
            attempts,
            body_bytes,
            index_entries,
            unreadable,
            lines,
            requests,
            bodies,
            attempts_unreadable,
            notes,
            unindexed,
            misindexed,
            orphans,
            salvage,
            totals,
        } = report;
        let mut kinds: Vec<(&str, Ids)> = Vec::new();
        kinds.extend(unreadable.map(|_| ("unreadable", Ids::default())));
        for (kind, named) in [
            ("line", lines),
            ("request", requests),
            ("body", bodies),
            ("attempt", attempts_unreadable),
            ("note", notes),
            ("not-in-index", unindexed),
            ("wrong-in-index", misindexed),
            ("orphan", orphans),
        ] {
            if named.count > 0 {
                kinds.push((kind, Ids::from(&named)));
            }
        }
        kinds.extend(totals.map(|_| ("totals", Ids::default())));
        let findings = kinds
            .into_iter()
            .zip(messages)
            .map(|((kind, ids), message)| Finding { kind: kind.to_owned(), message, ids })
            .collect();
        let saved = salvage.map(Saved::from);
        Checked { sound, deliveries, attempts, body_bytes, index_entries, findings, saved }
    }
}

/// What compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// The length of the store's file before, in bytes.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// How the store's encryption is to change.
#[derive(Clone, Debug)]
pub enum Rekey {
    /// To the key from there.
    To(KeySource),
    /// It is encrypted again, after it was turned off.
    On,
    /// What is written from then on is not encrypted.
    Off,
}

impl Control {
    /// Gives disk space back.
    ///
    /// # Errors
    /// The store is damaged, or there is no room for the copy that it takes.
    pub async fn compact(&self) -> Result<Shrunk, ControlError> {
        match self {
            Control::Remote(agent) => agent.post("/v1/store/compact", &()).await,
            Control::Local(ops) => ops.compact().await,
        }
    }
}

/// What was or can be saved of a damaged store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// How many deliveries.
    pub deliveries: u64,
    /// How many attempts.
    pub attempts: u64,
    /// Deliveries that are known to be lost; there may have been others of which nothing is left.
    pub lost: Ids,
    /// Deliveries that were saved without an attempt or a note that they had.
    pub incomplete: Ids,
    /// Why not everything could be looked at.
    pub stopped: Option<String>,
    /// Where the damaged files are now, if they were put aside.
    pub aside: Vec<PathBuf>,
}

impl From<Salvage> for Saved {
    fn from(s: Salvage) -> Saved {
        let (lost, incomplete) = (Ids::from(&s.lost), Ids::from(&s.incomplete));
        let Salvage { deliveries, attempts, stopped, .. } = s;
        Saved { deliveries, attempts, lost, incomplete, stopped, aside: Vec::new() }
    }
}

impl Operations {
    /// Reads everything and says what is wrong.
    pub(crate) async fn check(&self) -> Result<Checked, ControlError> {
        // It goes on where whoever asked goes away, and must not take all threads that may block: one at a time.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let report = self
            .read(move |archive| {
                let report = archive.check(|_| ());
                drop(turn);
                report
            })
            .await?;
        Ok(report.into())
    }

    /// Gives disk space back.
    pub(crate) async fn compact(&self) -> Result<Shrunk, ControlError> {
        let done = self.archive.compact().await?;
        Ok(Shrunk { before: done.before, after: done.after })
    }
}

impl Local {
    fn archive(&self) -> PathBuf {
        self.data.join("archive")
    }

    /// Reads everything in the store and says what is wrong; `told` hears how far it is where no agent does it.
    ///
    /// # Errors
    /// There is no store, or it cannot be looked at.
    pub async fn check(&self, told: Watch) -> Result<Checked, ControlError> {
        if let Some(agent) = self.agent().await {
            return agent.post("/v1/store/check", &()).await;
        }
        let report = self.closed(told, |dir, key, told| tunnel_archive::check(dir, key, told)).await?;
        Ok(report.into())
    }

    /// Gives disk space back.
    ///
    /// # Errors
    /// There is no store, it is damaged, or there is no room for the copy that it takes.
    pub async fn compact(&self) -> Result<Shrunk, ControlError> {
        let control = self.connect().await?;
        let done = control.compact().await;
        control.close().await;
        done
    }

    /// Changes what the store is encrypted with, or whether; nobody may have it open.
    ///
    /// # Errors
    /// There is no store, somebody has it open, or one of the keys is not the right one.
    pub async fn rekey(&self, rekey: Rekey) -> Result<(), ControlError> {
        if let Some(agent) = self.agent().await {
            let pid = agent.file().pid;
            let message = format!("a running agent (process {pid}) has the store in {} open", self.data.display());
            return Err(
                ControlError::new(Kind::Usage, message).hint("stop that agent first, and start it with the new key")
            );
        }
        self.may_work()?;
        let new = match &rekey {
            Rekey::To(source) => user_key(Some(source)).await?,
            Rekey::On | Rekey::Off => None,
        };
        let on = matches!(rekey, Rekey::On);
        let to = match rekey {
            Rekey::To(_) => "another key",
            Rekey::On => "encryption on",
            Rekey::Off => "encryption off",
        };
        if !has_store(&self.data) {
            return Err(nothing_there(&self.data));
        }
        let key = user_key(self.store_key.as_ref()).await?;
        may_change(&self.archive(), key.as_ref(), &rekey)?;
        let audit = Audit::new(&self.data, By::Command);
        let line = || Line::new(What::StoreRekeyed).with("to", to);
        audit.note(line()).await?;
        let data = self.data.clone();
        let work = move |dir: &Path, key: Option<&UserKey>, _: &mut Watch| rekeyed(&data, dir, key, new.as_ref(), on);
        let done = self.closed_with(key, Box::new(|_| ()), work).await;
        // What no look could tell before: the line above says that it was done.
        if let Err(e) = &done {
            audit.note_if_possible(line().with("failed", e.message.as_str())).await;
        }
        done
    }

    /// Builds the store anew from what is readable of it, and puts the damaged files aside.
    ///
    /// # Errors
    /// There is no store, an agent has it, or there is no room.
    pub async fn repair(&self, told: Watch) -> Result<Saved, ControlError> {
        if let Some(agent) = self.agent().await {
            let pid = agent.file().pid;
            let message = format!("a running agent (process {pid}) has the store in {} open", self.data.display());
            return Err(ControlError::new(Kind::Usage, message)
                .hint("stop that agent first; without --rescue compaction works beside it"));
        }
        let Repaired { salvage, aside } =
            self.closed(told, |dir, key, told| tunnel_archive::repair(dir, key, told)).await?;
        Ok(Saved { aside, ..Saved::from(salvage) })
    }

    /// Does something with a store that nobody has open, where it may block; waits for a command that has it.
    pub(super) async fn closed<T: Send + 'static>(
        &self,
        told: Watch,
        work: impl FnOnce(&Path, Option<&UserKey>, &mut Watch) -> Result<T, ArchiveError> + Send + 'static + Clone,
    ) -> Result<T, ControlError> {
        if !has_store(&self.data) {
            return Err(nothing_there(&self.data));
        }
        self.may_work()?;
        let key = key_as_it_is(&self.data, self.store_key.as_ref()).await?;
        self.closed_with(key, told, work).await
    }

    async fn closed_with<T: Send + 'static>(
        &self,
        key: Option<UserKey>,
        mut told: Watch,
        work: impl FnOnce(&Path, Option<&UserKey>, &mut Watch) -> Result<T, ArchiveError> + Send + 'static + Clone,
    ) -> Result<T, ControlError> {
        let deadline = Instant::now() + HELD_WAIT;
        loop {
            let (dir, again, key) = (self.archive(), work.clone(), key.clone());
            let work = tokio::task::spawn_blocking(move || {
                let done = again(&dir, key.as_ref(), &mut told);
                (done, told)
            });
            let Ok((done, back)) = work.await else {
                return Err(ArchiveError::Closed.into());
            };
            told = back;
            match done {
                Err(ArchiveError::Held { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done => return Ok(done?),
            }
        }
    }
}

/// Refuses what can be seen to fail, before it is noted as done and before anything is changed.
fn may_change(dir: &Path, key: Option<&UserKey>, rekey: &Rekey) -> Result<(), ControlError> {
    let refused = |e: VaultError| ControlError::from(ArchiveError::Key(e));
    let plain = || refused(VaultError::NotEncrypted { dir: dir.to_owned() });
    let standing = Vault::standing(dir).map_err(refused)?.ok_or_else(plain)?;
    // Encrypting was turned off and nothing is left of it: only turning it on again, with that key, means anything.
    if !standing.needs && (!matches!(rekey, Rekey::On) || key.map(UserKey::id) != Some(standing.key)) {
        return Err(plain());
    }
    Vault::check(dir, key).map_err(refused)?;
    if matches!(rekey, Rekey::To(_)) && !standing.encrypts {
        let data = data_flag(dir.parent().unwrap_or(dir));
        let message = "encrypting is turned off: with another key nothing would be encrypted either";
        return Err(ControlError::new(Kind::Usage, message).hint(format!(
            "`healthie-tunnel store rekey --on {data}` with the key that it has encrypts again, then give the new one; or, after `healthie-tunnel store \
             compact {data}` with that key, nothing is encrypted and `listen` takes a new one"
        )));
    }
    Ok(())
}

/// Gives the store in `dir` another key, or turns encrypting on or off where there is none, and has the device's keys guarded as the store is.
fn rekeyed(
    data: &Path,
    dir: &Path,
    key: Option<&UserKey>,
    new: Option<&UserKey>,
    on: bool,
) -> Result<(), ArchiveError> {
    // One after the other: what one has locked between two keys the other could not undo. The folder itself, as the store's own lock is taken and let go by each
    // step; where there are no locks for folders it is as it can be.
    let folder = File::open(dir).map_err(|source| ArchiveError::Io {
        doing: "open",
        path: dir.to_owned(),
        source: Arc::new(source),
    })?;
    let _ = folder.lock();
    // Before anything is changed: locked for a key that the store does not get, the device's keys would open with none that it takes.
    Vault::check(dir, key)?;
    let done = match new {
        // One without keys refuses, before anything is changed.
        Some(new) if Vault::standing(dir)?.is_none() => tunnel_archive::rekey(dir, key, new),
        Some(new) => {
            device_keys::between(data, key, new).map_err(of_keys).and_then(|()| tunnel_archive::rekey(dir, key, new))
        }
        None => tunnel_archive::encrypt(dir, key, on),
    };
    let now = if done.is_ok() { new.or(key) } else { key };
    // With either key: a `key new` in between knew the old one only.
    let guard = Guard::of(data, now).map(|guard| new.into_iter().chain(key).fold(guard, Guard::or));
    // What failed first is told.
    let settled = guard.map_err(ArchiveError::Key).and_then(|guard| device_keys::settle(data, &guard).map_err(of_keys));
    done.and(settled)
}

/// As the store's own errors have it.
fn of_keys(e: KeysError) -> ArchiveError {
    match e {
        KeysError::Guarded(e) => ArchiveError::Key(e),
        KeysError::Io { path, source } => ArchiveError::Io { doing: "change", path, source: Arc::new(source) },
        KeysError::Damaged { ref path, .. } => {
            let (path, source) = (path.clone(), Arc::new(std::io::Error::other(e.to_string())));
            ArchiveError::Io { doing: "change", path, source }
        }
        KeysError::Key(e) => {
            ArchiveError::Io { doing: "change", path: "device.keys".into(), source: Arc::new(std::io::Error::other(e)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Timestamp;

    #[test]
    fn each_finding_has_its_own_sentence_and_ids() {
        let id = DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000));
        let named = || Named { count: 30, first: vec![id] };
        let report = Report {
            deliveries: 5,
            unreadable: Some("torn".into()),
            requests: named(),
            orphans: Named { count: 1, first: vec![id] },
            totals: Some("5 and not 6".into()),
            ..Report::default()
        };
        let checked = Checked::from(report.clone());
        assert!(!checked.sound && Checked::from(Report::default()).sound);
        let told: Vec<_> = checked.findings.iter().map(|f| (&*f.kind, f.ids.count, &*f.message)).collect();
        assert_eq!(told.len(), report.findings().len());
        assert!(
            matches!(
                told[..],
                [("unreadable", 0, a), ("request", 30, b), ("orphan", 1, c), ("totals", 0, d)]
                    if a.contains("torn") && b.contains("request") && c.contains("parts") && d.contains("5 and not 6")
            ),
            "{told:?}"
        );
        let json = serde_json::to_value(&checked).unwrap();
        assert_eq!(json["findings"][1]["first"][0], id.to_string());
        assert_eq!(serde_json::from_value::<Checked>(json).unwrap(), checked);
    }
}
