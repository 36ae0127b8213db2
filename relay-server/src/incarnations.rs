//! Which tunnel of a name the spool holds deliveries of. A tunnel that was removed and added again is another one, with another owner maybe: it must
//! not be given what was sent to the first, whether the relay ran meanwhile or not.
//!
//! A tunnel is told from an earlier one of its name by when it was added. That is kept beside the spool, in `tunnels.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tunnel_delivery::{Timestamp, TunnelName};

use crate::registry::Snapshot;

type Known = BTreeMap<TunnelName, Timestamp>;

/// What the spool may hold deliveries of.
pub(crate) struct Incarnations {
    path: PathBuf,
    known: Mutex<Known>,
}

impl Incarnations {
    /// Reads the file beside the spool. Without one, or with one that cannot be read, the spool is taken to hold what the registry has.
    pub(crate) fn load(spool: &Path, now: &Snapshot) -> Incarnations {
        let path = spool.join("tunnels.json");
        let known =
            std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_else(|| of(now));
        Incarnations { path, known: Mutex::new(known) }
    }

    /// Whether there were tunnels when the file beside that spool was written.
    pub(crate) fn any(spool: &Path) -> bool {
        let text = std::fs::read(spool.join("tunnels.json")).ok();
        text.and_then(|text| serde_json::from_slice::<Known>(&text).ok()).is_some_and(|known| !known.is_empty())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names under which the spool may hold deliveries of a tunnel that is no more.
    pub(crate) fn stale(&self, now: &Snapshot) -> Vec<TunnelName> {
        let now = of(now);
        self.known()
            .iter()
            .filter(|(name, added)| now.get(*name) != Some(*added))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The spool holds nothing of stale tunnels any more; what it may hold from here on is what `now` has.
    pub(crate) fn settle(&self, now: &Snapshot) -> std::io::Result<()> {
        let now = of(now);
        if *self.known() == now && self.path.exists() {
            return Ok(());
        }
        let new = self.path.with_extension("json.new");
        let file = tunnel_vault::write_private(&new, &serde_json::to_vec(&now)?)?;
        if let Some(folder) = self.path.parent() {
            crate::ownership::hand_over(&file, folder)?;
        }
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        // Were it the old file again after a power cut, a tunnel that was added again would be taken for the one before it, and what it has accepted
        // since would be dropped.
        if let Some(folder) = self.path.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        *self.known() = now;
        Ok(())
    }
}

fn of(snapshot: &Snapshot) -> Known {
    snapshot.tunnels.iter().map(|(name, settings)| (name.clone(), settings.created_at)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::{AnswerMode, TunnelSettings};

    fn registry(tunnels: &[(&str, i64)]) -> Snapshot {
        let mut all = Snapshot::default();
        for (name, at) in tunnels {
            let settings = TunnelSettings::new(AnswerMode::Ack, Timestamp::from_micros(*at));
            all.tunnels.insert(name.parse().unwrap(), Arc::new(settings));
        }
        all
    }

    #[test]
    fn a_tunnel_added_again_is_another_one_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = registry(&[("a", 1), ("b", 2)]);
        let seen = Incarnations::load(dir.path(), &first);
        assert!(seen.stale(&first).is_empty());
        seen.settle(&first).unwrap();
        let later = registry(&[("a", 1), ("b", 3), ("c", 4)]);
        let seen = Incarnations::load(dir.path(), &later);
        assert_eq!(seen.stale(&later), ["b".parse().unwrap()]);
        seen.settle(&later).unwrap();
        assert!(Incarnations::load(dir.path(), &later).stale(&later).is_empty());
        assert_eq!(seen.stale(&registry(&[])).len(), 3);
    }
}
