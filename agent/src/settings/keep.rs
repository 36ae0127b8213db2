//! How long and how much is kept, as people write it; each bound can be taken away by a word.

use std::time::Duration;

use super::{parse_size, parse_span};

/// How long deliveries are kept unless something else is set.
pub const KEEP_AGE: Duration = Duration::from_secs(30 * 86_400);
/// How many bytes of records are kept unless something else is set.
pub const KEEP_BYTES: u64 = 4 << 30;

/// An age, or `forever` for none.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_age(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "forever" => Ok(None),
        other => parse_span(other).map(Some).map_err(|_| {
            let shown: String = other.chars().take(40).collect();
            format!("{shown:?} is not an age; write 30d, 12h or forever")
        }),
    }
}

/// A number of deliveries, or `all` for no bound.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_count(text: &str) -> Result<Option<u64>, String> {
    match text {
        "all" => Ok(None),
        other => other.parse().map(Some).map_err(|_| {
            let shown: String = other.chars().take(40).collect();
            format!("{shown:?} is not a number of deliveries; write 100000 or all")
        }),
    }
}

/// A size in bytes, or `all` for no bound.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_bytes(text: &str) -> Result<Option<u64>, String> {
    match text {
        "all" => Ok(None),
        other => parse_size(other).map(Some),
    }
}

/// `30 days`, `12 h`, `90 s`: an age in the greatest unit that it is a whole number of.
pub fn show_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        86_400 => "1 day".to_owned(),
        s if age.subsec_nanos() > 0 => format!("{} ms", u128::from(s) * 1000 + u128::from(age.subsec_millis())),
        s if s > 0 && s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s > 0 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
