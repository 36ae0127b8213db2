//! Which agents are there, tunnel by tunnel, and how a delivery or a word reaches them. It knows deliveries and frames' contents, not sockets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};
use tunnel_protocol::{AnswerBody, AnswerFailure};

use crate::ground::Clock;
use crate::registry::{Access, Pass};

/// How many deliveries may wait for a session's task to pick them up; more than that and the agent counts as busy.
const OFFERS: usize = 256;

/// A delivery for a live agent whose answer goes back to the sender.
pub(crate) struct Offer {
    pub(crate) delivery: Arc<Delivery>,
    /// When the sender's patience ends.
    pub(crate) until: Instant,
    /// Dropped unanswered where the session ends first.
    pub(crate) reply: oneshot::Sender<Result<AnswerBody, AnswerFailure>>,
}

/// Why no agent took an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTaker {
    /// None is connected.
    Away,
    /// All that are have too much to do.
    Busy,
}

struct Live {
    id: u64,
    device: DeviceName,
    pass: Pass,
    to: mpsc::Sender<Offer>,
    wake: Arc<Notify>,
    changed: Arc<Notify>,
    /// Set to the reason when the session is to end.
    leave: watch::Sender<Option<String>>,
}

/// The agents of one tunnel.
#[derive(Default)]
struct Agents {
    /// When devices that are not there now left.
    left: Mutex<HashMap<DeviceName, Timestamp>>,
    /// Oldest first.
    live: Mutex<Vec<Live>>,
}

impl Agents {
    fn live(&self) -> MutexGuard<'_, Vec<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All live sessions.
#[derive(Default)]
pub(crate) struct Hub {
    tunnels: Mutex<HashMap<TunnelName, Arc<Agents>>>,
    next_id: AtomicU64,
    clock: Clock,
}

/// A session's place in the hub; leaving is dropping it.
pub(crate) struct Seat {
    id: u64,
    agents: Arc<Agents>,
    device: DeviceName,
    clock: Clock,
    /// What is to be handed over.
    pub(crate) offers: mpsc::Receiver<Offer>,
    /// Rings when the spool has something new.
    pub(crate) wake: Arc<Notify>,
    /// Rings when the tunnel's settings are others.
    pub(crate) changed: Arc<Notify>,
    /// Says when the session is to end.
    pub(crate) leave: Leave,
}

/// Waits for the word that a session is to end.
pub(crate) struct Leave(watch::Receiver<Option<String>>);

impl Leave {
    /// Returns why the session is to end, once it is.
    pub(crate) async fn told(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // Only a newer session of the same device takes a seat away.
            Err(_) => {
                "another agent connected under the same device name (give each agent a --device of its own)".to_owned()
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.clock.now();
        self.agents.live().retain(|live| live.id != self.id);
        self.agents.left.lock().unwrap_or_else(PoisonError::into_inner).insert(self.device.clone(), now);
    }
}

impl Hub {
    /// A hub without agents that tells the time by `clock`.
    pub(crate) fn new(clock: Clock) -> Hub {
        Hub { clock, ..Hub::default() }
    }

    fn agents(&self, tunnel: &TunnelName) -> Arc<Agents> {
        let mut tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        match tunnels.get(tunnel) {
            Some(agents) => Arc::clone(agents),
            None => Arc::clone(tunnels.entry(tunnel.clone()).or_default()),
        }
    }

    /// Whether the tunnel has room for an agent of this device when it may have `most` with that access.
    pub(crate) fn has_room(&self, tunnel: &TunnelName, device: &DeviceName, pass: &Pass, most: usize) -> bool {
        let agents = self.agents(tunnel);
        let live = agents.live();
        live.iter().filter(|live| live.device != *device && live.pass.access == pass.access).count() < most
    }

