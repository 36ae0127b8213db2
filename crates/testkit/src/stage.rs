//! The folder in which one story plays, and programs that see nothing else: not the real home, not the developer's settings, not
//! another story.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::{Agent, Binary, Relay};

/// A folder of its own with a home, a working folder and room for data; removed with its last handle.
#[derive(Clone)]
pub struct Stage {
    folder: Arc<TempDir>,
}

impl Stage {
    /// A new, empty stage.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    #[expect(clippy::new_without_default, reason = "it makes folders, which a default value should not")]
    pub fn new() -> Stage {
        let folder = tempfile::Builder::new().prefix("story-").tempdir().expect("a temporary folder can be made");
        for name in ["home", "work", "tmp", "data"] {
            std::fs::create_dir(folder.path().join(name)).expect("a new folder can be written");
        }
        Stage { folder: Arc::new(folder) }
    }

    /// The stage's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The home that programs see.
    pub fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// Where programs run.
    pub fn work(&self) -> PathBuf {
        self.folder().join("work")
    }

    /// The folder for temporary files that programs see.
    pub fn temporary(&self) -> PathBuf {
        self.folder().join("tmp")
    }

    /// A folder for data of that name.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder().join("data").join(name)
    }

    /// One of our programs, on this stage.
    pub fn program(&self, binary: Binary) -> Command {
        self.command(binary.path())
    }

    /// One of our programs on this stage, run by other programs with what they are given, such as `ip netns exec NAME`.
    pub(crate) fn program_behind(&self, prefix: &[String], binary: Binary) -> Command {
        let Some((first, rest)) = prefix.split_first() else { return self.program(binary) };
        let mut command = self.command(first);
        command.args(rest).arg(binary.path());
        command
    }

    /// Any program on this stage: of the environment it gets the search path only.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.work());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let home = self.home();
        for (name, below) in [
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_CACHE_HOME", ".cache"),
        ] {
            command.env(name, home.join(below));
        }
        command.env("HOME", home).env("TMPDIR", self.temporary());
        command.env("NO_COLOR", "1").env("LANG", "C.UTF-8").env("TZ", "UTC").env("RUST_BACKTRACE", "1");
        command
    }

    /// A relay that keeps its data on this stage; not started yet.
    pub fn relay(&self) -> Relay {
        Relay::new(self.clone())
    }

    /// An agent that keeps its data on this stage under that name; not started yet.
    pub fn agent(&self, name: &str) -> Agent {
        Agent::new(self.clone(), name)
    }
}
