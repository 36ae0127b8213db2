//! What every source file has, and what is named in one place only.

use crate::files::{Source, sources};

/// Where the process's environment may be read: where settings are built, and where tests find what they test (a room's own tests/ too).
const ENVIRONMENT: [&str; 5] =
    ["agent/src/settings/", "relay-server/src/cli/", "crates/testkit/src/", "crates/bench/src/", "fuzz/src/bin/"];

/// These files quote what they look for.
fn is_a_guard(source: &Source) -> bool {
    source.path.starts_with("tests/house/")
}

#[test]
fn every_source_opens_with_what_it_owns() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("//! ").is_some_and(|head| head.len() > 20);
        assert!(says, "{} does not open with a `//!` head that says what it owns: {first:?}", source.path);
    }
}

#[test]
fn sled_is_named_in_one_file() {
    let naming = |source: &Source| source.code().any(|(_, line)| line.contains("sled::") || line.contains("use sled"));
    let files: Vec<_> = sources().into_iter().filter(|s| !is_a_guard(s) && naming(s)).map(|s| s.path).collect();
    assert_eq!(files.len(), 1, "sled is named in {files:?}");
    assert!(files[0].starts_with("crates/archive/src/"), "{files:?}");
}

#[test]
fn the_environment_is_read_where_settings_are_built() {
    for source in sources() {
        let may = source.path.contains("/tests/") || ENVIRONMENT.iter().any(|folder| source.path.starts_with(folder));
        if may || is_a_guard(&source) {
            continue;
        }
        let reads = |line: &str| line.contains("env::var") || line.contains("set_var(") || line.contains("remove_var(");
        if let Some((n, line)) = source.code().find(|(_, line)| reads(line)) {
            panic!("{}:{n} touches the process's environment: {}", source.path, line.trim());
        }
    }
}

#[test]
fn no_module_is_a_drawer_for_everything() {
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        let drawer = ["utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "misc.rs"].contains(&name);
        assert!(!drawer, "{} says nothing about what is in it", source.path);
    }
}

/// Where tests may sleep.
const SLEEPERS: [&str; 6] = [
    // There time is simulated or paused: sleeping takes none.
    "tests/simulation/",
    "relay-server/tests/limits/",
    // One helper each, with a deadline, for what announces itself to nobody.
    "agent/tests/support/mod.rs",
    "relay-server/tests/door/visitor.rs",
    // Processes that write at a pace of their own until they are killed; nobody waits for what they sleep for.
    "crates/archive/tests/sample/child.rs",
    "crates/spool/tests/writer/mod.rs",
];

#[test]
fn tests_wait_for_conditions_and_take_any_port() {
    for source in sources() {
        let is_a_test = source.path.starts_with("tests/") || source.path.contains("/tests/");
        if is_a_guard(&source) || !is_a_test || SLEEPERS.iter().any(|path| source.path.starts_with(path)) {
            continue;
        }
        for (n, line) in source.code() {
            assert!(!line.contains("sleep("), "{}:{n} sleeps: {}", source.path, line.trim());
        }
    }
}
