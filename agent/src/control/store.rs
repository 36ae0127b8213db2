//! What can be done with the store as a whole: check it, write out everything that is in it, give disk space back, save what is readable of a damaged
//! one. Where an agent runs it does the first three, since it has the store; a damaged store is nobody's, and only a command can save it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tunnel_archive::{Archive, ArchiveError, Cursor, Named, Progress, Repaired, Report, Salvage};
use tunnel_delivery::{DeliveryId, Timestamp};

use super::{Control, ControlError, Filter, HELD_WAIT, Kind, Local, Operations, has_store, nothing_there};

/// Deliveries read at once for an export, and the bytes of bodies after which no more are.
const AT_ONCE: usize = 64;
const AT_ONCE_BYTES: u64 = 4 << 20;
/// How many lines of an export may wait for whoever writes them; one may be as long as a delivery is.
const LINES: usize = 4;

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
        Checked { sound, deliveries, attempts, body_bytes, index_entries, findings }
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

/// What was saved of a damaged store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// How many deliveries.
    pub deliveries: u64,
    /// How many attempts.
    pub attempts: u64,
    /// Deliveries that are known to be lost.
    pub lost: Ids,
    /// Deliveries that were saved without an attempt or a note that they had.
    pub incomplete: Ids,
    /// Where the damaged files are now, if they were put aside.
    pub aside: Vec<PathBuf>,
}

impl From<Salvage> for Saved {
    fn from(s: Salvage) -> Saved {
        let (lost, incomplete) = (Ids::from(&s.lost), Ids::from(&s.incomplete));
        Saved { deliveries: s.deliveries, attempts: s.attempts, lost, incomplete, aside: Vec::new() }
    }
}

/// What is to be written out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Export {
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received then or earlier.
    pub until: Option<Timestamp>,
}

impl Export {
    fn means(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|t| at >= t) && self.until.is_none_or(|t| at <= t)
    }
}

/// A part of what is written out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exported {
    /// One delivery with everything that belongs to it, in its JSON form.
    Delivery {
        /// Which.
        id: DeliveryId,
        /// The JSON.
        stored: Box<RawValue>,
    },
    /// All was written, from a sound store.
    End,
    /// All that is readable of a damaged store was written.
    Rescued(Saved),
    /// It cannot go on.
    Failed(ControlError),
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
        let done = self.hand.archive.compact().await?;
        Ok(Shrunk { before: done.before, after: done.after })
    }

    /// Everything that is meant, oldest first.
    pub(crate) fn export(&self, export: Export) -> mpsc::Receiver<Exported> {
        let (tx, rx) = mpsc::channel(LINES);
        let archive = self.hand.archive.clone();
        tokio::spawn(async move {
            let last = match everything(&archive, export, &tx).await {
                Ok(true) => Exported::End,
                Ok(false) => return,
                Err(e) => Exported::Failed(e.into()),
            };
            // Fails where nobody waits for it any more.
            let _ = tx.send(last).await;
        });
        rx
    }
}

/// Sends everything that is meant; `false` where nobody takes it any more.
async fn everything(archive: &Archive, export: Export, tx: &mpsc::Sender<Exported>) -> Result<bool, ArchiveError> {
    let mut cursor = None;
    loop {
        let archive = archive.clone();
        let read = tokio::task::spawn_blocking(move || part(&archive, export, cursor)).await;
        let (lines, next) = read.unwrap_or(Err(ArchiveError::Closed))?;
        for line in lines {
            if tx.send(line).await.is_err() {
                return Ok(false);
            }
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(true);
        }
    }
}

/// The next few deliveries, and where to go on.
fn part(
    archive: &Archive,
    export: Export,
    cursor: Option<Cursor>,
) -> Result<(Vec<Exported>, Option<Cursor>), ArchiveError> {
    let filter = Filter { since: export.since, until: export.until, oldest_first: true, ..Filter::default() };
    let mut page = archive.list(&filter.query(AT_ONCE, cursor))?;
    // A page may be long; what does not fit is asked for again.
    let (mut bytes, mut fits) = (0, 0);
    for line in &page.items {
        if bytes >= AT_ONCE_BYTES {
            break;
        }
        bytes += line.body_len;
        fits += 1;
    }
    if fits < page.items.len() {
        let rest = filter.query(fits, cursor);
        page = archive.list(&rest)?;
    }
    let mut lines = Vec::with_capacity(page.items.len());
    for line in &page.items {
        // One that was removed meanwhile is left out.
        if let Some(stored) = archive.get(line.id)? {
            lines.push(exported(line.id, &stored));
        }
    }
    Ok((lines, page.next))
}

