//! What every manifest has: the workspace's lints and versions.

use crate::files::{below, root, sources, text};

/// Every member's manifest.
fn manifests() -> Vec<String> {
    let workspace = text("Cargo.toml");
    let members =
        workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list of members");
    let folders: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(folders.len() >= 11, "{folders:?}");
    folders.iter().map(|folder| format!("{folder}/Cargo.toml")).collect()
}

#[test]
fn unsafe_code_is_forbidden_and_every_member_inherits_it() {
    let workspace = text("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for path in manifests() {
        let manifest = text(&path);
        let lints = manifest.split("[lints]").nth(1).unwrap_or_else(|| panic!("{path} has no [lints]"));
        assert!(lints.trim_start().starts_with("workspace = true"), "{path} does not inherit the workspace's lints");
    }
    for source in sources() {
        if source.path.starts_with("tests/house/") {
            continue;
        }
        let allowed = source.code().find(|(_, line)| line.contains("allow(unsafe_code"));
        assert!(allowed.is_none(), "{}: {allowed:?}", source.path);
    }
}

#[test]
fn versions_are_the_workspace_s() {
    for path in manifests() {
        for line in text(&path).lines().filter(|line| line.contains(" = ")) {
            assert!(!line.contains("version = \""), "{path} has a version of its own: {line}");
            assert!(!line.contains("path = \"../"), "{path} has a path of its own: {line}");
        }
    }
}

#[test]
fn no_manifest_is_outside_the_workspace() {
    let known = manifests();
    for folder in ["crates", "fuzz", "relay-server", "agent", "tests"] {
        for path in below(folder) {
            assert!(!path.ends_with("Cargo.toml") || known.contains(&path), "{path} is no member of the workspace");
        }
    }
    assert!(root().join("Cargo.lock").is_file());
}

#[test]
fn sled_is_one_room_s() {
    let users: Vec<_> =
        manifests().into_iter().filter(|path| text(path).lines().any(|l| l.starts_with("sled"))).collect();
    assert_eq!(users, ["crates/archive/Cargo.toml"]);
}
