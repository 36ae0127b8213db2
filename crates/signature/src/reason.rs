//! Why a signature is not valid: one enum to build on, each with a sentence for people. Owns no checking.

use std::fmt;

use crate::{Profile, Reading};

/// Why a delivery's signature is not valid.
///
/// Text that came with the delivery is kept as it came; [`fmt::Display`] quotes, escapes and cuts it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A header that the signature needs is not there.
    MissingHeader(String),
    /// A header that the profile reads as one line came as several.
    DuplicateHeader(&'static str),
    /// The method or target cannot be signed.
    MalformedRequest {
        /// `method` or `target`.
        what: &'static str,
        /// As it came.
        sent: String,
    },
    /// A signed header holds what no header can.
    MalformedHeader {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Signature is not `label=<hex>`, `label=:<hex>:` or `label=:<base64>:` with 32 bytes.
    MalformedSignature(&'static str),
    /// Signature-Input is not what RFC 9421, section 4.1, says.
    MalformedSignatureInput(&'static str),
    /// Content-Digest is neither `SHA-256=<base64>` nor `sha-256=:<base64>:`.
    MalformedDigest(&'static str),
    /// Content-Digest has neither SHA-256 nor SHA-512.
    UnsupportedDigest(String),
    /// Content-Digest is not the body's: the body was changed on the way, or serialised again.
    DigestMismatch {
        /// The algorithm, `sha-256` or `sha-512`.
        algorithm: &'static str,
        /// The digest that was sent.
        sent: Vec<u8>,
        /// The digest that the body has.
        computed: Vec<u8>,
        /// The reading in which the signature holds over the headers as sent, if there is one: then only the body is wrong.
        signature_holds: Option<Reading>,
    },
    /// Content-Length is not the body's.
    LengthMismatch {
        /// The header as it came.
        sent: String,
        /// The body's length in bytes.
        body: usize,
    },
    /// No signature has a label that Signature-Input has.
    LabelMismatch {
        /// The labels of Signature.
        signature: Vec<String>,
        /// The labels of Signature-Input.
        input: Vec<String>,
    },
    /// Signature-Input names a component that cannot be built from a request as it was received.
    UnknownComponent {
        /// The component as Signature-Input names it.
        name: String,
        /// Why it cannot be built.
        why: &'static str,
    },
    /// Signature-Input asks for another algorithm than `hmac-sha256`.
    UnsupportedAlgorithm(String),
    /// The signature holds, but does not cover Content-Digest, so that it says nothing about the body.
    UncoveredContentDigest {
        /// What it covers.
        covered: Vec<String>,
    },
    /// Everything is there and well-formed, and no reading and no secret at hand gives the signature that was sent.
    SignatureMismatch {
        /// The readings that were computed. A reading whose string is the same as a plainer one's is not in the list.
        tried: Vec<Reading>,
        /// With how many secrets.
        secrets: usize,
        /// Profiles that could not be computed, and why.
        blocked: Vec<(Profile, Reason)>,
    },
}

impl Reason {
    /// A short name for programs, such as `digest-mismatch`.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::MissingHeader(_) => "missing-header",
            Reason::DuplicateHeader(_) => "duplicate-header",
            Reason::MalformedRequest { .. } => "malformed-request",
            Reason::MalformedHeader { .. } => "malformed-header",
            Reason::MalformedSignature(_) => "malformed-signature",
            Reason::MalformedSignatureInput(_) => "malformed-signature-input",
            Reason::MalformedDigest(_) => "malformed-digest",
            Reason::UnsupportedDigest(_) => "unsupported-digest",
            Reason::DigestMismatch { .. } => "digest-mismatch",
            Reason::LengthMismatch { .. } => "length-mismatch",
            Reason::LabelMismatch { .. } => "label-mismatch",
            Reason::UnknownComponent { .. } => "unknown-component",
            Reason::UnsupportedAlgorithm(_) => "unsupported-algorithm",
            Reason::UncoveredContentDigest { .. } => "uncovered-content-digest",
            Reason::SignatureMismatch { .. } => "signature-mismatch",
        }
    }
}

/// Text from the delivery, quoted, escaped and cut.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80; // characters: one line of a terminal
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

pub(crate) fn list(f: &mut fmt::Formatter<'_>, texts: &[String]) -> fmt::Result {
    const SHOWN: usize = 10;
    for (at, text) in texts.iter().take(SHOWN).enumerate() {
        write!(f, "{}{}", if at == 0 { "" } else { ", " }, Quoted(text))?;
    }
    match texts.len() {
        0 => f.write_str("nothing"),
        n if n > SHOWN => write!(f, " and {} more", n - SHOWN),
        _ => Ok(()),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::MissingHeader(name) => write!(f, "the header {} is missing", Quoted(name)),
            Reason::DuplicateHeader(name) => write!(f, "the header {name} came more than once"),
            Reason::MalformedRequest { what, sent } => {
                write!(f, "the request's {what} {} cannot be part of a signature", Quoted(sent))
            }
            Reason::MalformedHeader { name, why } => write!(f, "the header {} is malformed: {why}", Quoted(name)),
            Reason::MalformedSignature(why) => write!(f, "the header Signature is malformed: {why}"),
            Reason::MalformedSignatureInput(why) => write!(f, "the header Signature-Input is malformed: {why}"),
            Reason::MalformedDigest(why) => write!(f, "the header Content-Digest is malformed: {why}"),
            Reason::UnsupportedDigest(sent) => {
                write!(f, "Content-Digest has neither SHA-256 nor SHA-512, only {}", Quoted(sent))
            }
            Reason::DigestMismatch { algorithm, signature_holds, .. } => {
                write!(f, "the body does not have the {algorithm} that Content-Digest says")?;
                match signature_holds {
                    Some(reading) => {
                        write!(
                            f,
                            "; the signature holds over the headers as sent ({reading}), so only the body was changed"
                        )
                    }
                    None => Ok(()),
                }
            }
            Reason::LengthMismatch { sent, body } => {
                write!(f, "Content-Length is {} and the body has {body} bytes", Quoted(sent))
            }
            Reason::LabelMismatch { signature, input } => {
                f.write_str("Signature has the label ")?;
                list(f, signature)?;
                f.write_str(" and Signature-Input has ")?;
                list(f, input)
            }
            Reason::UnknownComponent { name, why } => {
                write!(f, "Signature-Input covers {}, which cannot be checked: {why}", Quoted(name))
            }
            Reason::UnsupportedAlgorithm(alg) => {
                write!(f, "Signature-Input asks for the algorithm {}; only hmac-sha256 is known", Quoted(alg))
            }
            Reason::UncoveredContentDigest { covered } => {
                f.write_str(
                    "the signature does not cover content-digest, so it says nothing about the body; it covers ",
                )?;
                list(f, covered)
            }
            Reason::SignatureMismatch { tried, secrets, blocked } => {
                let plural = if *secrets == 1 { "" } else { "s" };
                write!(
                    f,
                    "the digest is the body's, but the signature is not one that {secrets} secret{plural} and {} reading{} give",
                    tried.len(),
                    if tried.len() == 1 { "" } else { "s" },
                )?;
                for (profile, reason) in blocked {
                    write!(f, "; {profile} could not be computed: {reason}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        let reason = Reason::UnsupportedAlgorithm(format!("\u{1b}[31m\u{202e}{}", "x".repeat(10_000)));
        let text = reason.to_string();
        assert!(text.len() < 300 && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        let labels = vec!["a\n".repeat(100); 100];
        let text = Reason::LabelMismatch { signature: labels.clone(), input: labels }.to_string();
        assert!(text.len() < 3000 && !text.contains('\n') && text.contains("and 90 more"), "{text}");
    }
}
