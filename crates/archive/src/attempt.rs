//! How attempts are encoded, and the header lines in them and in requests.

use bytes::Bytes;
use prost::Message;
use tunnel_delivery::{Attempt, AttemptError, ErrorKind, HeaderLine, Headers, Timestamp};

use crate::codes::{cause, kind};
use crate::record::Unreadable;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Field {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct AttemptRow {
    #[prost(sint64, tag = "1")]
    at: i64,
    #[prost(string, tag = "2")]
    target: String,
    #[prost(uint32, tag = "3")]
    cause: u32,
    #[prost(bool, tag = "4")]
    resigned: bool,
    #[prost(uint32, optional, tag = "5")]
    status: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    error: Option<u32>,
    #[prost(string, tag = "7")]
    message: String,
    #[prost(uint64, tag = "8")]
    secs: u64,
    #[prost(uint32, tag = "9")]
    nanos: u32,
    #[prost(message, repeated, tag = "10")]
    headers: Vec<Field>,
    #[prost(bytes = "bytes", tag = "11")]
    body: Bytes,
    #[prost(bool, tag = "12")]
    truncated: bool,
    #[prost(bool, tag = "16")]
    edited: bool,
}

/// Header lines, to be stored.
pub(crate) fn fields(headers: &Headers) -> Vec<Field> {
    headers.iter().map(|line| Field { name: line.name.clone(), value: line.value.clone() }).collect()
}

/// Header lines that were stored.
pub(crate) fn headers(fields: Vec<Field>) -> Headers {
    fields.into_iter().map(|field| HeaderLine { name: field.name, value: field.value }).collect()
}

/// An attempt, encoded.
pub(crate) fn encode(a: &Attempt) -> Vec<u8> {
    AttemptRow {
        at: a.at.as_micros(),
        target: a.target.clone(),
        cause: cause::code(a.cause),
        resigned: a.resigned,
        edited: a.edited,
        status: a.status.map(u32::from),
        error: a.error.as_ref().map(|e| kind::code(e.kind)),
        message: a.error.as_ref().map(|e| e.message.clone()).unwrap_or_default(),
        secs: a.duration.as_secs(),
        nanos: a.duration.subsec_nanos(),
        headers: fields(&a.response_headers),
        body: a.response_body.clone(),
        truncated: a.response_truncated,
    }
    .encode_to_vec()
}

/// Reads an attempt.
pub(crate) fn decode(bytes: Bytes) -> Result<Attempt, Unreadable> {
    let row = AttemptRow::decode(bytes).map_err(|_| Unreadable("attempt"))?;
    Ok(Attempt {
        at: Timestamp::from_micros(row.at),
        target: row.target,
        cause: cause::value(row.cause).ok_or(Unreadable("cause"))?,
        resigned: row.resigned,
        edited: row.edited,
        status: row.status.and_then(|s| u16::try_from(s).ok()),
        error: row
            .error
            .map(|code| AttemptError { kind: kind::value(code).unwrap_or(ErrorKind::Other), message: row.message }),
        duration: std::time::Duration::from_secs(row.secs)
            .saturating_add(std::time::Duration::from_nanos(row.nanos.into())),
        response_headers: headers(row.headers),
        response_body: row.body,
        response_truncated: row.truncated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_may_be_read(bytes: Vec<u8>) {
            let _ = decode(bytes.into());
        }
    }
}
