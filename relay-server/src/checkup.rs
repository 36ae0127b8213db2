//! Whether a relay with this configuration would start and be sound, without starting it: files that can be read, certificates and keys that go
//! together, addresses that are free, a hook that can be run, a data folder that is nobody else's. It changes nothing.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tunnel_telemetry::Traces;

use crate::config::{Config, Https};
use crate::registry::Registry;
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
    /// What it is, and what to do.
    pub(crate) message: String,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Everything, because somebody asks.
    Everything,
    /// All but what a start finds out by itself a moment later: addresses, and what is in the registry and certificates.
    BeforeStart,
}

/// Looks at everything that the configuration names. `path` is where programs are found.
pub(crate) fn checkup(config: &Config, settings: Option<&Path>, path: Option<&OsStr>, look: Look) -> Vec<Finding> {
    let mut found = Found { all: Vec::new(), path };
    if let Some(file) = settings {
        found.safe_from_others("the settings file", file);
    }
    if let Some(problem) = config.problem() {
        found.wrong(problem);
    }
    if let Some(problem) = config.traces.as_ref().and_then(|to| Traces::problem(&to.endpoint)) {
        found.wrong(format!("--otlp-endpoint: {problem}"));
    }
    found.folder(config, look);
    if let Some(https) = &config.https {
        found.https(https, look);
    }
    if look == Look::Everything {
        let running = is_running(&config.data);
        for addr in config.http.iter().chain(config.https.as_ref().map(|h| &h.addr)) {
            found.address(*addr, running);
        }
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
        self.all.push(Finding { weight: Weight::Wrong, message: message.into() });
    }

    fn doubtful(&mut self, message: impl Into<String>) {
        self.all.push(Finding { weight: Weight::Doubtful, message: message.into() });
    }

    fn folder(&mut self, config: &Config, look: Look) {
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
        if let Err(e) = rustix::fs::access(data, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
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
        if look == Look::Everything
            && let Err(e) = Registry::look(data)
        {
            self.wrong(e.to_string());
        }
    }

    fn will_be_made(&mut self, data: &Path) {
        let above = data.ancestors().skip(1).find(|above| !above.as_os_str().is_empty() && above.exists());
        let above = above.unwrap_or_else(|| Path::new("."));
        if let Err(e) = rustix::fs::access(above, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
            let (data, above) = (data.display(), above.display());
            self.wrong(format!("the data folder {data} is not there and cannot be made in {above}: {e}"));
        }
    }

    fn https(&mut self, https: &Https, look: Look) {
        if look == Look::Everything
            && let Err(e) = Tls::open(https)
        {
            self.wrong(e.to_string());
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
        if let Some(root) = &acme.root
            && let Err(e) = fs::File::open(root)
        {
            self.wrong(format!("--acme-root {} cannot be read: {e}", root.display()));
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
            return self.wrong(format!("--acme-dns-hook {shown} is nowhere in PATH; write its whole path"));
        };
        match fs::metadata(&path) {
            Err(e) => self.wrong(format!("--acme-dns-hook {shown}: {e}")),
            Ok(file) if !is_program(&file) => {
                self.wrong(format!("--acme-dns-hook {shown} is not a program: chmod +x it"));
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

    fn address(&mut self, addr: SocketAddr, running: bool) {
        match TcpListener::bind(addr) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && running => {}
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                self.wrong(format!("{addr} is in use by another program; `ss -ltnp` shows which"));
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && addr.port() < 1024 => self.doubtful(format!(
                "{addr} cannot be listened on by this user: ports below 1024 take CAP_NET_BIND_SERVICE, which the service's unit gives"
            )),
            Err(e) => self.wrong(format!("{addr} cannot be listened on: {e}")),
        }
    }
}

fn is_program(file: &Metadata) -> bool {
    file.is_file() && file.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Acme, AcmeChallenge, PairFiles};
    use std::time::Duration;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn found(config: &Config) -> Vec<(Weight, String)> {
        checkup(config, None, None, Look::Everything).into_iter().map(|f| (f.weight, f.message)).collect()
    }

    #[test]
    fn a_sound_configuration_has_no_findings_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o700);
        assert_eq!(found(&Config::loopback(dir.path().to_owned())), []);
        let data = dir.path().join("a/b");
        assert_eq!(found(&Config::loopback(data.clone())), []);
        assert!(!data.exists() && fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn each_thing_that_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        chmod(&data, 0o755);
        fs::write(data.join("registry.json"), "{").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook = dir.path().join("hook");
        fs::write(&hook, "").unwrap();
        chmod(&hook, 0o644);
        let files = PairFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        let acme = Acme {
            names: vec!["a.test".into()],
            directory: Acme::LETS_ENCRYPT.into(),
            contacts: vec![],
            agreed: true,
            challenge: AcmeChallenge::Dns,
            root: Some(dir.path().join("root.pem")),
            binding: None,
            dns_hook: Some(hook.clone()),
            dns_hook_time: Duration::from_secs(1),
            dns_wait: Duration::ZERO,
        };
        let mut config = Config::loopback(data.clone());
        config.http = vec![taken.local_addr().unwrap()];
        let addr = "127.0.0.1:0".parse().unwrap();
        config.https = Some(Https { acme: Some(acme), ..Https::with_pair(addr, files) });
        let all = found(&config);
        let told = |weight: Weight, part: &str| {
            assert!(all.iter().any(|(w, m)| *w == weight && m.contains(part)), "{part:?} is not in {all:#?}");
        };
        told(Weight::Doubtful, "is open to others (mode 0755)");
        told(Weight::Wrong, "registry.json is damaged");
        told(Weight::Wrong, "c.pem");
        told(Weight::Wrong, "root.pem cannot be read");
        told(Weight::Wrong, "is not a program");
        told(Weight::Wrong, "is in use by another program");
        assert_eq!(all.len(), 6, "{all:#?}");
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o755, "looking changes nothing");
        chmod(&hook, 0o777);
        let others = found(&config);
        assert!(others.iter().any(|(_, m)| m.contains("can be changed by everybody")), "{others:#?}");
        let endpoint = "http://user:pass@collector.test".to_owned();
        config.traces = Some(crate::TraceTo { endpoint, ratio: 1.0, trust_senders: false });
        let collector = found(&config);
        let told = collector.iter().find(|(_, m)| m.contains("--otlp-endpoint")).expect("the collector's address");
        assert!(told.0 == Weight::Wrong && !told.1.contains("pass@"), "{told:?}");
        config.traces = None;
        config.http.clear();
        config.https = None;
        assert!(found(&config)[0].1.contains("nothing to listen on"));
    }
}
