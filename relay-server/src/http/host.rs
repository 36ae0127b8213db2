//! The Host of a request: its form, and whether it names this relay. Pure.
//!
//! The form is stricter than RFC 9112 asks: a name of letters, digits, `-`, `_` and dots, an address, or an address of IP version 6 in brackets, and
//! perhaps a port from 1 to 65535. Userinfo, lists, percent signs, zones and empty labels are refused.
//!
//! What names us: the domain and every name below it, what the operator adds (`--host`), the host of the public URL, the names of certificates
//! that we get ourselves, and the addresses that we listen on. Where we listen on all addresses of the machine, any address does: which
//! ones the world reaches it by is not known here. `localhost` names an address of loopback. The port is not compared, because who stands before
//! the relay may have another.
//!
//! With neither a domain nor anything that was added, nobody has said what we are called, and any Host of the right form is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;
use crate::route::Domain;

/// The longest name, dots included (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 255;
/// The longest part of a name between dots.
const LABEL_MAX: usize = 63;

/// A Host without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Reads the value of a Host line; nothing if it is not one host with an optional port.
    pub(crate) fn parse(value: &[u8]) -> Option<Host> {
        let text = std::str::from_utf8(value).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            port_fits(rest)?;
            return address.parse::<Ipv6Addr>().ok().map(|a| Host::Address(IpAddr::V6(a).to_canonical()));
        }
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        port_fits(port)?;
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let fits = name.len() <= NAME_MAX && name.split('.').all(label_fits);
        // Numbers only would be an address to some and a name to others.
        let numbers = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (fits && !numbers).then(|| Host::Name(name.to_ascii_lowercase()))
    }
}

fn label_fits(label: &str) -> bool {
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Nothing, or a colon and a port.
fn port_fits(text: &str) -> Option<()> {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty().then_some(()) };
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    port.parse::<u16>().ok().filter(|port| digits && *port != 0).map(|_| ())
}

/// What this relay is called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Nobody said what it is called.
    any: bool,
    domain: Option<Domain>,
    /// In lower case. With a dot before them they stand for each name one label below.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    /// From what the relay was told and where it listens.
    pub(crate) fn new(config: &Config, listening: &[SocketAddr]) -> Names {
        let mut names: Vec<String> = Vec::new();
        let mut addresses: Vec<IpAddr> = listening.iter().map(|a| a.ip().to_canonical()).collect();
        let public = config.public_url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        let public = public.and_then(|rest| rest.split(['/', '?', '#']).next());
        for host in config.hosts.iter().map(String::as_str).chain(public) {
            match Host::parse(host.as_bytes()) {
                Some(Host::Name(name)) => names.push(name),
                Some(Host::Address(address)) => addresses.push(address),
                None => {}
            }
        }
        let acme = config.https.iter().filter_map(|https| https.acme.as_ref()).flat_map(|acme| &acme.names);
        names.extend(acme.map(|name| name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase()));
        let domain = config.domain.as_deref().and_then(Domain::new);
        Names { any: domain.is_none() && config.hosts.is_empty(), domain, names, addresses }
    }

    /// Whether a Host of the right form names this relay.
    pub(crate) fn admit(&self, host: &Host) -> bool {
        if self.any {
            return true;
        }
        match host {
            Host::Address(address) => self.addresses.iter().any(|ours| ours.is_unspecified() || ours == address),
            Host::Name(name)
                if name == "localhost" && self.addresses.iter().any(|a| a.is_loopback() || a.is_unspecified()) =>
            {
                true
            }
            Host::Name(name) => {
                let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
                self.domain.as_ref().is_some_and(|d| name == d.as_str() || below(d.as_str()))
                    || self.names.iter().any(|ours| match ours.strip_prefix('.') {
                        Some(domain) => below(domain),
                        None => name == ours,
                    })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Option<Host> {
        Some(Host::Name(text.to_owned()))
    }

    #[test]
    fn one_name_or_address_with_a_port_or_without() {
        assert_eq!(Host::parse(b"Relay.Test:443"), name("relay.test"));
        assert_eq!(Host::parse(b"a_b.relay.test."), name("a_b.relay.test"));
        assert_eq!(Host::parse(b"127.0.0.1:80"), Some(Host::Address([127, 0, 0, 1].into())));
        assert_eq!(Host::parse(b"[::1]:80"), Some(Host::Address(Ipv6Addr::LOCALHOST.into())));
        assert_eq!(Host::parse(b"[::ffff:10.0.0.1]"), Some(Host::Address([10, 0, 0, 1].into())));
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a:",
            "a:0",
            "a:65536",
            "a:080000",
            "a:+80",
            "a:80:80",
            "a:b",
            "u@a",
            "a/b",
            "a,b",
            "a b",
            "a%41",
            "[::1",
            "::1",
            "[::1%25eth0]",
            "[v1.x]",
            "[::1]80",
            "[]",
            "a#",
            "a?b",
            "1.2.3",
            "1.2.3.4.5",
            "0",
            "\u{e9}.test",
            "a\\b",
        ] {
            assert_eq!(Host::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Host::parse("a".repeat(64).as_bytes()), None);
        assert_eq!(Host::parse(format!("a{}", ".a".repeat(200)).as_bytes()), None);
    }

    fn admits(config: &Config, listening: &[&str], host: &str) -> bool {
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        Names::new(config, &listening).admit(&Host::parse(host.as_bytes()).expect(host))
    }

    #[test]
    fn what_is_ours_and_what_is_not() {
        let config = Config {
            domain: Some("relay.test".into()),
            hosts: vec!["other.example".into(), "10.9.9.9".into()],
            public_url: Some("https://public.example:8443/x".into()),
            ..Config::loopback("unused".into())
        };
        let listening = ["127.0.0.1:8080", "[2001:db8::1]:443"];
        for host in [
            "relay.test",
            "RELAY.test:1",
            "relay.test.",
            "team.relay.test",
            "a.b.relay.test",
            "other.example",
            "public.example",
            "127.0.0.1:9",
            "[2001:db8::1]",
            "10.9.9.9",
            "localhost:80",
        ] {
            assert!(admits(&config, &listening, host), "{host}");
        }
        for host in [
            "notrelay.test",
            "relay.test.evil.example",
            "x.other.example",
            "127.0.0.2",
            "[::1]",
            "test",
            "localhost.evil.example",
        ] {
            assert!(!admits(&config, &listening, host), "{host}");
        }
        // Listening everywhere: any address, but not any name.
        assert!(admits(&config, &["0.0.0.0:80"], "203.0.113.9"));
        assert!(!admits(&config, &["0.0.0.0:80"], "evil.example"));
        assert!(!admits(&config, &["192.0.2.1:80"], "localhost"));
    }

    #[test]
    fn unnamed_it_takes_any_until_something_is_said() {
        let unnamed = Config::loopback("unused".into());
        assert!(admits(&unnamed, &["127.0.0.1:80"], "evil.example"));
        let named = Config { hosts: vec!["a.example".into()], ..unnamed };
        assert!(!admits(&named, &["127.0.0.1:80"], "evil.example"));
        assert!(admits(&named, &["127.0.0.1:80"], "A.example"));
    }

    proptest! {
        #[test]
        fn nothing_that_a_stranger_says_is_taken_for_ours(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let config = Config { domain: Some("relay.test".into()), ..Config::loopback("unused".into()) };
            if let Some(host) = Host::parse(&bytes) {
                let ours = Names::new(&config, &[]).admit(&host);
                let text = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
                prop_assert!(!ours || text.contains("relay.test"));
            }
        }
    }
}
