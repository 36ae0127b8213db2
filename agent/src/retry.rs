//! When a delivery that could not be handed over is tried again. Pure: a schedule that is asked after each attempt.
//!
//! Off unless it is asked for. How what waits is kept, and what becomes of it, is the backlog's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tunnel_delivery::{Attempt, ErrorKind, Timestamp};

use crate::settings::parse_span;

/// The most tries that may be asked for.
pub const MOST: u32 = 100;

/// Which attempts are made again, how often and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// At most so many more tries after the first.
    pub times: u32,
    /// The pauses between them.
    pub backoff: Backoff,
    /// After which attempts.
    pub on: Conditions,
}

impl Retry {
    /// How long to wait from the end of `attempt` before it is made again; nothing where it is not. `made` is how often it was made again so far;
    /// `random` is in 0.0..1.0.
    ///
    /// What the handler asks for with Retry-After is waited for, but never longer than the longest pause.
    pub fn after(&self, attempt: &Attempt, made: u32, random: f64) -> Option<Duration> {
        if made >= self.times || !self.on.hold(attempt) {
            return None;
        }
        let asked = retry_after(attempt).unwrap_or_default().min(self.backoff.longest);
        Some(self.backoff.pause(made, random).max(asked))
    }
}

/// Pauses that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause, at most.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Backoff {
    /// One second to one minute.
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// Half of a pause is fixed and half is chance, so that what failed together does not come back together.
    fn pause(self, made: u32, random: f64) -> Duration {
        let whole = self.first.saturating_mul(1_u32.checked_shl(made.min(31)).unwrap_or(u32::MAX)).min(self.longest);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

impl FromStr for Backoff {
    type Err = String;

    fn from_str(text: &str) -> Result<Backoff, String> {
        let (first, longest) = match text.split_once("..") {
            Some((first, longest)) => (parse_span(first)?, parse_span(longest)?),
            None => {
                let first = parse_span(text)?;
                (first, first.max(Backoff::default().longest))
            }
        };
        if first.is_zero() || longest < first || longest > Duration::from_secs(86_400) {
            return Err(format!(
                "{text:?} are no pauses; write the first and the longest, such as 1s..1m, of a day at most"
            ));
        }
        Ok(Backoff { first, longest })
    }
}

/// After which attempts another is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// A status from one to the other.
    Status(u16, u16),
    /// There was no connection, or it broke before the answer was complete.
    Connect,
    /// The time limit passed.
    Timeout,
    /// A command ended with another exit code than 0.
    Exit,
}

impl Default for Conditions {
    /// What may be better the next time: no connection, no answer in time, 5xx, 429, and commands that failed.
    fn default() -> Conditions {
        use Condition::*;
        Conditions(vec![Connect, Timeout, Status(500, 599), Status(429, 429), Exit])
    }
}

impl Conditions {
    fn hold(&self, attempt: &Attempt) -> bool {
        self.0.iter().any(|condition| match (condition, &attempt.error, attempt.status) {
            (Condition::Status(from, upto), None, Some(status)) => (*from..=*upto).contains(&status),
            (Condition::Connect, Some(e), _) => {
                matches!(e.kind, ErrorKind::Connect | ErrorKind::Resolve | ErrorKind::Tls | ErrorKind::Closed)
            }
            (Condition::Timeout, Some(e), _) => e.kind == ErrorKind::Timeout,
            (Condition::Exit, Some(e), _) => e.kind == ErrorKind::Exit,
            _ => false,
        })
    }
}

impl FromStr for Conditions {
    type Err = String;

    fn from_str(text: &str) -> Result<Conditions, String> {
        let one = |word: &str| match word {
            "connect" => Some(Condition::Connect),
            "timeout" => Some(Condition::Timeout),
            "exit" => Some(Condition::Exit),
            "3xx" => Some(Condition::Status(300, 399)),
            "4xx" => Some(Condition::Status(400, 499)),
            "5xx" => Some(Condition::Status(500, 599)),
            _ => word.parse().ok().filter(|s| (300..=599).contains(s)).map(|s| Condition::Status(s, s)),
        };
        let wrong = |word: &str| {
            let word: String = word.chars().take(40).collect();
            format!("{word:?} is none of connect, timeout, exit, 3xx, 4xx, 5xx and statuses from 300 to 599")
        };
        text.split(',')
            .map(str::trim)
            .map(|word| one(word).ok_or_else(|| wrong(word)))
            .collect::<Result<_, _>>()
            .map(Conditions)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, condition) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            match condition {
                Condition::Status(from, upto) if from == upto => write!(f, "{from}")?,
                Condition::Status(from, _) => write!(f, "{}xx", from / 100)?,
                Condition::Connect => f.write_str("connect")?,
                Condition::Timeout => f.write_str("timeout")?,
                Condition::Exit => f.write_str("exit")?,
            }
        }
        Ok(())
    }
}

