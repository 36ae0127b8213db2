//! What the commands that use the settings would refuse of them, for whoever looks at all of them at once (`config`).
//!
//! Each setting is read by what reads it for the commands, so that both say the same. Nothing is made and nobody is asked: a command that prints the key is not
//! run, the keyring not opened, and no collector reached. What is set and cannot be used is wrong; what `listen` lacks beside that may still come with its own
//! flags, so it is told and is no mistake.

use tunnel_delivery::{DeviceName, TunnelName};
use tunnel_telemetry::Traces;
use tunnel_vault::{KeySource, Vault};

use super::ui::Form;
use super::{Failure, arguments, inspect, listen};
use crate::control::has_store;
use crate::data_folder::{self, UnfitFolder};
use crate::forward::{HostHeader, Route, TargetUrl};
use crate::query::Saved;
use crate::retry::{Backoff, Conditions};
use crate::settings::{
    KEYS, Key, Moment, Origin, Settings, SettingsError, parse_age, parse_bytes, parse_count, parse_span, secret,
};
use crate::signing::ForwardAs;
use crate::system_keyring;

/// All of it. What is held back is nobody's yet.
pub(super) fn wrong(settings: &Settings) -> Vec<Failure> {
    let of_keys = KEYS.iter().filter_map(|key| judged(key, settings)).flatten();
    let of_keys = of_keys.filter(|e| !matches!(e, SettingsError::NotAllowed { .. })).map(Failure::from);
    let common = listen::common_collector(settings.environment()).filter(|_| settings.raw("otlp_endpoint").is_none());
    let of_others = common.and_then(|(name, address)| {
        let why = collector(address).err()?;
        Some(Failure::usage(format!("{name} (from environment {name}): {why}")))
    });
    let of_filters = settings.filters().filter_map(|(name, query, origin)| {
        let why = Saved::default().insert(name, query).err()?;
        Some(Failure::usage(format!("[filters] in {origin}: {why}")))
    });
    of_keys.chain(of_others).chain(inspect::judged_keys(settings).1).chain(of_filters).collect()
}

/// What `listen` would refuse as things are although nothing of it is wrong, and what it would not look at, a line each.
pub(super) fn lacking(settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    for key in ["relay", "token"].into_iter().filter(|key| settings.raw(key).is_none()) {
        let missing = SettingsError::Missing { key };
        let hint = missing.hint().unwrap_or_default();
        all.push(refused_by_listen(&format!("{missing}; {hint}")));
    }
    all.extend(closed(settings).map(|e| refused_by_listen(&format!("{e}; {}", e.hint()))));
    let held = KEYS.iter().filter_map(|key| settings.read_each(key.name, |_| Ok(())).err());
    let held: Vec<_> = held.map(|e| refused_by_listen(&e.to_string())).collect();
    if !held.is_empty() {
        all.extend(held);
        all.push("read that file; if you trust it, `healthie-tunnel config allow` accepts what it says now".to_owned());
    }
    if let [counts, others @ ..] = &settings.store_key_ways()[..] {
        let named = |way: &'static str| {
            let origin = settings.raw(way).map_or(Origin::Default, |s| s.origin.clone());
            format!("{way} (from {origin})")
        };
        all.extend(others.iter().map(|way| format!("{} is not looked at: {} counts", named(way), named(counts))));
    }
    if matches!(settings.store_key_by(), Ok(None)) {
        all.extend(locked(settings));
    }
    all
}

fn refused_by_listen(why: &str) -> String {
    format!("`listen` would refuse this as it is: {why}")
}

/// That the store does not open without a key, where none is given.
fn locked(settings: &Settings) -> Option<String> {
    let data = settings.data().ok().filter(|data| has_store(data))?;
    let e = Vault::check(&data.join("archive"), None).err()?;
    Some(refused_by_listen(&e.to_string()))
}

/// The patterns of event names that can be read, for a word about those that no event has.
pub(super) fn patterns(settings: &Settings) -> Vec<String> {
    let routes = settings.read_all("forward", route).unwrap_or_default();
    let events = settings.read_all("events", |text| Ok(text.to_owned())).unwrap_or_default();
    events.into_iter().chain(routes.into_iter().map(|route| route.pattern)).collect()
}

