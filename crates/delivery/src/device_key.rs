//! A device's public key, by which deliveries are sealed to it. Only the number: what is done with it is crates/envelope's.

use std::fmt;

/// The public half of a device's X25519 pair (RFC 7748), 32 bytes. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// From 32 bytes as [`DeviceKey::as_bytes`] gives them.
    pub fn from_slice(bytes: &[u8]) -> Option<DeviceKey> {
        bytes.try_into().ok().map(DeviceKey)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for DeviceKey {
    /// Its first eight bytes in hexadecimal: enough to tell keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
