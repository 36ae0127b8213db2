//! Whether forwarding is paused: one switch that the intake, the backlog and the commands share.
//!
//! It is kept in the data folder, as a file that is there while it is paused: whoever paused wants to see what comes before a handler does, and an agent
//! that is started again, or comes back after a crash, must not hand everything on. What waits meanwhile is the archive's to know, not this file's.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The file's name within the data folder.
const NAME: &str = "paused";

/// The switch; clones are the same one.
#[derive(Clone, Debug)]
pub struct Pause {
    on: Arc<watch::Sender<bool>>,
    /// Where it is kept, if it is. Whoever changes the file holds it until the switch is changed too: two at once would leave them at odds, and the next
    /// start would do what nobody asked for.
    file: Option<Arc<Mutex<PathBuf>>>,
}

impl Default for Pause {
    /// Not paused, and kept nowhere.
    fn default() -> Pause {
        Pause { on: Arc::new(watch::Sender::new(false)), file: None }
    }
}

impl Pause {
    /// As it was left in that data folder.
    pub fn kept_in(data: &Path) -> Pause {
        let file = data.join(NAME);
        // What cannot be looked at is taken for a pause: nothing goes out that should not.
        let on = file.try_exists().unwrap_or(true);
        Pause { on: Arc::new(watch::Sender::new(on)), file: Some(Arc::new(Mutex::new(file))) }
    }

    /// Pauses, or goes on; whether it was otherwise before.
    ///
    /// # Errors
    /// That cannot be kept; then it stays as it was.
    pub fn set(&self, paused: bool) -> io::Result<bool> {
        let file = self.file.as_ref().map(|file| file.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(file) = &file {
            keep(file, paused)?;
        }
        Ok(self.on.send_if_modified(|now| std::mem::replace(now, paused) != paused))
    }

    /// Whether it is paused.
    pub fn is_on(&self) -> bool {
        *self.on.borrow()
    }

    /// Returns once it is not paused.
    pub(crate) async fn over(&self) {
        // Fails only where the sender is gone, and this holds it.
        let _ = self.on.subscribe().wait_for(|paused| !*paused).await;
    }
}

/// The file is there, also after a power cut, or is not; one that comes back by a power cut pauses again, which is told and harms nobody.
fn keep(file: &Path, paused: bool) -> io::Result<()> {
    if paused {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(file)?.sync_all()?;
        return file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all());
    }
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_the_end_of_a_pause_is_let_go_then() {
        let pause = Pause::default();
        pause.over().await;
        assert!(pause.set(true).unwrap() && !pause.set(true).unwrap() && pause.is_on());
        let waits = pause.clone();
        let waiting = tokio::spawn(async move { waits.over().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(pause.set(false).unwrap());
        tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }

    #[test]
    fn the_file_says_what_the_switch_says_whoever_changes_it_meanwhile() {
        let data = tempfile::tempdir().unwrap();
        let pause = Pause::kept_in(data.path());
        for _ in 0..50 {
            std::thread::scope(|scope| {
                for paused in [true, false, true, false] {
                    let pause = &pause;
                    scope.spawn(move || pause.set(paused).unwrap());
                }
            });
            assert_eq!(Pause::kept_in(data.path()).is_on(), pause.is_on());
        }
    }

    #[test]
    fn it_is_as_it_was_left() {
        let data = tempfile::tempdir().unwrap();
        let left = || Pause::kept_in(data.path());
        assert!(!left().is_on());
        assert!(left().set(true).unwrap());
        assert!(left().is_on() && !left().set(true).unwrap());
        assert!(left().set(false).unwrap());
        assert!(!left().is_on() && !left().set(false).unwrap());
        let gone = Pause::kept_in(&data.path().join("gone"));
        assert!(gone.set(true).is_err() && !gone.is_on(), "what cannot be kept is not done");
    }
}
