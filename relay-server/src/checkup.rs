//! Whether a relay with this configuration would start and be sound, without starting it: files that can be read, certificates and keys that go
//! together, addresses that are free, a hook that can be run, a key that opens the spool, a data folder that is nobody else's (`folder`). It changes nothing,
//! and finds all there is at once.
//!
//! Where a setting comes from it does not know: a finding names settings, and whoever read them says where they stand.

mod folder;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tunnel_telemetry::Traces;

pub(crate) use folder::key_advice;

use crate::acme;
use crate::config::{Config, Https, Problem, collide};
use crate::tls::Tls;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Weight {
    /// The relay does not start so.
    Wrong,
    /// It starts, and somebody should look.
    Doubtful,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) weight: Weight,
    /// What it is, and what to do. One line.
    pub(crate) message: String,
    /// Where the settings stand that have to do with it, for people: `relay.toml:12: limits.max-body`.
    pub(crate) from: Vec<String>,
    /// Those settings' flags, without dashes.
    #[serde(skip)]
    pub(crate) of: Vec<&'static str>,
    /// The line of a file, with a caret below.
    #[serde(skip)]
    pub(crate) excerpt: Option<String>,
}

impl Finding {
    /// So bad, and what; of no setting so far.
    pub(crate) fn new(weight: Weight, message: impl Into<String>) -> Finding {
        Finding { weight, message: message.into(), from: Vec::new(), of: Vec::new(), excerpt: None }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Finding {
        Finding { of: problem.of.to_vec(), ..Finding::new(Weight::Wrong, problem.what) }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Everything, because somebody asks.
    Everything,
    /// All but what costs something to ask and is asked by the start itself a moment later: whether addresses are free, and a key that a command prints or a pipe holds.
    BeforeStart,
}

/// Looks at everything that the configuration names. `path` is where programs are found.
pub(crate) fn checkup(config: &Config, settings: Option<&Path>, path: Option<&OsStr>, look: Look) -> Vec<Finding> {
    let mut found = Found { all: Vec::new(), path };
    if let Some(file) = settings {
        found.safe_from_others("the settings file", file);
    }
    found.all.extend(config.problems().into_iter().map(Finding::from));
    if let Some(problem) = config.traces.as_ref().and_then(|to| Traces::problem(&to.endpoint)) {
        found.of(&["otlp-endpoint"], Weight::Wrong, format!("--otlp-endpoint: {problem}"));
    }
    found.folder(config);
    found.data_key(config, look);
    found.bounds(config);
    if let Some(https) = &config.https {
        found.https(https);
    }
    if look == Look::Everything {
        found.addresses(config);
    }
    found.all
}

/// Whether a relay runs on this data folder.
pub(crate) fn is_running(data: &Path) -> bool {
    UnixStream::connect(data.join("control.sock")).is_ok()
}

struct Found<'a> {
    all: Vec<Finding>,
    path: Option<&'a OsStr>,
}

impl Found<'_> {
    fn wrong(&mut self, message: impl Into<String>) {
        self.all.push(Finding::new(Weight::Wrong, message));
    }

    fn doubtful(&mut self, message: impl Into<String>) {
        self.all.push(Finding::new(Weight::Doubtful, message));
    }

