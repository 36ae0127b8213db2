//! Following a list: what is stored, then what comes, each delivery once.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tunnel_delivery::{DeliveryId, Summary, Timestamp};

use super::{ControlError, Filter, Operations};
use crate::notice::Notice;

/// How many ids are remembered so that nothing is told twice.
const REMEMBERED: usize = 8192;
/// How far back is looked after a follower was too slow for the notices.
const LOOK_BACK: Duration = Duration::from_secs(60);

/// Ids that were met, the latest so many.
#[derive(Default)]
struct Told {
    ids: HashSet<DeliveryId>,
    order: VecDeque<DeliveryId>,
}

impl Told {
    fn first_time(&mut self, id: DeliveryId) -> bool {
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

    fn has(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id)
    }
}

type Lines = mpsc::Sender<Result<Summary, ControlError>>;

impl Operations {
    /// What is stored, oldest first, and nothing more. Without a time in the filter that is nothing.
    pub(crate) async fn stored(
        &self,
        filter: &Filter,
    ) -> Result<mpsc::Receiver<Result<Summary, ControlError>>, ControlError> {
        let items = if filter.since.is_some() { self.since(filter).await? } else { Vec::new() };
        let (tx, rx) = mpsc::channel(items.len().max(1));
        for item in items {
            // There is room for all.
            let _ = tx.try_send(Ok(item));
        }
        Ok(rx)
    }

    async fn since(&self, filter: &Filter) -> Result<Vec<Summary>, ControlError> {
        let all = Filter { oldest_first: true, limit: Some(100_000), cursor: None, ..filter.clone() };
        Ok(self.list(&all).await?.items)
    }

    /// What is stored and what comes, until the receiver goes.
    pub(crate) fn follow(self: &Arc<Self>, filter: Filter) -> mpsc::Receiver<Result<Summary, ControlError>> {
        let (tx, rx) = mpsc::channel(256);
        let ops = Arc::clone(self);
        // Before anything is listed, so that nothing falls between the two.
        let mut notices = self.hand.announcer.follow();
        tokio::spawn(async move {
            let (mut told, mut came) = (Told::default(), Told::default());
            if filter.since.is_some() && ops.tell_stored(&filter, &mut told, &tx).await.is_err() {
                return;
            }
            loop {
                let notice = tokio::select! {
                    notice = notices.recv() => notice,
                    () = tx.closed() => return,
                };
                let told_so_far = match notice {
                    Ok(notice) => match &*notice {
                        Notice::Delivery(line) => {
                            came.first_time(line.id);
                            ops.tell(&filter, line, &mut told, &tx).await
                        }
                        // By an attempt a delivery may begin to fit. Without a time only what came since is meant, and an old one that
                        // is replayed did not come.
                        Notice::Attempt(tried) if filter.since.is_some() || came.has(tried.delivery) => {
                            ops.tell(&filter, &tried.summary, &mut told, &tx).await
                        }
                        _ => Ok(()),
                    },
                    Err(RecvError::Lagged(_)) => {
                        let now = Timestamp::from_system(std::time::SystemTime::now());
                        let back = now.earlier(LOOK_BACK);
                        let since = Some(filter.since.map_or(back, |s| s.max(back)));
                        ops.tell_stored(&Filter { since, ..filter.clone() }, &mut told, &tx).await
                    }
                    Err(RecvError::Closed) => return,
                };
                if told_so_far.is_err() {
                    return;
                }
            }
        });
        rx
    }

    async fn tell_stored(&self, filter: &Filter, told: &mut Told, tx: &Lines) -> Result<(), ()> {
        match self.since(filter).await {
            Ok(items) => {
                for item in items {
                    if told.first_time(item.id) {
                        tx.send(Ok(item)).await.map_err(|_| ())?;
                    }
                }
                Ok(())
            }
            Err(e) => {
                // The follower is told why it ends.
                let _ = tx.send(Err(e)).await;
                Err(())
            }
        }
    }

    async fn tell(&self, filter: &Filter, line: &Summary, told: &mut Told, tx: &Lines) -> Result<(), ()> {
        if !filter.matches(line) || !self.has_text(filter, line.id).await || !told.first_time(line.id) {
            return Ok(());
        }
        tx.send(Ok(line.clone())).await.map_err(|_| ())
    }

    /// The text is in the body, which a summary does not have.
    async fn has_text(&self, filter: &Filter, id: DeliveryId) -> bool {
        let Some(text) = filter.text.clone() else { return true };
        let stored = self.read(move |archive| archive.get(id)).await;
        let Ok(Some(stored)) = stored else { return false };
        let (body, text) = (stored.delivery.body, text.into_bytes());
        text.is_empty() || body.windows(text.len()).any(|w| w.eq_ignore_ascii_case(&text))
    }
}
