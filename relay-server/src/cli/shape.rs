//! What can be said about a tunnel, by `tunnel add` and `tunnel set` alike.

use clap::Args;
use tunnel_delivery::Method;

use super::Failure;
use crate::registry::{AnswerMode, TunnelSettings, WhenAway};
use crate::settings::units::{size, some_span};
use crate::sources::Source;

/// Settings of a tunnel; what is not given stays as it is.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// What the sender of a delivery is answered [`tunnel add` without it: ack]
    #[arg(long, value_enum)]
    answer: Option<AnswerMode>,
    /// What a passthrough tunnel does when no agent is connected [`tunnel add` without it: refuse]
    #[arg(long, value_enum)]
    when_away: Option<WhenAway>,
    /// How long a sender waits for the handler in passthrough: 15s, 2m; up to 10m [`tunnel add` without it: 15s]
    #[arg(long, value_name = "TIME", value_parser = answer_within)]
    answer_within: Option<u64>,
    /// The methods it answers; others get 405 [`tunnel add` without it: POST]
    #[arg(long, value_name = "METHOD,…", value_delimiter = ',', value_parser = method)]
    methods: Vec<Method>,
    /// From where it takes deliveries: healthie-staging, healthie-production, a network or address; others get 403. May be repeated; `any` for anywhere
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = from)]
    from: Vec<From>,
    /// Longest body, where it is to be shorter than the relay's; `default` for the relay's
    #[arg(long, value_name = "SIZE", value_parser = or_default(size))]
    max_body: Option<Own<u64>>,
    /// Most deliveries a second, where it is to be other than the relay's (--tunnel-rate); 0 for any, `default` for the relay's
    #[arg(long, value_name = "N", value_parser = or_default(number))]
    rate: Option<Own<u32>>,
    /// Most deliveries at once, after a pause; `default` for ten seconds of --rate, or the relay's
    #[arg(long, value_name = "N", value_parser = or_default(burst))]
    burst: Option<Own<u32>>,
    /// Seal deliveries to the keys of the tunnel's agents before they are stored, so that only the agents can open them; --seal=no ends it
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = clap::builder::BoolishValueParser::new())]
    seal: Option<bool>,
}

/// Its own, or nothing: then the relay's.
type Own<T> = Box<Option<T>>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Any,
    Source(Source),
}

impl Shape {
    /// Changes what was given.
    ///
    /// # Errors
    /// What was given contradicts itself.
    pub(super) fn apply(self, to: &mut TunnelSettings) -> Result<(), Failure> {
        if self.from.len() > 1 && self.from.contains(&From::Any) {
            return Err(Failure::usage("--from any takes deliveries from anywhere; give it alone"));
        }
        if let Some(answer) = self.answer {
            to.answer = answer;
        }
        if let Some(when_away) = self.when_away {
            to.when_away = when_away;
        }
        if let Some(millis) = self.answer_within {
            to.answer_within_ms = millis;
        }
        if !self.methods.is_empty() {
            to.methods.clear();
            for method in self.methods {
                if !to.methods.contains(&method) {
                    to.methods.push(method);
                }
            }
        }
        if !self.from.is_empty() {
            let sources = self.from.into_iter().filter_map(|from| match from {
                From::Any => None,
                From::Source(source) => Some(source),
            });
            to.from = sources.collect();
        }
        if let Some(own) = self.max_body {
            to.max_body = *own;
        }
        if let Some(own) = self.rate {
            to.per_second = *own;
        }
        if let Some(own) = self.burst {
            to.burst = *own;
        }
        if let Some(seal) = self.seal {
            to.seal = seal;
        }
        Ok(())
    }

    /// Whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        *self == Shape::default()
    }
}

/// For lists that people read: what sets this tunnel apart, if anything does.
pub(super) fn apart(settings: &TunnelSettings) -> String {
    let mut words = Vec::new();
    let methods: Vec<&str> = settings.methods.iter().map(Method::as_str).collect();
    if methods != ["POST"] {
        words.push(format!("methods {}", methods.join(",")));
    }
    if !settings.from.is_empty() {
        let from: Vec<String> = settings.from.iter().map(Source::to_string).collect();
        words.push(format!("from {}", from.join(",")));
    }
    words.extend(settings.max_body.map(|bytes| format!("max-body {bytes}")));
    words.extend(settings.per_second.map(|n| format!("rate {n}")));
    words.extend(settings.burst.map(|n| format!("burst {n}")));
    if settings.seal {
        words.push("sealed".to_owned());
    }
    words.join(" ")
}

