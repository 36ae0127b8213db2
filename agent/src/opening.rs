//! Deliveries that came sealed: opened before anything else is done with them, or kept shut and said so.
//!
//! One that cannot be opened is stored as it came and is never handed on. It is taken, because this device will not be able to open it however often it
//! comes, and those behind it must not wait; and it is kept, because the key may be found again ([`reopen`]).

use std::sync::Arc;

use tunnel_archive::{Archive, ArchiveError, Inserted, Order, Query};
use tunnel_delivery::{Delivery, DeliveryId, SignatureStatus, Verdict};
use tunnel_envelope::{KeyRing, OpenError, open};

use crate::signing::Signing;

/// The method that a sealed delivery has in lists.
const METHOD: &str = "SEALED";

/// The delivery as it was sent, or why it stays shut. One that is not sealed is as it was sent already.
pub(crate) fn opened(delivery: &Arc<Delivery>, keys: Option<&KeyRing>) -> Result<Arc<Delivery>, String> {
    if !delivery.is_sealed() {
        return Ok(Arc::clone(delivery));
    }
    let Some(keys) = keys else { return Err("this agent has no key".to_owned()) };
    open(delivery, keys).map(Arc::new).map_err(|e| said(&e))
}

fn said(e: &OpenError) -> String {
    match e {
        OpenError::NotForUs(_) => {
            format!("{e} (it came in before this device was known, or was sealed to a key that it had before)")
        }
        other => other.to_string(),
    }
}

/// What is said of the signature of a delivery that stays shut: nothing is known of it.
pub(crate) fn verdict(why: &str) -> Verdict {
    Verdict {
        reason: Some(format!("the delivery is sealed and cannot be opened here: {why}")),
        hint: Some(
            "with the key that it was sealed to: `healthie-tunnel key import FILE`, then `healthie-tunnel key open`"
                .to_owned(),
        ),
        ..Verdict::bare(SignatureStatus::NoSecret)
    }
}

/// What became of the deliveries that were kept shut.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Reopened {
    /// The ids under which those are stored now that could be opened.
    pub opened: Vec<DeliveryId>,
    /// The ids that those came with, in the same order; under them there is nothing any more.
    pub came_as: Vec<DeliveryId>,
    /// Those that stay shut.
    pub shut: Vec<Shut>,
}

/// One that stays shut.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Shut {
    /// Which.
    pub id: DeliveryId,
    /// Why.
    pub reason: String,
}

/// Opens what was kept shut, as far as these keys can. What is opened is stored beside its envelope and verified, and only then the envelope is
/// removed: a crash between the two loses nothing, and the next run finishes it. It is not forwarded.
///
/// # Errors
/// The archive's; what was opened until then stays.
pub async fn reopen(archive: &Archive, keys: &KeyRing, signing: &Signing) -> Result<Reopened, ArchiveError> {
    let mut done = Reopened::default();
    for id in shut(archive)? {
        let Some(stored) = archive.get(id)?.filter(|stored| stored.delivery.is_sealed()) else { continue };
        let mut delivery = match open(&stored.delivery, keys) {
            Ok(delivery) => delivery,
            Err(e) => {
                done.shut.push(Shut { id, reason: said(&e) });
                continue;
            }
        };
        delivery.id = beside(id);
        let checked = signing.check(&delivery);
        let new = delivery.id;
        let intake = tunnel_archive::Intake {
            body_sha256: checked.body_sha256,
            event: tunnel_catalogue::read(&delivery.body),
            signature: checked.verdict,
            queued: false,
            delivery: Arc::new(delivery),
        };
        let is_new = matches!(archive.insert(intake).await?, Inserted::New { .. });
        // What its user put on the envelope is meant for what is in it; a run that was broken off may not have come to it.
        if stored.pinned {
            archive.set_pinned(new, true).await?;
        }
        if is_new || stored.note.is_some() {
            let note = stored.note.unwrap_or_else(|| format!("came sealed as {id} and was opened later"));
            archive.set_note(new, Some(note)).await?;
        }
        archive.remove(vec![id]).await?;
        done.opened.push(new);
        done.came_as.push(id);
    }
    Ok(done)
}

/// The ids of what may be sealed.
fn shut(archive: &Archive) -> Result<Vec<DeliveryId>, ArchiveError> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let query = Query {
            order: Order::OldestFirst,
            limit: 1000,
            cursor,
            signature: vec![SignatureStatus::NoSecret],
            ..Query::default()
        };
        let page = archive.list(&query)?;
        ids.extend(page.items.iter().filter(|line| line.method == METHOD).map(|line| line.id));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

/// The id next to this one, always the same: an archive knows each delivery by its id, so what is opened twice is stored once.
fn beside(id: DeliveryId) -> DeliveryId {
    let mut bytes = *id.as_bytes();
    bytes[15] ^= 1;
    DeliveryId::from_bytes(bytes)
}