fn route(text: &str) -> Result<Route, String> {
    text.parse().map_err(|e: crate::forward::TargetError| e.to_string())
}

/// All that is wrong with one setting; nothing where nobody would judge it.
fn judged(key: &Key, settings: &Settings) -> Option<Vec<SettingsError>> {
    let read = match key.name {
        "secret" => return Some(each("secret", settings, secret)),
        "forward" => return Some(each("forward", settings, route)),
        "relay" => settings.relay().map(drop),
        "allow_plain_http" | "skip_invalid" | "no_forward" => settings.is_set(key.name).map(drop),
        "token" => settings.token().map(drop),
        "tunnel" => settings.value::<TunnelName>("tunnel").map(drop),
        "data" => data(settings),
        "ca" => settings.read("ca", arguments::certificates).map(drop),
        "device" => settings.value::<DeviceName>("device").map(drop),
        "since" => settings.value::<Moment>("since").map(drop),
        "target" => settings.value::<TargetUrl>("target").map(drop),
        "forward_as" => settings.value::<ForwardAs>("forward_as").map(drop),
        "host_header" => settings.value::<HostHeader>("host_header").map(drop),
        // Any text is a pattern of names, and any a line for the shell.
        "events" | "exec" => settings.read_all(key.name, |_| Ok(())).map(drop),
        "timeout" => settings.read("timeout", parse_span).map(drop),
        "concurrency" => settings.read("concurrency", listen::concurrency).map(drop),
        "tunnel_headers" => settings.is_set_or("tunnel_headers", true).map(drop),
        "retry" => settings.read("retry", arguments::times).map(drop),
        "retry_backoff" => settings.value::<Backoff>("retry_backoff").map(drop),
        "retry_on" => settings.value::<Conditions>("retry_on").map(drop),
        "keep" => settings.read("keep", parse_age).map(drop),
        "keep_count" => settings.read("keep_count", parse_count).map(drop),
        "keep_size" => settings.read("keep_size", parse_bytes).map(drop),
        "otlp_endpoint" => settings.read("otlp_endpoint", collector).map(drop),
        "store_key" | "store_key_file" | "store_key_command" | "store_key_keyring" => store_key(key.name, settings),
        "ui" => settings.value::<Form>("ui").map(drop),
        "inspector_port" => settings.value::<u16>("inspector_port").map(drop),
        _ => return None,
    };
    Some(read.err().into_iter().collect())
}

/// All that is wrong with the values of a list.
fn each<T>(key: &'static str, settings: &Settings, parse: impl Fn(&str) -> Result<T, String>) -> Vec<SettingsError> {
    match settings.read_each(key, parse) {
        Ok(values) => values.into_iter().filter_map(Result::err).collect(),
        Err(e) => vec![e],
    }
}

fn refused(settings: &Settings, key: &'static str, why: String) -> SettingsError {
    SettingsError::Value { key, origin: settings.raw(key).map_or(Origin::Default, |s| s.origin.clone()), why }
}

/// The folder may be there or not; where it is, it must be one to work in.
fn data(settings: &Settings) -> Result<(), SettingsError> {
    let data = settings.data()?;
    // Where nobody named one, `listen` may still be given another.
    let fit = if closed(settings).is_some() { Ok(()) } else { data_folder::check_writable(&data) };
    fit.map_err(|e| refused(settings, "data", e.to_string()))
}

/// That no files can be made in the folder that is used where none is named.
fn closed(settings: &Settings) -> Option<UnfitFolder> {
    let data = settings.data().ok().filter(|_| settings.raw("data").is_none())?;
    data_folder::check_writable(&data).err().filter(|e| matches!(e, UnfitFolder::Closed { .. }))
}

fn collector(address: &str) -> Result<(), String> {
    // An empty one means none.
    let problem = Some(address).filter(|address| !address.is_empty()).and_then(Traces::problem);
    problem.map_or(Ok(()), |e| Err(e.to_string()))
}

