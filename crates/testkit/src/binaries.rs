//! Where the two programs are. It builds them once if need be, so that a story never runs against yesterday's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a folder with both programs already built; they are then used as they are.
const GIVEN: &str = "TUNNEL_STORIES_BIN";

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `healthie-relay`.
    Relay,
    /// `healthie-tunnel`.
    Tunnel,
}

impl Binary {
    /// The program's name, which is its package's too.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Relay => "healthie-relay",
            Binary::Tunnel => "healthie-tunnel",
        }
    }

    /// The program's path.
    ///
    /// # Panics
    /// If the programs cannot be built, with what cargo said.
    pub fn path(self) -> PathBuf {
        static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        match FOLDER.get_or_init(folder) {
            Ok(folder) => folder.join(self.name()),
            Err(why) => panic!("{why}"),
        }
    }
}

fn folder() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os(GIVEN) {
        let folder = std::path::absolute(&given).map_err(|e| format!("{GIVEN}={}: {e}", given.display()))?;
        return Ok(folder);
    }
    let profile_folder = beside_this_test()?;
    let (profile, target) = match (profile_folder.file_name().and_then(|n| n.to_str()), profile_folder.parent()) {
        (Some("debug"), Some(target)) => ("dev", target),
        (Some(other), Some(target)) => (other, target),
        _ => return Err(format!("{} is not a folder of cargo's", profile_folder.display())),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(target)
        .args(["-p", Binary::Relay.name(), "-p", Binary::Tunnel.name(), "--bins"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .map_err(|e| format!("cargo cannot be run to build the programs: {e}"))?;
    if !built.status.success() {
        return Err(format!("the programs cannot be built:\n{}", String::from_utf8_lossy(&built.stderr)));
    }
    Ok(profile_folder)
}

/// The folder above `deps/`, in which cargo puts programs.
fn beside_this_test() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|e| format!("this test's own path is unknown: {e}"))?;
    let folder = test.ancestors().find(|a| a.file_name().is_some_and(|n| n == "deps")).and_then(Path::parent);
    folder.map(Path::to_owned).ok_or_else(|| format!("{} is not below cargo's deps/", test.display()))
}
