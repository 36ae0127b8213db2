//! Where random bytes come from: the system, or whatever a test hands in.

use crate::VaultError;

/// A source of random bytes.
#[derive(Clone, Copy, Debug)]
pub struct Entropy(fn(&mut [u8]) -> Result<(), String>);

impl Entropy {
    /// The system's own.
    pub fn system() -> Entropy {
        Entropy(|bytes| getrandom::fill(bytes).map_err(|e| e.to_string()))
    }

    /// Another one, which must be as good: nonces that repeat give everything away.
    pub fn other(fill: fn(&mut [u8]) -> Result<(), String>) -> Entropy {
        Entropy(fill)
    }

    pub(crate) fn fill(self, bytes: &mut [u8]) -> Result<(), VaultError> {
        (self.0)(bytes).map_err(|reason| VaultError::NoEntropy { reason })
    }
}
