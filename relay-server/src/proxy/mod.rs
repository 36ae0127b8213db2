//! Who really sends, when proxies of the operator's stand before the relay: the addresses that are trusted to say it, X-Forwarded-For and
//! X-Forwarded-Proto from those, and in `preface` the PROXY protocol. Pure. Whatever anybody else claims is a header like any other: it is passed
//! on with the delivery and believed by nobody.

pub(crate) mod preface;

use std::net::IpAddr;

use ipnet::IpNet;
use tunnel_delivery::Headers;

/// The most hops that are followed back through X-Forwarded-For. Behind more trusted proxies than these, the last one seen is the sender.
const HOPS_MAX: usize = 32;

/// What stands before the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Addresses that are trusted to say who sends.
    pub trusted: Vec<IpNet>,
    /// They open connections to the HTTP listeners with the PROXY protocol.
    pub preface_on_http: bool,
    /// Likewise to the HTTPS listener.
    pub preface_on_https: bool,
}

/// How a request came, as far as it is known from those who are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: IpAddr,
    /// Whether it was HTTPS where it came in; nothing if no trusted proxy says so.
    pub(crate) https: Option<bool>,
}

impl Proxies {
    /// Whether what comes from there is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Where a request came from that came over a connection from `peer`.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &Headers) -> Origin {
        if self.trusted.is_empty() || !self.trusts(peer) {
            return Origin { source: peer, https: None };
        }
        Origin { source: self.source(peer, headers), https: scheme(headers) }
    }

    /// The right-most address of X-Forwarded-For that is not a trusted proxy: each trusted one has appended who spoke to it, so all to the right is
    /// true, and nothing to the left is known. What is not an address ends the search at the hop before.
    fn source(&self, peer: IpAddr, headers: &Headers) -> IpAddr {
        let mut source = peer;
        let lines: Vec<&[u8]> = values(headers, b"x-forwarded-for").collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b','));
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else {
                return source;
            };
            source = address;
            if !self.trusts(source) {
                return source;
            }
        }
        source
    }
}

/// The last word of X-Forwarded-Proto: that of the proxy next to us.
fn scheme(headers: &Headers) -> Option<bool> {
    let last = values(headers, b"x-forwarded-proto").last()?.rsplit(|b| *b == b',').next()?.trim_ascii();
    match last {
        _ if last.eq_ignore_ascii_case(b"https") => Some(true),
        _ if last.eq_ignore_ascii_case(b"http") => Some(false),
        _ => None,
    }
}

fn values<'a>(headers: &'a Headers, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| &line.value[..])
}

/// An address as proxies write it: plain, in brackets, and with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    plain.or_else(with_port).or_else(in_brackets).map(|a| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies() -> Proxies {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Proxies { trusted, ..Proxies::default() }
    }

    fn from(peer: &str, lines: &[(&str, &str)]) -> Origin {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push((*name).to_owned(), (*value).to_owned());
        }
        proxies().origin(peer.parse().unwrap(), &headers)
    }

    fn source(peer: &str, forwarded: &[&str]) -> String {
        let lines: Vec<_> = forwarded.iter().map(|f| ("X-Forwarded-For", *f)).collect();
        from(peer, &lines).source.to_string()
    }

    #[test]
    fn the_right_most_that_is_not_ours_is_the_sender() {
        assert_eq!(source("10.0.0.1", &["52.4.158.130"]), "52.4.158.130");
        assert_eq!(source("10.0.0.1", &["1.1.1.1, 52.4.158.130, 10.9.9.9"]), "52.4.158.130");
        assert_eq!(source("10.0.0.1", &["1.1.1.1", "52.4.158.130", "10.9.9.9,10.2.2.2"]), "52.4.158.130");
        assert_eq!(source("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(source("::ffff:10.0.0.1", &["52.4.158.130:5555"]), "52.4.158.130");
        assert_eq!(source("10.0.0.1", &["::ffff:52.4.158.130"]), "52.4.158.130");
        // All are ours: the one furthest away.
        assert_eq!(source("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(source("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &["52.4.158.130, evil\u{fffd}, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(source("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &["52.4.158.130,"]), "10.0.0.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        let spoofed = [("X-Forwarded-For", "52.4.158.130"), ("X-Forwarded-Proto", "https")];
        assert_eq!(from("8.8.8.8", &spoofed), Origin { source: "8.8.8.8".parse().unwrap(), https: None });
        let nobody = Proxies::default();
        let mut headers = Headers::default();
        headers.push("X-Forwarded-For", "1.2.3.4");
        assert_eq!(nobody.origin("10.0.0.1".parse().unwrap(), &headers).source.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_the_last_one_s_word() {
        let said = |value| from("10.0.0.1", &[("x-forwarded-proto", value)]).https;
        assert_eq!(said("https"), Some(true));
        assert_eq!(said("https, HTTP"), Some(false));
        assert_eq!(said("gopher"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_puts_to_the_left_changes_nothing(junk in "[ -~]{0,200}", sender in any::<[u8; 4]>()) {
            let sender = IpAddr::from(sender);
            prop_assume!(!proxies().trusts(sender));
            let list = format!("{junk}, {sender}, 10.1.1.1");
            prop_assert_eq!(source("10.0.0.1", &[&junk, &list]), sender.to_string());
        }

        #[test]
        fn a_stranger_is_always_himself(peer in any::<[u8; 4]>(), junk in proptest::collection::vec("[ -~]{0,60}", 0..4)) {
            let peer = IpAddr::from(peer);
            prop_assume!(!proxies().trusts(peer));
            let junk: Vec<&str> = junk.iter().map(String::as_str).collect();
            prop_assert_eq!(source(&peer.to_string(), &junk), peer.to_string());
        }
    }
}
