//! What a relay is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tunnel_protocol::MAX_BODY;
use tunnel_spool::Limits as SpoolLimits;
use tunnel_vault::KeySource;
use zeroize::Zeroizing;

use crate::proxy::Proxies;

/// Everything a relay needs to know. Nothing is read from the environment after this.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lives that must survive a restart.
    pub data: PathBuf,
    /// Where plain HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served, and with what.
    pub https: Option<Https>,
    /// The domain below which tunnels have host names.
    pub domain: Option<String>,
    /// Where the world reaches the relay, if that is not where it listens (a proxy stands before it), for example `https://relay.example.com`.
    pub public_url: Option<String>,
    /// What stands before the relay.
    pub proxies: Proxies,
    /// Bounds on what strangers may do.
    pub limits: Limits,
    /// Bounds of the spool.
    pub spool: SpoolLimits,
    /// Where the key is to be had that the spool is encrypted with, if it is.
    pub data_key: Option<KeySource>,
}

/// An HTTPS listener. It has at least one pair or ACME.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Certificates as files. A handshake gets the one with its name, or the first.
    pub pairs: Vec<PairFiles>,
    /// A certificate that the relay gets by itself.
    pub acme: Option<Acme>,
    /// How often the files are looked at for changes.
    pub look_every: Duration,
}

impl Https {
    /// How often files are looked at unless something else is said.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// With one certificate from files.
    pub fn with_pair(addr: SocketAddr, pair: PairFiles) -> Https {
        Https { addr, pairs: vec![pair], acme: None, look_every: Https::LOOK_EVERY }
    }
}

/// A certificate and its key as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate chain, PEM, the server's own first.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// How the relay gets a certificate by itself (RFC 8555).
#[derive(Clone, Debug)]
pub struct Acme {
    /// The names of the certificate; a wildcard begins with `*.`.
    pub names: Vec<String>,
    /// Where the server's directory is.
    pub directory: String,
    /// Mail addresses that the server may write to.
    pub contacts: Vec<String>,
    /// Whether the operator agrees to the server's terms of service.
    pub agreed: bool,
    /// How names are proved, wildcards excepted.
    pub challenge: AcmeChallenge,
    /// A file with the authorities to trust the server by, instead of the system's.
    pub root: Option<PathBuf>,
    /// The account elsewhere that the server wants named.
    pub binding: Option<AcmeBinding>,
    /// A program that sets and clears DNS records.
    pub dns_hook: Option<PathBuf>,
    /// How long one call of it may take.
    pub dns_hook_time: Duration,
    /// How long DNS is given until a new record is seen.
    pub dns_wait: Duration,
}

impl Acme {
    /// Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn problem(&self) -> Option<String> {
        let name = |n: &str| crate::route::Domain::new(n).is_some() && n.contains('.') && !n.ends_with('.');
        if let Some(bad) = self.names.iter().find(|n| !name(n.strip_prefix("*.").unwrap_or(n))) {
            return Some(format!("{bad:?} is not a name that a certificate can be had for"));
        }
        if self.names.is_empty() || self.names.len() > 100 {
            return Some("a certificate has 1 to 100 names".into());
        }
        if !self.agreed {
            let terms = "read the ACME server's terms of service and say --acme-agree if you agree to them";
            return Some(terms.into());
        }
        if !self.directory.starts_with("https://") {
            return Some(format!(
                "{:?} is not the address of an ACME directory; it begins with https://",
                self.directory
            ));
        }
        let by_dns = self.challenge == AcmeChallenge::Dns || self.names.iter().any(|n| n.starts_with("*."));
        if by_dns && self.dns_hook.is_none() {
            let why = "names are to be proved by DNS, as wildcards always are: give --acme-dns-hook, a program that sets records";
            return Some(why.into());
        }
        None
    }
}