    /// Seats an agent, unless the tunnel has `most` with that access already. One that sits there under the same device name is told to go; but who only
    /// looks drives nobody away who answers.
    pub(crate) fn seat(&self, tunnel: &TunnelName, device: &DeviceName, pass: &Pass, most: usize) -> Option<Seat> {
        let agents = self.agents(tunnel);
        let (to, offers) = mpsc::channel(OFFERS);
        let (leave, left) = watch::channel(None);
        let (wake, changed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        {
            let mut live = agents.live();
            if is_above(&live, device, pass) {
                return None;
            }
            live.retain(|old| old.device != *device);
            // Those that only look take up no room of the others'.
            if live.iter().filter(|other| other.pass.access == pass.access).count() >= most {
                return None;
            }
            live.push(Live {
                id,
                device: device.clone(),
                pass: pass.clone(),
                to,
                wake: Arc::clone(&wake),
                changed: Arc::clone(&changed),
                leave,
            });
        }
        let (device, clock) = (device.clone(), self.clock.clone());
        Some(Seat { id, agents, device, clock, offers, wake, changed, leave: Leave(left) })
    }

    /// Whether an agent of this device is connected.
    pub(crate) fn is_there(&self, tunnel: &TunnelName, device: &DeviceName) -> bool {
        self.agents(tunnel).live().iter().any(|live| live.device == *device)
    }

    /// How many agents of a tunnel are connected.
    pub(crate) fn connected(&self, tunnel: &TunnelName) -> usize {
        self.agents(tunnel).live().len()
    }

    /// When a device was last there, as far as this process saw: `now` while it is, the time it left, or nothing.
    pub(crate) fn last_seen(&self, tunnel: &TunnelName, device: &DeviceName, now: Timestamp) -> Option<Timestamp> {
        if self.is_there(tunnel, device) {
            return Some(now);
        }
        self.agents(tunnel).left.lock().unwrap_or_else(PoisonError::into_inner).get(device).copied()
    }

    /// Tells all agents of a tunnel that the spool has something new.
    pub(crate) fn wake(&self, tunnel: &TunnelName) {
        for live in self.agents(tunnel).live().iter() {
            live.wake.notify_one();
        }
    }

    /// Tells all agents of a tunnel that its settings are others.
    pub(crate) fn settings_changed(&self, tunnel: &TunnelName) {
        for live in self.agents(tunnel).live().iter() {
            live.changed.notify_one();
        }
    }

    /// Offers a delivery to the agent that connected last, of those with full access; to the one before it if that one is busy, and so on. The newest, because a session
    /// whose laptop just went to sleep is older than the one that replaced it.
    pub(crate) fn offer(&self, tunnel: &TunnelName, offer: Offer) -> Result<(), NoTaker> {
        let agents = self.agents(tunnel);
        let live = agents.live();
        let mut offer = offer;
        let mut why = NoTaker::Away;
        for agent in live.iter().rev().filter(|agent| agent.pass.access == Access::Full) {
            match agent.to.try_send(offer) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back)) => {
                    why = NoTaker::Busy;
                    offer = back;
                }
                Err(mpsc::error::TrySendError::Closed(back)) => offer = back,
            }
        }
        Err(why)
    }

    /// Ends the session of a device, if there is one.
    pub(crate) fn dismiss_device(&self, tunnel: &TunnelName, device: &DeviceName, why: &str) {
        for live in self.agents(tunnel).live().iter().filter(|live| live.device == *device) {
            live.leave.send_replace(Some(why.to_owned()));
        }
    }

    /// Ends the session of a device that only looks, before one with full access takes its name and its place in the stream.
    pub(crate) fn dismiss_onlooker(&self, tunnel: &TunnelName, device: &DeviceName) {
        let agents = self.agents(tunnel);
        let live = agents.live();
        for live in live.iter().filter(|live| live.device == *device && live.pass.access == Access::ReadOnly) {
            live.leave.send_replace(Some(
                "an agent with full access came under this device name (give this one a --device of its own)".into(),
            ));
        }
    }

    /// Ends the sessions for which `gone` says why.
    pub(crate) fn dismiss(&self, gone: impl Fn(&TunnelName, &Pass) -> Option<String>) {
        let tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        for (tunnel, agents) in tunnels.iter() {
            for live in agents.live().iter() {
                if let Some(why) = gone(tunnel, &live.pass) {
                    live.leave.send_replace(Some(why));
                }
            }
        }
    }
}

