//! The project's folder and the Rust sources in it.

use std::path::{Path, PathBuf};

/// The folders that hold our sources.
const FOLDERS: [&str; 5] = ["crates", "fuzz", "relay-server", "agent", "tests"];

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// Reads a file of the project.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A file's path within the project and its text.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The lines that are not comments, with their numbers.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(n, line)| (n + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every `.rs` file of the project.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for path in below(folder) {
            if path.ends_with(".rs") {
                found.push(Source { text: text(&path), path });
            }
        }
    }
    assert!(found.len() > 50, "only {} sources were found: is {FOLDERS:?} still right?", found.len());
    found
}

/// Every file below a folder of the project, sorted.
pub(crate) fn below(folder: &str) -> Vec<String> {
    let root = root();
    let mut open = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with("proptest-regressions") {
                    open.push(path);
                }
            } else if let Ok(within) = path.strip_prefix(&root) {
                found.push(within.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
