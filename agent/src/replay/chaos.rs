//! What `--chaos` asks for: `twice,shuffle,late=10m,drop=5%`. Reading and printing it, and the dice that a seed gives. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::settings::parse_span;

/// How many of the deliveries are late where nothing else is said.
const LATE: Share = Share(2_000);

/// A share of the deliveries, in hundredths of a per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// Nothing.
    pub const NONE: Share = Share(0);
    /// Everything.
    pub const ALL: Share = Share(10_000);

    /// Whether a roll of the dice falls into it.
    pub(super) fn holds(self, roll: u64) -> bool {
        roll % 10_000 < u64::from(self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    /// `5%`, `0.25%`.
    fn from_str(text: &str) -> Result<Share, String> {
        let wrong = || {
            format!("{:?} is not a share; write 5% or 0.25%, at most 100%", text.chars().take(40).collect::<String>())
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, parts) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |t: &str| !t.is_empty() && t.len() <= 3 && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(parts) || parts.len() > 2 {
            return Err(wrong());
        }
        let whole: u16 = whole.parse().map_err(|_| wrong())?;
        let parts: u16 = format!("{parts:0<2}").parse().map_err(|_| wrong())?;
        Some(whole * 100 + parts).filter(|s| *s <= 10_000).map(Share).ok_or_else(wrong)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, parts) => write!(f, "{whole}.{parts:02}%"),
        }
    }
}

/// Disorder that a handler must be able to live with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chaos {
    /// These are sent once more, up to eight deliveries later.
    pub twice: Share,
    /// All are sent in another order.
    pub shuffle: bool,
    /// These are sent later than their turn is.
    pub late: Share,
    /// The longest that a late one is late.
    pub late_by: Duration,
    /// These are not sent.
    pub drop: Share,
}

impl Chaos {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        *self != Chaos::default()
    }
}

impl FromStr for Chaos {
    type Err = String;

    fn from_str(text: &str) -> Result<Chaos, String> {
        let mut chaos = Chaos::default();
        let mut seen: Vec<&str> = Vec::new();
        for word in text.split(',').map(str::trim) {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if seen.contains(&name) {
                return Err(format!("{name:?} stands there twice"));
            }
            match (name, value) {
                ("twice", None) => chaos.twice = Share::ALL,
                ("twice", Some(share)) => chaos.twice = share.parse()?,
                ("shuffle", None) => chaos.shuffle = true,
                ("late", Some(value)) => {
                    let (by, share) = value.split_once(':').map_or((value, None), |(by, share)| (by, Some(share)));
                    chaos.late_by = parse_span(by)?;
                    chaos.late = share.map_or(Ok(LATE), str::parse)?;
                    if chaos.late_by.is_zero() {
                        return Err("late by nothing is not late; write late=10m".into());
                    }
                }
                ("drop", Some(share)) => chaos.drop = share.parse()?,
                _ => {
                    let shown: String = word.chars().take(40).collect();
                    return Err(format!(
                        "{shown:?} is none of twice, twice=20%, shuffle, late=10m, late=10m:50%, drop=5%"
                    ));
                }
            }
            seen.push(name);
        }
        Ok(chaos)
    }
}

/// What a roll of the dice is for; each has numbers of its own.
#[derive(Clone, Copy)]
pub(super) enum Roll {
    Twice = 1,
    Gap,
    Late,
    LateBy,
    Drop,
    Shuffle,
}

/// The number that `seed` has for the `n`th delivery: the same one whenever and in whatever order it is asked for.
pub(super) fn roll(seed: u64, n: u64, of: Roll) -> u64 {
    mix(mix(seed ^ (of as u64).wrapping_mul(0xa076_1d64_78bd_642f)) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// SplitMix64's finish.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chaos_is_read() {
        let read = |text: &str| text.parse::<Chaos>();
        assert_eq!(
            read("twice, shuffle,late=10m,drop=5%"),
            Ok(Chaos {
                twice: Share::ALL,
                shuffle: true,
                late: Share(2_000),
                late_by: Duration::from_secs(600),
                drop: Share(500)
            })
        );
        assert_eq!(read("late=1s:0.5%,twice=100%").map(|c| (c.late, c.twice)), Ok((Share(50), Share::ALL)));
        for bad in [
            "",
            "x",
            "twice,",
            "twice=",
            "twice=5",
            "twice=101%",
            "drop",
            "drop=-1%",
            "shuffle=1",
            "late",
            "late=0s",
            "late=1s:",
            "drop=1.234%",
            "drop=.5%",
            "twice,twice",
            "drop=5%,drop=6%",
            "drop=99999999999%",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), near in "(twice|late|drop|shuffle|=|,|:|%|\\.|[0-9]|m){0,8}") {
            let _ = text.parse::<Chaos>();
            let _ = near.parse::<Chaos>();
        }

        #[test]
        fn shares_are_read_as_they_are_printed(hundredths in 0_u16..=10_000) {
            prop_assert_eq!(Share(hundredths).to_string().parse(), Ok(Share(hundredths)));
        }
    }

    #[test]
    fn a_share_is_about_that_much() {
        let held = (0..100_000).filter(|n| Share(500).holds(roll(7, *n, Roll::Drop))).count();
        assert!((4_700..5_300).contains(&held), "{held}");
        let both = (0..100_000)
            .filter(|n| Share(500).holds(roll(7, *n, Roll::Drop)) && Share(500).holds(roll(7, *n, Roll::Late)));
        assert!(both.count() < 500, "what is dropped must not be what is late");
    }
}