/// Whether an agent with full access sits there under this name, which somebody wants who only looks.
fn is_above(live: &[Live], device: &DeviceName, pass: &Pass) -> bool {
    pass.access == Access::ReadOnly
        && live.iter().any(|other| other.device == *device && other.pass.access == Access::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::TokenId;

    fn offer() -> (Offer, oneshot::Receiver<Result<AnswerBody, AnswerFailure>>) {
        let (reply, answer) = oneshot::channel();
        (Offer { delivery: crate::sample::delivery(0, Timestamp::default(), ""), until: Instant::now(), reply }, answer)
    }

    fn names() -> (TunnelName, DeviceName, DeviceName, Pass) {
        let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::Full);
        ("team".parse().unwrap(), "a".parse().unwrap(), "b".parse().unwrap(), pass)
    }

    #[test]
    fn one_that_only_looks_answers_nobody_and_takes_up_no_room() {
        let (team, a, b, full) = names();
        let looks = Pass::made_up(&full.token, Access::ReadOnly);
        let hub = Hub::default();
        let mut eye = hub.seat(&team, &b, &looks, 1).unwrap();
        assert_eq!(hub.offer(&team, offer().0), Err(NoTaker::Away));
        let mut answers = hub.seat(&team, &a, &full, 1).expect("there is room");
        let _newer_eye = hub.seat(&team, &b, &looks, 1).unwrap();
        hub.offer(&team, offer().0).unwrap();
        assert!(answers.offers.try_recv().is_ok() && eye.offers.try_recv().is_err());
        assert!(hub.seat(&team, &"c".parse().unwrap(), &looks, 1).is_none());
    }

    #[test]
    fn one_that_only_looks_drives_nobody_away_who_answers() {
        let (team, a, _, full) = names();
        let looks = Pass::made_up(&full.token, Access::ReadOnly);
        let hub = Hub::default();
        let answers = hub.seat(&team, &a, &full, 9).unwrap();
        assert!(hub.seat(&team, &a, &looks, 9).is_none());
        hub.dismiss_onlooker(&team, &a);
        assert!(matches!(answers.leave.0.has_changed(), Ok(false)), "it stays");
        drop(answers);
        let eye = hub.seat(&team, &a, &looks, 9).unwrap();
        hub.dismiss_onlooker(&team, &a);
        assert!(eye.leave.0.borrow().is_some());
    }

    #[test]
    fn the_newest_agent_answers_and_a_busy_one_is_passed_over() {
        let (team, a, b, token) = names();
        let hub = Hub::default();
        assert_eq!(hub.offer(&team, offer().0), Err(NoTaker::Away));
        let mut first = hub.seat(&team, &a, &token, 9).unwrap();
        let mut second = hub.seat(&team, &b, &token, 9).unwrap();
        for _ in 0..OFFERS {
            hub.offer(&team, offer().0).unwrap();
        }
        assert!(first.offers.try_recv().is_err() && second.offers.try_recv().is_ok());
        hub.offer(&team, offer().0).unwrap();
        hub.offer(&team, offer().0).unwrap();
        assert!(first.offers.try_recv().is_ok());
        drop(second);
        hub.offer(&team, offer().0).unwrap();
        drop(first);
        assert_eq!(hub.offer(&team, offer().0), Err(NoTaker::Away));
    }

    #[tokio::test]
    async fn one_device_is_told_to_go_and_the_others_stay() {
        let (team, a, b, token) = names();
        let hub = Hub::default();
        let mut gone = hub.seat(&team, &a, &token, 9).unwrap();
        let stays = hub.seat(&team, &b, &token, 9).unwrap();
        hub.dismiss_device(&team, &a, "it was forgotten");
        assert_eq!(gone.leave.told().await, "it was forgotten");
        assert!(stays.leave.0.borrow().is_none());
    }

    #[test]
    fn a_device_has_one_seat_and_a_tunnel_so_many() {
        let (team, a, b, token) = names();
        let hub = Hub::default();
        let old = hub.seat(&team, &a, &token, 1).unwrap();
        let _new = hub.seat(&team, &a, &token, 1).unwrap();
        assert!(old.leave.0.has_changed().is_err(), "the old session is told to go");
        assert!(hub.has_room(&team, &a, &token, 1) && !hub.has_room(&team, &b, &token, 1));
        assert!(hub.seat(&team, &b, &token, 1).is_none());
        drop(old);
        hub.offer(&team, offer().0).unwrap();
    }
}
