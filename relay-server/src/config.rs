//! What a relay is told when it starts.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tunnel_protocol::{HELLO_TIMEOUT, MAX_ANSWER, MAX_BODY, MAX_FRAME, MAX_HEAD};
use tunnel_spool::{Limits as SpoolLimits, MAX_DEVICES};
use tunnel_vault::KeySource;
use zeroize::Zeroizing;

use crate::proxy::Proxies;
use crate::rates::Rate;

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

/// What is wrong with a configuration, and which settings have to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The flags, without their dashes; every setting is one.
    pub(crate) of: &'static [&'static str],
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

impl Problem {
    /// It is wrong with those settings.
    pub(crate) fn of(of: &'static [&'static str], what: impl Into<String>) -> Problem {
        Problem { of, what: what.into() }
    }
}

impl Acme {
    /// Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn problems(&self, found: &mut Vec<Problem>) {
        let name = |n: &str| crate::route::Domain::new(n).is_some() && n.contains('.') && !n.ends_with('.');
        for bad in self.names.iter().filter(|n| !name(n.strip_prefix("*.").unwrap_or(n))) {
            found.push(Problem::of(&["acme-name"], format!("{bad:?} is not a name that a certificate can be had for")));
        }
        if self.names.is_empty() || self.names.len() > 100 {
            found.push(Problem::of(&["acme-name"], "a certificate has 1 to 100 names"));
        }
        if !self.agreed {
            let terms = "read the ACME server's terms of service and say --acme-agree if you agree to them";
            found.push(Problem::of(&["acme-agree"], terms));
        }
        if !self.directory.starts_with("https://") {
            let what = "--acme-directory is not the address of an ACME directory; it begins with https://";
            found.push(Problem::of(&["acme-directory"], what));
        }
        let by_dns = self.challenge == AcmeChallenge::Dns || self.names.iter().any(|n| n.starts_with("*."));
        if by_dns && self.dns_hook.is_none() {
            let why = "names are to be proved by DNS, as wildcards always are: give --acme-dns-hook, a program that sets records";
            found.push(Problem::of(&["acme-dns-hook", "acme-challenge", "acme-name"], why));
        }
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

impl Limits {
    fn problems(&self, found: &mut Vec<Problem>) {
        let mut wrong = |of, what: String| found.push(Problem::of(of, what));
        if self.body > MAX_BODY {
            let body = self.body;
            wrong(
                &["max-body"],
                format!("bodies of {body} bytes are more than the {MAX_BODY} that the protocol carries"),
            );
        }
        if self.bodies < self.body {
            let (all, one) = (self.bodies, self.body);
            let what =
                format!("{all} bytes of bodies at once are less than one body of {one} bytes; raise --max-bodies");
            wrong(&["max-bodies", "max-body"], what);
        }
        if self.answer > MAX_ANSWER {
            let answer = self.answer;
            let what = format!("answers of {answer} bytes are more than the {MAX_ANSWER} that the protocol carries");
            wrong(&["max-answer"], what);
        }
        if self.dead_after <= self.heartbeat {
            let what = "agents are given up before they are asked whether they are there; raise --dead-after";
            wrong(&["dead-after", "heartbeat"], what.into());
        }
        if !(FRAME_LEAST..=MAX_FRAME).contains(&self.frame) {
            let frame = self.frame;
            wrong(
                &["max-frame"],
                format!("frames of {frame} bytes: the protocol's are of {FRAME_LEAST} to {MAX_FRAME}"),
            );
        }
        if self.head_lines > crate::http::head::MAX_LINES {
            let (lines, most) = (self.head_lines, crate::http::head::MAX_LINES);
            wrong(&["max-head-lines"], format!("{lines} header lines are more than the {most} that are ever read"));
        }
        if self.head_bytes < 1 << 10 || self.head_bytes > MAX_HEAD {
            let bytes = self.head_bytes;
            let what =
                format!("heads of {bytes} bytes: at least 1024 are needed, and {MAX_HEAD} is the most that is carried");
            wrong(&["max-head"], what);
        }
    }
}

/// What is wrong with the address where the world reaches the relay. Never shows it: it may hold what is nobody's business.
fn public_url_problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some("it begins with https:// or http://");
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains('@') {
        return Some("it names no user");
    }
    if host.contains(['/', '?', '#']) {
        return Some(
            "it ends with the name, or its port: tunnels are below it, and a path, query or fragment of its own has no place",
        );
    }
    crate::http::host::Host::parse(host.as_bytes())
        .is_none()
        .then_some("what follows :// is not a host name or address")
}

