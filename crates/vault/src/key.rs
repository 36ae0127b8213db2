//! The user's key and the short names of keys. Where a key comes from is in source.rs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::VaultError;

/// A key's short name, eight hexadecimal digits. It tells keys apart and says nothing of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl std::str::FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<KeyId, ()> {
        let number = u32::from_str_radix(text, 16).map_err(|_| ())?;
        let id = KeyId(number.to_be_bytes());
        (id.to_string() == text).then_some(id).ok_or(())
    }
}

/// The key that the user keeps: 32 random bytes. It prints as its id and is wiped from memory when it goes.
#[derive(Clone)]
pub struct UserKey(Zeroizing<[u8; 32]>);

impl UserKey {
    /// The length of a key, in bytes.
    pub const LEN: usize = 32;

    /// A key as text: base64 (also the URL's alphabet, with or without padding) or 64 hexadecimal digits. `whence` is for the message.
    ///
    /// # Errors
    /// [`VaultError::NoKey`]: it is anything else, such as a passphrase, or plainly not random.
    pub fn parse(text: &str, whence: &str) -> Result<UserKey, VaultError> {
        let no = |why: &str| Err(VaultError::NoKey { whence: whence.to_owned(), why: why.to_owned() });
        let text = text.trim();
        if text.is_empty() {
            return no("it is empty");
        }
        let Some(bytes) = decoded(text) else { return no("it is neither base64 nor hexadecimal digits") };
        let Ok(key) = <[u8; UserKey::LEN]>::try_from(&bytes[..]) else {
            return no(&format!("it has {} bytes", bytes.len()));
        };
        let key = UserKey(Zeroizing::new(key));
        let mut seen = key.0.to_vec();
        seen.sort_unstable();
        seen.dedup();
        let few = seen.len() < 8;
        zeroize::Zeroize::zeroize(&mut seen);
        // Of 32 random bytes so few are different once in 10^25 times.
        if few { no("it is not random") } else { Ok(key) }
    }

    /// A new one.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub fn new(entropy: crate::Entropy) -> Result<UserKey, VaultError> {
        let mut key = UserKey(Zeroizing::new([0; UserKey::LEN]));
        entropy.fill(&mut key.0[..])?;
        Ok(key)
    }

    /// The key as text, which [`UserKey::parse`] reads: base64.
    pub fn text(&self) -> Zeroizing<String> {
        // Room for all of it at once: a text that grew would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(64));
        STANDARD.encode_string(&self.0[..], &mut text);
        text
    }

    /// Its name: the beginning of a digest of it.
    pub fn id(&self) -> KeyId {
        let digest =
            Sha256::new().chain_update(b"healthie-tunnel: the name of a key\0").chain_update(&self.0[..]).finalize();
        let mut id = [0; 4];
        id.copy_from_slice(&digest[..4]);
        KeyId(id)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for UserKey {
    /// By name: whoever compares keys here knows both.
    fn eq(&self, other: &UserKey) -> bool {
        self.id() == other.id()
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({})", self.id())
    }
}

fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let bytes = text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
        return bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new);
    }
    if text.len() > 100 {
        return None;
    }
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|e| e.decode(text).ok()).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Result<UserKey, String> {
        UserKey::parse(text, "the test").map_err(|e| e.to_string())
    }

    proptest! {
        #[test]
        fn every_form_of_a_key_is_the_same_key(bytes: [u8; 32]) {
            let mut seen = bytes.to_vec();
            seen.sort_unstable();
            seen.dedup();
            prop_assume!(seen.len() >= 8);
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let forms = [hex.clone(), hex.to_uppercase(), STANDARD.encode(bytes), format!("  {}\n", URL_SAFE_NO_PAD.encode(bytes))];
            for form in forms {
                let key = key(&form).unwrap();
                prop_assert_eq!(key.bytes(), &bytes);
                prop_assert_eq!(format!("{key:?}"), format!("UserKey({})", key.id()));
                prop_assert_eq!(key.id().to_string().parse(), Ok(key.id()));
            }
        }

        #[test]
        fn any_text_may_be_given(text: String) {
            let _ = key(&text);
            let _ = text.parse::<KeyId>();
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_being_shown() {
        for bad in [
            "",
            "correct horse battery staple",
            "c2hvcnQ=",
            &"00".repeat(32),
            &STANDARD.encode([7; 32]),
            &"f".repeat(5000),
        ] {
            let error = key(bad).unwrap_err();
            assert!(error.contains("the test") && error.contains("openssl rand"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
