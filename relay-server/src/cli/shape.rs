//! What can be said about a tunnel, by `tunnel add` and `tunnel set` alike.

use clap::Args;
use tunnel_delivery::Method;
use tunnel_protocol::MAX_BODY;

use super::Failure;
use crate::registry::{AnswerMode, TunnelSettings, WhenAway};
use crate::settings::addresses::unambiguous;
use crate::settings::units::{show_size, size, some_span, span};
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
    /// The methods it answers, of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS; others get 405 [`tunnel add` without it: POST]
    #[arg(long, value_name = "METHOD,…", value_delimiter = ',', value_parser = method)]
    methods: Vec<Method>,
    /// From where it takes deliveries: healthie-staging, healthie-production, a network or address; others get 403. May be repeated; `any` for anywhere
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = from)]
    from: Vec<From>,
    /// Longest body, where it is to be shorter than the relay's; `default` for the relay's
    #[arg(long, value_name = "SIZE", value_parser = or_default(body))]
    max_body: Option<Own<u64>>,
    /// Most deliveries a second, where it is to be other than the relay's (--tunnel-rate); `any` for no limit, `default` for the relay's
    #[arg(long, value_name = "N", value_parser = or_default(rate))]
    rate: Option<Own<u32>>,
    /// Most deliveries at once, after a pause; `default` for ten seconds of --rate, or the relay's
    #[arg(long, value_name = "N", value_parser = or_default(burst))]
    burst: Option<Own<u32>>,
    /// Most that waits for its agents, where that is to be other than the relay's (--spool-bytes); beyond it deliveries are answered 503. What waits
    /// already stays. `default` for the relay's
    #[arg(long, value_name = "SIZE", value_parser = or_default(share))]
    spool_bytes: Option<Own<u64>>,
    /// How long it waits for them at most, where that is to be other than the relay's (--spool-age): 12h, 7d. What is older IS DROPPED, also of what waits
    /// already. `default` for the relay's
    #[arg(long, value_name = "TIME", value_parser = or_default(age))]
    spool_age: Option<Own<u64>>,
    /// Seal deliveries to the keys of the tunnel's agents before they are stored, so that only the agents can open them; --seal=no ends it
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = yes_or_no)]
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
        if let Some(own) = self.spool_bytes {
            to.spool_bytes = *own;
        }
        if let Some(own) = self.spool_age {
            to.spool_age_ms = *own;
        }
        if let Some(seal) = self.seal {
            to.seal = seal;
        }
        Ok(())
    }

    /// Whether it says how large something may be.
    pub(super) fn is_sized(&self) -> bool {
        self.max_body.is_some() || self.spool_bytes.is_some()
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
    words.extend(settings.per_second.map(|n| if n == 0 { "rate any".to_owned() } else { format!("rate {n}") }));
    words.extend(settings.burst.map(|n| format!("burst {n}")));
    words.extend(settings.spool_bytes.map(|bytes| format!("spool-bytes {}", show_size(bytes))));
    words.extend(settings.spool_age_ms.map(|ms| format!("spool-age {}s", ms / 1000)));
    if settings.seal {
        words.push("sealed".to_owned());
    }
    words.join(" ")
}

/// What does not come to what was meant with a tunnel's own longest body and share of the spool, beside the relay's.
pub(super) fn not_in_force(own: (Option<u64>, Option<u64>), relay: (u64, u64)) -> Vec<String> {
    let mut told = Vec::new();
    let ((body, share), (relay_body, relay_share)) = (own, relay);
    if let Some(body) = body.filter(|body| *body > relay_body) {
        told.push(format!(
            "a body of {} is more than the relay takes: {} stays the most (--max-body of `serve`)",
            show_size(body),
            show_size(relay_body)
        ));
    }
    let (longest, share) = (body.unwrap_or(relay_body).min(relay_body), share.unwrap_or(relay_share));
    if share < longest {
        told.push(format!(
            "its share of the spool is {} and its longest body {}: a delivery that does not fit in there is refused",
            show_size(share),
            show_size(longest)
        ));
    }
    told
}

fn answer_within(text: &str) -> Result<u64, String> {
    let millis = u64::try_from(some_span(text)?.as_millis()).unwrap_or(u64::MAX);
    if (1_000..=600_000).contains(&millis) { Ok(millis) } else { Err("write 1s to 10m".to_owned()) }
}

/// The methods of RFC 9110 and RFC 5789 that carry something to a tunnel. CONNECT is for proxies, TRACE for nobody, and what is not known at all is a slip of
/// the pen, with which a tunnel would answer nothing.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fn method(text: &str) -> Result<Method, String> {
    let wrong = || format!("{text:?} is none of {}", METHODS.join(", "));
    // They are told apart by letter case (RFC 9110, section 9.1), so `post` would never be met.
    let known = METHODS.iter().find(|known| **known == text).ok_or_else(wrong)?;
    known.parse().map_err(|_| wrong())
}

