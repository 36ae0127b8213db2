//! The doctor: why a delivery is not valid, told as the smallest change that would make it so, and what exactly was signed where it is.
//!
//! It looks at what [`Verifier`](crate::Verifier) says and never says "valid" itself: a [`Diagnosis`] holds the verifier's own verdict, and what the
//! search finds are [`Finding`]s, from which no verdict can be made. The search is bounded ([`MAX_MACS`], [`MAX_MAC_BYTES`],
//! [`MAX_BODIES`]); where a bound was met the notes say so.
//!
//! Parts: the causes as a list (cause.rs) and in words (sentence.rs); strings in parts (draft.rs) and their small changes (changes.rs);
//! bodies (bodies.rs, json.rs), keys (keys.rs) and badly written headers (loose.rs) to try; the search itself (search.rs).

mod bodies;
mod cause;
mod changes;
mod draft;
mod explain;
mod json;
mod keys;
mod loose;
mod search;
mod sentence;
mod visible;

pub use bodies::{MAX_BODIES, MAX_REWRITTEN};
pub use cause::{
    BodyForm, Cause, Counted, DigestText, Newline, Percent, QueryText, SecretForm, SignatureForm, Signed, TypeText,
};
pub use explain::diagnose;
pub use json::{Escapes, Layout, Style};
pub use keys::KnownSecret;
pub use search::{MAX_MAC_BYTES, MAX_MACS};
pub use visible::{Compared, Difference, visible};

use crate::{Reading, Verdict};

/// What is known around a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// What the relay puts before the path, such as `/t/NAME`.
    pub prefix: Option<&'a str>,
    /// Targets of other deliveries, likeliest first; the first 32 are tried.
    pub other_targets: &'a [&'a str],
    /// The reading that matched before for this tunnel.
    pub matched_before: Option<Reading>,
    /// When the delivery was received, in seconds since 1970; without it `created` and `expires` are not looked at.
    pub received_at: Option<i64>,
}

/// What the doctor says of one delivery.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The verifier's verdict with the expected secrets. Nothing that was found changes it.
    pub verdict: Verdict,
    /// What was signed, if the verdict is valid.
    pub signed: Option<SignedString>,
    /// What stands between the header Content-Digest and the body.
    pub digest: DigestState,
    /// What would make it valid, or is plainly wrong; the likeliest first. Empty for a valid one, and where no small change explains
    /// the signature.
    pub findings: Vec<Finding>,
    /// What else is to be known.
    pub notes: Vec<Note>,
    /// How much was tried.
    pub work: Work,
}

/// Content-Digest and the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestState {
    /// There is no such header.
    Missing,
    /// It is the body's.
    Right,
    /// It is not the body's.
    Wrong,
    /// It cannot be read as the documents write it.
    Unreadable,
}

/// The exact string that was signed, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedString {
    /// Profile and variant.
    pub reading: Reading,
    /// The label of the secret it was signed with.
    pub secret: String,
    /// The whole string, byte for byte.
    pub bytes: Vec<u8>,
    /// Its parts in their order.
    pub parts: Vec<SignedPart>,
}

/// A part of a signed string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPart {
    /// What it is: `@method`, `@path`, `@query`, `content-digest`, …
    pub component: String,
    /// Its value, byte for byte.
    pub value: Vec<u8>,
}

impl SignedString {
    /// The whole string with blanks and line ends made visible.
    pub fn visible(&self) -> String {
        visible(&self.bytes)
    }
}

impl SignedPart {
    /// The value with blanks and control characters made visible.
    pub fn visible(&self) -> String {
        visible(&self.value)
    }
}

/// One explanation: one cause, or several that only together explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, at least one cause.
    pub causes: Vec<Cause>,
    /// How far it is a guess.
    pub certainty: Certainty,
    /// The reading in which the signature holds with it.
    pub reading: Option<Reading>,
    /// The label of the secret with which it holds.
    pub secret: Option<String>,
    /// Where what arrived first differs from what was signed or digested.
    pub difference: Option<Difference>,
}

/// How far a finding is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// With this change digest and signature were computed and are the ones that were sent.
    Proven,
    /// With this change the digest is the one that was sent; the signature does not hold even so, or was not there to check.
    DigestOnly,
    /// It is plainly so, and may not be all: the signature was not found to hold with it.
    Observed,
}

/// Something to be known about a delivery besides what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// It matched another reading than earlier deliveries of the tunnel did.
    OtherReading {
        /// The reading of earlier ones.
        before: Reading,
        /// This one's.
        now: Reading,
    },
    /// Its `expires` had passed when it was received, by so many seconds. No verdict depends on it.
    Expired(u64),
    /// Its `created` is so many seconds after it was received: a clock is wrong. No verdict depends on it.
    CreatedAhead(u64),
    /// The body is longer than [`MAX_REWRITTEN`], so it was not tried whether it was serialised again.
    BodyTooLong(usize),
    /// The search ended at its bound, so a small change may have been missed.
    SearchCut,
    /// No small change explains the signature.
    Unexplained,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// MACs computed by the search, at most [`MAX_MACS`].
    pub macs: usize,
    /// Bodies made and digested, at most [`MAX_BODIES`].
    pub bodies: usize,
}

impl Diagnosis {
    /// The first cause of the first finding.
    pub fn cause(&self) -> Option<&Cause> {
        self.findings.first().and_then(|finding| finding.causes.first())
    }
}
