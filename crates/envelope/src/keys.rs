//! A device's key pairs: made, written as text, read again. Where the text is kept is the caller's business.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use tunnel_delivery::DeviceKey;
use zeroize::Zeroizing;

/// The suite of version 1.
pub(crate) const SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;

/// The most pairs in a ring: what opens a delivery looks through them.
pub const MAX_KEYS: usize = 16;

/// What each line with a pair begins with.
const MARK: &str = "healthie-tunnel-key-1";

/// Why a key could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system gave no random bytes.
    #[error("no key could be made: {0}")]
    NotMade(String),
    /// The text holds no key.
    #[error("there is no key in it; a key is a line that begins with {MARK}")]
    None,
    /// A line is not a key. It is not shown: it may be most of one.
    #[error("line {0} is neither a key (three words: {MARK}, the private half, the public half) nor a comment")]
    Line(usize),
    /// The two halves are of different pairs.
    #[error("line {0}: the public half is not that of the private half")]
    NotAPair(usize),
    /// There are more than a ring holds.
    #[error("there are more than {MAX_KEYS} keys in it; remove the oldest ones, which stand last")]
    TooMany,
}

/// An X25519 pair.
pub struct KeyPair {
    public: DeviceKey,
    private: HpkePrivateKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

impl KeyPair {
    /// A new pair.
    ///
    /// # Errors
    /// `NotMade`.
    pub fn new() -> Result<KeyPair, KeyError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|e| KeyError::NotMade(e.to_string()))?;
        let public = DeviceKey::from_slice(&public.0)
            .ok_or_else(|| KeyError::NotMade("it has an unexpected length".to_owned()))?;
        Ok(KeyPair { public, private })
    }

    /// The half that others may know.
    pub fn public(&self) -> DeviceKey {
        self.public
    }

    pub(crate) fn unwrap(&self, enc: &[u8], info: &[u8], aad: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let enc = EncapsulatedSecret(enc.to_vec());
        SUITE.open(&enc, info, aad, wrapped, &self.private).ok().map(Zeroizing::new)
    }

    fn read(line: &str, number: usize) -> Result<KeyPair, KeyError> {
        let mut words = line.split_ascii_whitespace();
        let halves = (words.next(), words.next(), words.next(), words.next());
        let (Some(MARK), Some(private), Some(public), None) = halves else { return Err(KeyError::Line(number)) };
        let bytes = |text: &str| STANDARD.decode(text).map(Zeroizing::new).ok().filter(|bytes| bytes.len() == 32);
        let (private, public) = bytes(private).zip(bytes(public)).ok_or(KeyError::Line(number))?;
        let public = DeviceKey::from_slice(&public).ok_or(KeyError::Line(number))?;
        let pair = KeyPair { public, private: HpkePrivateKey::from(private.to_vec()) };
        // The one way this library offers to learn whether they belong together, and the one that matters.
        let opens = wrap(&pair.public, b"", b"", b"pair")
            .is_ok_and(|(enc, text)| pair.unwrap(&enc, b"", b"", &text).is_some_and(|plain| *plain == b"pair"));
        if opens { Ok(pair) } else { Err(KeyError::NotAPair(number)) }
    }

    /// The pair as one line of text, private half and all.
    fn text(&self) -> Zeroizing<String> {
        let private = Zeroizing::new(STANDARD.encode(self.private.secret_bytes()));
        Zeroizing::new(format!("{MARK} {} {}", *private, STANDARD.encode(self.public.as_bytes())))
    }
}

/// Seals a short text to a public key: the encapsulated key and the text.
pub(crate) fn wrap(to: &DeviceKey, info: &[u8], aad: &[u8], plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>), rustls::Error> {
    let to = HpkePublicKey(to.as_bytes().to_vec());
    SUITE.seal(info, aad, plain, &to).map(|(enc, text)| (enc.0, text))
}

/// Whether anything can be sealed to a key: to some (points of small order) nothing can.
pub fn is_usable(key: &DeviceKey) -> bool {
    wrap(key, b"", b"", b"").is_ok()
}

/// A device's pairs: the first is the one that is sealed to, the others open what was sealed to them.
#[derive(Debug)]
pub struct KeyRing(Vec<KeyPair>);

impl KeyRing {
    /// A ring with this pair alone.
    pub fn new(pair: KeyPair) -> KeyRing {
        KeyRing(vec![pair])
    }

    /// The key that is to be sealed to.
    pub fn public(&self) -> DeviceKey {
        self.0[0].public
    }

    /// The public halves, the current one first.
    pub fn all(&self) -> impl Iterator<Item = DeviceKey> {
        self.0.iter().map(KeyPair::public)
    }

    pub(crate) fn pairs(&self) -> &[KeyPair] {
        &self.0
    }

