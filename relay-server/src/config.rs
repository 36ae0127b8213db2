//! What a relay is told when it starts. What of it cannot be is `problems`'s to say.

mod problems;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tunnel_protocol::{HELLO_TIMEOUT, MAX_FRAME};
use tunnel_spool::{Limits as SpoolLimits, MAX_DEVICES};
use tunnel_vault::KeySource;
use zeroize::Zeroizing;

use crate::proxy::Proxies;
use crate::rates::Rate;
pub(crate) use problems::{Problem, collide};

/// Everything a relay needs to know. Nothing is read from the environment after this.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lives that must survive a restart.
    pub data: PathBuf,
    /// Where plain HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served, and with what.
    pub https: Option<Https>,
    /// Where the operator's own listener is: plain HTTP with health and figures and nothing else.
    pub admin: Option<SocketAddr>,
    /// Who is told the figures by the public listeners; to everybody else there are none.
    pub metrics_from: Vec<IpNet>,
    /// The domain below which tunnels have host names.
    pub domain: Option<String>,
    /// Names and addresses by which it is reached besides the domain, names below it and what it listens on. With neither these nor a domain, requests may
    /// name any host.
    pub hosts: Vec<String>,
    /// Where the world reaches the relay, if that is not where it listens (a proxy stands before it), for example `https://relay.example.com`.
    pub public_url: Option<String>,
    /// Whether each request has a line in the log that is shown without being asked for.
    pub log_requests: bool,
    /// Where traces are sent, if anywhere.
    pub traces: Option<TraceTo>,
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
    /// For how long browsers are told to come by HTTPS only (RFC 6797); nothing for nothing, and they are not told.
    pub hsts: Duration,
}

impl Https {
    /// How often files are looked at unless something else is said.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// With one certificate from files.
    pub fn with_pair(addr: SocketAddr, pair: PairFiles) -> Https {
        Https { addr, pairs: vec![pair], acme: None, look_every: Https::LOOK_EVERY, hsts: Duration::ZERO }
    }
}

/// A collector of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceTo {
    /// Where it takes OTLP over HTTP, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Which part of the deliveries is traced, 0 to 1.
    pub ratio: f64,
    /// A sender's own `traceparent` counts: the trace is his, and whether it is recorded is his say. Otherwise it is a line like any other.
    pub trust_senders: bool,
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
    /// The longest body, in bytes. A tunnel may have a shorter one.
    pub body: u64,
    /// The most bytes that are held at once, heads and bodies, of all deliveries that are not answered yet.
    pub bodies: u64,
    /// The longest head, in bytes.
    pub head_bytes: usize,
    /// The most header lines.
    pub head_lines: usize,
    /// How long a head may take to come, once it has begun.
    pub head_time: Duration,
    /// How long a connection may wait for the next request, or the first.
    pub idle_time: Duration,
    /// How long a request may take to send its body.
    pub body_time: Duration,
    /// How many bytes a second of a body must come at least, after the first [`BODY_GRACE`]; 0 for any.
    pub body_rate: u64,
    /// How long a sender may take to take its answer, and an agent to take anything.
    pub write_time: Duration,
    /// How long the other end's network may take nothing of what was sent before the system gives the connection up.
    pub network_time: Duration,
    /// How long TLS may take to be set up, and a proxy to say who sends.
    pub tls_time: Duration,
    /// How long an agent may take to say hello, once its connection is a WebSocket.
    pub hello_time: Duration,
    /// The most connections at once, agents not included.
    pub connections: usize,
    /// Of those, the most from one address, or from one /64 of IPv6.
    pub connections_per_address: usize,
    /// Networks that no bounds for each address are set for. Healthie's own addresses and trusted proxies need not be named.
    pub unlimited: Vec<IpNet>,
    /// The most requests at once on one connection of HTTP/2.
    pub streams: u32,
    /// The most requests that one connection of HTTP/2 may give up before they are answered.
    pub resets: u32,
    /// Requests from one address.
    pub address_rate: Rate,
    /// TLS handshakes of one address.
    pub address_handshakes: Rate,
    /// TLS handshakes a second of all strangers; those beyond wait their turn. 0 for any.
    pub handshakes: u32,
    /// Deliveries for one tunnel, of Healthie and of all others apart. A tunnel may have another.
    pub tunnel_rate: Rate,
    /// The longest body of a handler's answer that is carried back, in bytes.
    pub answer: u64,
    /// The most agents at once, of all tunnels.
    pub agents: usize,
    /// The most agents of one tunnel at once.
    pub agents_per_tunnel: usize,
    /// The most devices that one tunnel keeps deliveries for; at most [`tunnel_spool::MAX_DEVICES`].
    pub devices_per_tunnel: usize,
    /// The longest WebSocket frame and message that an agent may send, in bytes; at most [`MAX_FRAME`].
    pub frame: usize,
    /// How many attempts with a wrong token each address has in a minute; at least one. Beyond them it is told to wait. A good token always gets in.
    pub failed_attempts: u32,
    /// How long to hear nothing from an agent before asking whether it is there.
    pub heartbeat: Duration,
    /// How long to hear nothing from an agent before giving it up.
    pub dead_after: Duration,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
}

/// How long a body may come as slowly as it likes.
pub const BODY_GRACE: Duration = Duration::from_secs(5);

/// The least that a frame must be allowed to have: an answer with a handler's usual header lines and a body that travels in one piece.
pub(crate) const FRAME_LEAST: usize = 64 << 10;

impl Default for Limits {
    /// What is right for a small team; the figures are the help's too.
    fn default() -> Limits {
        Limits {
            body: 1 << 20,
            bodies: 256 << 20,
            head_bytes: 32 << 10,
            head_lines: 100,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            body_time: Duration::from_secs(30),
            body_rate: 1 << 10,
            write_time: Duration::from_secs(20),
            network_time: Duration::from_secs(30),
            tls_time: Duration::from_secs(10),
            hello_time: HELLO_TIMEOUT,
            connections: 8_000,
            connections_per_address: 256,
            unlimited: Vec::new(),
            streams: 100,
            resets: 100,
            address_rate: Rate { per_second: 200, burst: 2_000 },
            address_handshakes: Rate { per_second: 100, burst: 1_000 },
            handshakes: 2_000,
            tunnel_rate: Rate { per_second: 500, burst: 5_000 },
            answer: 64 << 10,
            agents: 11_000,
            agents_per_tunnel: 32,
            devices_per_tunnel: MAX_DEVICES,
            frame: MAX_FRAME,
            failed_attempts: 20,
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
            admin: None,
            metrics_from: Vec::new(),
            domain: None,
            hosts: vec![],
            public_url: None,
            log_requests: false,
            traces: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            spool: SpoolLimits::default(),
            data_key: None,
        }
    }

    /// Whether the public listeners show the figures to who sends from there.
    pub(crate) fn tells_figures(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.metrics_from.iter().any(|network| network.contains(&source))
    }

    /// Every address that is listened on, and by which setting.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let http = self.http.iter().map(|addr| ("http", *addr));
        let https = self.https.iter().map(|https| ("https", https.addr));
        http.chain(https).chain(self.admin.map(|addr| ("admin", addr)))
    }
}
