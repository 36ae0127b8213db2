//! Of the check-up, the data folder: that it can be used, that all in it is the relay's, that there is room, and that the key opens what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use tunnel_vault::{KeySource, Vault, VaultError};

use super::{Found, Look, Weight};
use crate::config::Config;
use crate::registry::Registry;

/// The most files that are looked at: a data folder has some tens.
const FILES: usize = 10_000;
/// The settings that give the key.
const KEYS: [&str; 3] = ["data-key-file", "data-key", "data-key-command"];

/// What can be done where the key does not open the spool.
pub(crate) fn key_advice(error: &VaultError) -> &'static str {
    match error {
        VaultError::Missing { .. } | VaultError::Wrong { .. } => {
            "; give the key that it was encrypted with (`spool rekey` changes it). If that is lost, nothing opens what waits: move the folder spool away and start \
             the relay; tunnels and tokens stay, what waited is gone"
        }
        VaultError::Lost { .. } | VaultError::Damaged { .. } => {
            " (a backup holds it). Without one nothing opens what waits: move the folder spool away and start the relay; tunnels and tokens stay, what waited is gone"
        }
        _ => "",
    }
}

impl Found<'_> {
    pub(super) fn folder(&mut self, config: &Config) {
        let data = &config.data;
        let there = match fs::metadata(data) {
            Ok(there) => there,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.will_be_made(data),
            Err(e) => return self.wrong(format!("the data folder {} cannot be looked at: {e}", data.display())),
        };
        if !there.is_dir() {
            return self.wrong(format!("the data folder {} is not a folder", data.display()));
        }
        if data.join(crate::backup::UNFINISHED).exists() {
            let what = "a restore into the data folder broke off";
            self.wrong(format!("{what} {}: empty the folder and restore again", data.display()));
        }
        if let Err(e) = rustix::fs::access(data, Access::READ_OK | Access::WRITE_OK) {
            self.wrong(format!("the data folder {} cannot be written: {e}", data.display()));
        }
        if there.mode() & 0o077 != 0 {
            let mode = there.mode() & 0o7777;
            self.doubtful(format!(
                "the data folder {} is open to others (mode {mode:04o}): chmod 0700 it, deliveries are in it",
                data.display()
            ));
        }
        let me = rustix::process::geteuid().as_raw();
        if there.uid() != me {
            let owner = there.uid();
            self.doubtful(format!("the data folder {} belongs to user {owner} and this is {me}", data.display()));
        }
        if let Err(e) = Registry::look(data) {
            self.wrong(e.to_string());
        }
        self.owners(data, there.uid());
        self.room(config);
    }

    fn will_be_made(&mut self, data: &Path) {
        let above = data.ancestors().skip(1).find(|above| !above.as_os_str().is_empty() && above.exists());
        let above = above.unwrap_or_else(|| Path::new("."));
        if let Err(e) = rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK) {
            let (data, above) = (data.display(), above.display());
            self.wrong(format!("the data folder {data} is not there and cannot be made in {above}: {e}"));
        }
    }

    /// What a command of root's left behind for root alone keeps the relay from starting.
    fn owners(&mut self, data: &Path, owner: u32) {
        let root = rustix::process::geteuid().is_root();
        let mut bad: Vec<(PathBuf, u32)> = Vec::new();
        let (mut left, mut seen) = (vec![data.to_owned()], 0);
        while let Some(folder) = left.pop() {
            // One that cannot be looked into was found by name already.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(meta) = fs::symlink_metadata(&path) else { continue };
                seen += 1;
                if seen > FILES {
                    return;
                }
                // Whoever has the folder can replace the socket of a relay that was killed.
                if !meta.is_file() && !meta.is_dir() {
                    continue;
                }
                let of_another = if root {
                    meta.uid() != owner
                } else {
                    let all = Access::READ_OK | Access::WRITE_OK;
                    rustix::fs::access(&path, if meta.is_dir() { all | Access::EXEC_OK } else { all }).is_err()
                };
                if of_another {
                    bad.push((path.clone(), meta.uid()));
                }
                if meta.is_dir() {
                    left.push(path);
                }
            }
        }
        bad.sort();
        let Some((first, uid)) = bad.first() else { return };
        let more = if bad.len() > 1 { format!(", and {} more,", bad.len() - 1) } else { String::new() };
        let (first, data) = (first.display(), data.display());
        if root {
            self.doubtful(format!(
                "{first}{more} belongs to user {uid} and not to the data folder's owner: chown -R {owner} {data}"
            ));
        } else {
            let me = rustix::process::geteuid().as_raw();
            self.wrong(format!(
                "{first}{more} belongs to user {uid} and cannot be read and written by user {me}: chown -R {owner} {data}, as root"
            ));
        }
    }

    fn room(&mut self, config: &Config) {
        let Ok(disk) = rustix::fs::statvfs(&config.data) else { return };
        let (free, wanted) = (disk.f_bavail.saturating_mul(disk.f_frsize), config.spool.min_free_bytes);
        if free < wanted {
            let what = format!(
                "{free} bytes are free where the data folder is and --min-free keeps {wanted}: deliveries would be answered 503"
            );
            self.of(&["min-free"], Weight::Doubtful, what);
        }
    }

    /// Whether the key can be had, and is the spool's.
    pub(super) fn data_key(&mut self, config: &Config, look: Look) {
        let once = match &config.data_key {
            Some(KeySource::Command(_)) => true,
            // What comes through a pipe (`<(…)`, /dev/stdin) is gone when it was read, and one that nobody writes to is waited for.
            Some(KeySource::File(path)) => fs::metadata(path).is_ok_and(|file| !file.is_file()),
            _ => false,
        };
        if once && look == Look::BeforeStart {
            return;
        }
        let spool = config.data.join("spool");
        let key = config.data_key.as_ref().map(KeySource::read).transpose();
        if let Err(e) = key.and_then(|key| Vault::check(&spool, key.as_ref())) {
            let advice = key_advice(&e);
            self.of(&KEYS, Weight::Wrong, format!("the spool's key: {e}{advice}"));
        }
    }
}
