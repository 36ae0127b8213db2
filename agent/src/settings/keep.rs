//! How long and how much is kept, as people write it; each bound can be taken away by a word. A number without a unit is refused: whoever means 30 days
//! and writes 30 must not lose what is older than 30 seconds.

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
        other => parse_span(other).ok().filter(|_| has_unit(other)).map(Some).ok_or_else(|| {
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
        "0" => Err("0 would remove everything; write 1 or more, or all".to_owned()),
        other => other.parse().map(Some).map_err(|_| {
            let shown: String = other.chars().take(40).collect();
            format!("{shown:?} is not a number of deliveries; write 100000 or all")
        }),
    }
}

/// A size with its unit, or `all` for no bound.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_bytes(text: &str) -> Result<Option<u64>, String> {
    match text {
        "all" => Ok(None),
        other if has_unit(other) => parse_size(other).map(Some),
        other => {
            let shown: String = other.chars().take(40).collect();
            Err(format!("{shown:?} has no unit; write 500MiB, 4GiB or all"))
        }
    }
}

fn has_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphabetic())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_read() {
        assert_eq!(parse_age("30d"), Ok(Some(KEEP_AGE)));
        assert_eq!((parse_age("forever"), parse_count("all"), parse_bytes("all")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!((parse_count("100000"), parse_bytes("4GiB")), (Ok(Some(100_000)), Ok(Some(KEEP_BYTES))));
        for bad in ["30", "0", "", "d", "month", "all"] {
            assert!(parse_age(bad).unwrap_err().contains("30d"), "{bad}");
        }
        for bad in ["500", "0", "", "forever"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert!(parse_count("-1").is_err() && parse_count("1k").is_err() && parse_count("0").is_err());
    }

    #[test]
    fn ages_are_shown_in_a_unit_that_fits() {
        for (text, shown) in [
            ("30d", "30 days"),
            ("24h", "1 day"),
            ("36h", "36 h"),
            ("90m", "90 min"),
            ("61s", "61 s"),
            ("0s", "0 s"),
            ("1500ms", "1500 ms"),
        ] {
            assert_eq!(show_age(parse_span(text).unwrap()), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _ = (parse_age(&text), parse_count(&text), parse_bytes(&text));
        }
    }
}
