//! What came of many deliveries, counted. Pure.

use serde::Serialize;

/// Counts by kind of answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// How many were sent.
    pub sent: usize,
    /// How many were answered as they should be.
    pub right: usize,
    /// Answered 2xx.
    #[serde(rename = "2xx")]
    pub success: usize,
    /// Answered 3xx.
    #[serde(rename = "3xx")]
    pub redirect: usize,
    /// Answered 4xx.
    #[serde(rename = "4xx")]
    pub client_error: usize,
    /// Answered 5xx.
    #[serde(rename = "5xx")]
    pub server_error: usize,
    /// Not answered, or not with a final status.
    pub errors: usize,
    /// Of those without an answer, how many because nobody was there.
    pub unreachable: usize,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, status: Option<u16>, right: bool, unreachable: bool) {
        self.sent += 1;
        self.right += usize::from(right);
        self.unreachable += usize::from(unreachable);
        *match status {
            Some(200..=299) => &mut self.success,
            Some(300..=399) => &mut self.redirect,
            Some(400..=499) => &mut self.client_error,
            Some(500..=599) => &mut self.server_error,
            _ => &mut self.errors,
        } += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sent: {} 2xx", self.sent, self.success)?;
        for (count, what) in [
            (self.redirect, "3xx"),
            (self.client_error, "4xx"),
            (self.server_error, "5xx"),
            (self.errors, if self.errors == 1 { "error" } else { "errors" }),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.right != self.success {
            write!(f, "; {} as expected", self.right)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once() {
        let mut tally = Tally::default();
        for status in [Some(200), Some(204), Some(302), Some(404), Some(500), Some(999), None] {
            tally.add(status, status.is_some_and(|s| s < 300), status.is_none());
        }
        assert_eq!(tally.to_string(), "7 sent: 2 2xx, 1 3xx, 1 4xx, 1 5xx, 2 errors");
        assert_eq!((tally.right, tally.unreachable), (2, 1));
        let mut refused = Tally::default();
        refused.add(Some(401), true, false);
        assert_eq!(refused.to_string(), "1 sent: 0 2xx, 1 4xx; 1 as expected");
    }
}
