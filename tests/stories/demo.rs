//! The first minute: `demo` shows the whole loop, says what became of each delivery, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tunnel_testkit::{Binary, Process, Stage};

/// Every file and folder below `folder`.
fn everything(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("the story's own folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

#[test]
fn the_demo_shows_every_resource_and_leaves_nothing_behind() {
    let stage = Stage::new();
    let before = everything(stage.folder());
    let ran = Process::run("demo", stage.program(Binary::Tunnel).args(["demo", "--no-tui"])).ok();
    assert_eq!(everything(stage.folder()), before);
    let resources: BTreeSet<&str> = tunnel_catalogue::all().iter().map(|e| e.resource_type.name()).collect();
    let said = ran.out();
    let named: BTreeSet<&str> = said.split_whitespace().collect();
    let missing: Vec<_> = resources.difference(&named).collect();
    assert!(missing.is_empty(), "not named: {missing:?}\n{said}");
    for what in ["invalid", "unsigned", "a repeat", "replayed", "tampered"] {
        assert!(said.contains(what), "nothing is {what}\n{said}");
    }
}
