//! The relay as its operator has it: a settings file below environment and flags, mistakes named with their place, a service manager that is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;
use tunnel_testkit::{Binary, Process, Ran, Relay, Signal, Stage, eventually};

fn relay(stage: &Stage, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = stage.program(Binary::Relay);
    command.args(arguments).envs(environment.iter().copied());
    Process::run("healthie-relay", &mut command)
}

fn file(stage: &Stage, text: &str) -> String {
    let path = stage.folder().join("relay.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let stage = Stage::new();
    let data = stage.folder().join("d").display().to_string();
    let path = file(
        &stage,
        &format!(
            "data = {data:?}\nhttp = ['127.0.0.1:0']\n[limits]\nmax-body = '1KiB'\n[spool]\nage = '2d'\nbytes = '2GiB'\n"
        ),
    );
    let all = ["check-config", "--json", "--config", &path, "--spool-bytes", "3GiB"];
    let said =
        relay(&stage, &all, &[("HEALTHIE_RELAY_SPOOL_AGE", "5h"), ("HEALTHIE_RELAY_SPOOL_BYTES", "4GiB")]).ok().json();
    assert_eq!(said["ok"], Value::Bool(true));
    let of = |name: &str| {
        let one = said["settings"].as_array().unwrap().iter().find(|s| s["setting"] == name).unwrap();
        (one["values"][0].as_str().unwrap_or_default().to_owned(), one["from"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(of("spool.bytes"), ("3GiB".into(), "flag".into()));
    assert_eq!(of("spool.age"), ("5h".into(), "env HEALTHIE_RELAY_SPOOL_AGE".into()));
    assert_eq!(of("limits.max-body"), ("1KiB".into(), format!("{path}:4")));
    assert_eq!(of("log.level"), ("info".into(), "default".into()));
    assert!(!std::path::Path::new(&data).exists(), "checking makes nothing");
}

#[test]
fn mistakes_are_named_with_their_line_and_the_exit_code_says_which_kind() {
    let stage = Stage::new();
    let path = file(&stage, "dta = '/x'\n[limits]\nmax-body = '1M'\n");
    for command in ["serve", "check-config"] {
        let said = relay(&stage, &[command, "--config", &path], &[]).exits(2).err();
        assert!(said.contains("relay.toml:1:1: there is no setting dta; the nearest is data"), "{said}");
        assert!(said.contains("relay.toml:3:12: \"1M\" is no value for limits.max-body"), "{said}");
        assert!(said.contains("^^^"), "{said}");
    }
    // Nothing is wrong with how it is written, and yet it cannot be served so.
    let missing = stage.folder().join("no.pem").display().to_string();
    let path = file(
        &stage,
        &format!("data = {:?}\n[tls]\nhttps = '127.0.0.1:0'\ncert = {missing:?}\nkey = {missing:?}\n", stage.folder()),
    );
    let said = relay(&stage, &["check-config", "--config", &path], &[]).exits(1).err();
    assert!(said.contains("no.pem"), "{said}");
    let example = relay(&stage, &["check-config", "--example"], &[]).ok().out();
    assert!(example.contains("[acme]"), "{example}");
}

/// A relay with a socket that it tells things.
fn told() -> (Relay, UnixDatagram, Stage) {
    let stage = Stage::new();
    let path = stage.temporary().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let relay = stage
        .relay()
        .with_environment("NOTIFY_SOCKET", &path.display().to_string())
        .with_environment("WATCHDOG_USEC", "100000");
    (relay, socket, stage)
}

/// Reads what it is told until that is there.
fn wait_for(socket: &UnixDatagram, wanted: &str) {
    let mut heard = Vec::new();
    for _ in 0..10_000 {
        let mut bytes = [0; 4096];
        let len = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{wanted} was not said ({e}): {heard:?}"));
        let said = String::from_utf8_lossy(&bytes[..len]).into_owned();
        if said.lines().any(|line| line == wanted) {
            return;
        }
        heard.push(said);
    }
    panic!("{wanted} was not said: {heard:?}");
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let (mut relay, socket, _stage) = told();
    relay.start();
    wait_for(&socket, "READY=1");
    wait_for(&socket, "WATCHDOG=1");
    relay.server().signal(Signal::HUP);
    wait_for(&socket, "RELOADING=1");
    wait_for(&socket, "READY=1");
    relay.server().signal(Signal::TERM);
    wait_for(&socket, "STOPPING=1");
    assert!(relay.server().wait().success());
}

#[test]
fn a_reload_says_which_settings_wait_for_a_restart() {
    let stage = Stage::new();
    let path = file(&stage, "[limits]\nmax-body = '1KiB'\n[log]\nlevel = 'info'\n");
    let mut relay = stage.relay().with_arguments(&["--config", &path]);
    relay.start();
    file(&stage, "[limits]\nmax-body = '2KiB'\n[log]\nlevel = 'info'\n");
    let said = relay.run(&["reload"]).ok().err();
    assert!(said.contains("take a restart") && said.contains("limits.max-body"), "{said}");
    let messages = relay.server().messages().clone();
    eventually("the relay to say so", || {
        messages.all().iter().any(|m| m.contains("take a restart") && m.contains("limits.max-body")).then_some(())
    });
    file(&stage, "[limits]\nmax-body = 'x'\n");
    let said = relay.run(&["reload"]).exits(2).err();
    assert!(said.contains("relay.toml:2:12: \"x\" is no value for limits.max-body"), "{said}");
    let noted =
        eventually("the relay to note it", || messages.all().into_iter().find(|m| m.contains("would not start so")));
    assert!(!noted.contains("\\u{a}") && !noted.contains('\n'), "one line: {noted}");
    // One meaning, one code, as with check-config: a mistake in the file, or what cannot be used although it is written right.
    for (text, code) in [("[limits\n", 2), ("nmae = 'x'\n", 2), ("public-url = 'relay'\n", 1)] {
        let path = file(&stage, text);
        relay.run(&["reload"]).exits(code);
        relay.run(&["check-config", "--http", "127.0.0.1:0", "--config", &path]).exits(code);
    }
    assert!(relay.terminate().success());
    relay.run(&["reload"]).exits(3);
}
