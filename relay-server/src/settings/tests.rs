//! Stories of settings files, on a command of a few flags.

use std::ffi::OsString;
use std::fs;

use clap::{Arg, ArgAction, Command, value_parser};

use super::*;

fn command() -> Command {
    let config = Arg::new("config").long("config").value_parser(value_parser!(std::path::PathBuf));
    let serve = Command::new("serve")
        .arg(config)
        .arg(Arg::new("http").long("http").action(ArgAction::Append).value_parser(value_parser!(std::net::SocketAddr)))
        .arg(Arg::new("data").long("data").required(true).help("Where it is"))
        .next_help_heading("ACME")
        .arg(Arg::new("acme_name").long("acme-name").action(ArgAction::Append).requires("http").conflicts_with("off"))
        .arg(Arg::new("acme_agree").long("acme-agree").action(ArgAction::SetTrue))
        .arg(Arg::new("off").long("off").action(ArgAction::SetTrue))
        .next_help_heading("Limits")
        .arg(Arg::new("max_body").long("max-body").value_parser(units::size).default_value("1MiB"))
        .arg(Arg::new("form").long("form").value_parser(["text", "json"]))
        .arg(Arg::new("pass").long("pass").value_parser(units::size).env("NOBODY_SETS_THIS").hide_env_values(true));
    Command::new("relay").subcommand(serve).subcommand(Command::new("other"))
}

fn with(text: &str, arguments: &[&str]) -> Result<Settled, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.toml");
    fs::write(&path, text).unwrap();
    let mut all: Vec<OsString> = ["relay", "serve", "--config"].map(Into::into).into();
    all.push(path.clone().into());
    all.extend(arguments.iter().map(Into::into));
    let settled = settle(&command(), all, "serve").and_then(|settled| match settled.mistakes.is_empty() {
        true => Ok(settled),
        false => Err(SettingsError::Wrong(settled.mistakes)),
    });
    settled.map_err(|e| e.to_string().replace(path.to_str().unwrap(), "r.toml"))
}

#[test]
fn what_is_right_is_read_beside_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.toml");
    fs::write(&path, "data = '/d'\n[limits]\nmax-body = 'much'\nform = 'json'\n").unwrap();
    let line = ["relay".into(), "serve".into(), "--config".into(), OsString::from(path)];
    let settled = settle(&command(), line.into(), "serve").unwrap();
    assert_eq!((settled.mistakes.len(), &settled.mistaken[..]), (1, &["max-body".to_owned()][..]));
    let matches = settled.matches.subcommand().unwrap().1;
    assert_eq!(matches.get_one::<String>("form").map(String::as_str), Some("json"));
    assert_eq!(matches.get_one::<u64>("max_body"), Some(&(1 << 20)), "its default");
}

fn values(text: &str, arguments: &[&str]) -> Vec<String> {
    let settled = with(text, arguments).unwrap_or_else(|e| panic!("{e}"));
    let matches = settled.matches.subcommand().unwrap().1;
    shown(&command(), "serve", &settled, matches)
        .into_iter()
        .filter(|s| s.from != "unset" && s.from != "default")
        .map(|s| {
            let from = s.from.rsplit('/').next().unwrap_or_default();
            format!("{}={} ({from})", s.setting, s.values.join(","))
        })
        .collect()
}

