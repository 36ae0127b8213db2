//! What is wrong with a configuration, before anything is opened: bounds that the protocol does not carry, settings that contradict each other or are missing
//! beside others. All of it at once, each with the settings that have to do with it. Pure; files and addresses are `checkup`'s.

use std::net::SocketAddr;

use tunnel_protocol::{MAX_ANSWER, MAX_BODY, MAX_FRAME, MAX_HEAD};

use super::{Acme, AcmeChallenge, Config, FRAME_LEAST, Limits};
use crate::http::head::MAX_LINES;
use crate::http::host::Host;
use crate::route::Domain;

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
    fn problems(&self, found: &mut Vec<Problem>) {
        let name = |n: &str| Domain::new(n).is_some() && n.contains('.') && !n.ends_with('.');
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
        if self.head_lines > MAX_LINES {
            let (lines, most) = (self.head_lines, MAX_LINES);
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
    Host::parse(host.as_bytes()).is_none().then_some("what follows :// is not a host name or address")
}

/// Whether both cannot be listened on at once. Whether the system has `[::]` stand for all of IPv4 too is its own affair, which a try shows.
pub(crate) fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && (all || one.ip() == other.ip())
}

/// The settings of two listeners, by their names.
fn both(one: &str, other: &str) -> &'static [&'static str] {
    match (one, other) {
        ("http", "http") => &["http"],
        ("http" | "https", "http" | "https") => &["http", "https"],
        ("http" | "admin", "http" | "admin") => &["http", "admin"],
        ("https" | "admin", "https" | "admin") => &["https", "admin"],
        _ => &["http", "https", "admin"],
    }
}

impl Config {
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
                found.push(Problem::of(both(other, name), what));
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
            && Domain::new(domain).is_none()
        {
            found.push(Problem::of(&["domain"], format!("{domain:?} is not a domain name")));
        }
        for bad in self.hosts.iter().filter(|host| Host::parse(host.as_bytes()).is_none()) {
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
    use crate::config::{Https, PairFiles};
    use std::time::Duration;

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
