//! The settings of `serve` for what the relay tells its operator: the log, and traces.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tunnel_telemetry::SafeLines;

use crate::config::TraceTo;

#[derive(Args)]
pub(super) struct Telling {
    /// Form of the log, on standard error
    #[arg(long, visible_alias = "log", value_name = "FORM", default_value = "text", env = "HEALTHIE_RELAY_LOG_FORMAT")]
    log_format: LogForm,
    /// What to log, for example `debug` or `healthie_relay=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter, env = "HEALTHIE_RELAY_LOG")]
    log_level: String,
    /// Log a line for each request: its id, where from, what for, how answered, how long; never what is in it
    #[arg(long, env = "HEALTHIE_RELAY_LOG_REQUESTS")]
    pub(super) log_requests: bool,
    /// Send traces of deliveries to this OpenTelemetry collector, by OTLP over HTTP, such as http://127.0.0.1:4318; OTEL_EXPORTER_OTLP_ENDPOINT counts
    /// too, and headers for the collector come from OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "URL", env = "HEALTHIE_RELAY_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Which part of the deliveries is traced, 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 1.0, value_parser = ratio, env = "HEALTHIE_RELAY_OTLP_RATIO")]
    otlp_ratio: f64,
    /// Carry on the traces of senders that send a traceparent line, and let them decide what is traced; without this the line is passed on and not heeded
    #[arg(long, env = "HEALTHIE_RELAY_TRUST_TRACEPARENT")]
    trust_traceparent: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// a line of text for each event
    Text,
    /// a JSON object for each event
    Json,
}

impl Telling {
    /// Begins the log.
    pub(super) fn begin_log(&self) {
        let filter = EnvFilter::new(&self.log_level);
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
        match self.log_format {
            LogForm::Text => log.with_writer(SafeLines(std::io::stderr)).init(),
            LogForm::Json => {
                log.with_writer(std::io::stderr).json().flatten_event(true).with_span_list(false).init();
            }
        }
    }

    /// Where traces go. `common` is what the variables say that are common to all programs.
    pub(super) fn traces(&self, common: Option<String>) -> Option<TraceTo> {
        let endpoint = self.otlp_endpoint.clone().or(common).filter(|endpoint| !endpoint.is_empty())?;
        Some(TraceTo { endpoint, ratio: self.otlp_ratio, trust_senders: self.trust_traceparent })
    }
}

/// The collector that is set for all programs, the more special one first.
pub(super) fn common_collector() -> Option<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

/// How our own crates' events are named, by which filters are told apart.
const OWN: [&str; 2] = ["healthie_relay", "tunnel_"];

/// A filter as it was written, if it is one and something of the relay's own comes through: a word that is no level names a part of a program, mostly one
/// that there is not, and the relay would tell nothing at all.
fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map_err(|e| e.to_string())?;
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let own = |part: &&str| OWN.iter().any(|own| part.starts_with(own));
    // Spans have a grammar of their own, with commas in it; who writes them knows.
    if text.contains('[') || parts.is_empty() {
        return Ok(text.to_owned());
    }
    let level = |part: &&str| part.parse::<LevelFilter>().is_ok();
    let taken =
        "write off, error, warn, info, debug or trace, and for a part of the relay such as healthie_relay=debug";
    if let Some(word) = parts.iter().find(|part| !part.contains('=') && !level(part) && !own(part)) {
        return Err(format!("{word:?} is no level; {taken}"));
    }
    if !parts.iter().any(|part| level(part) || own(part)) {
        return Err(format!("with that alone nothing of the relay would be logged; {taken}"));
    }
    Ok(text.to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "write a number from 0 to 1, such as 0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{filter, ratio};

    #[test]
    fn a_filter_lets_something_of_the_relay_through() {
        for ok in
            ["info", "OFF", "debug,hyper=warn", "healthie_relay=debug", "healthie_relay", "warn,[session]=trace", ""]
        {
            assert_eq!(filter(ok), Ok(ok.to_owned()));
        }
        for (bad, told) in
            [("nosuchlevel", "\"nosuchlevel\" is no level"), ("info,verbose", "\"verbose\" is"), ("a=b=c", "")]
        {
            assert!(filter(bad).is_err_and(|e| e.contains(told)), "{bad}");
        }
        for bad in ["nosuchpart=debug", "hyper=trace,h2=info"] {
            assert!(filter(bad).is_err_and(|e| e.contains("nothing of the relay")), "{bad}");
        }
    }

    #[test]
    fn a_part_is_at_most_all() {
        assert_eq!((ratio("0"), ratio("0.25"), ratio("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for bad in ["", "1.1", "-0.1", "NaN", "inf", "10%"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
