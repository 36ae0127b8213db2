//! Healthie's webhook signature in every reading that is documented: sign, verify, and the exact string that was signed.
//!
//! The public documents disagree about how a delivery is signed, so this room does not bet on one of them. A *profile* is one
//! document's reading (`guide`, `scribe`, `rfc9421`); a *variant* is a profile with one or more documented deviations, which are
//! rows of the table [`DOCUMENTED`]. [`Verifier::verify`] tries them all and tells which one gives the signature that was sent, or
//! why none does ([`Reason`]).
//!
//! What holds for every profile: `Content-Digest` must be there and be the body's, or the delivery is not valid whatever the
//! signature says; `Signature-Input` must name the signature's label; a `Content-Length` must be the body's.
//!
//! Why a delivery is not valid, and the smallest change that would make it so, is the [`doctor`]'s; a verifier of one reading to paste
//! into another program is [`emit`]ted. Neither can make anything valid here.
//!
//! This room knows nothing of HTTP libraries, network, clock and logging. It never judges `created` and `expires`: they are reported.

mod base;
mod digest;
pub mod doctor;
mod emit;
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod mac;
mod message;
mod reading;
mod reason;
mod secret;
mod sign;
mod signature_field;
mod verdict;
mod verify;

pub use base::base_string;
pub use digest::sha256;
pub use emit::{Language, emit};
pub use input::SignatureParams;
pub use message::Message;
pub use reading::{DOCUMENTED, Documented, Part, Profile, Reading, Twist, Variant};
pub use reason::Reason;
pub use secret::Secret;
pub use sign::{NewSignature, Request, SignedHeaders, sign};
pub use verdict::{Match, Verdict};
pub use verify::Verifier;

/// What a caller can have asked for wrongly. A signature that does not hold is no error: see [`Verdict`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A secret of no characters would make every signature forgeable.
    #[error("the signing secret is empty; copy it whole from the webhook's settings (it begins with whsec_)")]
    EmptySecret,
    /// Not the name of a profile.
    #[error("{0:?} is not a signature profile; the profiles are guide, scribe and rfc9421")]
    UnknownProfile(String),
    /// Not the name of a deviation, or not one of this profile, or two that exclude each other.
    #[error("{variant:?} is not a variant of the profile {profile}; its deviations are {}", reading::names_for(*.profile))]
    UnknownVariant {
        /// The profile that was asked for.
        profile: Profile,
        /// The variant's name as given.
        variant: String,
    },
    /// Not the name of a language that a verifier is emitted in.
    #[error("{0:?} is not a language to emit a verifier in; the languages are node, python, ruby, go, rust and php")]
    UnknownLanguage(String),
    /// The request is not one that this reading can sign.
    #[error("this request cannot be signed: {0}")]
    CannotSign(Reason),
    /// The match is of another verifier, or of another delivery.
    #[error("the signature to be made again is not one that this verifier matched on this delivery")]
    ForeignMatch,
}
