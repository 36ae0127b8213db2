//! A sealed tunnel's deliveries are sealed here, between reading a request and everything else: what the spool, the hub and the sessions get is an envelope
//! (crates/envelope) that the tunnel's devices can open and this relay cannot.
//!
//! It knows neither HTTP nor sockets.

use std::sync::Arc;

use tracing::error;
use tunnel_delivery::{Delivery, DeviceKey, TunnelName};
use tunnel_envelope::SealError;
use tunnel_protocol::{Incoming, MAX_BODY};
use tunnel_spool::{Role, Spool as _};

use crate::respond::Problem;
use crate::shared::Shared;

/// A body of so many bytes and more, or so many recipients and more, is not sealed on a worker of the runtime: it takes the better part of a millisecond.
const HEAVY: (usize, usize) = (512 << 10, 8);

/// The delivery in an envelope for every device of its tunnel that has told a key.
///
/// # Errors
/// There is no such device, the envelope would be too long, or sealing failed; nothing of the delivery is kept then.
pub(crate) async fn seal(delivery: Arc<Delivery>, shared: &Shared) -> Result<Delivery, Problem> {
    let to = keys(shared, &delivery.tunnel)?;
    let heavy = delivery.body.len() >= HEAVY.0 || to.len() >= HEAVY.1;
    let sealed = if heavy {
        let sealing = shared.offload.run(move || tunnel_envelope::seal(&delivery, &to));
        sealing.await.unwrap_or(Err(SealError::Failed("the task that did it ended")))
    } else {
        tunnel_envelope::seal(&delivery, &to)
    };
    match sealed {
        Ok(sealed) if Incoming::fits(&sealed) => Ok(sealed),
        Ok(_) | Err(SealError::TooLarge) => Err(Problem::TooLarge { limit: MAX_BODY }),
        Err(SealError::NoRecipient) => Err(Problem::NoKey),
        Err(e) => {
            error!(error = %e, "a delivery could not be sealed and is refused");
            Err(Problem::NotSealed)
        }
    }
}

fn keys(shared: &Shared, tunnel: &TunnelName) -> Result<Vec<DeviceKey>, Problem> {
    let devices = shared.spool.devices(tunnel).map_err(|e| Problem::of_spool(&e))?;
    // What was sealed to those alone that only watch, the first that takes could not open.
    if !devices.iter().any(|device| device.role == Role::Takes && device.key.is_some()) {
        return Err(Problem::NoKey);
    }
    Ok(devices.into_iter().filter_map(|device| device.key).collect())
}
