//! What a relay is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tunnel_protocol::MAX_BODY;
use tunnel_spool::Limits as SpoolLimits;

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
    /// Bounds on what strangers may do.
    pub limits: Limits,
    /// Bounds of the spool.
    pub spool: SpoolLimits,
}

/// An HTTPS listener.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
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
    /// How long TLS may take to be set up.
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
            limits: Limits::default(),
            spool: SpoolLimits::default(),
        }
    }

    /// What is wrong with it, in a sentence, before anything is opened.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.http.is_empty() && self.https.is_none() {
            return Some("there is nothing to listen on; give --http or --https".into());
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
