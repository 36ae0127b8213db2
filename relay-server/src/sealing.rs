//! A sealed tunnel's deliveries are sealed here, between reading a request and everything else: what the spool, the hub and the sessions get is an envelope
//! (crates/envelope) that the tunnel's devices can open and this relay cannot.
//!
//! It knows neither HTTP nor sockets.

use std::sync::Arc;

use tracing::error;
use tunnel_delivery::{Delivery, DeviceKey, DeviceName, TunnelName};
use tunnel_envelope::{MAX_RECIPIENTS, SealError};
use tunnel_protocol::{Incoming, MAX_BODY};
use tunnel_spool::{DevicePlace, Role, Seq};

use crate::lines::Line;
use crate::respond::{Problem, Whose};
use crate::shared::Shared;

/// A body of so many bytes and more, or so many recipients and more, is not sealed on a worker of the runtime: it takes the better part of a millisecond.
const HEAVY: (usize, usize) = (512 << 10, 8);

/// The delivery in an envelope for every device of its tunnel that has told a key and whose token opens it still.
///
/// # Errors
/// There is no such device, the envelope would be too long, or sealing failed; nothing of the delivery is kept then.
pub(crate) async fn seal(delivery: Arc<Delivery>, shared: &Shared) -> Result<Delivery, Problem> {
    let tunnel = delivery.tunnel.clone();
    let to = keys(shared, &tunnel)?;
    let heavy = delivery.body.len() >= HEAVY.0 || to.len() >= HEAVY.1;
    let sealed = if heavy {
        let sealing = shared.offload.run(move || tunnel_envelope::seal(&delivery, &to));
        sealing.await.unwrap_or(Err(SealError::Failed("the task that did it ended")))
    } else {
        tunnel_envelope::seal(&delivery, &to)
    };
    match sealed {
        Ok(sealed) if Incoming::fits(&sealed) => Ok(sealed),
        Ok(_) | Err(SealError::TooLarge) => Err(Problem::TooLarge { limit: MAX_BODY, of: Whose::Relay }),
        Err(SealError::NoRecipient) => Err(Problem::NoKey),
        Err(e) => {
            if shared.tells(Line::NotSealed, &tunnel) {
                error!(%tunnel, error = %e, "a delivery could not be sealed and is refused");
            }
            Err(Problem::NotSealed)
        }
    }
}

fn keys(shared: &Shared, tunnel: &TunnelName) -> Result<Vec<DeviceKey>, Problem> {
    let mut devices = shared.spool.devices(tunnel).map_err(|e| Problem::of_spool(&e))?;
    // A token that ended this very moment, or whose device could not be forgotten yet.
    let (all, now) = (shared.registry.snapshot(), shared.now());
    devices.retain(|device| shared.whose.lost(tunnel, &device.device, &all, now).is_none());
    recipients(&devices).ok_or(Problem::NoKey)
}

/// How many of the deliveries that wait for a device nobody can open but whoever comes under its name: none was given to another device that takes, has a key, and
/// can be come for (`good`). `last` is the tunnel's last place, looked up before the devices were, so that a delivery that comes between counts as one too many
/// and not as one too few.
pub(crate) fn only_its(
    device: &DevicePlace,
    devices: &[DevicePlace],
    last: Seq,
    good: impl Fn(&DeviceName) -> bool,
) -> u64 {
    if device.role != Role::Takes {
        return 0;
    }
    let others = devices.iter().filter(|other| {
        other.device != device.device && other.role == Role::Takes && other.key.is_some() && good(&other.device)
    });
    let oldest = last.next().0.saturating_sub(device.waiting);
    let before = |began: Seq| began.next().0.saturating_sub(oldest).min(device.waiting);
    others.map(|other| other.began).min().map_or(device.waiting, before)
}

/// To whose keys a delivery is sealed; none where it must not be taken.
fn recipients(devices: &[DevicePlace]) -> Option<Vec<DeviceKey>> {
    let of = |role| devices.iter().filter(move |device| device.role == role).filter_map(|device| device.key);
    let mut to: Vec<DeviceKey> = Vec::new();
    for key in of(Role::Takes) {
        if !to.contains(&key) {
            to.push(key);
        }
    }
    // What was sealed to those alone that only watch, the first that takes could not open.
    if to.is_empty() {
        return None;
    }
    // There may be as many that watch as take. However many those are, they keep nothing from those that the deliveries are for.
    for key in of(Role::Watches) {
        if to.len() < MAX_RECIPIENTS && !to.contains(&key) {
            to.push(key);
        }
    }
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Timestamp;
    use tunnel_spool::MAX_DEVICES;

    fn device(n: usize, role: Role, key: Option<u8>) -> DevicePlace {
        DevicePlace {
            device: format!("device-{n}").parse().unwrap(),
            role,
            after: Seq::ZERO,
            began: Seq::ZERO,
            joined: Timestamp::from_micros(0),
            waiting: 0,
            only_here: 0,
            gap: None,
            key: key.map(|byte| DeviceKey::from_slice(&[byte; 32]).unwrap()),
        }
    }

    #[test]
    fn those_who_only_watch_never_keep_a_delivery_out() {
        let mut devices: Vec<_> = (0..MAX_DEVICES).map(|n| device(n, Role::Watches, u8::try_from(n).ok())).collect();
        assert_eq!(recipients(&devices), None, "nobody is there whom it is for");
        devices.push(device(90, Role::Takes, None));
        assert_eq!(recipients(&devices), None, "who it is for has no key");
        devices.push(device(91, Role::Takes, Some(201)));
        devices.push(device(92, Role::Takes, Some(201)));
        let to = recipients(&devices).unwrap();
        assert_eq!(to.len(), MAX_RECIPIENTS);
        assert_eq!(to[0].as_bytes(), &[201; 32], "it is never left out");
        devices.retain(|device| device.role == Role::Takes);
        assert_eq!(recipients(&devices).unwrap().len(), 1, "a key that two share counts once");
    }

    #[test]
    fn what_no_other_can_open_is_counted_by_where_the_others_began() {
        let place = |n, began, waiting, key| DevicePlace { began: Seq(began), waiting, ..device(n, Role::Takes, key) };
        // Of 9 deliveries 4 wait for it: 6 to 9.
        let its = place(1, 0, 4, Some(1));
        let only = |others: &[DevicePlace]| only_its(&its, others, Seq(9), |name| name.as_str() != "device-66");
        assert_eq!(only(std::slice::from_ref(&its)), 4, "it is the only one");
        for (began, left) in [(0, 0), (5, 0), (6, 1), (8, 3), (9, 4), (12, 4)] {
            assert_eq!(only(&[its.clone(), place(2, began, 0, Some(2))]), left, "{began}");
        }
        let none = [place(2, 0, 0, None), place(66, 0, 0, Some(3)), device(3, Role::Watches, Some(4))];
        assert_eq!(only(&none), 4, "one without a key, one that is lost itself, one that watches");
        assert_eq!(only_its(&device(3, Role::Watches, Some(4)), &none, Seq(9), |_| true), 0);
    }

    #[test]
    fn as_many_devices_as_a_tunnel_has_are_sealed_to() {
        let devices: Vec<_> = (0..MAX_DEVICES).map(|n| device(n, Role::Takes, u8::try_from(n).ok())).collect();
        assert_eq!(recipients(&devices).unwrap().len(), MAX_DEVICES);
        const { assert!(MAX_DEVICES <= MAX_RECIPIENTS, "or all of them could not get a delivery") }
    }
}
