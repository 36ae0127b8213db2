//! Values with a form of their own: the relay's address and the token.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::dial::{Peer, PeerError, split_url};

/// The relay's address: `http(s)://HOST[:PORT]`, `ws` and `wss` mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayUrl(pub Peer);

impl FromStr for RelayUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<RelayUrl, String> {
        let (peer, rest) = split_url(text, &["http", "ws"], &["https", "wss"])
            .map_err(|e: PeerError| format!("{e}; write https://relay.example.com"))?;
        if rest.is_empty() || rest == "/" {
            Ok(RelayUrl(peer))
        } else {
            Err(format!("{text:?} has a path; give the relay's address alone, the tunnel goes into --tunnel"))
        }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.0.tls { "https" } else { "http" }, self.0.authority())
    }
}

/// The token for the relay. It prints as `Token(…)`.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// A token as the relay printed it.
    ///
    /// # Errors
    /// It is empty, or has characters that cannot be in an HTTP header.
    pub fn new(text: String) -> Result<Token, String> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("this is not a token; `healthie-relay token create` prints one".into());
        }
        Ok(Token(text.into()))
    }

    /// The text, for the one header it goes into.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A secret as written, or the content of the file that `@FILE` names, so that it need not be in the shell's history.
pub(crate) fn from_file(text: &str) -> Result<String, String> {
    match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(content) => {
                let content = Zeroizing::new(content);
                Ok(content.trim_end_matches(['\r', '\n']).to_owned())
            }
            Err(e) => Err(format!("the file {path} cannot be read: {e}")),
        },
    }
}

/// A signing secret as written, or that of the file.
pub(crate) fn secret(text: &str) -> Result<tunnel_signature::Secret, String> {
    tunnel_signature::Secret::new(from_file(text)?).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_addresses() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("wss://relay.example.com/", "https://relay.example.com"),
            ("ws://relay.example.com:80", "http://relay.example.com"),
        ] {
            assert_eq!(text.parse::<RelayUrl>().unwrap().to_string(), shown);
        }
        for bad in ["relay.example.com", "http://a/t/x", "ftp://a", "http://a?x"] {
            assert!(bad.parse::<RelayUrl>().is_err(), "{bad}");
        }
        assert!(Token::new(String::new()).is_err() && Token::new("a b".into()).is_err());
    }
}
