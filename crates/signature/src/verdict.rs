//! What came of checking a signature. Plain data.

use crate::{Reading, Reason, SignatureParams};

/// What came of checking a message's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The digest is the body's, and a reading of the signature was computed with a known secret and is the one that was sent.
    Valid(Match),
    /// It is not valid, and this is why.
    Invalid(Reason),
    /// None of Signature, Signature-Input and Content-Digest is there.
    Unsigned,
    /// All three are there, and there is no secret to check them with.
    NoSecret {
        /// What is wrong all the same, seen without a secret: a digest or a length that is not the body's.
        note: Option<Reason>,
    },
}

/// The reading that gave the signature that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Profile and variant.
    pub reading: Reading,
    /// Which of the verifier's secrets, counted from 0.
    pub secret_index: usize,
    /// The signature's label, usually `sig1`.
    pub label: String,
    /// The exact bytes that were signed.
    pub signed: Vec<u8>,
    /// What Signature-Input says; only for `rfc9421`, since nothing of it is signed in the others.
    pub params: Option<SignatureParams>,
}

impl Verdict {
    /// Whether it is [`Verdict::Valid`].
    pub fn is_valid(&self) -> bool {
        self.matched().is_some()
    }

    /// The match of a valid one.
    pub fn matched(&self) -> Option<&Match> {
        match self {
            Verdict::Valid(matched) => Some(matched),
            _ => None,
        }
    }

    /// Why it is invalid, or what is wrong without a secret.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Verdict::Invalid(reason) | Verdict::NoSecret { note: Some(reason) } => Some(reason),
            _ => None,
        }
    }
}