fn answer_within(text: &str) -> Result<u64, String> {
    let millis = u64::try_from(some_span(text)?.as_millis()).unwrap_or(u64::MAX);
    if (1_000..=600_000).contains(&millis) { Ok(millis) } else { Err("write 1s to 10m".to_owned()) }
}

fn method(text: &str) -> Result<Method, String> {
    if text == "CONNECT" {
        return Err("CONNECT is for proxies; the relay is none".to_owned());
    }
    text.parse().map_err(|_| format!("{text:?} is not an HTTP method; write such as POST or PUT"))
}

fn from(text: &str) -> Result<From, String> {
    if text == "any" { Ok(From::Any) } else { text.parse().map(From::Source) }
}

fn number(text: &str) -> Result<u32, String> {
    let n = text.parse::<u32>().ok().filter(|n| *n <= 1_000_000 && text.bytes().all(|b| b.is_ascii_digit()));
    n.ok_or_else(|| "write a whole number up to 1000000".to_owned())
}

fn burst(text: &str) -> Result<u32, String> {
    number(text).and_then(|n| if n == 0 { Err("it must be 1 or more".to_owned()) } else { Ok(n) })
}

/// Reads `default` as nothing, and everything else by `read`.
fn or_default<T>(
    read: impl Fn(&str) -> Result<T, String> + Clone + Send + Sync,
) -> impl Fn(&str) -> Result<Own<T>, String> + Clone + Send + Sync {
    move |text| if text == "default" { Ok(Box::new(None)) } else { read(text).map(|own| Box::new(Some(own))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use tunnel_delivery::Timestamp;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        shape: Shape,
    }

    fn change(settings: &mut TunnelSettings, line: &str) -> Result<(), String> {
        let parsed =
            Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).map_err(|e| e.to_string())?;
        parsed.shape.apply(settings).map_err(|f| f.message)
    }

    #[test]
    fn what_is_given_changes_and_the_rest_stays() {
        let mut settings = TunnelSettings::new(AnswerMode::Passthrough, Timestamp::default());
        let unchanged = settings.clone();
        change(&mut settings, "").unwrap();
        assert_eq!((&settings, apart(&settings).as_str()), (&unchanged, ""));
        change(&mut settings, "--methods POST,PUT,POST --from healthie-staging,10.0.0.0/8 --max-body 64KiB").unwrap();
        change(&mut settings, "--rate 5 --answer-within 2m").unwrap();
        assert_eq!(apart(&settings), "methods POST,PUT from healthie-staging,10.0.0.0/8 max-body 65536 rate 5");
        assert_eq!((settings.answer_within_ms, settings.answer), (120_000, AnswerMode::Passthrough));
        let relays = crate::rates::Rate { per_second: 500, burst: 5000 };
        assert_eq!(settings.rate(relays), crate::rates::Rate { per_second: 5, burst: 50 });
        change(&mut settings, "--seal").unwrap();
        assert!(settings.seal && apart(&settings).ends_with(" sealed"));
        change(
            &mut settings,
            "--seal=no --methods POST --from any --max-body default --rate default --answer-within 15s",
        )
        .unwrap();
        assert_eq!(settings, unchanged);
        assert_eq!(settings.rate(relays), relays);
    }

    #[test]
    fn a_wrong_value_is_told_what_would_be_right() {
        let mut settings = TunnelSettings::new(AnswerMode::Ack, Timestamp::default());
        for (line, told) in [
            ("--from any,10.0.0.0/8", "give it alone"),
            ("--from production", "healthie-production"),
            ("--methods P(ST", "POST or PUT"),
            ("--methods CONNECT", "for proxies"),
            ("--answer-within 11m", "1s to 10m"),
            ("--answer-within 0", "longer than nothing"),
            ("--answer-within 15", "15s for seconds"),
            ("--max-body 1G", "GiB"),
            ("--rate -1", ""),
            ("--burst 0", "1 or more"),
            ("--seal=perhaps", "yes|no"),
        ] {
            let error = change(&mut settings, line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