    /// Reads a ring: a pair on each line, blank lines and lines that begin with `#` between them.
    ///
    /// # Errors
    /// `None`, `Line`, `NotAPair`, `TooMany`.
    pub fn parse(text: &str) -> Result<KeyRing, KeyError> {
        let mut pairs = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if pairs.len() == MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            let pair = KeyPair::read(line, at + 1)?;
            if pairs.iter().all(|known: &KeyPair| known.public != pair.public) {
                pairs.push(pair);
            }
        }
        if pairs.is_empty() { Err(KeyError::None) } else { Ok(KeyRing(pairs)) }
    }

    /// The ring as text, private halves and all; [`KeyRing::parse`] reads it.
    pub fn text(&self) -> Zeroizing<String> {
        // Room for all of it at once: a text that grew would leave copies of keys behind.
        let mut text = Zeroizing::new(String::with_capacity(256 + self.0.len() * 160));
        text.push_str("# Private keys of a healthie-tunnel device: whoever has them can open the deliveries that were sealed to it.\n");
        for pair in &self.0 {
            text.push_str(&pair.text());
            text.push('\n');
        }
        text
    }

    /// A ring whose first pairs are those of `first`, with these behind them.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn behind(self, first: KeyRing) -> Result<KeyRing, KeyError> {
        let KeyRing(mut all) = first;
        for pair in self.0 {
            if all.iter().all(|known| known.public != pair.public) {
                all.push(pair);
            }
        }
        if all.len() > MAX_KEYS { Err(KeyError::TooMany) } else { Ok(KeyRing(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// From the CFRG's test vectors for RFC 9180: mode 0, KEM 0x0020, KDF 0x0001, AEAD 0x0002, the first encryption.
    #[test]
    fn the_known_answer_of_rfc_9180() {
        let private = hex("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d");
        let public = hex("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c");
        let enc = hex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
        let text = hex("e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a");
        let pair = KeyPair { public: DeviceKey::from_slice(&public).unwrap(), private: HpkePrivateKey::from(private) };
        let plain = pair.unwrap(&enc, b"Ode on a Grecian Urn", b"Count-0", &text);
        assert_eq!(plain.as_deref().map(Vec::as_slice), Some(&b"Beauty is truth, truth beauty"[..]));
        assert!(pair.unwrap(&enc, b"Ode on a Grecian Urn", b"Count-1", &text).is_none());
        // And the pair is one.
        let ring = KeyRing::new(pair);
        assert!(KeyRing::parse(&ring.text()).is_ok());
    }

    #[test]
    fn a_ring_goes_round_as_text_and_shows_no_private_half() {
        let (new, old) = (KeyRing::new(KeyPair::new().unwrap()), KeyRing::new(KeyPair::new().unwrap()));
        let (first, second) = (new.public(), old.public());
        let both = old.behind(new).unwrap();
        let again = KeyRing::parse(&both.text()).unwrap();
        assert_eq!(again.all().collect::<Vec<_>>(), [first, second]);
        assert_eq!(again.public(), first);
        // One that is there already takes no second place.
        let twice = KeyRing::parse(&format!("{}{}", *both.text(), *both.text())).unwrap();
        assert_eq!(twice.all().count(), 2);
        assert_eq!(twice.behind(KeyRing::parse(&both.text()).unwrap()).unwrap().all().count(), 2);
        let secret = STANDARD.encode(both.0[0].private.secret_bytes());
        assert!(both.text().contains(&secret));
        assert!(!format!("{both:?}").contains(&secret));
    }

    #[test]
    fn what_is_not_a_ring_is_refused_without_being_shown() {
        let (a, b) = (KeyPair::new().unwrap(), KeyPair::new().unwrap());
        let mixed = format!(
            "# two halves\n{MARK} {} {}",
            STANDARD.encode(a.private.secret_bytes()),
            STANDARD.encode(b.public.as_bytes())
        );
        assert_eq!(KeyRing::parse(&mixed).unwrap_err(), KeyError::NotAPair(2));
        assert_eq!(KeyRing::parse("").unwrap_err(), KeyError::None);
        assert_eq!(KeyRing::parse("# nothing\n\n").unwrap_err(), KeyError::None);
        for bad in ["x", MARK, &format!("{MARK} AAAA AAAA"), &format!("{} more", *a.text()), "ä ö ü"] {
            assert_eq!(KeyRing::parse(&format!("\n{bad}")).unwrap_err(), KeyError::Line(2), "{bad}");
        }
        let many: String = (0..=MAX_KEYS).map(|_| format!("{}\n", *KeyPair::new().unwrap().text())).collect();
        assert_eq!(KeyRing::parse(&many).unwrap_err(), KeyError::TooMany);
    }
}
