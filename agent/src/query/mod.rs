//! The language in which deliveries are looked for: in the inspector as one types, and wherever else a filter is one line of text.
//!
//! A query is words with blanks between them, and all of them must hold. A word is a condition, `event:appointment.*`, or text that the
//! body must have, or `@name`, which stands for a query that was saved under that name ([`Saved`]). `|` stands between alternatives inside one
//! word, `event:a.*|b.*`, and nowhere else: between words it is a mistake. `-` before a word turns it round, and quotes keep blanks together.
//! [`WORDS`] has every condition, from which help is printed.
//!
//! Owns reading the text, with the place of a mistake, and whether a line of a list fits. It does not own looking: [`Query::filter`] is what
//! an index can answer of it, and the rest is checked on what comes back. Pure; the clock is an argument.

mod fits;
mod read;
mod saved;
mod words;
mod write;

use std::ops::Range;

use tunnel_delivery::{AnswerClass, Environment, SignatureStatus, Timestamp, TunnelName};

pub use saved::Saved;
pub use words::{WORDS, Word};

/// The longest query, in bytes.
pub const LONGEST: usize = 2000;
/// The most words in a query.
pub const MOST_WORDS: usize = 40;

/// A query that was understood. The default holds for everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// All of them must hold.
    pub terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Whether it must not hold.
    pub negated: bool,
    /// What it asks.
    pub what: What,
}

/// What a condition asks; of a list, one must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Patterns of event names.
    Event(Vec<String>),
    /// Resource types.
    Type(Vec<String>),
    /// Resource ids.
    Resource(Vec<String>),
    /// What the last attempt came to.
    Status(Vec<Status>),
    /// Verdicts.
    Signature(Vec<SignatureStatus>),
    /// Healthie's environments.
    Environment(Vec<Environment>),
    /// Tunnels.
    Tunnel(Vec<TunnelName>),
    /// Received then or later.
    Since(Timestamp),
    /// Received then or earlier.
    Until(Timestamp),
    /// Marks.
    Is(Vec<Mark>),
    /// The body has this text; the case of ASCII letters does not count.
    Text(String),
}

/// A class of answers or one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A class.
    Class(AnswerClass),
    /// Exactly this status.
    Code(u16),
}

/// What a delivery may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Kept whatever its age.
    Pinned,
    /// Seems to repeat an earlier one.
    Repeat,
    /// Seems to be repeated by a later one.
    Repeated,
    /// More than one attempt was made.
    Retried,
}

/// A mistake in a query and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct QueryError {
    /// The bytes of the text that are meant.
    pub at: Range<usize>,
    /// What is wrong and what to write instead.
    pub why: String,
}
