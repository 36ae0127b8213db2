//! The lines that tell a handler which delivery a request is of, which try it is, and whether it is a replay.
//!
//! A handler can trust them: lines of these names that a sender wrote stay in the archive and are never handed on, whether ours are written or not.

use bytes::{BufMut as _, BytesMut};
use tunnel_delivery::{DeliveryId, Headers};

/// The delivery's id.
const DELIVERY: &str = "Healthie-Tunnel-Delivery";
/// Which try at the delivery this is, from 1, whatever target the ones before it went to.
const ATTEMPT: &str = "Healthie-Tunnel-Attempt";
/// `true` where it is a replay; not there where it is not.
const REPLAY: &str = "Healthie-Tunnel-Replay";

/// What is told to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Which try, from 1.
    pub attempt: u32,
    /// Whether somebody asked for it to be sent again.
    pub replay: bool,
}

impl Marks {
    /// Takes lines of these names away, and those with underscores in them: CGI, WSGI and Rack handlers cannot tell these from ours.
    pub(super) fn strip(headers: &mut Headers) {
        headers.0.retain(|line| ![DELIVERY, ATTEMPT, REPLAY].iter().any(|name| reads_as(&line.name, name)));
    }

    /// Writes the lines.
    pub(super) fn put(&self, out: &mut BytesMut) {
        let Marks { delivery, attempt, replay } = self;
        let mut put = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.put_slice(part.as_bytes());
            }
        };
        put(DELIVERY, &delivery.to_string());
        put(ATTEMPT, &attempt.to_string());
        if *replay {
            put(REPLAY, "true");
        }
    }
}

fn reads_as(written: &[u8], name: &str) -> bool {
    let dash = |b: &u8| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    written.len() == name.len() && written.iter().map(dash).eq(name.bytes().map(|b| b.to_ascii_lowercase()))
}
