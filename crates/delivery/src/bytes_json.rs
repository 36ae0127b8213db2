//! Bytes in JSON: `{"text": …}` where they are UTF-8, `{"base64": …}` where they are not, so that nothing is lost and people can
//! read what can be read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Text(String),
    Base64(String),
}

/// A header's value: a plain string, or `{"base64": …}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Plain {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Other {
        /// RFC 4648 base64 with padding.
        base64: String,
    },
}

impl From<&[u8]> for Plain {
    fn from(bytes: &[u8]) -> Plain {
        match std::str::from_utf8(bytes) {
            Ok(text) => Plain::Text(text.to_owned()),
            Err(_) => Plain::Other { base64: STANDARD.encode(bytes) },
        }
    }
}

impl Plain {
    pub(crate) fn into_bytes(self) -> Result<Bytes, base64::DecodeError> {
        match self {
            Plain::Text(text) => Ok(text.into()),
            Plain::Other { base64 } => STANDARD.decode(base64).map(Bytes::from),
        }
    }
}

/// For `#[serde(with = "bytes_json")]`.
pub(crate) fn serialize<S: serde::Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Form::Text(text.to_owned()),
        Err(_) => Form::Base64(STANDARD.encode(bytes)),
    }
    .serialize(s)
}

/// For `#[serde(with = "bytes_json")]`.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
    match Form::deserialize(d)? {
        Form::Text(text) => Ok(text.into()),
        Form::Base64(text) => STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom),
    }
}
