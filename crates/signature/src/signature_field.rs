//! The Signature header: labels, and MACs in the three ways in which the documents write them. `sig1=<hex>` is no structured field
//! (RFC 9651), so this is read by hand.

use base64::Engine as _;

use crate::Reason;
use crate::digest::BASE64;
use crate::mac::MAC_LEN;

/// How a MAC is written in the Signature header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `sig1=<hex>`, developer guide.
    BareHex,
    /// `sig1=:<hex>:`, AI-Scribe guide.
    ColonHex,
    /// `sig1=:<base64>:`, RFC 9421, section 4.2.
    Base64,
}

/// One `label=value` of a Signature header.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) label: &'a str,
    /// As it came, label included.
    pub(crate) text: &'a str,
    /// `None` if the value is not 32 bytes in a known form: a signature of another kind, or broken.
    pub(crate) mac: Option<([u8; MAC_LEN], Encoding)>,
}

/// The longest Signature header that is read, in bytes.
const MAX_FIELD: usize = 8 * 1024;
/// The most signatures in one message; RFC 9421's own examples have two.
const MAX_MEMBERS: usize = 8;

/// Reads the header. Neither hex nor base64 has commas, so every comma ends a member.
pub(crate) fn members(field: &[u8]) -> Result<Vec<Member<'_>>, Reason> {
    if field.len() > MAX_FIELD {
        return Err(Reason::MalformedSignature("it is longer than 8192 bytes"));
    }
    let field = std::str::from_utf8(field).map_err(|_| Reason::MalformedSignature("it is not text"))?;
    let mut members: Vec<Member<'_>> = Vec::with_capacity(1);
    for text in field.split(',') {
        let text = text.trim_matches([' ', '\t']);
        let (label, value) =
            text.split_once('=').ok_or(Reason::MalformedSignature("there is no `=` between label and signature"))?;
        if !is_key(label) {
            return Err(Reason::MalformedSignature("the label is not a lower-case key"));
        }
        if members.iter().any(|other| other.label == label) {
            return Err(Reason::MalformedSignature("one label is there twice"));
        }
        if members.len() == MAX_MEMBERS {
            return Err(Reason::MalformedSignature("there are more than 8 signatures"));
        }
        members.push(Member { label, text, mac: decode(value) });
    }
    Ok(members)
}

/// A key of RFC 9651, section 3.1.2.
pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))
}

fn decode(value: &str) -> Option<([u8; MAC_LEN], Encoding)> {
    match value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')) {
        None => Some((from_hex(value)?, Encoding::BareHex)),
        // 64 characters of hex would be 48 bytes of base64: the length decides.
        Some(inner) if inner.len() == 2 * MAC_LEN => Some((from_hex(inner)?, Encoding::ColonHex)),
        Some(inner) => Some((BASE64.decode(inner).ok()?.try_into().ok()?, Encoding::Base64)),
    }
}

/// `label=` and the MAC in that form.
pub(crate) fn encode(label: &str, mac: &[u8; MAC_LEN], encoding: Encoding) -> String {
    match encoding {
        Encoding::BareHex => format!("{label}={}", to_hex(mac)),
        Encoding::ColonHex => format!("{label}=:{}:", to_hex(mac)),
        Encoding::Base64 => format!("{label}=:{}:", BASE64.encode(mac)),
    }
}

fn from_hex(text: &str) -> Option<[u8; MAC_LEN]> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let text: &[u8; 2 * MAC_LEN] = text.as_bytes().try_into().ok()?;
    let mut mac = [0; MAC_LEN];
    for (byte, pair) in mac.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(mac)
}

fn to_hex(mac: &[u8; MAC_LEN]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    mac.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_labels_and_signatures_of_other_kinds() {
        let field = format!("sig1=:{}:,  proxy_sig=:AAAA:", "ab".repeat(32));
        let read = members(field.as_bytes()).unwrap();
        assert_eq!((read[0].label, read[0].mac), ("sig1", Some(([0xab; 32], Encoding::ColonHex))));
        assert_eq!((read[1].label, read[1].mac), ("proxy_sig", None));
    }

    #[test]
    fn malformed_ones_are_refused() {
        for field in ["", "sig1", "=abc", "Sig1=ab", "s ig=ab", "sig1=ab, sig1=ab", "sig1=ab,"] {
            assert!(members(field.as_bytes()).is_err(), "{field:?}");
        }
        let many: Vec<_> = (0..9).map(|n| format!("s{n}=a")).collect();
        assert!(members(many.join(",").as_bytes()).is_err());
        assert!(members(&[b'a'; 10_000]).is_err());
    }

    proptest! {
        #[test]
        fn every_form_goes_round(mac: [u8; 32], form in 0..3usize) {
            let encoding = [Encoding::BareHex, Encoding::ColonHex, Encoding::Base64][form];
            let text = encode("sig1", &mac, encoding);
            let read = members(text.as_bytes()).unwrap();
            prop_assert_eq!(read[0].mac, Some((mac, encoding)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = members(&bytes);
        }
    }
}