fn exported(id: DeliveryId, stored: &tunnel_delivery::Stored) -> Exported {
    match to_raw_value(stored) {
        Ok(stored) => Exported::Delivery { id, stored },
        // Nothing in a delivery is something that JSON cannot hold.
        Err(e) => {
            Exported::Failed(ControlError::new(Kind::Unreachable, format!("{id} cannot be written as JSON: {e}")))
        }
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
            return agent.ask("check", &()).await;
        }
        let report = self.closed(told, |dir, told| tunnel_archive::check(dir, told)).await?;
        Ok(report.into())
    }

    /// Gives disk space back.
    ///
    /// # Errors
    /// There is no store, it is damaged, or there is no room for the copy that it takes.
    pub async fn compact(&self) -> Result<Shrunk, ControlError> {
        match self.connect().await? {
            Control::Remote(agent) => agent.ask("compact", &()).await,
            Control::Local(ops) => {
                let done = ops.compact().await;
                Control::Local(ops).close().await;
                done
            }
        }
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
        let Repaired { salvage, aside } = self.closed(told, |dir, told| tunnel_archive::repair(dir, told)).await?;
        Ok(Saved { aside, ..Saved::from(salvage) })
    }

    /// Everything that is meant, oldest first: from the running agent, from the store, or what is readable of a damaged one. The last part is
    /// [`Exported::End`], [`Exported::Rescued`] or [`Exported::Failed`].
    ///
    /// # Errors
    /// There is no store, or it cannot be opened for another reason than damage.
    pub async fn export(&self, export: Export, told: Watch) -> Result<mpsc::Receiver<Exported>, ControlError> {
        let connected = match self.connect().await {
            Ok(control) => Some(control),
            Err(e) if e.kind == Kind::Damaged => None,
            Err(e) => return Err(e),
        };
        let (tx, rx) = mpsc::channel(LINES);
        let local = self.clone();
        match connected {
            Some(Control::Remote(agent)) => return Ok(agent.export(&export).await?),
            Some(Control::Local(ops)) => {
                tokio::spawn(async move {
                    let mut lines = ops.export(export);
                    let mut met = HashSet::new();
                    let mut damaged = false;
                    while let Some(line) = lines.recv().await {
                        match &line {
                            Exported::Delivery { id, .. } => drop(met.insert(*id)),
                            Exported::Failed(e) if e.kind == Kind::Damaged => {
                                damaged = true;
                                break;
                            }
                            _ => {}
                        }
                        if tx.send(line).await.is_err() {
                            break;
                        }
                    }
                    Control::Local(ops).close().await;
                    if damaged {
                        local.rescue(export, met, told, tx).await;
                    }
                });
            }
            None => drop(tokio::spawn(async move { local.rescue(export, HashSet::new(), told, tx).await })),
        }
        Ok(rx)
    }

    /// Sends what is readable of a damaged store, less what was `met` before.
    async fn rescue(&self, export: Export, met: HashSet<DeliveryId>, told: Watch, tx: mpsc::Sender<Exported>) {
        let lines = tx.clone();
        let rescued = self
            .closed(told, move |dir, told| {
                tunnel_archive::rescue(dir, told, |rescued| {
                    let d = &rescued.stored.delivery;
                    if export.means(d.received_at) && !met.contains(&d.id) {
                        // Whoever goes away does so once all was read, or with the process.
                        let _ = lines.blocking_send(exported(d.id, &rescued.stored));
                    }
                })
            })
            .await;
        let last = match rescued {
            Ok(salvage) => Exported::Rescued(salvage.into()),
            Err(e) => Exported::Failed(e),
        };
        let _ = tx.send(last).await;
    }

    /// Does something with a store that nobody has open, where it may block; waits for a command that has it.
    async fn closed<T: Send + 'static>(
        &self,
        mut told: Watch,
        work: impl FnOnce(&Path, &mut Watch) -> Result<T, ArchiveError> + Send + 'static + Clone,
    ) -> Result<T, ControlError> {
        if !has_store(&self.data) {
            return Err(nothing_there(&self.data));
        }
        let deadline = Instant::now() + HELD_WAIT;
        loop {
            let (dir, again) = (self.archive(), work.clone());
            let work = tokio::task::spawn_blocking(move || {
                let done = again(&dir, &mut told);
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

#[cfg(test)]
mod tests {
    use super::*;

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
