//! Taking a delivery into the store that did not come from the relay, such as a colleague's. It gets an id and a time of its own: it was
//! received here now, and what retention and lists say of it is about this store.
//!
//! It is verified as any other, announced to those who follow, and not forwarded.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tunnel_archive::{Inserted, Intake};
use tunnel_delivery::{DeliveryId, SignatureStatus, Timestamp, TunnelName};
use tunnel_fixture::Absent;
use tunnel_protocol::MAX_BODY;

use super::operations::secrets;
use super::{ControlError, Kind, Operations};
use crate::audit::{Line, What};
use crate::fixtures::refused;
use crate::notice::Notice;
use crate::summary;

/// The longest note, in bytes; the archive keeps none that is longer.
const MOST_NOTE: usize = 64 * 1024;

/// A delivery is to be stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Load {
    /// The delivery as a fixture's text, which keeps every byte. Its id and its time of receipt do not count.
    pub fixture: String,
    /// The tunnel, where the fixture does not say one.
    pub tunnel: TunnelName,
    /// A note about it.
    pub note: Option<String>,
    /// Secrets besides those that the agent knows.
    pub secrets: Vec<String>,
    /// Its number among those that are loaded together: where they come within a millisecond, it keeps them in order.
    pub nth: u16,
}

/// It is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loaded {
    /// Under this id.
    pub id: DeliveryId,
    /// Its event.
    pub event_type: Option<String>,
    /// What came of checking its signature.
    pub signature: SignatureStatus,
    /// The earlier delivery that it seems to repeat.
    pub duplicate_of: Option<DeliveryId>,
}

impl Operations {
    /// Stores a delivery.
    pub(crate) async fn load(&self, load: Load) -> Result<Loaded, ControlError> {
        let usage = |text: String| ControlError::new(Kind::Usage, text);
        let Load { fixture, tunnel, note, secrets: given, nth } = load;
        let now = Timestamp::from_system(std::time::SystemTime::now());
        let absent = Absent { id: new_id(now, nth)?, received_at: now, tunnel, source_ip: Ipv4Addr::LOCALHOST.into() };
        let mut fixture = tunnel_fixture::read("fixture", fixture.as_bytes()).map_err(refused)?;
        (fixture.provenance.delivery, fixture.provenance.received_at) = (None, None);
        let delivery = Arc::new(fixture.to_delivery(&absent));
        let len = delivery.body.len() as u64;
        if len > MAX_BODY {
            return Err(usage(format!("a body of {len} bytes is too long: at most {MAX_BODY} can be delivered")));
        }
        if note.as_ref().is_some_and(|note| note.len() > MOST_NOTE) {
            return Err(usage(format!("a note of more than {MOST_NOTE} bytes is not kept; shorten it")));
        }
        self.audit.note(Line::new(What::Loaded).delivery(delivery.id)).await?;
        let checked = self.hand.signing.with(&secrets(&given)?).check(&delivery);
        let event = tunnel_catalogue::read(&delivery.body);
        let mut line = summary::of_new(&delivery, event.as_ref(), &checked.verdict, None, false);
        let intake = Intake {
            delivery: Arc::clone(&delivery),
            body_sha256: checked.body_sha256,
            event,
            signature: checked.verdict,
            queued: false,
        };
        match self.archive.insert(intake).await? {
            Inserted::New { duplicate_of } => line.duplicate_of = duplicate_of.map(|d| d.id),
            // Of 62 random bits.
            Inserted::AlreadyThere => return Err(usage("the new id is taken already; load it again".to_owned())),
        }
        self.hand.announcer.tell(Notice::Delivery(Arc::new(line.clone())));
        if note.is_some() {
            self.archive.set_note(line.id, note).await?;
        }
        Ok(Loaded {
            id: line.id,
            event_type: line.event_type,
            signature: line.signature,
            duplicate_of: line.duplicate_of,
        })
    }
}

fn new_id(at: Timestamp, nth: u16) -> Result<DeliveryId, ControlError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)
        .map_err(|e| ControlError::new(Kind::Unreachable, format!("there is no randomness for a new id: {e}")))?;
    // The id keeps the lower twelve bits of these.
    [random[0], random[1]] = nth.to_be_bytes();
    Ok(DeliveryId::build(at, random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_millisecond_ids_keep_their_order() {
        let at = Timestamp::from_micros(1_763_714_000_000_000);
        let ids: Vec<_> = (0..300).map(|nth| new_id(at, nth).unwrap()).collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.received_at() == at));
        assert_ne!(new_id(at, 1).unwrap(), new_id(at, 1).unwrap());
    }
}
