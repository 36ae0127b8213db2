//! The agent's public key, as far as a session has to do with it: who may come to a tunnel whose deliveries are sealed, where a new device begins there, and what
//! is said to those that cannot open what waits for them.

use tracing::{info, warn};
use tunnel_delivery::{DeviceName, TunnelName};
use tunnel_protocol::{Hello, Start};
use tunnel_spool::{DevicePlace, Place, Role, SpoolError};

use super::{End, Session};
use crate::lines::Line;
use crate::metrics::SessionEnd;
use crate::shared::Shared;

/// Why an agent may not come, where it may not.
pub(super) fn refusal(tunnel: &TunnelName, sealed: bool, hello: &Hello) -> Option<String> {
    match hello.device_key {
        None if sealed => Some(format!(
            "tunnel {tunnel} seals its deliveries to its agents' keys, and this agent has none: update healthie-tunnel"
        )),
        Some(key) if !tunnel_envelope::is_usable(&key) => Some(format!(
            "nothing can be sealed to the key {key} of this agent: make it a new one with `healthie-tunnel key new`"
        )),
        _ => None,
    }
}

/// What came of noting a key.
pub(super) struct Noted {
    /// Where the device stands now.
    pub(super) place: Place,
    /// What the agent's user should know.
    pub(super) notice: Option<String>,
}

/// Where a device that is new is to begin. Beside others of a sealed tunnel nothing that waits is sealed to it: it must not be counted among those who were given that.
pub(super) fn begins(wanted: Start, beside_others_sealed: bool) -> tunnel_spool::Start {
    match wanted {
        _ if beside_others_sealed => tunnel_spool::Start::Now,
        Start::Now => tunnel_spool::Start::Now,
        Start::Beginning => tunnel_spool::Start::Beginning,
        Start::At(at) => tunnel_spool::Start::At(at),
    }
}

/// Notes the key of a device that has just joined. A new one beside others starts from now where deliveries are sealed: none of those that wait is sealed to it.
pub(super) async fn noted(
    shared: &Shared,
    tunnel: &TunnelName,
    hello: &Hello,
    place: Place,
    sealed: bool,
    note: impl FnOnce(String),
) -> Result<Noted, SpoolError> {
    let Some(key) = hello.device_key else { return Ok(Noted { place, notice: None }) };
    let devices = shared.spool.devices(tunnel)?;
    let before = find(&devices, &hello.device).and_then(|device| device.key);
    if before != Some(key) {
        shared.spool.set_key(tunnel, &hello.device, key).await?;
        // Who can open what comes from now on is worth knowing afterwards.
        note(before.map_or_else(|| format!("{key}"), |before| format!("{key} instead of {before}")));
    }
    if let Some(before) = before.filter(|before| *before != key) {
        let waiting = find(&devices, &hello.device).map_or(0, |device| device.waiting);
        if shared.tells(Line::DeviceKey, tunnel) {
            warn!(%tunnel, device = %hello.device, %before, now = %key, waiting, "a device came with another key");
        }
        let notice = format!(
            "this device came with another key ({key}) than before ({before}): of what waits for it ({waiting}) only such deliveries can be opened as were sealed to a key in its data folder (`healthie-tunnel key import` adds the old one)"
        );
        return Ok(Noted { place, notice: Some(notice) });
    }
    if before.is_none() && shared.tells(Line::DeviceKey, tunnel) {
        info!(%tunnel, device = %hello.device, %key, "a device told its key");
    }
    // What waits for a tunnel's first device was sealed to others that were forgotten, or not at all: it gets it in any case. Who only watches never does.
    let first = devices.iter().all(|device| device.device == hello.device || device.role == Role::Watches)
        && find(&devices, &hello.device).is_some_and(|device| device.role == Role::Takes);
    if !(sealed && place.new) || first {
        return Ok(Noted { place, notice: None });
    }
    let last = shared.spool.last(tunnel);
    shared.spool.taken(tunnel, &hello.device, last);
    let notice = (hello.start != Start::Now).then(|| {
        format!("tunnel {tunnel} seals its deliveries: what came before this device was known cannot be opened by it, so it starts from now")
    });
    Ok(Noted { place: Place { after: last, new: true, gap: None }, notice })
}

fn find<'d>(devices: &'d [DevicePlace], name: &DeviceName) -> Option<&'d DevicePlace> {
    devices.iter().find(|device| device.device == *name)
}

impl Session {
    /// Where sealing was turned on or off the agent comes again, and is told anew how it is; one without a key is told then that it may not.
    pub(super) fn sealing_is_as_told(&self) -> Result<(), End> {
        let all = self.shared.registry.snapshot();
        match all.tunnels.get(&self.tunnel) {
            Some(now) if now.seal && !self.sealed => {
                Err(End::Relay(SessionEnd::Dismissed, "deliveries are sealed from now on".into()))
            }
            Some(now) if !now.seal && self.sealed => {
                Err(End::Relay(SessionEnd::Dismissed, "deliveries are no longer sealed".into()))
            }
            _ => Ok(()),
        }
    }

    /// An agent without a key must not be sent what it cannot even read.
    pub(super) fn may_have_sealed(&self) -> Result<(), End> {
        if self.has_key {
            return Ok(());
        }
        Err(End::Relay(
            SessionEnd::Dismissed,
            "sealed deliveries wait for this agent, which knows nothing of sealing: update healthie-tunnel".into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_beside_others_of_a_sealed_tunnel_begins_now_whatever_it_wants() {
        for wanted in [Start::Now, Start::Beginning, Start::At(tunnel_delivery::Timestamp::from_micros(1))] {
            assert_eq!(begins(wanted, true), tunnel_spool::Start::Now);
        }
        assert_eq!(begins(Start::Beginning, false), tunnel_spool::Start::Beginning);
    }
}
