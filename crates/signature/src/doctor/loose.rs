//! The headers Signature and Content-Digest read as their senders may have meant them. What is read here is only ever a hint: the
//! strict readers decide what is valid.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::digest::BASE64;
use crate::doctor::cause::{DigestText, SignatureForm};
use crate::mac::MAC_LEN;
use crate::signature_field::{self, Encoding};

/// Base64 with `-` and `_`, with padding or without.
pub(crate) const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest header that is read loosely, in bytes.
const MAX_FIELD: usize = 8 * 1024;
/// The most signatures or digests that are read of one header.
const MAX_MEMBERS: usize = 8;

/// A MAC that the header may mean.
pub(crate) struct Mac {
    pub(crate) bytes: [u8; MAC_LEN],
    pub(crate) label: Option<String>,
    /// How it is written, where one of the documents writes it so; otherwise [`Mac::form`] says how.
    pub(crate) encoding: Option<Encoding>,
    pub(crate) form: Option<SignatureForm>,
}

/// The MACs of a Signature header, properly written ones first.
pub(crate) fn macs(field: &[u8]) -> Vec<Mac> {
    if let Ok(members) = signature_field::members(field)
        && members.iter().any(|member| member.mac.is_some())
    {
        let proper = members.into_iter().filter_map(|member| {
            let (bytes, encoding) = member.mac?;
            Some(Mac { bytes, label: Some(member.label.to_owned()), encoding: Some(encoding), form: None })
        });
        return proper.collect();
    }
    let Some(text) = text(field) else { return Vec::new() };
    let members = text.split(',').take(MAX_MEMBERS).map(str::trim);
    members
        .flat_map(|member| {
            let labelled = member.split_once('=').map(|(label, value)| (Some(label.trim()), value.trim()));
            labelled.into_iter().chain([(None, member)])
        })
        .filter_map(|(label, value)| {
            let (bytes, form) = mac(value)?;
            let label = label.filter(|label| !label.is_empty()).map(str::to_owned);
            let labelled = label.as_deref().is_some_and(signature_field::is_key);
            Some(Mac { bytes, label, encoding: None, form: Some(if labelled { form } else { SignatureForm::NoLabel }) })
        })
        .collect()
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok().filter(|text| text.len() <= MAX_FIELD)
}

fn mac(value: &str) -> Option<([u8; MAC_LEN], SignatureForm)> {
    let bare = value.trim_matches(['"', '\'']);
    let form = |plain| if bare.len() < value.len() { SignatureForm::Quoted } else { plain };
    let bare = bare.trim_matches(':');
    let of = |bytes: Vec<u8>| -> Option<[u8; MAC_LEN]> { bytes.try_into().ok() };
    if let Some(bytes) = hex(bare).and_then(of) {
        return Some((bytes, form(SignatureForm::NoLabel)));
    }
    if let Some(bytes) = BASE64.decode(bare).ok().and_then(of) {
        return Some((bytes, form(SignatureForm::BareBase64)));
    }
    if let Some(bytes) = BASE64_URL.decode(bare).ok().and_then(of) {
        return Some((bytes, form(SignatureForm::Base64Url)));
    }
    let inner = BASE64.decode(bare).ok()?;
    let bytes = hex(std::str::from_utf8(&inner).ok()?).and_then(of)?;
    Some((bytes, form(SignatureForm::HexInBase64)))
}

/// A digest that the header may mean.
pub(crate) struct Digest {
    /// 32 bytes of SHA-256 or 64 of SHA-512.
    pub(crate) bytes: Vec<u8>,
    pub(crate) form: DigestText,
}

/// The digests of a Content-Digest header that the strict reader refuses.
pub(crate) fn digests(field: &[u8]) -> Vec<Digest> {
    let Some(text) = text(field) else { return Vec::new() };
    let members = text.split(',').take(MAX_MEMBERS).map(str::trim);
    members
        .flat_map(|member| {
            let labelled = member.split_once('=').map(|(_, value)| value.trim());
            labelled.into_iter().chain([member])
        })
        .filter_map(digest)
        .collect()
}

fn digest(value: &str) -> Option<Digest> {
    let bare = value.trim_matches(['"', '\'', ':']);
    let of = |bytes: Vec<u8>, form| matches!(bytes.len(), 32 | 64).then_some(Digest { bytes, form });
    let hexed = hex(bare).and_then(|bytes| of(bytes, DigestText::Hex));
    let inner = || {
        let inner = BASE64.decode(bare).ok()?;
        hex(std::str::from_utf8(&inner).ok()?).and_then(|bytes| of(bytes, DigestText::HexInBase64))
    };
    let plain = || BASE64.decode(bare).ok().and_then(|bytes| of(bytes, DigestText::OtherLabel));
    let url = || BASE64_URL.decode(bare).ok().and_then(|bytes| of(bytes, DigestText::Base64Url));
    hexed.or_else(inner).or_else(plain).or_else(url)
}

/// Bytes of an even number of hex digits in any letter case.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.bytes().map(|b| char::from(b).to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_in_every_dress() {
        let bytes = [0xfb; 32];
        let hex = "fb".repeat(32);
        let url = BASE64_URL.encode(bytes);
        for (field, form) in [
            (format!("sig1={hex}"), None),
            (format!("sig1={}", BASE64.encode(bytes)), Some(SignatureForm::BareBase64)),
            (format!("sig1=:{url}:"), Some(SignatureForm::Base64Url)),
            (format!("sig1=:{}:", BASE64.encode(&hex)), Some(SignatureForm::HexInBase64)),
            (format!("sig1=\"{hex}\""), Some(SignatureForm::Quoted)),
            (hex.clone(), Some(SignatureForm::NoLabel)),
            (format!("Sig1={hex}"), Some(SignatureForm::NoLabel)),
        ] {
            let read = macs(field.as_bytes());
            assert_eq!(read.first().map(|mac| (mac.bytes, mac.form)), Some((bytes, form)), "{field}");
        }
    }

    #[test]
    fn a_digest_in_every_dress() {
        let bytes = [0xfb; 32];
        let hex = "fb".repeat(32);
        for (field, form) in [
            (format!("sha-256={hex}"), DigestText::Hex),
            (format!("sha-256=:{}:", BASE64.encode(&hex)), DigestText::HexInBase64),
            (format!("sha256=:{}:", BASE64.encode(bytes)), DigestText::OtherLabel),
            (format!("sha-256=:{}:", BASE64_URL.encode(bytes)), DigestText::Base64Url),
            (BASE64.encode(bytes), DigestText::OtherLabel),
        ] {
            let read = digests(field.as_bytes());
            assert!(read.iter().any(|digest| digest.bytes == bytes && digest.form == form), "{field}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[a-z=:\"', 0-9]{0,80}") {
            for field in [&bytes[..], text.as_bytes()] {
                prop_assert!(macs(field).len() <= 2 * MAX_MEMBERS && digests(field).len() <= 2 * MAX_MEMBERS);
            }
        }
    }
}
