//! Tokens that agents prove themselves with: made, shown once, stored as a hash, compared in constant time.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A token as the agent sends it: `ht_ID_SECRET`. It is printed once, by `token create`, and never else.
pub struct Token(String);

/// The public part of a token, by which it is listed and revoked: twelve hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

/// What is stored of a token. The secret has 256 random bits, so a plain hash cannot be searched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenHash([u8; 32]);

impl Token {
    /// A new token from 38 random bytes.
    pub(crate) fn from_random(random: &[u8; 38]) -> Token {
        let (id, secret) = random.split_at(6);
        Token(format!("ht_{}_{}", hex(id), hex(secret)))
    }

    /// Reads a token as an agent sent it; `None` if it has not the form of one.
    pub(crate) fn parse(text: &str) -> Option<(TokenId, Token)> {
        let (id, secret) = text.strip_prefix("ht_")?.split_once('_')?;
        let fits = |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
        (fits(id, 12) && fits(secret, 64)).then(|| (TokenId(id.to_owned()), Token(text.to_owned())))
    }

    /// The public part.
    pub fn id(&self) -> TokenId {
        TokenId(self.0.get(3..15).unwrap_or_default().to_owned())
    }

    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The whole token, to be shown to its owner and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.id())
    }
}

impl TokenId {
    /// Reads an id as a person typed it.
    pub fn parse(text: &str) -> Option<TokenId> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| TokenId(text.to_owned()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TokenHash {
    /// Whether `token` is the one that was hashed. Takes the same time wherever they differ.
    pub(crate) fn matches(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }

    pub(crate) fn to_hex(&self) -> String {
        hex(&self.0)
    }

    pub(crate) fn from_hex(text: &str) -> Option<TokenHash> {
        let mut out = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(TokenHash(out))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_shown_nowhere() {
        let token = Token::from_random(&[7; 38]);
        let stored = TokenHash::from_hex(&token.hash().to_hex()).unwrap();
        let (id, sent) = Token::parse(token.expose()).unwrap();
        assert!(stored.matches(&sent));
        assert_eq!(id, token.id());
        assert!(!stored.matches(&Token::from_random(&[8; 38])));
        assert_eq!(format!("{token:?}"), "Token(070707070707…)");
        for bad in ["", "ht_", "ht_070707070707_", &token.expose()[..78], &token.expose().replace("ht_", "xx_")] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