/// How long the handler asks to be left alone (RFC 9110, section 10.2.3), from the end of the attempt; a date is taken by this machine's clock.
fn retry_after(attempt: &Attempt) -> Option<Duration> {
    let text = std::str::from_utf8(attempt.response_headers.get("retry-after")?).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than there are seconds is as long as it gets.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let ended = attempt.at.as_micros().saturating_add(i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX));
    Some(Timestamp::from_micros(date.as_microsecond()).since(Timestamp::from_micros(ended)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tunnel_delivery::{AttemptError, Cause, Headers};

    const S: Duration = Duration::from_secs(1);

    fn attempt(status: Option<u16>, error: Option<ErrorKind>, retry_after: Option<&str>) -> Attempt {
        let mut response_headers = Headers::default();
        if let Some(after) = retry_after {
            response_headers.push("Retry-After", after.to_owned());
        }
        Attempt {
            // 2025-11-21 08:33:20 UTC.
            at: Timestamp::from_micros(1_763_714_000_000_000),
            target: "http://localhost:3000/".into(),
            cause: Cause::Forward,
            resigned: false,
            edited: false,
            status,
            error: error.map(|kind| AttemptError { kind, message: String::new() }),
            duration: S,
            response_headers,
            response_body: bytes::Bytes::new(),
            response_truncated: false,
        }
    }

    fn retry(times: u32) -> Retry {
        Retry { times, backoff: Backoff::default(), on: Conditions::default() }
    }

    #[test]
    fn pauses_double_to_the_longest_and_end_with_the_tries() {
        let failed = attempt(Some(503), None, None);
        let pauses: Vec<_> = (0..9).map(|made| retry(8).after(&failed, made, 1.0).map(|p| p.as_secs())).collect();
        let expected = [Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), Some(60), None];
        assert_eq!(pauses, expected);
        assert_eq!(retry(1).after(&failed, 0, 0.0), Some(S / 2));
        assert_eq!(retry(0).after(&failed, 0, 0.0), None);
    }

    #[test]
    fn only_what_may_be_better_the_next_time() {
        use ErrorKind::*;
        let again = |on: &str, status, error| {
            let on = on.parse().unwrap();
            Retry { on, ..retry(1) }.after(&attempt(status, error, None), 0, 0.5).is_some()
        };
        let usual = Conditions::default().to_string();
        assert_eq!(usual, "connect,timeout,5xx,429,exit");
        for (status, error) in [
            (None, Some(Connect)),
            (None, Some(Resolve)),
            (None, Some(Tls)),
            (Some(200), Some(Closed)),
            (None, Some(Timeout)),
            (None, Some(Exit)),
            (Some(500), None),
            (Some(599), None),
            (Some(429), None),
        ] {
            assert!(again(&usual, status, error), "{status:?} {error:?}");
        }
        for (status, error) in [
            (Some(200), None),
            (Some(302), None),
            (Some(400), None),
            (None, Some(Garbage)),
            // The agent ends.
            (None, Some(Interrupted)),
            (None, None),
        ] {
            assert!(!again(&usual, status, error), "{status:?} {error:?}");
        }
        assert!(again("404, 4xx", Some(404), None) && !again("404", Some(500), None));
        assert!(!again("timeout", None, Some(Connect)));
        for bad in ["", "2xx", "200", "600", "5xx,,", "always"] {
            assert!(bad.parse::<Conditions>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_handler_asks_for_is_waited_for_within_bounds() {
        let after = |text: &str| retry(9).after(&attempt(Some(503), None, Some(text)), 0, 1.0).unwrap();
        assert_eq!(after("7"), 7 * S);
        assert_eq!(after("0"), S, "never sooner than it would be anyway");
        assert_eq!(after("3600"), 60 * S, "never later than the longest pause");
        assert_eq!(after("99999999999999999999999"), 60 * S);
        // 8 seconds after the attempt ended.
        assert_eq!(after("Fri, 21 Nov 2025 08:33:29 GMT"), 8 * S);
        for nonsense in ["", "soon", "-5", "1.5", "Fri, 99 Nov 2025 08:33:29 GMT", "Fri, 21 Nov 1995 08:33:29 GMT"] {
            assert_eq!(after(nonsense), S, "{nonsense:?}");
        }
    }

    #[test]
    fn pauses_as_they_are_written() {
        assert_eq!("1s..1m".parse(), Ok(Backoff::default()));
        assert_eq!("1s".parse(), Ok(Backoff::default()));
        assert_eq!("5m".parse(), Ok(Backoff { first: 300 * S, longest: 300 * S }));
        assert_eq!("100ms..2s".parse(), Ok(Backoff { first: S / 10, longest: 2 * S }));
        for bad in ["", "0", "2s..1s", "1s..", "..1s", "1s..2d", "x"] {
            assert!(bad.parse::<Backoff>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_handler_makes_a_pause_shorter_or_longer_than_was_said(text in ".{0,40}", made in any::<u32>(), random in 0.0..1.0_f64) {
            let retry = retry(u32::MAX);
            if let Some(pause) = retry.after(&attempt(Some(429), None, Some(&text)), made, random) {
                prop_assert!(pause >= S / 2 && pause <= 60 * S, "{pause:?}");
            }
        }
    }
}
