//! How the deliveries of a tunnel are signed: the readings in which all of them so far hold, and that one came which is signed otherwise.
//!
//! Where a body is ASCII, readings that differ only in how a length is counted give the same string, so one delivery does not tell which
//! is the sender's; several do. Pure but for `Habits`, which reads the archive once for each tunnel.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tunnel_archive::{ArchiveError, Order, Query};
use tunnel_delivery::{Delivery, DeliveryId, SignatureStatus, Stored, TunnelName};
use tunnel_signature::{Message, Part, Reading, base_string};

use crate::keep::Keep;

/// How many earlier valid deliveries are looked at.
const EARLIER: usize = 5;
/// Of longer bodies it is not read how they were signed, in bytes.
const LONGEST: u64 = 256 * 1024;
/// How many deliveries may wait while the archive is read for the first of them; the window does not count them any more. Those beyond are not looked at.
const WAITING: usize = 64;
/// An agent is in one tunnel; a folder that has served more than so many forgets.
const TUNNELS: usize = 64;

/// The readings in which a message holds that was found to be signed in `reading`, plainest first.
pub fn holding(message: &Message<'_>, reading: Reading) -> Vec<Reading> {
    let written = |r: Reading| r.variant().twists().find(|t| t.documented().part == Part::Encoding);
    let Ok(signed) = base_string(reading, message) else { return vec![reading] };
    Reading::all_of(reading.profile())
        .filter(|r| written(*r) == written(reading))
        .filter(|r| *r == reading || base_string(*r, message).is_ok_and(|other| other == signed))
        .collect()
}

/// The readings in which everything so far holds; none where nothing came.
#[derive(Clone, Debug, Default)]
pub struct Habit(Vec<Reading>);

impl Habit {
    /// A valid delivery that holds in these readings. Gives the earlier reading where none of them is it.
    pub fn see(&mut self, holding: &[Reading]) -> Option<Reading> {
        let both: Vec<_> = self.0.iter().filter(|r| holding.contains(r)).copied().collect();
        let before = self.0.first().copied().filter(|_| both.is_empty());
        self.0 = if both.is_empty() { holding.to_vec() } else { both };
        before
    }

    /// Plainest first.
    pub fn readings(&self) -> &[Reading] {
        &self.0
    }

    /// That of the valid deliveries of a tunnel that came before one.
    pub(crate) fn before(keep: &dyn Keep, tunnel: &TunnelName, id: Option<DeliveryId>) -> Result<Habit, ArchiveError> {
        let mut found: Vec<Vec<Reading>> = Vec::new();
        let mut query = Query {
            order: Order::NewestFirst,
            limit: 64,
            until: id.map(|id| id.received_at()),
            tunnel: Some(tunnel.clone()),
            signature: vec![SignatureStatus::Valid],
            ..Query::default()
        };
        // Two pages: what came in the same millisecond, or is long, must not hide all the rest.
        for _ in 0..2 {
            let page = keep.list(&query)?;
            for line in page.items.iter().filter(|l| id.is_none_or(|id| l.id < id) && l.body_len <= LONGEST) {
                if let Some(stored) = keep.get(line.id)? {
                    found.extend(of_stored(&stored));
                }
                if found.len() == EARLIER {
                    break;
                }
            }
            if page.next.is_none() || found.len() >= EARLIER {
                break;
            }
            query.cursor = page.next;
        }
        let mut habit = Habit::default();
        for readings in found.iter().rev() {
            habit.see(readings);
        }
        Ok(habit)
    }
}

fn of_stored(stored: &Stored) -> Option<Vec<Reading>> {
    let profile = stored.signature.profile.as_deref()?;
    let variant = stored.signature.variant.as_deref().unwrap_or("plain");
    let reading: Reading = format!("{profile}:{variant}").parse().ok()?;
    Some(of_delivery(&stored.delivery, reading))
}

fn of_delivery(d: &Delivery, reading: Reading) -> Vec<Reading> {
    let headers: Vec<_> = d.headers.iter().map(|l| (&*l.name, &*l.value)).collect();
    let message = Message { method: d.method.as_str(), target: d.target.as_str(), headers: &headers, body: &d.body };
    holding(&message, reading)
}

