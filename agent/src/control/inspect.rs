//! What the inspector asks for besides what commands do: pages of a query, figures, marks and notes.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tunnel_archive::{Archive, ArchiveError, Cursor};
use tunnel_delivery::{DeliveryId, Summary};

use super::meant::Meant;
use super::{Control, ControlError, Filter, Kind, Operations};

/// How long one page is looked for: whoever asks can show what was found so far and ask on, or change its mind.
const WITHIN: Duration = Duration::from_millis(60);
/// The most lines of one page.
const MOST: usize = 1000;

/// A part of a list is wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PageAsk {
    /// In the query language.
    pub query: String,
    /// Oldest first.
    pub oldest_first: bool,
    /// Where to go on: a cursor, or an id that lies behind.
    pub cursor: Option<String>,
    /// At most so many lines.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PageFound {
    /// The lines, perhaps fewer than there was room for.
    pub items: Vec<Summary>,
    /// Where to go on; absent at the end.
    pub next: Option<String>,
    /// How many deliveries were looked at.
    pub scanned: u64,
}

/// Figures about the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Deliveries.
    pub deliveries: u64,
    /// Attempts.
    pub attempts: u64,
    /// The length of the store's file, in bytes.
    pub disk_bytes: u64,
}

/// Something about a delivery is to be changed that is not the delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marking {
    /// Which delivery.
    pub id: DeliveryId,
    /// Whether it is kept whatever its age.
    pub pinned: Option<bool>,
    /// What is written about it; the empty text removes what there is.
    pub note: Option<String>,
}

impl Operations {
    /// A page of a query. May have few lines and still a place to go on, so that a search through much can be shown while it runs.
    pub(crate) async fn page(&self, ask: &PageAsk) -> Result<PageFound, ControlError> {
        let filter = Filter { query: ask.query.clone(), oldest_first: ask.oldest_first, ..Filter::default() };
        let meant = Meant::read(&filter)?;
        let cursor = match &ask.cursor {
            Some(text) => Some(text.parse::<Cursor>().map_err(|e| ControlError::new(Kind::Usage, e.to_string()))?),
            None => None,
        };
        let limit = ask.limit.min(MOST);
        self.read(move |archive| page(archive, &meant, limit, cursor)).await
    }

    /// Figures about the whole store.
    pub(crate) fn totals(&self) -> Totals {
        let s = self.archive.stats();
        Totals { deliveries: s.deliveries, attempts: s.attempts, disk_bytes: s.disk_bytes }
    }

    /// Pins, unpins, writes a note.
    pub(crate) async fn mark(&self, marking: &Marking) -> Result<(), ControlError> {
        if let Some(pinned) = marking.pinned {
            self.archive.set_pinned(marking.id, pinned).await?;
        }
        if let Some(note) = &marking.note {
            self.archive.set_note(marking.id, (!note.is_empty()).then(|| note.clone())).await?;
        }
        Ok(())
    }
}

fn page(archive: &Archive, meant: &Meant, limit: usize, mut cursor: Option<Cursor>) -> Result<PageFound, ArchiveError> {
    let began = Instant::now();
    let mut found = PageFound::default();
    loop {
        let page = meant.page(archive, limit - found.items.len(), cursor)?;
        found.scanned += page.scanned as u64;
        found.items.extend(page.items);
        cursor = page.next;
        found.next = cursor.map(|c| c.to_string());
        if cursor.is_none() || found.items.len() >= limit || began.elapsed() > WITHIN {
            return Ok(found);
        }
    }
}

impl Control {
    /// Closes the store, if it is open here, also where others still hold on to this.
    pub async fn end(&self) {
        if let Control::Local(ops) = self {
            // What was written is on the disk already; a failure to close was told when it happened.
            let _ = ops.archive.clone().close().await;
        }
    }

    /// A page of a query.
    ///
    /// # Errors
    /// The query has a mistake, or the store cannot be read.
    pub async fn page(&self, ask: &PageAsk) -> Result<PageFound, ControlError> {
        match self {
            Control::Local(ops) => ops.page(ask).await,
            Control::Remote(agent) => agent.page(ask, WITHIN).await,
        }
    }

    /// Figures about the whole store.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn totals(&self) -> Result<Totals, ControlError> {
        match self {
            Control::Local(ops) => Ok(ops.totals()),
            Control::Remote(agent) => agent.get("/v1/totals", &[]).await,
        }
    }

    /// Pins, unpins, writes a note.
    ///
    /// # Errors
    /// There is no such delivery, or the store cannot be written.
    pub async fn mark(&self, marking: &Marking) -> Result<(), ControlError> {
        match self {
            Control::Local(ops) => ops.mark(marking).await,
            Control::Remote(agent) => agent.mark(marking).await,
        }
    }
}
