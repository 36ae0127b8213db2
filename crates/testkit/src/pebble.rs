//! A real ACME server on loopback: Let's Encrypt's `pebble` for tests, with the DNS server that comes with it. Where they are not installed
//! (Debian's package `pebble`), stories say so and pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;

use crate::{Authority, Connection, Process, eventually, skipped};

/// An ACME server and its DNS. All names resolve to one address of loopback that nobody else uses: so its ports are free.
pub struct Pebble {
    address: Ipv4Addr,
    root: PathBuf,
    authority: Authority,
    _servers: [Process; 2],
}

impl Pebble {
    /// Starts one that keeps its files in `folder`. With `accounts` it takes only those who name one of them (id and key in base64url).
    ///
    /// # Panics
    /// If it is installed and does not start.
    pub fn start_or_skip(folder: &Path, accounts: &[(&str, &str)]) -> Option<Pebble> {
        if !installed() {
            skipped(
                "there is no pebble here (Debian: apt-get install pebble), so NO CERTIFICATE IS TRIED WITH A REAL ACME SERVER",
            );
            return None;
        }
        let address = address();
        let authority = Authority::new("Pebble's own");
        let root = folder.join("pebble-ca.pem");
        authority.write(&root);
        let home = folder.join("pebble");
        std::fs::create_dir_all(&home).expect("the story's folder can be written");
        let files = authority.server(&home, &[&address.to_string()]);
        let at = |port: u16| format!("{address}:{port}");
        let settings = json!({ "pebble": {
            "listenAddress": at(14000),
            "managementListenAddress": at(15000),
            "certificate": files.certificate,
            "privateKey": files.key,
            "httpPort": HTTP,
            "tlsPort": HTTPS,
            "externalAccountBindingRequired": !accounts.is_empty(),
            "externalAccountMACKeys": accounts.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        }});
        let config = home.join("config.json");
        std::fs::write(&config, settings.to_string()).expect("the story's folder can be written");
        let mut names = Command::new("pebble-challtestsrv");
        names.args([
            "-defaultIPv4",
            &address.to_string(),
            "-defaultIPv6",
            "",
            "-dns01",
            &at(8053),
            "-management",
            &at(8055),
        ]);
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]).stdin(Stdio::null());
        let names = Process::spawn("pebble-challtestsrv", &mut names);
        let mut server = Command::new("pebble");
        server.args(["-dnsserver", &at(8053), "-strict", "-config"]).arg(&config).stdin(Stdio::null());
        // Otherwise it waits up to 15 s before it looks whether a name is ours.
        server.env("PEBBLE_VA_NOSLEEP", "1");
        // Otherwise it refuses one request in 20 by chance, to see whether that is tried again. Three in a row are too many for the client, and a story
        // has no time for the next try of the relay.
        server.env("PEBBLE_WFE_NONCEREJECT", "0");
        let mut server = Process::spawn("pebble", &mut server);
        // A name that cannot be looked up yet is not ours: the relay would try again in minutes.
        for port in [14000, 15000, 8053, 8055] {
            eventually("pebble to listen", || {
                assert!(!server.has_ended(), "pebble ended: {}", String::from_utf8_lossy(&server.printed()));
                std::net::TcpStream::connect((address, port)).ok()
            });
        }
        Some(Pebble { address, root, authority, _servers: [server, names] })
    }

    /// Where its directory is.
    pub fn directory(&self) -> String {
        format!("https://{}:14000/dir", self.address)
    }

    /// The authority to trust it by, as a file.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where it looks for a name's HTTP listener.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::from((self.address, HTTP))
    }

    /// Where it looks for a name's HTTPS listener.
    pub fn https(&self) -> SocketAddr {
        SocketAddr::from((self.address, HTTPS))
    }

    /// Where its DNS server takes `POST /set-txt` and `/clear-txt`.
    pub fn dns_management(&self) -> String {
        format!("http://{}:8055", self.address)
    }

    /// The authority of the certificates that it issues, in PEM.
    ///
    /// # Panics
    /// If it does not say.
    pub fn issuer(&self) -> Vec<u8> {
        let name = self.address.to_string();
        let mut connection = Connection::open_tls(SocketAddr::from((self.address, 15000)), &name, &self.authority);
        connection.send(format!("GET /roots/0 HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
        let answer = connection.answer();
        assert_eq!(answer.status(), Some(200), "{}", answer.text());
        answer.body
    }
}

const HTTP: u16 = 5002;
const HTTPS: u16 = 5001;

fn installed() -> bool {
    ["pebble", "pebble-challtestsrv"].iter().all(|program| Command::new(program).arg("-h").output().is_ok())
}

/// Another one for each in this process, and unlike those of other processes.
fn address() -> Ipv4Addr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let [a, b] = u16::try_from(std::process::id() & 0xffff).unwrap_or_default().to_be_bytes();
    let n = u8::try_from(COUNT.fetch_add(1, Ordering::Relaxed) % 120).unwrap_or_default();
    Ipv4Addr::new(127, 2 + n, a, b.clamp(1, 254))
}
