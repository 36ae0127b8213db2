//! The data folder of a relay that starts: what is in it is opened, and where the relay listens is written there. Blocks on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;
use tunnel_spool::{RedbSpool, SpoolError};
use tunnel_vault::KeySource;

use super::{Addresses, StartError};
use crate::acme::Keeper;
use crate::admission::neighbourhood;
use crate::audit::{Audit, Entry, What, Who};
use crate::config::Config;
use crate::ground::{Clock, Offload};
use crate::incarnations::Incarnations;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::store::Store;
use crate::tls::Tls;

/// The folder that the spool is in.
pub(super) fn of_spool(config: &Config) -> PathBuf {
    config.data.join("spool")
}

/// Files that this process needs besides one for each connection: the spool, certificates, logs, the runtime.
const OTHER_FILES: usize = 200;

/// Each connection is an open file. Where the system allows fewer than our limits do, it is the system that refuses, and not whom we would.
pub(super) fn tell_of_files(config: &Config) {
    let needed = config.limits.connections.saturating_add(config.limits.agents).saturating_add(OTHER_FILES);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(files) = files.filter(|files| *files < needed as u64) {
        warn!(
            files,
            needed,
            "this process may open fewer files than its limits allow connections: raise LimitNOFILE= (ulimit -n), or lower --max-connections and --max-agents"
        );
    }
}

/// What is in the data folder, and the certificates.
pub(super) struct Opened {
    pub(super) registry: Registry,
    pub(super) spool: Store,
    pub(super) stream: Bytes,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) keeper: Option<Keeper>,
    pub(super) audit: Audit,
}

/// Blocks on the disk.
pub(super) fn open(config: &Config, clock: &Clock, offload: Offload) -> Result<Opened, StartError> {
    let unfinished = config.data.join(crate::backup::UNFINISHED);
    if unfinished.exists() {
        let what = format!("a restore broke off and left {}", unfinished.display());
        return Err(StartError::Config(format!("{what}: empty the data folder and restore the backup again")));
    }
    let tls = config.https.as_ref().map(Tls::open).transpose()?.map(Arc::new);
    let registry = Registry::open(&config.data)?;
    if !registry.is_there() && Incarnations::any(&of_spool(config)) {
        let what = format!(
            "{} is not there, and the spool holds what was sent to tunnels that were in it",
            config.data.join("registry.json").display()
        );
        return Err(StartError::Config(format!(
            "{what}: put it back (a backup has it), or begin anew with `healthie-relay tunnel add`, which drops what waited"
        )));
    }
    let audit = Audit::open(&config.data, clock.clone())
        .map_err(|e| StartError::Config(format!("there can be no thread for the audit log: {e}")))?;
    let dir = of_spool(config);
    let key = config.data_key.as_ref().map(KeySource::read).transpose().map_err(SpoolError::Key)?;
    let spool = RedbSpool::open_with(&dir, config.spool, key.as_ref())?;
    let stream = stream_id(&dir.join("stream-id"), &spool)?;
    for tunnel in spool.purged_further() {
        let entry = Entry::new(clock.now(), What::Purged, Who::Relay).tunnel(tunnel);
        audit.note(entry.note("went on with one that had been cut short"));
    }
    let keeper = match (config.https.as_ref().and_then(|https| https.acme.clone()), &tls) {
        (Some(acme), Some(tls)) => {
            Some(Keeper::open(acme, &config.data, Arc::clone(tls), clock.clone(), offload, audit.clone())?)
        }
        _ => None,
    };
    Ok(Opened { registry, spool: Store::new(spool), stream, tls, keeper, audit })
}

/// For how long it is remembered where an agent came from.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where agents with good tokens came from before this process began, as the audit log has it: they are let in again before strangers. Blocks.
pub(super) fn remember_agents(shared: &Shared) {
    let since = shared.now().earlier(REMEMBERED);
    let each = |from| shared.handshakes.agent_came_from(neighbourhood(from));
    if let Err(error) = crate::audit::agents_from(&shared.config.data, since, each) {
        warn!(%error, "agents from before this start wait their turn with strangers: the audit log cannot be read");
    }
}

/// A relay that root runs leaves nothing behind that the folder's owner could not use.
pub(super) fn hand_over(data: &Path) {
    if let Err(e) = crate::ownership::hand_over_all(data, data) {
        warn!(error = %e, "what is in the data folder cannot be given to the folder's owner");
    }
}

/// The stream's name lives beside the spool and holds which one it belongs to: a spool that is begun anew, or was put back, is another stream.
fn stream_id(path: &Path, spool: &RedbSpool) -> Result<Bytes, StartError> {
    let io = |source| StartError::Write { path: path.to_owned(), source };
    let born = spool.born().map_or(0, u128::from);
    match std::fs::read(path) {
        Ok(id) if id.len() == 32 && id[16..] == born.to_be_bytes() => return Ok(Bytes::from(id).slice(..16)),
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| StartError::Config(format!("the system gave no random bytes: {e}")))?;
    tunnel_vault::write_private(path, &[id, born.to_be_bytes()].concat()).map_err(io)?;
    Ok(Bytes::copy_from_slice(&id))
}

/// Tells programs on this machine where the relay listens.
pub(super) fn write_addresses(data: &Path, addresses: &Addresses) -> Result<(), StartError> {
    let text = serde_json::json!({
        "http": addresses.http.first(),
        "https": addresses.https,
        "admin": addresses.admin,
        "pid": std::process::id(),
    })
    .to_string();
    // Whoever waits for the file must never see half of it.
    let (new, path) = (data.join("addresses.json.new"), data.join("addresses.json"));
    tunnel_vault::write_private(&new, text.as_bytes())
        .and_then(|_| std::fs::rename(&new, &path))
        .map_err(|source| StartError::Write { path, source })
}