    /// Something about these settings.
    fn of(&mut self, of: &[&'static str], weight: Weight, message: impl Into<String>) {
        self.all.push(Finding { of: of.to_vec(), ..Finding::new(weight, message) });
    }

    /// Settings that are no mistake and still make a relay that takes less, or shows more, than is meant.
    fn bounds(&mut self, config: &Config) {
        let (share, body) = (config.spool.max_bytes_per_tunnel, config.limits.body);
        if share < body {
            self.of(
                &["spool-bytes", "max-body"],
                Weight::Doubtful,
                format!("a delivery of {body} bytes never fits into a tunnel's share of the spool, {share} bytes; raise --spool-bytes"),
            );
        }
        if config.metrics_from.iter().any(|network| network.prefix_len() == 0) {
            let what = "--metrics-from names everybody: the figures, tunnels' names among them, are public";
            self.of(&["metrics-from"], Weight::Doubtful, what);
        }
    }

    fn https(&mut self, https: &Https) {
        if let Err(e) = Tls::open(https) {
            self.of(&["cert", "key"], Weight::Wrong, e.to_string());
        }
        for pair in &https.pairs {
            match fs::metadata(&pair.key) {
                Ok(key) if key.mode() & 0o007 != 0 => self.doubtful(format!(
                    "the key {} can be read by everybody: chmod 0600 it, or 0640 with the relay's group",
                    pair.key.display()
                )),
                // One that cannot be looked at is told by whoever reads it.
                _ => {}
            }
        }
        let Some(acme) = &https.acme else { return };
        match &acme.root {
            Some(root) => {
                if let Err(e) = fs::File::open(root) {
                    self.of(
                        &["acme-root"],
                        Weight::Wrong,
                        format!("--acme-root {} cannot be read: {e}", root.display()),
                    );
                }
            }
            // They can come while the relay runs: it looks again at each try.
            None => {
                if let Err(e) = acme::trusts(acme) {
                    self.of(&["acme-name"], Weight::Doubtful, e.to_string());
                }
            }
        }
        if let Some(hook) = &acme.dns_hook {
            self.hook(hook);
        }
    }

    fn in_path(&self, name: &Path) -> Option<PathBuf> {
        std::env::split_paths(self.path?).map(|dir| dir.join(name)).find(|path| path.exists())
    }

    fn hook(&mut self, hook: &Path) {
        let shown = hook.display();
        // A bare name is looked for in PATH, as a shell does.
        let found = if hook.components().count() == 1 { self.in_path(hook) } else { Some(hook.to_owned()) };
        let Some(path) = found else {
            return self.of(
                &["acme-dns-hook"],
                Weight::Wrong,
                format!("--acme-dns-hook {shown} is nowhere in PATH; write its whole path"),
            );
        };
        match fs::metadata(&path) {
            Err(e) => self.of(&["acme-dns-hook"], Weight::Wrong, format!("--acme-dns-hook {shown}: {e}")),
            Ok(file) if !is_program(&file) => {
                self.of(
                    &["acme-dns-hook"],
                    Weight::Wrong,
                    format!("--acme-dns-hook {shown} is not a program: chmod +x it"),
                );
            }
            Ok(_) => self.safe_from_others("the program of --acme-dns-hook", &path),
        }
    }

    /// What the relay believes or runs must not be anybody's to change.
    fn safe_from_others(&mut self, what: &str, path: &Path) {
        if let Ok(file) = fs::metadata(path)
            && file.mode() & 0o002 != 0
        {
            self.doubtful(format!("{what} {} can be changed by everybody: chmod o-w it", path.display()));
        }
    }

    /// Tries all of them at once, so that two that exclude each other are seen.
    fn addresses(&mut self, config: &Config) {
        let running = is_running(&config.data);
        let mut held: Vec<(SocketAddr, TcpListener)> = Vec::new();
        for (of, addr) in config.listeners() {
            // That is told already.
            if held.iter().any(|(other, _)| collide(other, &addr)) {
                continue;
            }
            let of = &[of];
            match TcpListener::bind(addr) {
                Ok(listener) => held.push((addr, listener)),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                    if held.iter().any(|(other, _)| other.port() == addr.port()) {
                        let what = format!("{addr} is taken by another listener of this relay: on this system [::] is all of IPv4 too");
                        self.of(of, Weight::Wrong, what);
                    } else if !running {
                        self.of(of, Weight::Wrong, format!("{addr} is in use by another program; `ss -ltnp` shows which"));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied && addr.port() < 1024 => self.of(of, Weight::Doubtful, format!(
                    "{addr} cannot be listened on by this user: ports below 1024 take CAP_NET_BIND_SERVICE, which the service's unit gives"
                )),
                Err(e) => self.of(of, Weight::Wrong, format!("{addr} cannot be listened on: {e}")),
            }
        }
    }
}

fn is_program(file: &Metadata) -> bool {
    file.is_file() && file.permissions().mode() & 0o111 != 0
}
