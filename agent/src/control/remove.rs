//! Removing stored deliveries: by id, or all that a filter means. What somebody may still need stays unless it is asked for by name: pinned
//! ones, those that wait to be forwarded, and those that the relay may send again.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tunnel_archive::{Removed, Spare};
use tunnel_delivery::{AnswerClass, DeliveryId, Summary, Timestamp, TunnelName};

use super::meant::Meant;
use super::{Control, ControlError, Filter, Kind, Operations, Shrunk};
use crate::audit::{Line, What};
use crate::summary;

/// What was received within this time stays: a relay that crashed may send it again, and then it must be known. Retention waits as long.
const JUST_NOW: Duration = Duration::from_secs(60);
/// Deliveries removed in one go.
const AT_ONCE: usize = 500;

/// Deliveries are to be removed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Remove {
    /// These: `latest`, ids or parts of ids.
    pub ids: Vec<String>,
    /// And all that this means; nothing where it is absent.
    pub filter: Option<Filter>,
    /// Pinned ones too.
    pub pinned: bool,
    /// Those that wait to be forwarded too.
    pub queued: bool,
    /// Those received within the last minute too.
    pub recent: bool,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl Remove {
    /// All that a tunnel brought.
    pub fn all_of(tunnel: &TunnelName) -> Remove {
        let filter = Some(Filter { tunnel: Some(tunnel.clone()), ..Filter::default() });
        Remove { filter, pinned: true, queued: true, recent: true, ..Remove::default() }
    }
}

/// What came of it, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDone {
    /// Deliveries that are removed.
    pub removed: u64,
    /// That stay because they are pinned.
    pub pinned: u64,
    /// That stay because they wait to be forwarded.
    pub queued: u64,
    /// That stay because they were just received.
    pub recent: u64,
}

/// What came of purging a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Deliveries that are removed.
    pub removed: u64,
    /// The length of the store's file before, in bytes.
    pub before: u64,
    /// And after.
    pub after: u64,
}

impl RemoveDone {
    /// How many stay.
    pub fn stay(&self) -> u64 {
        self.pinned + self.queued + self.recent
    }

    fn add(&mut self, more: Removed) {
        self.removed += more.removed;
        self.pinned += more.pinned;
        self.queued += more.queued;
        self.recent += more.recent;
    }

    /// Counts what removing this one would come to.
    fn expect(&mut self, s: &Summary, spare: Spare) {
        let place = if spare.pinned && s.pinned {
            &mut self.pinned
        } else if spare.queued && s.answer.class == AnswerClass::Queued {
            &mut self.queued
        } else if spare.since.is_some_and(|since| s.received_at >= since) {
            &mut self.recent
        } else {
            &mut self.removed
        };
        *place += 1;
    }
}

impl Operations {
    /// Removes, or tells what it would remove. Nothing is removed where one of the ids is none.
    pub(crate) async fn remove(&self, remove: &Remove) -> Result<RemoveDone, ControlError> {
        let lines = self.named(remove).await?;
        let mut done = RemoveDone::default();
        if remove.dry_run {
            self.removing(remove, &lines, &mut done).await?;
            return Ok(done);
        }
        let ids: Vec<String> = lines.iter().take(20).map(|line| line.id.to_string()).collect();
        let line = |what| {
            let line = Line::new(what).with("deliveries", ids.clone()).with("ids", lines.len());
            remove.filter.iter().fold(line, Line::filter)
        };
        // Removing makes room on a disk that is full: it is done all the same where nothing can be noted.
        self.audit.note_if_possible(line(What::RemovalBegan)).await;
        let ended = self.removing(remove, &lines, &mut done).await;
        let noted = line(What::Removed).with("removed", done.removed).with("stay", done.stay());
        self.audit.note_if_possible(noted.with("complete", ended.is_ok())).await;
        ended?;
        Ok(done)
    }

    /// Removes all that a tunnel brought, whatever else holds of it, and has its bytes leave the disk.
    pub(crate) async fn purge(&self, tunnel: &TunnelName) -> Result<Purged, ControlError> {
        let line = |what| Line::new(what).with("tunnel", tunnel.to_string());
        self.audit.note_if_possible(line(What::PurgeBegan)).await;
        let mut done = RemoveDone::default();
        let ended = match self.removing(&Remove::all_of(tunnel), &[], &mut done).await {
            Ok(()) => self.compact().await,
            Err(e) => Err(e),
        };
        let noted = line(What::Purged).with("removed", done.removed).with("complete", ended.is_ok());
        let noted = ended.iter().fold(noted, |noted, s| noted.with("before", s.before).with("after", s.after));
        self.audit.note_if_possible(noted).await;
        self.audit.forget_words().await;
        let Shrunk { before, after } = ended?;
        Ok(Purged { removed: done.removed, before, after })
    }

