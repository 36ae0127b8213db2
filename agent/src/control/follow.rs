//! Following a list within the agent: what is stored, then what comes, each delivery once and none left out.
//!
//! Notices tell at once, and the arrivals say what they left out: a follower that was too slow for the notices, or that comes back, goes on
//! from its place in the arrivals.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tunnel_archive::{Archive, ArchiveError};
use tunnel_delivery::{DeliveryId, Summary};

use super::meant::Meant;
use super::{ControlError, Filter, Operations};
use crate::arrivals::{KEPT, Place};
use crate::notice::{Heard, Notice};
use crate::summary;

/// How many ids are remembered so that nothing is told twice.
const REMEMBERED: usize = 2 * KEPT;
/// How many deliveries are read from the archive at once.
const PAGE: usize = 256;

/// What a follower asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Follow {
    /// Which deliveries.
    pub filter: Filter,
    /// Where it was; nowhere if it just begins, and then everything counts that comes from now on.
    pub from: Option<Place>,
}

/// What a follower is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A delivery that is meant.
    Delivery(Box<Summary>),
    /// All up to this place was told.
    At(Place),
    /// So many came that are not known any more; some of them may have been meant.
    Missed(u64),
    /// It cannot go on.
    Failed(ControlError),
}

/// Ids that were met, the latest so many.
pub(super) struct Met {
    ids: HashSet<DeliveryId>,
    order: VecDeque<DeliveryId>,
}

impl Met {
    pub(super) fn new() -> Met {
        Met { ids: HashSet::new(), order: VecDeque::new() }
    }

