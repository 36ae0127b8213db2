//! What is inside an envelope: the request as it was sent, as bytes and back, with every cap checked. Knows no keys.

use bytes::Bytes;
use prost::Message;
use tunnel_delivery::{Delivery, HeaderLine, Headers, HttpVersion, Lost};

use crate::padding::padded;

/// The most bytes of method, target, header names and header values together; the protocol's own cap.
pub const MAX_HEAD: usize = 128 * 1024;
/// The most header lines; the protocol's own cap.
pub const MAX_LINES: usize = 512;
/// The longest body in bytes; the protocol's own cap.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// The most bytes of an encoded head: every field of a line and every line costs some bytes beside what [`MAX_HEAD`] counts.
const MAX_ENCODED: usize = MAX_HEAD + 16 * MAX_LINES + 1024;

/// Bytes before the head.
const FIXED: usize = 4;

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    target: String,
    #[prost(uint32, tag = "3")]
    prefix_len: u32,
    /// 10, 11, 20.
    #[prost(uint32, tag = "4")]
    http_version: u32,
    #[prost(message, repeated, tag = "5")]
    headers: Vec<Line>,
    /// 1 header order, 2 chunk boundaries, 3 trailers; others are skipped.
    #[prost(uint32, repeated, tag = "6")]
    lost: Vec<u32>,
    #[prost(uint64, tag = "7")]
    body_len: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Whether a request is within the caps.
pub(crate) fn fits(delivery: &Delivery) -> bool {
    let lines = &delivery.headers.0;
    let head = delivery.method.as_str().len() + delivery.target.as_str().len();
    let head = head + lines.iter().map(|l| l.name.len() + l.value.len()).sum::<usize>();
    lines.len() <= MAX_LINES && head <= MAX_HEAD && delivery.body.len() <= MAX_BODY
}

fn head_of(delivery: &Delivery) -> Head {
    Head {
        method: delivery.method.as_str().to_owned(),
        target: delivery.target.as_str().to_owned(),
        prefix_len: u32::try_from(delivery.prefix_len).unwrap_or(0),
        // Nothing is sealed twice: the caller refuses it, and it would not open.
        http_version: delivery.http_version.number(),
        headers: delivery.headers.iter().map(|l| Line { name: l.name.clone(), value: l.value.clone() }).collect(),
        lost: delivery.lost.iter().map(|lost| lost.number()).collect(),
        body_len: delivery.body.len() as u64,
    }
}

/// How long the padded plain text of a delivery is, in bytes.
pub(crate) fn plain_len(delivery: &Delivery) -> usize {
    padded(FIXED + head_of(delivery).encoded_len() + delivery.body.len())
}

/// Appends the padded plain text to `out`, whose room is made once: a buffer that grew would leave copies behind.
pub(crate) fn write(delivery: &Delivery, out: &mut Vec<u8>) {
    let head = head_of(delivery);
    let head_len = head.encoded_len();
    let plain = FIXED + head_len + delivery.body.len();
    let end = out.len() + padded(plain);
    out.reserve(end - out.len());
    // Within MAX_ENCODED by the caps that were checked.
    out.extend_from_slice(&u32::try_from(head_len).unwrap_or(u32::MAX).to_be_bytes());
    head.encode_raw(out);
    out.extend_from_slice(&delivery.body);
    out.resize(end, 0);
}

/// Puts what the plain text says into `delivery`, whose other fields stay.
///
/// # Errors
/// A sentence: it is not what [`write()`] makes.
pub(crate) fn read(plain: &[u8], delivery: Delivery) -> Result<Delivery, String> {
    let head_len = plain.first_chunk::<FIXED>().ok_or("it ends before its head")?;
    let head_len = u32::from_be_bytes(*head_len) as usize;
    if head_len > MAX_ENCODED {
        return Err(format!("its head is said to have {head_len} bytes"));
    }
    let rest = &plain[FIXED..];
    let (head, rest) = rest.split_at_checked(head_len).ok_or("it ends within its head")?;
    let head = Head::decode(head).map_err(|e| format!("its head: {e}"))?;
    let body_len = usize::try_from(head.body_len).ok().filter(|len| *len <= MAX_BODY).ok_or("its body is too long")?;
    let (body, padding) = rest.split_at_checked(body_len).ok_or("it ends within its body")?;
    if padding.iter().any(|b| *b != 0) {
        return Err("something stands behind its body".to_owned());
    }
    let prefix_len = head.prefix_len as usize;
    if prefix_len > head.target.len() {
        return Err("its prefix is longer than its target".to_owned());
    }
    let opened = Delivery {
        method: head.method.parse().map_err(|e| format!("{e}"))?,
        target: head.target.parse().map_err(|e| format!("{e}"))?,
        prefix_len,
        http_version: HttpVersion::numbered(head.http_version)
            .filter(|version| *version != HttpVersion::Sealed)
            .ok_or_else(|| format!("its HTTP version {} is not known", head.http_version))?,
        headers: lines(head.headers)?,
        body: Bytes::copy_from_slice(body),
        lost: head.lost.into_iter().filter_map(Lost::numbered).collect(),
        ..delivery
    };
    if fits(&opened) { Ok(opened) } else { Err("its head is longer, or has more lines, than is taken".to_owned()) }
}

fn lines(lines: Vec<Line>) -> Result<Headers, String> {
    let lines: Headers = lines.into_iter().map(|l| HeaderLine { name: l.name, value: l.value }).collect();
    if lines.iter().all(HeaderLine::is_one_line) {
        Ok(lines)
    } else {
        Err("it has a header line with an empty name, a colon in the name, a line break or a NUL".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tunnel_delivery::{DeliveryId, Environment, Timestamp};

    use super::*;

    fn sample() -> Delivery {
        Delivery {
            id: DeliveryId::from_bytes([7; 16]),
            received_at: Timestamp::from_micros(1_800_000_000_123_456),
            tunnel: "team".parse().unwrap(),
            source_ip: "52.4.158.130".parse().unwrap(),
            environment: Environment::Production,
            method: "POST".parse().unwrap(),
            target: "/t/team/hook?x=1".parse().unwrap(),
            prefix_len: 7,
            http_version: HttpVersion::Http11,
            headers: [HeaderLine::new("Host", "a"), HeaderLine::new("X-Y", vec![0xff, 0x20])].into_iter().collect(),
            body: "{}".into(),
            lost: vec![Lost::ChunkBoundaries, Lost::Trailers],
        }
    }

    /// Envelopes lie in spools and archives: what is in them must not change with the code that writes it.
    #[test]
    fn a_request_has_the_bytes_that_it_always_had() {
        let hex = |delivery: &Delivery| {
            let mut out = Vec::new();
            write(delivery, &mut out);
            let end = out.iter().rposition(|b| *b != 0).unwrap() + 1;
            out[..end].iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        assert_eq!(
            hex(&sample()),
            "000000380a04504f535412102f742f7465616d2f686f6f6b3f783d311807200b2a090a04486f73741201612a090a03582d591202ff203202020338027b7d"
        );
        let other = Delivery { http_version: HttpVersion::Http2, lost: vec![Lost::HeaderOrder], ..sample() };
        assert_eq!(
            hex(&other),
            "000000370a04504f535412102f742f7465616d2f686f6f6b3f783d31180720142a090a04486f73741201612a090a03582d591202ff2032010138027b7d"
        );
    }
}
