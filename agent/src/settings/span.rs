//! Lengths of time and points in time as people write them.

use std::str::FromStr;
use std::time::Duration;

use tunnel_delivery::Timestamp;
use tunnel_protocol::Start;

/// Reads `500ms`, `30s`, `5m`, `24h`, `7d`. A number without a unit is refused, as the relay does: to some it is milliseconds.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "{:?} is not a length of time; write 500ms, 30s, 5m, 24h or 7d",
            text.chars().take(40).collect::<String>()
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("{number} has no unit; write {number}s, {number}m or {number}ms")),
        _ => return Err(wrong()),
    };
    // A hundred years are enough, and keep every later sum in range.
    number.checked_mul(millis).filter(|ms| *ms <= 3_155_760_000_000).map(Duration::from_millis).ok_or_else(wrong)
}

/// A point in time, given outright or as a distance from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Now.
    Now,
    /// Before everything.
    Beginning,
    /// So long ago.
    Ago(Duration),
    /// At that time.
    At(Timestamp),
}

impl Moment {
    /// The point in time, if it is `now`.
    pub fn timestamp(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::Now => now,
            Moment::Beginning => Timestamp::from_micros(0),
            Moment::Ago(span) => now.earlier(span),
            Moment::At(at) => at,
        }
    }

    /// Where a new device starts.
    pub fn start(self, now: Timestamp) -> Start {
        match self {
            Moment::Now => Start::Now,
            Moment::Beginning => Start::Beginning,
            Moment::Ago(_) | Moment::At(_) => Start::At(self.timestamp(now)),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        match text {
            "now" => Ok(Moment::Now),
            "beginning" => Ok(Moment::Beginning),
            other => parse_span(other).map(Moment::Ago).or_else(|_| {
                other.parse().map(Moment::At).map_err(|_| {
                    let shown: String = other.chars().take(40).collect();
                    format!("{shown:?} is not a time; write 24h, 2026-11-21T09:30:00Z, now or beginning")
                })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_and_moments_are_read() {
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_span("30s"), Ok(Duration::from_secs(30)));
        assert!(parse_span("30").unwrap_err().contains("30s") && "30".parse::<Moment>().is_err());
        assert_eq!(parse_span("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "h", "1w", "-1s", "1.5s", "99999999999999999999s", "999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        let now = Timestamp::from_micros(1_763_714_000_000_000);
        assert_eq!("1h".parse::<Moment>().unwrap().timestamp(now), now.earlier(Duration::from_secs(3600)));
        assert_eq!("beginning".parse::<Moment>().unwrap().start(now), Start::Beginning);
        assert!(matches!("2026-11-21T09:30:00Z".parse(), Ok(Moment::At(_))));
        assert!("yesterday".parse::<Moment>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _ = text.parse::<Moment>();
        }
    }
}
