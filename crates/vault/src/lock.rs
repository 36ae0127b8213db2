//! What the user's key encrypts: other keys. Nonce, content, tag; what it is for is associated data.

use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::vault::{NONCE, TAG};
use crate::{Entropy, UserKey, VaultError};

/// Keeps what is locked here apart from what a store's `keys.json` holds, whose associated data begins with 16 random bytes.
const APART: &[u8] = b"healthie-tunnel: locked with a user's key\0";

impl UserKey {
    /// Encrypts other keys with this one, where they lie in a file of their own; `purpose` says what they are for and is needed to [`UserKey::unlock`] them.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn lock(&self, purpose: &str, keys: &[u8], entropy: Entropy) -> Result<Vec<u8>, VaultError> {
        wrap(&cipher(self.bytes()), &[APART, purpose.as_bytes()].concat(), keys, entropy)
    }

    /// What [`UserKey::lock`] was given.
    ///
    /// # Errors
    /// [`VaultError::Forged`]: it was locked with another key or for another purpose, or was changed.
    pub fn unlock(&self, purpose: &str, locked: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let unlocked = unwrap(&cipher(self.bytes()), &[APART, purpose.as_bytes()].concat(), locked);
        unlocked.ok_or(VaultError::Forged)
    }
}

pub(crate) fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::from_slice(key))
}

pub(crate) fn wrap(
    with: &XChaCha20Poly1305,
    bound: &[u8],
    content: &[u8],
    entropy: Entropy,
) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce)?;
    let mut wrapped = Zeroizing::new(content.to_vec());
    let tag = with.encrypt_in_place_detached(XNonce::from_slice(&nonce), bound, &mut wrapped);
    let tag = tag.map_err(|_| VaultError::Forged)?;
    Ok([&nonce[..], &wrapped, &tag].concat())
}

pub(crate) fn unwrap(with: &XChaCha20Poly1305, bound: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = wrapped.split_at_checked(NONCE)?;
    let (content, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let mut content = Zeroizing::new(content.to_vec());
    let opened = with.decrypt_in_place_detached(XNonce::from_slice(nonce), bound, &mut content, Tag::from_slice(tag));
    opened.ok().map(|()| content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(first: u8) -> UserKey {
        let digits: String = (0..32).map(|n| format!("{:02x}", first.wrapping_add(n))).collect();
        UserKey::parse(&digits, "a test").unwrap()
    }

    proptest! {
        #[test]
        fn what_is_locked_opens_with_the_same_key_and_purpose_only(
            content: Vec<u8>, at: prop::sample::Index, flip in 1_u8..,
        ) {
            let locked = key(1).lock("these", &content, Entropy::system()).unwrap();
            prop_assert_eq!(&key(1).unlock("these", &locked).unwrap()[..], &content[..]);
            prop_assert!(key(2).unlock("these", &locked).is_err());
            prop_assert!(key(1).unlock("those", &locked).is_err());
            let mut other = locked.clone();
            let at = at.index(other.len());
            other[at] ^= flip;
            prop_assert!(key(1).unlock("these", &other).is_err());
            prop_assert!(key(1).unlock("these", &locked[..at]).is_err());
        }
    }
}
