//! What every command does that has changed something: it writes that into the audit log, and has a running relay take it over at once. And how such
//! commands read ids and points in time.

use std::path::Path;
use std::time::Duration;

use tunnel_delivery::Timestamp;

use super::tell;
use crate::audit::{Entry, What, Who, append};
use crate::control::{Question, Told, ask_telling};
use crate::session::wall_clock;
use crate::settings::units::span;
use crate::tokens::TokenId;

/// Something that whoever runs this command has done just now.
pub(super) fn done(what: What) -> Entry {
    Entry::new(wall_clock(), what, Who::operator())
}

/// The registry was changed, and `entry` says how. What goes wrong from here on is told and undoes nothing: the change is durable, and a running relay
/// looks at the file by itself every half second.
pub(super) fn changed(data: &Path, entry: Entry) {
    if let Err(e) = append(data, &[entry]) {
        tell(&format!("healthie-relay: IT IS DONE, BUT THE AUDIT LOG CANNOT BE WRITTEN: {e}"));
    }
    match ask_telling(data, &Question::Changed, &mut still_to_come) {
        Ok(None | Some(Told::Taken)) => {}
        Ok(Some(Told::No { why })) => tell(&format!("healthie-relay: it is noted, and not in force yet: {why}")),
        Ok(Some(_)) => {
            tell("healthie-relay: it is noted; the running relay is of another version and takes it over soon");
        }
        Err(e) => tell(&format!("healthie-relay: it is noted, and in force once the relay looks: {e}")),
    }
}

/// Tells whoever waits for a running relay that it is still at it: after five seconds, and every ten from then on. To be asked each second or so.
pub(super) fn still_to_come(so_long: Duration) {
    let seconds = so_long.as_secs();
    if seconds % 10 == 5 {
        tell(&format!("the relay has been at it for {seconds} s; waiting for it"));
    }
}

/// `by` after `now`.
pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

/// For clap: the public part of a token.
pub(super) fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).ok_or_else(|| {
        "a token's public part is twelve hexadecimal digits; `healthie-relay token list` shows them".to_owned()
    })
}

/// For clap: a length of time from now, or a point in time.
pub(super) fn in_or_at(text: &str) -> Result<When, String> {
    match span(text) {
        Ok(span) => Ok(When::In(span)),
        Err(_) => text.parse().map(When::At).map_err(|_| {
            format!("{text:?} is no time; write 12h or 30d for as long from now, or 2026-12-24T18:00:00Z")
        }),
    }
}

/// A point in time as somebody typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// So long from now.
    In(Duration),
    /// Then.
    At(Timestamp),
}

impl When {
    /// When that is, seen from `now`.
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            When::In(span) => later(now, span),
            When::At(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_from_now_or_a_date() {
        let now = Timestamp::from_micros(1_000_000);
        assert_eq!(in_or_at("1m").unwrap().from(now).as_micros(), 61_000_000);
        assert_eq!(in_or_at("1970-01-01T00:00:02Z").unwrap().from(now).as_micros(), 2_000_000);
        assert!(in_or_at("tomorrow").unwrap_err().contains("30d"));
    }
}