/// Whether both cannot be listened on at once. Whether the system has `[::]` stand for all of IPv4 too is its own affair, which a try shows.
pub(crate) fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && (all || one.ip() == other.ip())
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

    /// Everything that is wrong with it, before anything is opened.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.http.is_empty() && self.https.is_none() {
            found.push(Problem::of(&["http", "https"], "there is nothing to listen on; give --http or --https"));
        }
        let all: Vec<_> = self.listeners().collect();
        for (at, (name, addr)) in all.iter().enumerate() {
            if let Some((other, same)) = all[..at].iter().find(|(_, before)| collide(before, addr)) {
                let what = format!("--{other} {same} and --{name} {addr} are one address; each listener has its own");
                found.push(Problem::of(&["http", "https", "admin"], what));
            }
        }
        if let Some(https) = &self.https {
            if https.pairs.is_empty() && https.acme.is_none() {
                let what = "HTTPS needs a certificate: give --cert and --key, or --acme-name";
                found.push(Problem::of(&["https", "cert", "key", "acme-name"], what));
            }
            if let Some(acme) = &https.acme {
                acme.problems(&mut found);
                if acme.challenge == AcmeChallenge::Http && self.http.is_empty() {
                    let what = "names are to be proved over HTTP and there is no HTTP listener; give --http";
                    found.push(Problem::of(&["acme-challenge", "http"], what));
                }
            }
        }
        if (self.proxies.preface_on_http || self.proxies.preface_on_https) && self.proxies.trusted.is_empty() {
            let what = "the PROXY protocol is believed from trusted proxies only; give --trusted-proxy";
            found.push(Problem::of(&["proxy-protocol", "trusted-proxy"], what));
        }
        self.limits.problems(&mut found);
        if let Some(domain) = &self.domain
            && crate::route::Domain::new(domain).is_none()
        {
            found.push(Problem::of(&["domain"], format!("{domain:?} is not a domain name")));
        }
        for bad in self.hosts.iter().filter(|host| crate::http::host::Host::parse(host.as_bytes()).is_none()) {
            let what = format!("{bad:?} is not a host name or address; write it like relay.example.com");
            found.push(Problem::of(&["host"], what));
        }
        if let Some(why) = self.public_url.as_deref().and_then(public_url_problem) {
            let what = format!("--public-url is no public address ({why}); write it like https://relay.example.com");
            found.push(Problem::of(&["public-url"], what));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_a_scheme_and_a_host() {
        for ok in ["https://relay.test", "http://relay.test:8080", "https://relay.test/", "https://[2001:db8::1]:444"] {
            assert_eq!(public_url_problem(ok), None, "{ok}");
        }
        for (bad, why) in [
            ("relay.test", "begins"),
            ("ftp://relay.test", "begins"),
            ("https://", "host name"),
            ("https://relay.test/hooks", "path"),
            ("https://relay.test//", "path"),
            ("https://relay.test?a=b", "path"),
            ("https://relay.test/#here", "path"),
            ("https://me:secret@relay.test", "no user"),
            ("https://relay test", "host name"),
            ("https://relay.test:port", "host name"),
        ] {
            assert!(public_url_problem(bad).is_some_and(|told| told.contains(why)), "{bad}");
        }
    }

    #[test]
    fn no_two_listeners_have_one_address() {
        let addresses = |http: &[&str], https: Option<&str>, admin: Option<&str>| {
            let mut config = Config::loopback("/nowhere".into());
            config.http = http.iter().map(|a| a.parse().unwrap()).collect();
            let pair = PairFiles { cert: "c".into(), key: "k".into() };
            config.https = https.map(|a| Https::with_pair(a.parse().unwrap(), pair));
            config.admin = admin.map(|a| a.parse().unwrap());
            config.problems().len()
        };
        let one = "127.0.0.1:8080";
        assert_eq!(addresses(&[one], Some("127.0.0.1:8443"), Some("127.0.0.1:9464")), 0);
        assert_eq!(addresses(&["127.0.0.1:0", "127.0.0.1:0"], None, Some("127.0.0.1:0")), 0);
        assert_eq!(addresses(&["0.0.0.0:80", "[::]:80"], None, None), 0, "the system may keep the two apart");
        assert_eq!(addresses(&[one], None, Some(one)), 1);
        assert_eq!(addresses(&[one, one], Some(one), Some(one)), 3);
        assert_eq!(addresses(&["0.0.0.0:8080"], None, Some(one)), 1);
        assert_eq!(addresses(&["[::]:80"], Some("[::1]:80"), None), 1);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let mut config = Config::loopback("/nowhere".into());
        config.http.clear();
        config.domain = Some("a b".into());
        config.public_url = Some("relay".into());
        config.limits.bodies = 1;
        config.limits.dead_after = Duration::ZERO;
        let of: Vec<_> = config.problems().into_iter().map(|p| p.of[0]).collect();
        assert_eq!(of, ["http", "max-bodies", "dead-after", "domain", "public-url"]);
    }
}
