//! Content-Digest (RFC 9530) in the two forms that Healthie's documents show, checked against a body.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::Reason;

/// Base64 as RFC 9651, section 4.2.7, wants it read: padding may be missing, but there is one text for each value, so no bits after
/// the end.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest Content-Digest that is read, in bytes: five times as long as one with SHA-256 and SHA-512.
const MAX_FIELD: usize = 1024;

/// The SHA-256 of a body.
pub fn sha256(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Finds every digest of `field` that is known equal to the body's, and at least one known.
///
/// Both `SHA-256=<base64>` (developer guide) and `sha-256=:<base64>:` (RFC 9530, AI-Scribe guide) are read, names in any letter case.
pub(crate) fn check(field: &[u8], body: &[u8], body_sha256: &[u8; 32]) -> Result<(), Reason> {
    if field.len() > MAX_FIELD {
        return Err(Reason::MalformedDigest("it is longer than 1024 bytes"));
    }
    let field = std::str::from_utf8(field).map_err(|_| Reason::MalformedDigest("it is not text"))?;
    let (mut seen_256, mut seen_512) = (false, false);
    for member in field.split(',') {
        let (algorithm, value) = member
            .trim_matches([' ', '\t'])
            .split_once('=')
            .ok_or(Reason::MalformedDigest("there is no `=` between algorithm and digest"))?;
        let (seen, algorithm) = if algorithm.eq_ignore_ascii_case("sha-256") {
            (&mut seen_256, "sha-256")
        } else if algorithm.eq_ignore_ascii_case("sha-512") {
            (&mut seen_512, "sha-512")
        } else {
            continue; // RFC 9530, section 2: an algorithm that is not known is passed over
        };
        if std::mem::replace(seen, true) {
            return Err(Reason::MalformedDigest("one algorithm is there twice"));
        }
        let text = match value.strip_prefix(':') {
            Some(rest) => rest.strip_suffix(':').ok_or(Reason::MalformedDigest("the closing colon is missing"))?,
            None => value,
        };
        let sent = BASE64.decode(text).map_err(|_| Reason::MalformedDigest("the digest is not base64"))?;
        let mut sha512 = None;
        let computed: &[u8] = match algorithm {
            "sha-256" => body_sha256,
            _ => sha512.insert(Sha512::digest(body)).as_slice(),
        };
        if sent.len() != computed.len() {
            return Err(Reason::MalformedDigest("the digest has not the length of its algorithm"));
        }
        // Neither side is secret; in constant time all the same, so that nobody has to think about it.
        if !bool::from(sent.ct_eq(computed)) {
            return Err(Reason::DigestMismatch { algorithm, sent, computed: computed.to_vec(), signature_holds: None });
        }
    }
    if seen_256 || seen_512 { Ok(()) } else { Err(Reason::UnsupportedDigest(field.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, body: &[u8]) -> Result<(), &'static str> {
        check(field.as_bytes(), body, &sha256(body)).map_err(|reason| reason.code())
    }

    const BARE: &[u8] = br#"{"hello": "world"}"#;
    const WITH_NEWLINE: &[u8] = b"{\"hello\": \"world\"}\n";

    #[test]
    fn rfc_9530_examples() {
        // RFC 9530, appendix B.1 (the body ends in a newline there), and RFC 9421, appendix B.2 (without).
        assert_eq!(of("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:", WITH_NEWLINE), Ok(()));
        assert_eq!(of("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", BARE), Ok(()));
        assert_eq!(of("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", WITH_NEWLINE), Err("digest-mismatch"));
        // RFC 9421, appendix B.2: test-request.
        let sha512 =
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert_eq!(of(sha512, BARE), Ok(()));
        assert_eq!(of(sha512, WITH_NEWLINE), Err("digest-mismatch"));
    }

    #[test]
    fn the_guide_s_form_with_and_without_padding() {
        assert_eq!(of("SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", BARE), Ok(()));
        assert_eq!(of("sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE", BARE), Ok(()));
    }

    #[test]
    fn one_wrong_digest_among_several_is_a_mismatch() {
        let good = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let zeros = "A".repeat(86);
        assert_eq!(of(&format!("{good}, sha-512=:{zeros}==:"), BARE), Err("digest-mismatch"));
        assert_eq!(of(&format!("md5=:AAAA:, {good}"), BARE), Ok(()));
        assert_eq!(of(&format!("{good}, {good}"), BARE), Err("malformed-digest"));
    }

    #[test]
    fn malformed_ones_are_told_from_wrong_ones() {
        for field in
            ["", "sha-256", "sha-256=", "sha-256=::", "sha-256=:AAAA", "sha-256=:AAAA:", "sha-256=!", "SHA-256=ab=c"]
        {
            assert_eq!(of(field, BARE), Err("malformed-digest"), "{field:?}");
        }
        // Bits after the end: another text for the same bytes.
        assert_eq!(of("SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPF=", BARE), Err("malformed-digest"));
        assert_eq!(of("md5=:AAAA:", BARE), Err("unsupported-digest"));
        assert_eq!(check(&[b'a'; 5000], BARE, &sha256(BARE)).unwrap_err().code(), "malformed-digest");
        assert_eq!(check(b"\xff=", BARE, &sha256(BARE)).unwrap_err().code(), "malformed-digest");
    }
}
