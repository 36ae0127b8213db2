//! Every kept input of every target, without a fuzzer: what was found once is not found again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tunnel_fuzz::{TARGETS, Target};

/// More kept inputs than these are a sign that nobody made them few.
const MOST: usize = 120;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The kept inputs of a target, with their paths.
fn kept(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus().join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).expect("it is read"))).collect()
}

#[test]
fn every_kept_input_holds() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = kept(target);
        assert!((1..=MOST).contains(&inputs.len()), "{} has {} kept inputs", target.name, inputs.len());
        for (path, input) in inputs {
            if std::panic::catch_unwind(|| (target.check)(&input)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break what must hold (the messages are above): {broken:#?}");
}

#[test]
fn every_target_takes_nothing_at_all_and_what_is_nothing() {
    for target in TARGETS {
        for input in [&b""[..], b"\0", b"\n", b" ", &[0xff; 64], &[b'A'; 300]] {
            (target.check)(input);
        }
    }
}

#[test]
fn no_kept_input_is_forgotten_or_too_long() {
    let folders = std::fs::read_dir(corpus()).expect("the kept inputs are there");
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.expect("it is listed").file_name().to_string_lossy().into_owned()).collect();
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, names, "the folders of kept inputs (left) are not the targets");
    for target in TARGETS {
        for (path, input) in kept(target) {
            assert!(input.len() <= target.longest, "{} is longer than {} bytes", path.display(), target.longest);
        }
    }
}
