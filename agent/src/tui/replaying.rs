//! How many deliveries are sent again: the words that are written for it, which are those of `healthie-tunnel replay`. Pure.

use std::time::Duration;

use crate::forward::TargetUrl;
use crate::replay::pace::MOST_AT_ONCE;
use crate::replay::{Manner, Pace, Rate};

/// What is shown where they are asked for.
pub(crate) const KNOWN: &str = "--rate 5/s --concurrency 4 --times 2 --to 4000 --chaos twice,shuffle,late=10m,drop=5% --seed 1 \
    --original-timing --speed 10 --allow-production";

/// How many are sent at once where a rate or an original timing asks for more than one after the other.
const AT_ONCE: usize = 16;

/// Where to, in which order, and how fast.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Replaying {
    pub(crate) to: Option<TargetUrl>,
    pub(crate) allow_production: bool,
    pub(crate) manner: Manner,
    /// Whether a seed was given; otherwise one is made where it is needed.
    pub(crate) seeded: bool,
    pub(crate) pace: Pace,
}

impl Replaying {
    /// Reads options; none of them is one after the other, to where each would be forwarded.
    ///
    /// # Errors
    /// A sentence that names the word that is wrong.
    pub(crate) fn read(text: &str) -> Result<Replaying, String> {
        let mut out = Replaying::default();
        let (mut at_once, mut speed) = (None, None);
        let mut words = text.split_whitespace().map(str::to_owned);
        while let Some(word) = words.next() {
            let (name, given) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (word, None),
            };
            let mut value = || given.clone().or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("{name}: {text:?} is no number"));
            match name.as_str() {
                "--rate" => out.pace.interval = value()?.parse::<Rate>()?.interval(),
                "--concurrency" => {
                    let n = usize::try_from(number(value()?)?).unwrap_or(usize::MAX);
                    at_once = Some(n).filter(|n| (1..=MOST_AT_ONCE).contains(n));
                    if at_once.is_none() {
                        return Err(format!("--concurrency: write 1 to {MOST_AT_ONCE}"));
                    }
                }
                "--times" => {
                    let n = u32::try_from(number(value()?)?).ok().filter(|n| (1..=1000).contains(n));
                    out.manner.times = n.ok_or("--times: write 1 to 1000")?;
                }
                "--chaos" => out.manner.chaos = value()?.parse()?,
                "--seed" => (out.manner.seed, out.seeded) = (number(value()?)?, true),
                "--to" => out.to = Some(value()?.parse().map_err(|e| format!("--to: {e}"))?),
                "--original-timing" => out.manner.speed = out.manner.speed.or(Some(1.0)),
                "--speed" => {
                    let text = value()?;
                    let factor = text.parse().ok().filter(|f: &f64| f.is_finite() && *f > 0.0);
                    speed = Some(factor.ok_or_else(|| format!("--speed: {text:?} is no factor such as 10 or 0.5"))?);
                }
                "--allow-production" => out.allow_production = true,
                other => return Err(format!("{other:?} is none of {KNOWN}")),
            }
        }
        match (speed, out.manner.speed) {
            (Some(_), None) => return Err("--speed is for --original-timing; --rate says how fast".into()),
            (Some(factor), Some(_)) => out.manner.speed = Some(factor),
            (None, _) => {}
        }
        let paced = out.manner.speed.is_some() || out.pace.interval > Duration::ZERO;
        out.pace.at_once = at_once.unwrap_or(if paced { AT_ONCE } else { 1 });
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_those_of_the_command() {
        assert_eq!(Replaying::read("").unwrap(), Replaying::default());
        let read = Replaying::read("--rate 5/s --times=2 --chaos twice,late=10m --seed 7 --to 4000").unwrap();
        assert_eq!((read.pace.interval, read.pace.at_once), (Duration::from_millis(200), AT_ONCE));
        assert_eq!((read.manner.times, read.manner.seed, read.seeded), (2, 7, true));
        assert_eq!(read.manner.chaos.late_by, Duration::from_secs(600));
        assert_eq!(read.to.unwrap().to_string(), "http://localhost:4000");
        assert_eq!(Replaying::read("--original-timing --speed 10").unwrap().manner.speed, Some(10.0));
        assert!(Replaying::read(&KNOWN.replace("--rate 5/s ", "")).is_ok(), "what is shown is understood");
        for (text, said) in [
            ("--rat 5", "none of"),
            ("--rate", "needs a value"),
            ("--speed 2", "--original-timing"),
            ("--times 0", "1 to 1000"),
            ("--concurrency 0", "write 1"),
            ("--speed x --original-timing", "no factor"),
        ] {
            let why = Replaying::read(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in r"((--(rate|times|chaos|speed|to|seed)|=|[0-9a-z/%é]{0,4}| ){0,8})") {
            let _ = Replaying::read(&text);
        }
    }
}