/// Whether the key can be had that is given in this way, and is the store's; another way may be the one that counts.
fn store_key(way: &str, settings: &Settings) -> Result<(), SettingsError> {
    let Some((key, source)) = settings.store_key_by()?.filter(|(key, _)| *key == way) else { return Ok(()) };
    let wrong = |why| refused(settings, key, why);
    match source {
        KeySource::Command(_) => Ok(()),
        KeySource::Place(place) => system_keyring::name(&place.name).map(drop).map_err(wrong),
        source => {
            let given = source.read().map_err(|e| wrong(e.to_string()))?;
            match settings.data() {
                Ok(data) if has_store(&data) => {
                    Vault::check(&data.join("archive"), Some(&given)).map_err(|e| wrong(e.to_string()))
                }
                _ => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Environment;

    fn load(text: &str) -> (tempfile::TempDir, Settings) {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("healthie-tunnel/config.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text.replace("HERE", home.path().to_str().unwrap())).unwrap();
        let pairs =
            ["XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name.to_owned(), home.path().display().to_string()));
        let environment: Environment = pairs.into_iter().collect();
        let settings = Settings::load(Vec::new(), environment, Path::new("/nonexistent")).unwrap();
        (home, settings)
    }

    #[test]
    fn no_setting_goes_unjudged() {
        let (_home, settings) = load("");
        let unjudged: Vec<_> = KEYS.iter().filter(|key| judged(key, &settings).is_none()).map(|key| key.name).collect();
        assert_eq!(unjudged, [""; 0]);
        assert_eq!(wrong(&settings).len(), 0, "{:?}", wrong(&settings));
    }

    /// One bad value for each setting that has any, each in a line of its own.
    #[test]
    fn everything_is_told_in_one_go_with_its_line() {
        let bad = [
            ("relay", "ftp://x"),
            ("allow_plain_http", "perhaps"),
            ("token", "two words"),
            ("tunnel", "No Name"),
            ("data", "HERE/healthie-tunnel/config.toml/sub"),
            ("secret", "@HERE/none"),
            ("ca", "HERE/healthie-tunnel/config.toml"),
            ("device", "No Name"),
            ("since", "soon"),
            ("target", "ftp://x"),
            ("forward", "=3000"),
            ("forward_as", "x"),
            ("host_header", "x"),
            ("skip_invalid", "x"),
            ("no_forward", "x"),
            ("timeout", "5"),
            ("concurrency", "0"),
            ("tunnel_headers", "x"),
            ("retry", "-1"),
            ("retry_backoff", "0s"),
            ("retry_on", "x"),
            ("keep", "3 parsecs"),
            ("keep_count", "x"),
            ("keep_size", "x"),
            ("otlp_endpoint", "ftp://x"),
            ("store_key_file", "HERE/none"),
            ("ui", "paper"),
            ("inspector_port", "70000"),
        ];
        let lines: String = bad.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        let tables = "[filters]\none = \"status:nonsense\"\ngood = \"is:pinned\"\nTwo = \"x\"\n[keys]\nnonsense = \"x\"\nreplay = \"no such key\"\n";
        let (_home, settings) = load(&format!("{lines}{tables}"));
        let told: Vec<_> = wrong(&settings).into_iter().map(|failure| failure.message).collect();
        for (number, (key, _)) in (1..).zip(bad) {
            let at = format!("config.toml:{number})");
            let of =
                |text: &&String| text.contains(&at) && (text.starts_with(&format!("{key} (from ")) || key == "relay");
            assert_eq!(told.iter().filter(of).count(), 1, "{key}: {told:#?}");
        }
        let first = bad.len() + 2;
        for (table, line) in [("filters", first), ("filters", first + 2), ("keys", first + 4), ("keys", first + 5)] {
            let begins = |text: &&String| {
                text.starts_with(&format!("[{table}] in file ")) && text.contains(&format!(":{line}: "))
            };
            assert_eq!(told.iter().filter(begins).count(), 1, "{table} {line}: {told:#?}");
        }
        assert_eq!(told.len(), bad.len() + 4, "{told:#?}");
    }

    /// Each value of a list, with the line that it stands in.
    #[test]
    fn of_a_list_every_mistake_is_told() {
        let text = "forward = [\n  \"=3000\",\n  \"task.*=3000\",\n  \"*=ftp://x\",\n]\nsecret = [\"\", \"good\", \"@HERE/none\"]\n";
        let told: Vec<_> = wrong(&load(text).1).into_iter().map(|failure| failure.message).collect();
        for (begins, line, which) in [
            ("forward (from ", 2, "value 1 of 3: "),
            ("forward (from ", 4, "value 3 of 3: "),
            ("secret (from ", 6, "value 1 of 3: "),
            ("secret (from ", 6, "value 3 of 3: "),
        ] {
            let fits =
                |text: &&String| text.starts_with(begins) && text.contains(&format!("config.toml:{line}): {which}"));
            assert_eq!(told.iter().filter(fits).count(), 1, "{line} {which}: {told:#?}");
        }
        assert_eq!(told.len(), 4, "{told:#?}");
    }

    /// A flag of `listen` may still give it, so it is no mistake.
    #[test]
    fn what_listen_would_lack_is_told_and_is_no_mistake() {
        let told = |text: &str| {
            let (_home, settings) = load(text);
            assert_eq!(wrong(&settings).len(), 0, "{text}: {:?}", wrong(&settings));
            lacking(&settings)
        };
        let nothing = told("");
        assert!(nothing.len() == 2 && nothing.iter().all(|line| line.contains("`listen` would refuse")), "{nothing:?}");
        assert!(nothing[0].contains("relay is not set") && nothing[1].contains("--token"), "{nothing:?}");
        assert_eq!(told("relay = \"http://127.0.0.1:1\"\ntoken = \"t\"\n"), [""; 0]);
        let ways = "relay = \"http://127.0.0.1:1\"\ntoken = \"t\"\nstore_key_command = \"exit 1\"\nstore_key_keyring = \"work\"\n";
        let two = told(ways);
        assert!(two.len() == 1 && two[0].starts_with("store_key_command (from file "), "{two:?}");
        assert!(two[0].contains("config.toml:3)") && two[0].contains("config.toml:4) counts"), "{two:?}");
    }

    #[test]
    fn a_folder_that_nobody_named_and_that_is_closed_is_no_mistake() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let home = file.path().to_str().unwrap().to_owned();
        let load = |flags: Vec<(&'static str, String)>| {
            let environment = [("XDG_DATA_HOME".to_owned(), home.clone())].into_iter().collect();
            Settings::load(flags, environment, Path::new("/nonexistent")).unwrap()
        };
        let unnamed = load(Vec::new());
        assert_eq!(wrong(&unnamed).len(), 0, "{:?}", wrong(&unnamed));
        let told = lacking(&unnamed);
        assert!(told.iter().any(|line| line.contains("no files can be made") && line.contains("--data")), "{told:?}");
        let named = load(vec![("data", format!("{home}/sub"))]);
        assert_eq!(wrong(&named).len(), 1);
        assert!(!lacking(&named).iter().any(|line| line.contains("no files can be made")));
    }

    #[test]
    fn the_collector_of_all_programs_is_judged_where_it_counts() {
        let told = |own: &[(&'static str, &str)], common: &str| {
            let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), common.to_owned())].into_iter().collect();
            let flags = own.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
            let settings = Settings::load(flags, environment, Path::new("/nonexistent")).unwrap();
            let told = wrong(&settings).into_iter().map(|failure| failure.message);
            told.filter(|text| text.starts_with("OTEL_")).count()
        };
        assert_eq!((told(&[], "ftp://x"), told(&[], "http://127.0.0.1:4318")), (1, 0));
        assert_eq!(told(&[("otlp_endpoint", "http://127.0.0.1:4318")], "ftp://x"), 0);
    }

    #[test]
    fn a_key_is_judged_where_it_can_be_seen() {
        for (line, wanted) in [
            ("store_key = \"short\"", Some("store_key (from ")),
            ("store_key_command = \"exit 1\"", None),
            ("store_key_keyring = \"work\"", None),
            ("store_key_keyring = \"a\\nb\"", Some("store_key_keyring (from ")),
            // The file counts, so nobody would read the other.
            ("store_key = \"short\"\nstore_key_file = \"HERE/none\"", Some("store_key_file (from ")),
        ] {
            let told: Vec<_> = wrong(&load(line).1).into_iter().map(|failure| failure.message).collect();
            match wanted {
                None => assert_eq!(told, [""; 0], "{line}"),
                Some(wanted) => assert!(told.len() == 1 && told[0].starts_with(wanted), "{line}: {told:?}"),
            }
        }
    }
}
