//! HMAC-SHA256, keyed once per secret, and the one place of the workspace where MACs are compared.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The length of an HMAC-SHA256 in bytes.
pub(crate) const MAC_LEN: usize = 32;

/// A secret's key, already hashed into the two states that HMAC starts from: a MAC costs a copy instead of two more blocks.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// Any number of bytes is a key (RFC 2104, section 3).
    pub(crate) fn new(secret: &[u8]) -> Key {
        // The error type is the trait's, for MACs with keys of one length; HMAC hashes a long key and pads a short one.
        Key(Hmac::new_from_slice(secret).expect("HMAC takes keys of every length"))
    }

    pub(crate) fn mac(&self, signed: &[u8]) -> [u8; MAC_LEN] {
        self.0.clone().chain_update(signed).finalize().into_bytes().into()
    }

    /// Whether `sent` is the MAC of `signed`, compared in constant time. Nothing else in the workspace compares MACs.
    pub(crate) fn mac_is(&self, signed: &[u8], sent: &[u8; MAC_LEN]) -> bool {
        self.0.clone().chain_update(signed).verify_slice(sent).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_case_2() {
        let key = Key::new(b"Jefe");
        let mac = key.mac(b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert!(key.mac_is(b"what do ya want for nothing?", &mac));
        let mut other = mac;
        other[31] ^= 1;
        assert!(!key.mac_is(b"what do ya want for nothing?", &other));
    }
}