/// How an ACME server is shown that a name is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AcmeChallenge {
    /// By a text on the HTTP listener; the server asks at port 80
    Http,
    /// By a handshake on the HTTPS listener; the server asks at port 443
    #[default]
    TlsAlpn,
    /// By DNS records, which the hook sets
    Dns,
}

impl AcmeChallenge {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AcmeChallenge::Http => "http-01",
            AcmeChallenge::TlsAlpn => "tls-alpn-01",
            AcmeChallenge::Dns => "dns-01",
        }
    }
}

/// An account that somebody has with the owner of an ACME server (RFC 8555, section 7.3.4).
#[derive(Clone)]
pub struct AcmeBinding {
    /// What the server calls it.
    pub id: String,
    /// The key they share.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for AcmeBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeBinding").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Bounds on what strangers may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest body, in bytes.
    pub body: u64,
    /// The longest head, in bytes.
    pub head_bytes: usize,
    /// The most header lines.
    pub head_lines: usize,
    /// How long a connection may take to send a head, idle time before it included.
    pub head_time: Duration,
    /// How long a request may take to send its body.
    pub body_time: Duration,
    /// How long TLS may take to be set up, and a proxy to say who sends.
    pub tls_time: Duration,
    /// The most connections at once, agents included.
    pub connections: usize,
    /// The most agents of one tunnel at once.
    pub agents_per_tunnel: usize,
    /// How long to hear nothing from an agent before asking whether it is there.
    pub heartbeat: Duration,
    /// How long to hear nothing from an agent before giving it up.
    pub dead_after: Duration,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
}

impl Default for Limits {
    /// 1 MiB of body, 32 KiB of head in 100 lines, 30 s each for head and body, 10 s for TLS, 10,000 connections, 32 agents for each tunnel, a
    /// heartbeat of 3 s and dead after 8 s, 20 s to drain.
    fn default() -> Limits {
        Limits {
            body: 1 << 20,
            head_bytes: 32 << 10,
            head_lines: 100,
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(30),
            tls_time: Duration::from_secs(10),
            connections: 10_000,
            agents_per_tunnel: 32,
            heartbeat: Duration::from_secs(3),
            dead_after: Duration::from_secs(8),
            drain: Duration::from_secs(20),
        }
    }
}

impl Config {
    /// A relay on a free port of the loopback interface, with the limits' defaults.
    pub fn loopback(data: PathBuf) -> Config {
        Config {
            data,
            http: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            https: None,
            domain: None,
            public_url: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            spool: SpoolLimits::default(),
            data_key: None,
        }
    }

    /// What is wrong with it, in a sentence, before anything is opened.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.http.is_empty() && self.https.is_none() {
            return Some("there is nothing to listen on; give --http or --https".into());
        }
        if let Some(https) = &self.https {
            if https.pairs.is_empty() && https.acme.is_none() {
                return Some("HTTPS needs a certificate: give --cert and --key, or --acme-name".into());
            }
            if let Some(problem) = https.acme.as_ref().and_then(Acme::problem) {
                return Some(problem);
            }
            if https.acme.as_ref().is_some_and(|a| a.challenge == AcmeChallenge::Http) && self.http.is_empty() {
                return Some("names are to be proved over HTTP and there is no HTTP listener; give --http".into());
            }
        }
        if (self.proxies.preface_on_http || self.proxies.preface_on_https) && self.proxies.trusted.is_empty() {
            return Some("the PROXY protocol is believed from trusted proxies only; give --trusted-proxy".into());
        }
        if self.limits.body > MAX_BODY {
            return Some(format!(
                "bodies of {} bytes are more than the {MAX_BODY} that the protocol carries",
                self.limits.body
            ));
        }
        if let Some(domain) = &self.domain
            && crate::route::Domain::new(domain).is_none()
        {
            return Some(format!("{domain:?} is not a domain name"));
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Some(format!("{url:?} is not a public address; write it like https://relay.example.com"));
        }
        None
    }
}
