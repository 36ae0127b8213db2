//! What is due of the queued deliveries in the archive, a page at a time. It decides nothing of what becomes of it.

use std::sync::Arc;

use tunnel_archive::{ArchiveError, Cursor, Order, Query};
use tunnel_delivery::{AnswerClass, Cause, DeliveryId};

use super::{Job, MOST_BYTES, PAGE, Reading};
use crate::hand::Hand;
use crate::policy::Policy;
use crate::trail::Trail;

/// A part of what is queued.
pub(super) struct Part {
    pub(super) found: Vec<Job>,
    /// What is damaged, and how: it must not keep back what waits behind it.
    pub(super) unreadable: Vec<(DeliveryId, String)>,
    pub(super) next: Next,
}

/// What is behind a part.
pub(super) enum Next {
    /// Nothing.
    End,
    /// Something that there was no room for.
    Full,
    /// One that is still coming.
    Coming,
    /// Another page.
    At(Cursor),
}

/// What is due in one page of the queued deliveries, oldest first.
pub(super) async fn page(
    hand: &Hand,
    policy: &Arc<Policy>,
    cursor: Option<Cursor>,
    reading: &Arc<Reading>,
) -> Result<Part, ArchiveError> {
    let (keep, signing, policy, reading) =
        (Arc::clone(&hand.keep), Arc::clone(&hand.signing), Arc::clone(policy), Arc::clone(reading));
    let blocks = keep.blocks();
    let read = move || {
        let query = Query {
            order: Order::OldestFirst,
            limit: PAGE,
            cursor,
            answer: vec![AnswerClass::Queued],
            past_damage: true,
            ..Query::default()
        };
        let page = keep.list(&query)?;
        let (mut found, mut unreadable) = (Vec::new(), page.damaged);
        unreadable.retain(|(id, _)| !reading.busy.contains(id));
        let mut bytes = 0;
        for summary in page.items {
            if bytes > MOST_BYTES {
                return Ok(Part { found, unreadable, next: Next::Full });
            }
            if reading.coming.contains(&summary.id) {
                return Ok(Part { found, unreadable, next: Next::Coming });
            }
            if reading.busy.contains(&summary.id) {
                continue;
            }
            let event = summary.event_type.as_deref();
            let target = policy.target(event, summary.signature).cloned();
            let command = policy.command(event, summary.signature).cloned();
            if target.is_none() && command.is_none() {
                continue;
            }
            let stored = match keep.get(summary.id) {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(e @ ArchiveError::Damaged { .. }) => {
                    unreadable.push((summary.id, e.to_string()));
                    continue;
                }
                Err(e) => return Err(e),
            };
            if stored.attempts.iter().any(|a| a.cause == Cause::Forward) {
                continue;
            }
            let matched = signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
            bytes += stored.delivery.body.len();
            found.push(Job {
                delivery: Arc::new(stored.delivery),
                matched,
                target,
                command,
                summary,
                trail: Trail::default(),
            });
        }
        Ok(Part { found, unreadable, next: page.next.map_or(Next::End, Next::At) })
    };
    if !blocks {
        return read();
    }
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(ArchiveError::Closed))
}