    pub(super) fn first_time(&mut self, id: DeliveryId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// Why a follower is told no more.
enum End {
    /// It went away, or the agent ends.
    Gone,
    /// The archive cannot be read.
    Failed(ArchiveError),
}

impl From<ArchiveError> for End {
    fn from(e: ArchiveError) -> End {
        // The agent closes its archive when it ends; another one may come.
        if matches!(e, ArchiveError::Closed) { End::Gone } else { End::Failed(e) }
    }
}

impl Operations {
    /// What is stored since the filter's time, oldest first. Without a time that is nothing.
    pub(crate) async fn stored(&self, filter: &Filter) -> Result<Vec<Summary>, ControlError> {
        if Meant::read(filter)?.since().is_none() {
            return Ok(Vec::new());
        }
        let all = Filter { oldest_first: true, limit: Some(usize::MAX), cursor: None, ..filter.clone() };
        Ok(self.list(&all).await?.items)
    }

    /// What is stored and what comes, until the receiver goes.
    pub(crate) fn follow(self: &Arc<Self>, follow: Follow) -> mpsc::Receiver<Told> {
        let (tx, rx) = mpsc::channel(PAGE);
        let announcer = &self.hand.announcer;
        // The notices before the place, so that nothing falls between the two.
        let mut notices = announcer.follow();
        let meant = match Meant::read(&follow.filter) {
            Ok(meant) => meant.oldest_first(true),
            Err(e) => {
                // There is room: nothing was sent yet.
                let _ = tx.try_send(Told::Failed(e));
                return rx;
            }
        };
        let following = Following {
            at: announcer.arrivals().resume(follow.from),
            ops: Arc::clone(self),
            told: Met::new(),
            waiting: Met::new(),
            meant,
            tx,
        };
        let begins = follow.from.is_none();
        tokio::spawn(async move {
            let tx = following.tx.clone();
            let run = following.run(begins, &mut notices);
            let ended = tokio::select! {
                ended = run => ended,
                () = tx.closed() => return,
            };
            if let Err(End::Failed(e)) = ended {
                let _ = tx.send(Told::Failed(e.into())).await;
            }
        });
        rx
    }
}

struct Following {
    ops: Arc<Operations>,
    meant: Meant,
    at: Place,
    told: Met,
    /// What came and was not meant, but may be after an attempt.
    waiting: Met,
    tx: mpsc::Sender<Told>,
}

impl Following {
    async fn run(mut self, begins: bool, notices: &mut tokio::sync::broadcast::Receiver<Heard>) -> Result<(), End> {
        // By an attempt a delivery may begin to fit, and nothing else changes.
        let changing = self.meant.changes();
        let stored_too = self.meant.since().is_some();
        if stored_too && (begins || changing) {
            self.stored().await?;
        }
        self.send(Told::At(self.at)).await?;
        loop {
            self.arrived().await?;
            match notices.recv().await {
                Ok(heard) => match &*heard.notice {
                    // One that is not the next is met in the arrivals.
                    Notice::Delivery(line) if heard.number == self.at.after + 1 => {
                        let has_text = self.has_text(line.id).await?;
                        self.came((**line).clone(), has_text).await?;
                        self.at.after += 1;
                        self.send(Told::At(self.at)).await?;
                    }
                    // Without a time only what came since is meant, and an old one that is replayed did not come.
                    Notice::Attempt(tried)
                        if changing && (stored_too || self.waiting.ids.contains(&tried.delivery)) =>
                    {
                        self.tried(&tried.summary).await?;
                    }
                    // The connection would outlive the agent where the process does.
                    Notice::Stopped { .. } => return Ok(()),
                    _ => {}
                },
                Err(RecvError::Lagged(_)) if changing => {
                    if stored_too {
                        self.stored().await?;
                    }
                    let waiting: Vec<_> = self.waiting.order.iter().copied().collect();
                    for ids in waiting.chunks(PAGE) {
                        self.look(ids.to_vec()).await?;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Tells what is stored since the filter's time.
    async fn stored(&mut self) -> Result<(), End> {
        let mut cursor = None;
        loop {
            let meant = self.meant.clone();
            let page = self.read(move |archive| meant.page(archive, PAGE, cursor)).await?;
            for line in page.items {
                self.tell(line).await?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells what arrived after this follower's place, and moves there.
    async fn arrived(&mut self) -> Result<(), End> {
        loop {
            let arrived = self.ops.hand.announcer.arrivals().after(self.at.after, PAGE);
            if arrived.missed > 0 {
                self.send(Told::Missed(arrived.missed)).await?;
            }
            if arrived.ids.is_empty() {
                return Ok(());
            }
            let reached = self.at.after + arrived.missed + arrived.ids.len() as u64;
            self.look(arrived.ids).await?;
            self.at.after = reached;
            self.send(Told::At(self.at)).await?;
        }
    }

    /// Reads these and tells those that are meant. One that retention has taken meanwhile is left out.
    async fn look(&mut self, ids: Vec<DeliveryId>) -> Result<(), End> {
        let meant = self.meant.clone();
        let lines = self
            .read(move |archive| {
                let mut lines = Vec::with_capacity(ids.len());
                for id in ids {
                    if let Some(stored) = archive.get(id)? {
                        lines.push((summary::of_stored(&stored), meant.fits_body(&stored.delivery.body)));
                    }
                }
                Ok(lines)
            })
            .await?;
        for (line, has_text) in lines {
            self.came(line, has_text).await?;
        }
        Ok(())
    }

    async fn came(&mut self, line: Summary, has_text: bool) -> Result<(), End> {
        if has_text && self.meant.fits_line(&line) {
            return self.tell(line).await;
        }
        if self.meant.changes() {
            self.waiting.first_time(line.id);
        }
        Ok(())
    }

    async fn tried(&mut self, line: &Summary) -> Result<(), End> {
        if self.meant.fits_line(line) && self.has_text(line.id).await? {
            self.tell(line.clone()).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, line: Summary) -> Result<(), End> {
        if !self.told.first_time(line.id) {
            return Ok(());
        }
        self.send(Told::Delivery(Box::new(line))).await
    }

    async fn send(&self, told: Told) -> Result<(), End> {
        self.tx.send(told).await.map_err(|_| End::Gone)
    }

    /// The text is in the body, which a summary does not have.
    async fn has_text(&self, id: DeliveryId) -> Result<bool, End> {
        if !self.meant.asks_bodies() {
            return Ok(true);
        }
        let meant = self.meant.clone();
        self.read(move |archive| Ok(archive.get(id)?.is_some_and(|stored| meant.fits_body(&stored.delivery.body))))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Archive) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, End> {
        let archive = self.ops.archive.clone();
        let done = tokio::task::spawn_blocking(move || read(&archive)).await;
        Ok(done.unwrap_or(Err(ArchiveError::Closed))?)
    }
}
