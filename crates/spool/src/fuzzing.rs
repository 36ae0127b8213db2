//! A door for fuzzing: how deliveries and tunnels are read from the disk. Nothing but the package in fuzz/ goes through it, and it promises
//! nothing to anybody.

use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};

use crate::format::At;
use crate::{Role, Seq, Why, format};

/// Where it is all stored.
const AT: At = At(1, Seq(1));

/// Reads a stored delivery.
///
/// # Errors
/// Why it cannot be read.
pub fn decode(tunnel: &TunnelName, value: &[u8]) -> Result<Delivery, String> {
    format::decode(tunnel, AT, value, None)
}

/// A delivery as it is stored.
pub fn encode(delivery: &Delivery) -> Vec<u8> {
    let encoded = format::encode(delivery, false);
    let mut out = vec![0; encoded.len()];
    match encoded.write_to(&mut out, AT, None) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Reads a stored tunnel, writes it and reads it again, and lets everything happen to it that may happen to a tunnel. False where it is
/// refused.
///
/// # Panics
/// Where it is not the same again, or what is known of it makes no sense: that is what a fuzzer looks for.
pub fn tunnel(value: &[u8], device: &DeviceName, to: u64, now: Timestamp) -> bool {
    let Ok(mut record) = format::decode_record(value) else { return false };
    let again = format::decode_record(&format::encode_record(&record));
    assert_eq!(again.as_ref(), Ok(&record));
    let sound = |record: &crate::record::Record| {
        let (needed, next) = (record.needed_from(), record.next);
        assert!(record.first <= needed && needed <= next, "{record:?} needs from {needed:?}");
        assert!(record.waiting() <= next.0 - record.first.0);
        assert!(record.with_somebody() < next, "{record:?}");
        assert!(record.device_places().iter().all(|d| d.waiting <= next.0));
    };
    sound(&record);
    let names: Vec<DeviceName> = record.devices.iter().map(|d| d.name.clone()).collect();
    for name in &names {
        record.rejoin(name, Role::Takes, now);
        record.taken(name, Seq(to));
        sound(&record);
    }
    if record.device(device).is_none() {
        record.register(device.clone(), Role::Takes, Seq(to), now);
        sound(&record);
    }
    let upto = Seq(to.clamp(record.first.0, record.next.0));
    record.dropped(upto, to, if to.is_multiple_of(2) { Why::Age } else { Why::Size });
    sound(&record);
    for name in &names {
        record.rejoin(name, Role::Takes, now);
        record.forget(name);
        sound(&record);
    }
    true
}