/// Whether readings differ for a delivery that give the same string for most: lengths are counted alike where all is ASCII, and queries are
/// written alike where there is none.
fn tells(d: &Delivery) -> bool {
    !d.body.is_ascii() || d.target.query().is_some()
}

/// The habits of the tunnels that an agent has to do with.
pub(crate) struct Habits {
    known: Mutex<HashMap<TunnelName, Habit>>,
    waiting: Semaphore,
}

impl Default for Habits {
    /// Nothing is known.
    fn default() -> Habits {
        Habits { known: Mutex::default(), waiting: Semaphore::new(WAITING) }
    }
}

impl Habits {
    /// A valid delivery came. Gives the reading of the earlier ones where it does not hold in it: once for each change.
    pub(crate) async fn see(&self, keep: &Arc<dyn Keep>, delivery: &Delivery, reading: Reading) -> Option<Reading> {
        let _one_of_few = self.waiting.try_acquire().ok()?;
        let mut known = self.known.lock().await;
        if !known.contains_key(&delivery.tunnel) {
            let (keep, tunnel, id) = (Arc::clone(keep), delivery.tunnel.clone(), delivery.id);
            let blocks = keep.blocks();
            let before = move || Habit::before(&*keep, &tunnel, Some(id));
            let read = if blocks { tokio::task::spawn_blocking(before).await } else { Ok(before()) };
            if known.len() >= TUNNELS {
                known.clear();
            }
            // A store that cannot be read says so elsewhere; here it means that nothing is known.
            known.insert(delivery.tunnel.clone(), read.ok().and_then(Result::ok).unwrap_or_default());
        }
        let habit = known.get_mut(&delivery.tunnel)?;
        // The usual case costs nothing but a look at the body: building the strings anew takes as long as verifying did.
        if habit.readings().contains(&reading) && (habit.readings().len() == 1 || !tells(delivery)) {
            return None;
        }
        habit.see(&of_delivery(delivery, reading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_signature::{Request, Secret};

    fn signed(reading: &str, body: &str) -> Vec<Reading> {
        let reading: Reading = reading.parse().unwrap();
        let request = Request { method: "POST", target: "/", content_type: "application/json", body: body.as_bytes() };
        let signed = tunnel_signature::sign(reading, &Secret::new("whsec_x").unwrap(), &request).unwrap();
        let headers = signed.lines().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let message = Message { method: "POST", target: "/", headers: &headers, body: body.as_bytes() };
        holding(&message, reading)
    }

    fn names(readings: &[Reading]) -> Vec<String> {
        readings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_body_cannot_tell_apart_holds_too() {
        assert_eq!(names(&signed("guide", "{}")), ["guide", "guide:utf16-length"]);
        assert_eq!(names(&signed("guide:utf16-length", "\"ä\"")), ["guide:utf16-length"]);
        let scribe = names(&signed("scribe:base64", "{}"));
        assert_eq!(scribe, ["scribe:base64", "scribe:single-query+base64"], "an empty query has one ? in both");
        assert_eq!(names(&signed("rfc9421", "{}")), ["rfc9421"]);
    }

    #[test]
    fn only_what_none_of_the_readings_explains_is_another() {
        let mut habit = Habit::default();
        assert_eq!(habit.see(&signed("guide:utf16-length", "{}")), None, "the first");
        assert_eq!(names(habit.readings()), ["guide", "guide:utf16-length"]);
        assert_eq!(habit.see(&signed("guide:utf16-length", "\"ä\"")), None, "it tells which of the two");
        assert_eq!(habit.see(&signed("guide", "{}")), None, "ASCII holds in both");
        let before = habit.see(&signed("guide", "\"ä\""));
        assert_eq!(before, Some("guide:utf16-length".parse().unwrap()));
        assert_eq!(habit.see(&signed("guide", "\"ä\"")), None, "it is told once");
        assert_eq!(habit.see(&signed("rfc9421", "{}")), Some("guide".parse().unwrap()));
    }
}
