//! The webhook's signing secret. Owns its masking and wiping; knows nothing of where it came from.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use crate::Error;

/// A webhook's signing secret, used whole as UTF-8 text (the `whsec_` included), as the guide's sample does.
///
/// It prints as `Secret(…)`, has no `Display` and no serialisation, and is wiped from memory when it goes.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// A secret exactly as given: nothing is trimmed.
    ///
    /// # Errors
    /// [`Error::EmptySecret`].
    pub fn new(text: impl Into<String>) -> Result<Secret, Error> {
        let text = text.into();
        if text.is_empty() { Err(Error::EmptySecret) } else { Ok(Secret(text.into())) }
    }

    /// Whether it is the same secret. Takes the same time wherever two of one length differ.
    pub fn is(&self, other: &Secret) -> bool {
        use subtle::ConstantTimeEq as _;
        self.bytes().ct_eq(other.bytes()).into()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_masked_and_never_empty() {
        let secret = Secret::new("whsec_very_private ").unwrap();
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(…) Secret(…)");
        assert_eq!(secret.bytes(), b"whsec_very_private ");
        assert!(secret.is(&secret.clone()) && !secret.is(&Secret::new("whsec_very_private").unwrap()));
        assert_eq!(Secret::new("").err(), Some(Error::EmptySecret));
    }
}
