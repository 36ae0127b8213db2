//! No story, script or fixture is forgotten.

use crate::files::{below, root, sources, text};

#[test]
fn every_story_is_told() {
    for (folder, main) in [("tests/stories", "tests/stories/main.rs"), ("tests/house", "tests/house/main.rs")] {
        let declared = text(main);
        for path in below(folder) {
            let name = path.strip_prefix(folder).and_then(|p| p.strip_prefix('/')).expect("below its folder");
            let Some(name) = name.strip_suffix(".rs") else { panic!("{path} is no source") };
            let told = name == "main" || declared.lines().any(|line| line == format!("mod {name};"));
            assert!(told, "{path} is not declared in {main}, so nobody runs it");
        }
    }
}

#[test]
fn every_story_has_a_test() {
    for path in below("tests/stories") {
        assert!(path.ends_with("/main.rs") || text(&path).contains("#[test]"), "{path} tests nothing");
    }
}

#[test]
fn every_script_is_run_by_a_story() {
    let told: String = sources().into_iter().filter(|s| s.path.starts_with("tests/")).map(|s| s.text).collect();
    for folder in ["senders", "handlers"] {
        for path in below(&format!("tests/{folder}")) {
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(told.contains(&format!("{name}\"")), "{path} is run by no story");
        }
    }
}

#[test]
fn every_fixture_is_in_its_folder_s_index_and_every_index_is_read() {
    let tests: String = sources().into_iter().map(|s| s.text).collect();
    let folders = std::fs::read_dir(root().join("fixtures")).expect("fixtures/ is there");
    let folders: Vec<_> = folders.flatten().filter(|e| e.path().is_dir()).map(|e| e.file_name()).collect();
    assert!(!folders.is_empty());
    for folder in folders {
        let folder = format!("fixtures/{}", folder.to_string_lossy());
        assert!(tests.contains(&folder), "no test reads {folder}");
        let index = text(&format!("{folder}/index.json"));
        for path in below(&folder) {
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(name == "index.json" || index.contains(&format!("\"{name}\"")), "{path} is not in its index");
        }
    }
}
