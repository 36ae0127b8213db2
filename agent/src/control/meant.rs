//! What a query means of the archive: what an index can answer is asked of it, and the rest is looked at in what comes back. One place for
//! pages, lists, exports, figures and removals. Blocks; whoever calls sees to it that it may.

use std::time::SystemTime;

use tunnel_archive::{Archive, ArchiveError, Cursor, Page};
use tunnel_delivery::{Stored, Summary, Timestamp};

use super::{ControlError, Filter, Kind};
use crate::query::Query;

/// How many deliveries are looked at for one page at most, where bodies are read and where not: whoever asks wants to look at the time, or at
/// whether anybody still waits.
const BODIES: usize = 500;
const LINES: usize = 10_000;

/// A query that was understood, with conditions beside it.
#[derive(Clone, Debug)]
pub(super) struct Meant {
    query: Query,
    filter: Filter,
    /// Whether bodies are to be looked at here, because the index looks for one text only.
    bodies: bool,
}

impl Meant {
    /// What the filter means, its query included.
    pub(super) fn read(filter: &Filter) -> Result<Meant, ControlError> {
        let now = Timestamp::from_system(SystemTime::now());
        let query = Query::read(&filter.query, now).map_err(|e| {
            ControlError::new(Kind::Usage, format!("the filter has a mistake at byte {}: {e}", e.at.start))
        })?;
        let texts = query.texts().count();
        let of_query = query.filter();
        let own_text = filter.text.is_some();
        let narrowed = Filter {
            events: if filter.events.is_empty() { of_query.events } else { filter.events.clone() },
            resource_type: filter.resource_type.clone().or(of_query.resource_type),
            resource_id: filter.resource_id.clone().or(of_query.resource_id),
            signature: if filter.signature.is_empty() { of_query.signature } else { filter.signature.clone() },
            status: if filter.status.is_empty() { of_query.status } else { filter.status.clone() },
            environment: if filter.environment.is_empty() { of_query.environment } else { filter.environment.clone() },
            since: filter.since.max(of_query.since),
            until: [filter.until, of_query.until].into_iter().flatten().min(),
            tunnel: filter.tunnel.clone().or(of_query.tunnel),
            duplicates: filter.duplicates.or(of_query.duplicates),
            text: filter.text.clone().or(of_query.text),
            ..filter.clone()
        };
        let answered = usize::from(narrowed.text.is_some() && !own_text);
        Ok(Meant { query, filter: narrowed, bodies: texts > answered })
    }

    /// The same in the other order, or not.
    pub(super) fn oldest_first(mut self, oldest_first: bool) -> Meant {
        self.filter.oldest_first = oldest_first;
        self
    }

    /// When what is meant was received at the earliest.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.filter.since
    }

    /// At most `limit` of what is meant, and where to go on. May be few, or none, where there is more.
    pub(super) fn page(&self, archive: &Archive, limit: usize, cursor: Option<Cursor>) -> Result<Page, ArchiveError> {
        let mut ask = self.filter.query(limit, cursor);
        ask.scan_limit = if self.filter.text.is_some() || self.bodies { BODIES } else { LINES };
        if self.bodies {
            ask.limit = ask.limit.min(BODIES);
        }
        let mut page = archive.list(&ask)?;
        let mut kept = Vec::with_capacity(page.items.len());
        for line in page.items {
            let fits = self.query.fits(&line)
                && (!self.bodies
                    || archive.get(line.id)?.is_some_and(|stored| self.query.fits_body(&stored.delivery.body)));
            if fits {
                kept.push(line);
            }
        }
        page.items = kept;
        Ok(page)
    }

    /// Whether a delivery is meant that is at hand whole.
    pub(super) fn fits(&self, line: &Summary, stored: &Stored) -> bool {
        self.fits_line(line) && self.fits_body(&stored.delivery.body)
    }

    /// Whether it is, as far as its line tells.
    pub(super) fn fits_line(&self, line: &Summary) -> bool {
        self.filter.matches(line) && self.query.fits(line)
    }

    /// Whether the bodies have anything to do with it.
    pub(super) fn asks_bodies(&self) -> bool {
        self.bodies || self.filter.text.is_some()
    }

    /// Whether its body has what it must have.
    pub(super) fn fits_body(&self, body: &[u8]) -> bool {
        let text = self.filter.text.as_deref().unwrap_or_default().as_bytes();
        (text.is_empty() || body.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text)))
            && self.query.fits_body(body)
    }

    /// Whether a delivery may begin to fit after it came, by an attempt.
    pub(super) fn changes(&self) -> bool {
        !self.filter.status.is_empty() || self.query.changes()
    }
}