    /// The deliveries that are named by their ids, each once.
    async fn named(&self, remove: &Remove) -> Result<Vec<Summary>, ControlError> {
        let mut lines: Vec<Summary> = Vec::with_capacity(remove.ids.len());
        for id in &remove.ids {
            let line = summary::of_stored(&self.get(id).await?);
            // Whether it waits is in the list's line only.
            let line = self.line(line.id).await?.unwrap_or(line);
            if lines.iter().all(|l| l.id != line.id) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Removes `lines` and all that the filter means, or counts what would be.
    async fn removing(&self, remove: &Remove, lines: &[Summary], done: &mut RemoveDone) -> Result<(), ControlError> {
        let now = Timestamp::from_system(SystemTime::now());
        let spare = Spare {
            pinned: !remove.pinned,
            queued: !remove.queued,
            since: (!remove.recent).then(|| now.earlier(JUST_NOW)),
        };
        self.some(lines, remove.dry_run, spare, done).await?;
        let Some(filter) = &remove.filter else { return Ok(()) };
        // What comes while this goes on is not meant.
        let until = [filter.until, Some(now)].into_iter().flatten().min();
        let filter = Filter { until, oldest_first: true, limit: None, cursor: None, ..filter.clone() };
        let meant = Meant::read(&filter)?;
        let mut cursor = None;
        loop {
            let meant = meant.clone();
            let page = self.read(move |archive| meant.page(archive, AT_ONCE, cursor)).await?;
            let named = |line: &Summary| lines.iter().any(|l| l.id == line.id);
            let others: Vec<Summary> = page.items.into_iter().filter(|line| !named(line)).collect();
            self.some(&others, remove.dry_run, spare, done).await?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn some(
        &self,
        lines: &[Summary],
        dry_run: bool,
        spare: Spare,
        done: &mut RemoveDone,
    ) -> Result<(), ControlError> {
        if dry_run {
            lines.iter().for_each(|line| done.expect(line, spare));
        } else if !lines.is_empty() {
            let ids: Vec<DeliveryId> = lines.iter().map(|line| line.id).collect();
            done.add(self.archive.remove_sparing(ids.clone(), spare).await?);
            if !spare.queued {
                self.forget(&ids).await?;
            }
        }
        Ok(())
    }

    /// The agent has the next few of those that wait in memory: what was removed of them must not be forwarded when their turn comes.
    async fn forget(&self, ids: &[DeliveryId]) -> Result<(), ControlError> {
        let Some(running) = &self.agent else { return Ok(()) };
        let in_hand = running.steering.backlog.in_hand(ids);
        if in_hand.is_empty() {
            return Ok(());
        }
        let gone = self.read(move |archive| {
            let mut gone = Vec::new();
            for id in in_hand {
                if archive.get(id)?.is_none() {
                    gone.push(id);
                }
            }
            Ok(gone)
        });
        running.steering.backlog.forget(&gone.await?);
        Ok(())
    }

    /// The line that a list has of a delivery.
    async fn line(&self, id: DeliveryId) -> Result<Option<Summary>, ControlError> {
        let at = id.received_at();
        let query = Filter { since: Some(at), until: Some(at), ..Filter::default() }.query(1000, None);
        let page = self.read(move |archive| archive.list(&query)).await?;
        Ok(page.items.into_iter().find(|line| line.id == id))
    }
}

impl Control {
    /// Removes all that a tunnel brought and writes the rest of the store anew, so that its bytes leave the disk.
    ///
    /// # Errors
    /// As [`Control::remove`] and [`Control::compact`]; after one of the latter everything is removed, and its bytes are still there.
    pub async fn purge(&self, tunnel: &TunnelName) -> Result<Purged, ControlError> {
        match self {
            Control::Local(ops) => ops.purge(tunnel).await,
            Control::Remote(agent) => agent.post("/v1/purges", &serde_json::json!({ "tunnel": tunnel })).await,
        }
    }

    /// Removes stored deliveries.
    ///
    /// # Errors
    /// There is no such delivery, the filter has a mistake, or the store cannot be written; what was removed until then stays removed.
    pub async fn remove(&self, remove: &Remove) -> Result<RemoveDone, ControlError> {
        if remove.ids.is_empty() && remove.filter.is_none() {
            return Err(ControlError::new(Kind::Usage, "nothing is named that is to be removed"));
        }
        match self {
            Control::Local(ops) => ops.remove(remove).await,
            Control::Remote(agent) => agent.remove(remove).await,
        }
    }
}