fn from(text: &str) -> Result<From, String> {
    if text == "any" {
        return Ok(From::Any);
    }
    // A registry is read with such ones in it all the same; who types one is asked which he means.
    text.parse().map_or(Ok(()), unambiguous)?;
    text.parse().map(From::Source)
}

fn body(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("it must be 1 or more: with 0 nothing could be delivered".to_owned()),
        bytes if bytes > MAX_BODY => {
            Err(format!("it must be {} or less, the most that is ever carried", show_size(MAX_BODY)))
        }
        bytes => Ok(bytes),
    }
}

/// The least share of the spool: one delivery of a usual size and what lies around it.
const SHARE_LEAST: u64 = 64 << 10;

fn share(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes >= SHARE_LEAST { Ok(bytes) } else { Err(format!("it must be {} or more", show_size(SHARE_LEAST))) }
}

/// What is too old is looked for once a minute.
fn age(text: &str) -> Result<u64, String> {
    let millis = u64::try_from(span(text)?.as_millis()).unwrap_or(u64::MAX);
    if millis >= 60_000 { Ok(millis) } else { Err("it must be 1m or more".to_owned()) }
}

/// The registry says "no limit" with 0.
fn rate(text: &str) -> Result<u32, String> {
    if text == "any" { Ok(0) } else { burst(text).map_err(|e| format!("{e}; `any` for no limit")) }
}

fn burst(text: &str) -> Result<u32, String> {
    let n = text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    n.filter(|n| (1..=1_000_000).contains(n)).ok_or_else(|| "write a whole number, 1 to 1000000".to_owned())
}

/// As the help says it; what people write elsewhere for the same is taken too.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => Ok(true),
        "no" | "off" | "false" => Ok(false),
        _ => Err("write --seal, --seal=yes or --seal=no".to_owned()),
    }
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
        change(&mut settings, "--spool-bytes 2MiB --spool-age 12h").unwrap();
        assert!(apart(&settings).ends_with(" spool-bytes 2MiB spool-age 43200s"));
        change(&mut settings, "--spool-bytes default --spool-age default").unwrap();
        assert_eq!(settings.share(), None);
        change(&mut settings, "--rate any").unwrap();
        assert!(apart(&settings).ends_with(" rate any"));
        assert_eq!(settings.rate(relays).per_second, 0, "no limit");
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
    fn what_is_not_in_force_is_told() {
        const RELAY: (u64, u64) = (1 << 20, 1 << 30);
        for fine in [(None, None), (Some(1 << 20), Some(1 << 20)), (Some(64 << 10), Some(64 << 10))] {
            assert_eq!(not_in_force(fine, RELAY), [] as [&str; 0]);
        }
        assert!(
            not_in_force((Some(2 << 20), None), RELAY)[0].contains("2MiB is more than the relay takes: 1MiB stays")
        );
        assert!(not_in_force((None, Some(64 << 10)), RELAY)[0].contains("64KiB and its longest body 1MiB"));
        assert_eq!(not_in_force((Some(2 << 20), Some(64 << 10)), RELAY).len(), 2);
    }

    #[test]
    fn help_shows_the_values_that_are_taken() {
        let help = <Line as clap::CommandFactory>::command().render_long_help().to_string();
        assert!(help.contains("--seal[=<yes|no>]") && !help.contains("true"), "{help}");
        let mut settings = TunnelSettings::new(AnswerMode::Ack, Timestamp::default());
        for (value, is) in
            [("yes", true), ("no", false), ("on", true), ("OFF", false), ("true", true), ("false", false)]
        {
            change(&mut settings, &format!("--seal={value}")).unwrap();
            assert_eq!(settings.seal, is, "{value}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_what_would_be_right() {
        let mut settings = TunnelSettings::new(AnswerMode::Ack, Timestamp::default());
        for (line, told) in [
            ("--from any,10.0.0.0/8", "give it alone"),
            ("--from production", "healthie-production"),
            ("--from 10.0.0.1/8", "write 10.0.0.0/8 for all of that network, or 10.0.0.1 for the one address"),
            ("--methods P(ST", "POST, PUT"),
            ("--methods CONNECT", "none of GET, HEAD, POST"),
            ("--methods FOO", "none of GET, HEAD, POST"),
            ("--methods POST,post", "none of GET, HEAD, POST"),
            ("--max-body 0", "1 or more"),
            ("--max-body 1TiB", "or less"),
            ("--rate 0", "`any` for no limit"),
            ("--rate 1000001", "1 to 1000000"),
            ("--answer-within 11m", "1s to 10m"),
            ("--answer-within 0", "longer than nothing"),
            ("--answer-within 15", "15s for seconds"),
            ("--max-body 1G", "GiB"),
            ("--rate -1", ""),
            ("--burst 0", "1 to 1000000"),
            ("--spool-bytes 0", "64KiB or more"),
            ("--spool-bytes 1G", "GiB"),
            ("--spool-age 59s", "1m or more"),
            ("--spool-age 0s", "1m or more"),
            ("--seal=perhaps", "--seal=no"),
            ("--seal=1", "--seal=yes"),
        ] {
            let error = change(&mut settings, line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