#[test]
fn what_flags_do_not_give_comes_from_the_file() {
    let file = "data = '/d'\nhttp = ['[::]:80', '[::1]:81']\n[acme]\nname = 'a.test'\nagree = true\n[limits]\nmax-body = 5\nform = 'json'\n";
    let all = [
        "http=[::]:80,[::1]:81 (r.toml:2)",
        "data=/d (r.toml:1)",
        "acme.name=a.test (r.toml:4)",
        "acme.agree=true (r.toml:5)",
        "limits.max-body=5 (r.toml:7)",
        "limits.form=json (r.toml:8)",
    ];
    assert_eq!(values(file, &[]), all);
    let over = values(file, &["--data", "/e", "--http", "[::]:1", "--"]);
    assert_eq!(over[..3], ["http=[::]:1 (flag)", "data=/e (flag)", "acme.name=a.test (r.toml:4)"]);
    // Whole names, wherever they may stand.
    assert_eq!(values("data='/d'\nmax-body=7\n[acme]\nacme-agree=true\n", &[]).len(), 3);
    assert_eq!(values("data='/d'\n[acme]\nagree=false\n", &[])[1], "acme.agree=false (r.toml:3)");
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let wrong = |text: &str| with(text, &[]).err().unwrap_or_else(|| panic!("taken: {text}"));
    for (text, told) in [
        ("dtaa = '/d'", "r.toml:1:1: there is no setting dtaa; the nearest is data\n 1 | dtaa\n   | ^^^^"),
        ("data='/d'\n[acme]\nnmae = 'x'", "r.toml:3:1: there is no setting acme.nmae; the nearest is acme.name"),
        ("[amce]\nname = 'x'", "there is no table [amce]; the nearest is [acme]"),
        ("[limits]\ndata = '/d'", "r.toml:2:1: data does not stand here but before the first table"),
        ("[acme]\nmax-body = 1", "max-body does not stand here but in the table [limits]"),
        ("zzzzzzzzzzzzzz = 1", "there is no setting zzzzzzzzzzzzzz; `healthie-relay check-config --example`"),
        ("[limits]\nmax-body = '1M'", "r.toml:2:12: \"1M\" is no value for limits.max-body: M may mean two sizes"),
        ("[limits]\nform = 'yaml'", "\"yaml\" is no value for limits.form: write text, json"),
        ("http = ['[::]:80', '81']", "r.toml:1:20: \"81\" is no value for http: invalid socket address"),
        ("data = ['/d']", "r.toml:1:8: data takes one value, not a list"),
        ("[acme]\nagree = 'yes'", "r.toml:2:9: acme.agree is true or false, without quotes"),
        ("data='/d'\nmax-body=1\n[limits]\nmax-body=2", "r.toml:4:1: limits.max-body is set twice: in line 2 and here"),
        ("data='/d'\n[acme]\nname='a'", "from the settings file:\n  r.toml:1: data\n  r.toml:3: acme.name"),
        (
            "data='/d'\nhttp='[::]:1'\n[acme]\nname='a'\noff=true",
            "r.toml:5:1: acme.name (line 4) and acme.off exclude each other; keep one",
        ),
        ("http = '[::]:80'", "--data <data>"),
        ("data = ", "r.toml:1:"),
    ] {
        let said = wrong(text);
        assert!(said.contains(told), "{text}\n---\n{said}");
    }
    let several = wrong("a-very-wrong-key = 1\n[limits]\nform = 'yaml'\n");
    assert_eq!(several.matches("r.toml:").count(), 2, "{several}");
    let secret = wrong("[limits]\npass = 'hunter2'");
    assert!(secret.contains("r.toml:2:8: this is no value") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn a_secret_is_not_shown() {
    assert_eq!(values("data='/d'\n[limits]\npass='77'", &[])[1], "limits.pass=*** (r.toml:3)");
}

#[test]
fn without_a_file_the_command_line_is_all() {
    let line = |words: &[&str]| settle(&command(), words.iter().map(Into::into).collect(), "serve");
    assert!(line(&["relay", "other"]).unwrap().file.is_none());
    assert!(line(&["relay", "serve", "--data", "/d"]).is_ok());
    assert!(matches!(line(&["relay", "serve"]), Err(SettingsError::Arguments { .. })));
    assert!(matches!(line(&["relay", "serve", "--help"]), Err(SettingsError::Arguments { .. })));
    let none = line(&["relay", "serve", "--config", "/no/such/file"]);
    assert!(none.err().unwrap().to_string().contains("cannot read the settings file /no/such/file"));
}

#[test]
fn the_example_is_understood_once_its_comments_are_taken_away() {
    let text = example(&command(), "serve", "A file.", &[("data", "\"/var\"")]);
    assert!(text.contains("\ndata = \"/var\"\n") && text.contains("\n[acme]\n"), "{text}");
    assert!(text.contains("# max-body = \"1MiB\"\n"), "{text}");
    let defaults: String = text
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(line) if line.starts_with("max-body") || line.starts_with("agree") => Some(line),
            Some(_) => None,
            None => Some(line),
        })
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(values(&defaults, &[]).len(), 3, "{defaults}");
}
