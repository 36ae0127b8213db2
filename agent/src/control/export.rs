//! Everything that is stored, written out: from the running agent, from the store, or what is readable of a damaged one.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tunnel_archive::{Archive, ArchiveError, Cursor};
use tunnel_delivery::DeliveryId;

use super::meant::Meant;
use super::store::{Saved, Watch};
use super::{Control, ControlError, Filter, Kind, Local, Operations};
use crate::audit::{Line, What, still_asked_by};
use crate::summary;

/// Deliveries read at once for an export, and the bytes of bodies after which no more are.
const AT_ONCE: usize = 64;
const AT_ONCE_BYTES: u64 = 4 << 20;
/// How many lines of an export may wait for whoever writes them; one may be as long as a delivery is.
const LINES: usize = 4;

/// What is to be written out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Export {
    /// Which deliveries; its limit and its cursor count for nothing.
    pub filter: Filter,
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
    /// Everything that is meant, oldest first.
    pub(crate) fn export(&self, export: Export) -> mpsc::Receiver<Exported> {
        let (tx, rx) = mpsc::channel(LINES);
        let (archive, audit) = (self.archive.clone(), self.audit.clone());
        tokio::spawn(still_asked_by(async move {
            let noted = Line::new(What::Exported).filter(&export.filter);
            let done = match audit.note(noted).await.and_then(|()| Meant::read(&export.filter)) {
                Ok(meant) => everything(&archive, &meant.oldest_first(true), &tx).await.map_err(ControlError::from),
                Err(e) => Err(e),
            };
            let last = match done {
                Ok(true) => Exported::End,
                Ok(false) => return,
                Err(e) => Exported::Failed(e),
            };
            // Fails where nobody waits for it any more.
            let _ = tx.send(last).await;
        }));
        rx
    }
}

/// Sends everything that is meant; `false` where nobody takes it any more.
async fn everything(archive: &Archive, meant: &Meant, tx: &mpsc::Sender<Exported>) -> Result<bool, ArchiveError> {
    let mut cursor = None;
    loop {
        let (archive, meant) = (archive.clone(), meant.clone());
        let read = tokio::task::spawn_blocking(move || part(&archive, &meant, cursor)).await;
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
    meant: &Meant,
    cursor: Option<Cursor>,
) -> Result<(Vec<Exported>, Option<Cursor>), ArchiveError> {
    let mut page = meant.page(archive, AT_ONCE, cursor)?;
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
        page = meant.page(archive, fits, cursor)?;
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
    /// Everything that is meant, oldest first: from the running agent, from the store, or what is readable of a damaged one. The last part is
    /// [`Exported::End`], [`Exported::Rescued`] or [`Exported::Failed`].
    ///
    /// # Errors
    /// There is no store, or it cannot be opened for another reason than damage.
    pub async fn export(&self, export: Export, told: Watch) -> Result<mpsc::Receiver<Exported>, ControlError> {
        let meant = Meant::read(&export.filter)?;
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
                        local.rescue(meant, met, told, tx).await;
                    }
                });
            }
            None => drop(tokio::spawn(async move { local.rescue(meant, HashSet::new(), told, tx).await })),
        }
        Ok(rx)
    }

    /// Sends what is readable of a damaged store, less what was `met` before.
    async fn rescue(&self, meant: Meant, met: HashSet<DeliveryId>, told: Watch, tx: mpsc::Sender<Exported>) {
        let lines = tx.clone();
        let rescued = self
            .closed(told, move |dir, key, told| {
                tunnel_archive::rescue(dir, key, told, |rescued| {
                    let d = &rescued.stored.delivery;
                    let line = summary::of_stored(&rescued.stored);
                    if meant.fits(&line, &rescued.stored) && !met.contains(&d.id) {
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
}
