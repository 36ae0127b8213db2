//! From the file's bytes to a [`Snapshot`], whichever version of this program wrote them. Pure; nothing in a file makes it panic.
//!
//! Version 2 is what is written. Version 1 had one tunnel for each token, full access, and no time limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tunnel_delivery::{Timestamp, TunnelName};

use super::TunnelSettings;
use super::snapshot::{Access, SECRETS, Secret, Snapshot, TokenRecord};
use crate::tokens::{TokenHash, TokenId};

/// The version of the file's form.
pub(super) const VERSION: u32 = 2;

/// The longest file that is read, in bytes: some 100,000 tokens.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// Why bytes are not a registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotRead {
    /// They are not what this program writes.
    Damaged(String),
    /// A newer version wrote them.
    TooNew(u32),
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct SnapshotV1 {
    tunnels: BTreeMap<TunnelName, Arc<TunnelSettings>>,
    tokens: BTreeMap<TokenId, TokenV1>,
}

#[derive(Deserialize)]
struct TokenV1 {
    tunnel: TunnelName,
    sha256: TokenHash,
    created_at: Timestamp,
}

/// Reads a registry.
pub(super) fn read(text: &[u8]) -> Result<Snapshot, NotRead> {
    let damaged = |e: serde_json::Error| NotRead::Damaged(e.to_string());
    let Version { version } = serde_json::from_slice(text).map_err(damaged)?;
    let all = match version {
        1 => from_v1(serde_json::from_slice(text).map_err(damaged)?),
        VERSION => serde_json::from_slice(text).map_err(damaged)?,
        newer if newer > VERSION => return Err(NotRead::TooNew(newer)),
        other => return Err(NotRead::Damaged(format!("there is no form {other}"))),
    };
    match all.tokens.iter().find(|(_, token)| token.secrets.is_empty() || token.secrets.len() > SECRETS) {
        Some((id, token)) => Err(NotRead::Damaged(format!("token {id} has {} secrets", token.secrets.len()))),
        None => Ok(all),
    }
}

fn from_v1(old: SnapshotV1) -> Snapshot {
    let token = |old: TokenV1| TokenRecord {
        name: None,
        access: Access::Full,
        tunnels: [old.tunnel].into(),
        secrets: vec![Secret { sha256: old.sha256, until: None }],
        created_at: old.created_at,
        rotated_at: None,
        expires_at: None,
    };
    Snapshot {
        version: VERSION,
        tunnels: old.tunnels,
        tokens: old.tokens.into_iter().map(|(id, old)| (id, token(old))).collect(),
        reserved: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::snapshot::Admission;
    use crate::tokens::Token;
    use proptest::prelude::*;

    /// As the version before tenancy wrote it, for the token of 38 bytes of 7.
    const FORM_1: &str = r#"{
  "version": 1,
  "tunnels": {
    "team": { "answer": "passthrough", "when_away": "spool", "answer_within_ms": 9000, "created_at": "2026-11-01T08:00:00.000000Z" }
  },
  "tokens": {
    "070707070707": {
      "tunnel": "team",
      "sha256": "SHA256",
      "created_at": "2026-11-01T08:00:01.000000Z"
    }
  }
}"#;

    fn form_1() -> (Token, String) {
        let token = Token::from_random(&[7; 38]);
        let text = FORM_1.replace("SHA256", serde_json::to_value(token.hash()).unwrap().as_str().unwrap());
        (token, text)
    }

    #[test]
    fn the_form_before_this_one_is_read_and_written_as_this_one() {
        let (token, text) = form_1();
        let all = read(text.as_bytes()).unwrap();
        let team = "team".parse().unwrap();
        let now = Timestamp::from_micros(1_900_000_000_000_000);
        let admitted = all.admit(Some(token.expose()), None, now);
        assert!(matches!(admitted, Admission::Open(pass, name) if pass.access == Access::Full && name == team));
        assert_eq!(all.tunnels[&team].answer_within_ms, 9000);
        let again = serde_json::to_vec(&all).unwrap();
        assert_eq!(read(&again).unwrap(), all);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).unwrap()["version"], 2);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let damaged = |text: &str| match read(text.as_bytes()) {
            Err(NotRead::Damaged(why)) => why,
            other => panic!("{text}: {other:?}"),
        };
        assert!(damaged(r#"{"version":0,"tunnels":{},"tokens":{}}"#).contains("form 0"));
        assert!(damaged(&form_1().1.replace("\"team\"", "\"Team!\"")).contains("tunnel name"));
        assert!(damaged(&form_1().1.replace("\"0707", "\"zz07")).contains("twelve"));
        let hash = serde_json::to_value(Token::from_random(&[7; 38]).hash()).unwrap();
        let half = &hash.as_str().unwrap()[..32];
        assert!(damaged(&FORM_1.replace("SHA256", half)).contains("64 hexadecimal"));
        let none = r#"{"version":2,"tunnels":{},"tokens":{"070707070707":{"tunnels":[],"secrets":[],"created_at":"2026-11-01T08:00:01Z"}}}"#;
        assert!(damaged(none).contains("0 secrets"));
        assert_eq!(read(br#"{"version":3,"shape":"other"}"#), Err(NotRead::TooNew(3)));
    }

    proptest! {
        #[test]
        fn garbage_is_told_and_not_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&text).is_err());
        }

        /// A byte that is another one is either told or leaves a registry that opens nothing to a stranger.
        #[test]
        fn a_damaged_file_lets_nobody_else_in(at in any::<prop::sample::Index>(), byte in any::<u8>(), newer in any::<bool>()) {
            let (_, text) = form_1();
            let mut text = if newer { serde_json::to_vec(&read(text.as_bytes()).unwrap()).unwrap() } else { text.into_bytes() };
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(all) = read(&text) {
                let stranger = Token::from_random(&[8; 38]);
                let now = Timestamp::from_micros(0);
                prop_assert_eq!(all.admit(Some(stranger.expose()), None, now), Admission::No);
                prop_assert_eq!(all.admit(None, None, now), Admission::No);
                prop_assert!(read(&serde_json::to_vec(&all).unwrap()).is_ok());
            }
        }

        #[test]
        fn a_file_that_ends_early_is_told(at in any::<prop::sample::Index>()) {
            let (_, text) = form_1();
            prop_assert!(read(&text.as_bytes()[..at.index(text.len())]).is_err());
        }
    }
}
