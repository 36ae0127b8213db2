//! Tokens that agents prove themselves with: made, shown once, stored as a hash, compared in constant time. What they open is `registry`'s.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A token as the agent sends it: `ht_ID_SECRET`. It is printed once, by `token create`, and never else; it is wiped from memory when it goes.
pub struct Token(Zeroizing<String>);

/// The public part of a token, by which it is listed and revoked: twelve hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// What an operator calls a token or its owner: 1 to 64 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// What is stored of a token. The secret has 256 random bits, so a plain hash cannot be searched.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TokenHash([u8; 32]);

impl Token {
    /// A new token from 38 random bytes.
    pub(crate) fn from_random(random: &[u8; 38]) -> Token {
        let (id, secret) = random.split_at(6);
        Token::of(&hex(id), secret)
    }

    /// Another token with the same public part.
    pub(crate) fn renewed(id: &TokenId, random: &[u8; 32]) -> Token {
        Token::of(&id.0, random)
    }

    fn of(id: &str, secret: &[u8]) -> Token {
        let secret = Zeroizing::new(hex(secret));
        Token(Zeroizing::new(format!("ht_{id}_{}", *secret)))
    }

    /// What is hashed where nothing was sent that has a token's form. It is nobody's.
    pub(crate) fn stand_in() -> (TokenId, Token) {
        // Ready made, because making one would take as long as the hash does.
        const TEXT: &str = "ht_000000000000_0000000000000000000000000000000000000000000000000000000000000000";
        Token::parse(TEXT).unwrap_or_else(|| (TokenId(String::new()), Token(Zeroizing::default())))
    }

    /// Reads a token as an agent sent it; `None` if it has not the form of one.
    pub(crate) fn parse(text: &str) -> Option<(TokenId, Token)> {
        let (id, secret) = text.strip_prefix("ht_")?.split_once('_')?;
        let fits = |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_hexdigit());
        (fits(id, 12) && fits(secret, 64))
            .then(|| (TokenId(id.to_ascii_lowercase()), Token(Zeroizing::new(text.to_owned()))))
    }

    /// The public part.
    pub fn id(&self) -> TokenId {
        TokenId(self.0.get(3..15).unwrap_or_default().to_owned())
    }

    pub(crate) fn hash(&self) -> TokenHash {
        #[cfg(test)]
        WORK.with(|work| work.set((work.get().0 + 1, work.get().1)));
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
        let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| TokenId(text.to_ascii_lowercase()))
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
    /// What is compared with where there is nothing to compare with. No token is known that has this hash.
    pub(crate) const STAND_IN: TokenHash = TokenHash([0; 32]);

    /// Whether the other is the same. Takes the same time wherever they differ.
    pub(crate) fn is(&self, other: &TokenHash) -> bool {
        #[cfg(test)]
        WORK.with(|work| work.set((work.get().0, work.get().1 + 1)));
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> String {
        hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<TokenHash, Self::Error> {
        const FORM: &str = "a token's hash is 64 hexadecimal digits";
        let mut out = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FORM);
        }
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| FORM)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| FORM)?;
        }
        Ok(TokenHash(out))
    }
}

impl Label {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Label, Self::Err> {
        let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| Label(text.to_owned())).ok_or("a name has 1 to 64 characters, none of them a control character")
    }
}

impl TryFrom<String> for Label {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Label, Self::Error> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for TokenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<TokenId, Self::Error> {
        TokenId::parse(&text).ok_or("a token's public part is twelve hexadecimal digits")
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> String {
        id.0
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    // Its room made once: a text that grew would leave copies of secrets behind.
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
thread_local! {
    /// Hashes and comparisons that this thread has made.
    static WORK: std::cell::Cell<(u32, u32)> = const { std::cell::Cell::new((0, 0)) };
}

/// How many tokens are hashed and hashes compared meanwhile.
#[cfg(test)]
pub(crate) fn work_of(what: impl FnOnce()) -> (u32, u32) {
    WORK.set((0, 0));
    what();
    WORK.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_shown_nowhere() {
        let token = Token::from_random(&[7; 38]);
        let stored = TokenHash::try_from(String::from(token.hash())).unwrap();
        let (id, sent) = Token::parse(token.expose()).unwrap();
        assert!(stored.is(&sent.hash()));
        assert_eq!(id, token.id());
        assert!(!stored.is(&Token::from_random(&[8; 38]).hash()));
        let renewed = Token::renewed(&id, &[9; 32]);
        assert!(renewed.id() == id && !stored.is(&renewed.hash()));
        assert_eq!(format!("{stored:?}"), "TokenHash(…)");
        assert_eq!(format!("{token:?}"), "Token(070707070707…)");
        for bad in ["", "ht_", "ht_070707070707_", &token.expose()[..78], &token.expose().replace("ht_", "xx_")] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
