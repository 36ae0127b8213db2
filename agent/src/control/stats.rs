//! Figures about what a filter means, counted where the store is.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tunnel_archive::Cursor;

use super::meant::Meant;
use super::{Control, ControlError, Filter, Operations};
use crate::stats::{By, MOST_GROUPS, Stats, Tally};

/// Deliveries read at once.
const AT_ONCE: usize = 1000;
/// How long is read before it is looked whether anybody still waits.
const WITHIN: Duration = Duration::from_millis(100);

/// Figures are wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatsAsk {
    /// About which deliveries.
    pub filter: Filter,
    /// In which groups.
    pub by: Option<By>,
    /// The most buckets of the timeline.
    pub buckets: usize,
}

impl Operations {
    /// Counts; in groups by time the latest are told apart where there are too many.
    pub(crate) async fn stats(&self, ask: &StatsAsk) -> Result<Stats, ControlError> {
        let meant = Meant::read(&ask.filter)?.oldest_first(false);
        let mut tally = Tally::new(ask.by, MOST_GROUPS);
        let mut cursor: Option<Cursor> = None;
        loop {
            let meant = meant.clone();
            let (counted, next) = self
                .read(move |archive| {
                    let began = Instant::now();
                    loop {
                        let page = meant.page(archive, AT_ONCE, cursor)?;
                        page.items.iter().for_each(|line| tally.add(line));
                        cursor = page.next;
                        if cursor.is_none() || began.elapsed() > WITHIN {
                            return Ok((tally, cursor));
                        }
                    }
                })
                .await?;
            (tally, cursor) = (counted, next);
            if cursor.is_none() {
                return Ok(tally.done(ask.buckets.clamp(1, 1000)));
            }
        }
    }
}

impl Control {
    /// Figures about what a filter means.
    ///
    /// # Errors
    /// The filter has a mistake, or the store cannot be read.
    pub async fn stats(&self, ask: &StatsAsk) -> Result<Stats, ControlError> {
        match self {
            Control::Local(ops) => ops.stats(ask).await,
            Control::Remote(agent) => agent.stats(ask).await,
        }
    }
}
