//! What is known about a delivery's signature, as it is stored and printed. Computing it is crates/signature's work.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of checking a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureStatus {
    /// A profile's signature was computed with a known secret and is the one that was sent.
    Valid,
    /// There is a signature, and no profile and secret at hand gives it; or there is one header of it without the others.
    Invalid,
    /// None of the signature headers is there.
    Unsigned,
    /// There is a signature and no secret to check it with.
    NoSecret,
}

impl SignatureStatus {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [SignatureStatus; 4] =
        [SignatureStatus::Valid, SignatureStatus::Invalid, SignatureStatus::Unsigned, SignatureStatus::NoSecret];

    /// `valid`, `invalid`, `unsigned` or `no-secret`.
    pub fn as_str(self) -> &'static str {
        match self {
            SignatureStatus::Valid => "valid",
            SignatureStatus::Invalid => "invalid",
            SignatureStatus::Unsigned => "unsigned",
            SignatureStatus::NoSecret => "no-secret",
        }
    }
}

impl fmt::Display for SignatureStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A checked signature: the status and what can be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The outcome.
    pub status: SignatureStatus,
    /// `guide`, `scribe` or `rfc9421`: the reading that matched.
    pub profile: Option<String>,
    /// Which of the reading's variants matched, as `name` or `name+name`; `None` for the plain one.
    pub variant: Option<String>,
    /// Why it is not valid, in one sentence.
    pub reason: Option<String>,
    /// What would make it valid, in one sentence, where that is known.
    pub hint: Option<String>,
}

impl Verdict {
    /// A verdict with nothing but its status.
    pub fn bare(status: SignatureStatus) -> Verdict {
        Verdict { status, profile: None, variant: None, reason: None, hint: None }
    }
}
