//! Which of our crates may use which: the table in ARCHITECTURE.md against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::files::{root, sources, text};

/// The table's head, as ARCHITECTURE.md has it.
const HEAD: &str = "| room | owns | may use of ours | never touches |";

/// What tests of any room may use besides what the room itself may.
const FOR_TESTS: [&str; 1] = ["testkit"];

/// A room's name: its folder without `crates/`.
fn room(text: &str) -> String {
    let text = text.trim().trim_matches('`').trim_end_matches('/');
    text.strip_prefix("crates/").unwrap_or(text).to_owned()
}

/// The rooms that a cell of the third column allows. It is a list of rooms, `–` for none, `everything`, or `all but A and B`; what
/// follows a semicolon is for people and for the test below.
fn allowed(cell: &str, all: &BTreeSet<String>) -> BTreeSet<String> {
    let rule = cell.split(';').next().unwrap_or_default().trim();
    let list = |text: &str| -> BTreeSet<String> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty() && *word != "and");
        let names: BTreeSet<String> = words.map(room).collect();
        let unknown: Vec<_> = names.difference(all).collect();
        assert!(unknown.is_empty(), "ARCHITECTURE.md: {cell:?} names rooms that are not there: {unknown:?}");
        names
    };
    match rule {
        "–" | "-" | "" => BTreeSet::new(),
        "everything" => all.clone(),
        _ => match rule.strip_prefix("all but ") {
            Some(excepted) => all.difference(&list(excepted)).cloned().collect(),
            None => list(rule),
        },
    }
}

/// The rows of the table: room and third cell.
fn rows() -> BTreeMap<String, String> {
    let architecture = text("ARCHITECTURE.md");
    let mut lines = architecture.lines().skip_while(|line| line.trim() != HEAD);
    assert!(lines.next().is_some(), "ARCHITECTURE.md has no table with the head {HEAD}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect() };
    rows.map(|line| match &cells(line)[..] {
        [name, _, third, _] => (room(name), third.clone()),
        other => panic!("ARCHITECTURE.md: a row with {} cells: {line}", other.len()),
    })
    .collect()
}

/// Our packages by room.
fn packages() -> BTreeMap<String, Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let root = root();
    let room_of = |package: &Package| {
        let folder = package.manifest_path.parent().expect("a manifest is in a folder").as_std_path().to_owned();
        room(
            &folder.canonicalize().expect("the folder is there").strip_prefix(&root).expect("within").to_string_lossy(),
        )
    };
    metadata.packages.into_iter().map(|package| (room_of(&package), package)).collect()
}

#[test]
fn every_room_is_in_the_table_and_uses_only_what_it_may() {
    let (packages, rows) = (packages(), rows());
    let all: BTreeSet<String> = packages.keys().cloned().collect();
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), all, "the table's rooms (left) are not the workspace's");
    let names: BTreeMap<&str, &String> = packages.iter().map(|(room, p)| (p.name.as_str(), room)).collect();
    let mut wrong = Vec::new();
    for (room, package) in &packages {
        let may = allowed(&rows[room], &all);
        for dependency in &package.dependencies {
            let Some(used) = names.get(dependency.name.as_str()) else { continue };
            let for_tests = dependency.kind == DependencyKind::Development && FOR_TESTS.contains(&used.as_str());
            if !may.contains(*used) && !for_tests {
                wrong.push(format!("{room} uses {used} ({:?}), and its row says {:?}", dependency.kind, rows[room]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_tests_use_what_is_for_tests() {
    for (room, package) in packages() {
        for dependency in &package.dependencies {
            let for_tests = dependency.name == "tunnel-testkit";
            assert!(
                !for_tests
                    || dependency.kind == DependencyKind::Development
                    || ["tests", "bench"].contains(&room.as_str()),
                "{room} uses testkit in the program itself"
            );
        }
    }
}

#[test]
fn the_agent_names_the_relay_in_its_demo_only() {
    for source in sources() {
        if !source.path.starts_with("agent/src/") || source.path.starts_with("agent/src/demo") {
            continue;
        }
        if let Some((n, line)) = source.code().find(|(_, line)| line.contains("healthie_relay")) {
            panic!("{}:{n} names the relay's library: {line}", source.path);
        }
    }
}

#[test]
fn the_table_is_read_as_it_is_meant() {
    let all: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(allowed("–", &all), set(&[]));
    assert_eq!(allowed("a, `crates/b` and b", &all), set(&["a", "b"]));
    assert_eq!(allowed("everything", &all), all);
    assert_eq!(allowed("all but a and b; c only on Sundays", &all), set(&["c"]));
}
