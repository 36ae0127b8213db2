//! The figures as text, in one of two forms: OpenMetrics 1.0, which Prometheus asks for, and Prometheus' older text format 0.0.4, which everything
//! else reads. They differ in a few lines of the descriptions only: the older one names a counter by its series (`…_total`), and knows neither
//! units nor infos nor the end's mark.

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Classic,
}

impl Form {
    /// The form that whoever accepts this wants.
    pub(super) fn of(accept: Option<&[u8]>) -> Form {
        const OPEN_METRICS: &[u8] = b"application/openmetrics-text";
        let wanted = accept.is_some_and(|accept| accept.windows(OPEN_METRICS.len()).any(|w| w == OPEN_METRICS));
        if wanted { Form::OpenMetrics } else { Form::Classic }
    }

    /// Its Content-Type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The text of these registries, which have no name in common.
pub(super) fn text(registries: &[&Registry], form: Form) -> Result<String, std::fmt::Error> {
    let mut text = String::with_capacity(32 << 10);
    for registry in registries {
        encode_registry(&mut text, registry)?;
    }
    encode_eof(&mut text)?;
    Ok(match form {
        Form::OpenMetrics => text,
        Form::Classic => classic(&text),
    })
}

fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // A description's help comes before its type, and only the type tells how it is called.
    let mut help = "";
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), _, rest) => help = rest.unwrap_or_default(),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (ending, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                out.push_str(&format!("# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    fn registry() -> Registry {
        let mut registry = Registry::with_prefix("a");
        let counter = Family::<[(&str, String); 1], Counter>::default();
        counter.get_or_create(&[("name", "x\"\n# EOF\\".to_owned())]).inc();
        registry.register_with_unit("read", "Bytes read", Unit::Bytes, counter);
        registry.register("open", "How many are open", Gauge::<i64>::default());
        registry.register("build", "What it is", Info::new([("version", "1")]));
        registry
    }

    #[test]
    fn both_forms_say_the_same() {
        let open = text(&[&registry()], Form::OpenMetrics).unwrap();
        assert!(open.contains("# TYPE a_read_bytes counter\n# UNIT a_read_bytes bytes\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
        let classic = text(&[&registry()], Form::Classic).unwrap();
        assert!(
            classic.contains("# HELP a_read_bytes_total Bytes read.\n# TYPE a_read_bytes_total counter\n"),
            "{classic}"
        );
        assert!(classic.contains("# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n"), "{classic}");
        assert!(!classic.contains("# UNIT") && !classic.contains("\n# EOF"), "{classic}");
        let series = |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(series(&open), series(&classic));
        assert!(series(&open).contains(&r#"a_read_bytes_total{name="x\"\n# EOF\\"} 1"#.to_owned()), "{open}");
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Form::of(Some(prometheus)), Form::OpenMetrics);
        assert_eq!(Form::of(Some(b"*/*")), Form::Classic);
        assert_eq!(Form::of(None), Form::Classic);
    }
}
