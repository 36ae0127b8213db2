//! Whom to connect to: scheme, host and port.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// One end of a connection to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The text is not a URL that this program can connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a usable address: {why}")]
pub struct PeerError {
    text: String,
    why: &'static str,
}

impl Peer {
    /// `host:port` as it stands in a Host header: the scheme's own port is left out (RFC 9110, section 7.2).
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.bracketed() } else { format!("{}:{}", self.bracketed(), self.port) }
    }

    /// Whether it is this machine, whatever a resolver says: see [`is_loopback`].
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bracketed(), self.port)
    }
}

/// Whether a host is a loopback address, or a name that is always loopback. A URL's brackets are no part of it.
pub fn is_loopback(host: &str) -> bool {
    is_localhost(host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether a name is `localhost` or below it: always loopback (RFC 6761, section 6.3), so no resolver is asked for it, and none can lead it elsewhere.
pub(super) fn is_localhost(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next();
    last.is_some_and(|last| last.eq_ignore_ascii_case("localhost")) && !has_empty_label(host)
}

/// Whether there is nothing between two dots, or before the first one: that is no name (RFC 1034, section 3.1). The dot at its end is none of those.
fn has_empty_label(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).split('.').any(str::is_empty)
}

/// The text with `…` for what may be a user name and a password: all between the scheme and the last `@`. Passwords have slashes too, so
/// nothing is relied on but that; at worst a harmless path is cut.
pub fn without_user(text: &str) -> String {
    let begin = text.find("://").map_or(0, |at| at + 3);
    match text.rfind('@') {
        Some(at) if at >= begin => format!("{}…{}", &text[..begin], &text[at..]),
        // What looks like a scheme stands behind the `@`, so it is none.
        Some(at) => format!("…{}", &text[at..]),
        None => text.to_owned(),
    }
}

/// Splits a URL into the peer and what follows the authority (path and query as written, empty where there is none).
/// `plain` and `tls` are the schemes that are accepted.
///
/// # Errors
/// The text is not such a URL, or has user information or a fragment.
pub fn split_url(text: &str, plain: &[&str], tls: &[&str]) -> Result<(Peer, String), PeerError> {
    let wrong = |why| PeerError { text: without_user(text).chars().take(200).collect(), why };
    if text.contains('#') {
        return Err(wrong("a fragment (#…) has no meaning here"));
    }
    let uri: Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
    let scheme = uri.scheme_str().ok_or_else(|| wrong("it has no scheme such as http://"))?;
    let is_tls = tls.contains(&scheme);
    if !is_tls && !plain.contains(&scheme) {
        return Err(wrong("its scheme is not one that can be used here"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("a user name or password in it would end up in logs; leave it out"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(wrong("it has no host"));
    }
    if !host.contains(':') && has_empty_label(&host) {
        return Err(wrong("its host has two dots together, or begins with one"));
    }
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None if authority.as_str().len() > authority.host().len() => return Err(wrong("its port is not one")),
        None if is_tls => 443,
        None => 80,
    };
    // The text as written, not the parsed form: nothing about a path is normalised.
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let rest = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
    Ok((Peer { tls: is_tls, host, port }, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<(Peer, String), PeerError> {
        split_url(text, &["http", "ws"], &["https", "wss"])
    }

    #[test]
    fn urls_are_taken_apart() {
        let (peer, rest) = split("https://[::1]/a%2Fb?x").unwrap();
        assert_eq!((peer.tls, peer.host.as_str(), peer.port, rest.as_str()), (true, "::1", 443, "/a%2Fb?x"));
        assert_eq!(peer.authority(), "[::1]");
        assert!(peer.is_loopback());
        let (peer, rest) = split("ws://relay.example.com:8080").unwrap();
        assert_eq!((peer.to_string().as_str(), rest.as_str()), ("relay.example.com:8080", ""));
    }

    #[test]
    fn what_is_this_machine_by_its_name() {
        for here in [
            "localhost",
            "LocalHost",
            "localhost.",
            "a.localhost",
            "x.y.LOCALHOST.",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "",
            ".",
            "alocalhost",
            "localhost.test",
            "a.localhost.test",
            "localhost..",
            ".localhost",
            "a..localhost",
            "..localhost.",
            "0.0.0.0",
            "::",
            "127.0.0.1.test",
            "[::1]",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_password_is_in_no_error() {
        for bad in [
            "http://ann:pa55@a/",
            "http://ann:pa55/x@a/",
            "ann:pa55@a",
            "ftp://ann:pa55#@a",
            "ann:pa55@a://b",
            "http://é:pa55@",
        ] {
            let error = split(bad).unwrap_err().to_string();
            assert!(!error.contains("pa55"), "{error}");
            assert!(error.contains("…@"), "{error}");
        }
        assert_eq!(without_user("http://a:1/b"), "http://a:1/b");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for bad in ["", "localhost:1", "ftp://a", "http://", "http://u:p@a/", "http://a:99999/", "http://a/#x", "/x"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        for bad in
            ["http://.localhost", "http://.localhost:3000/x", "http://a..b/", "http://./", "http://../", "http://a../"]
        {
            assert!(split(bad).unwrap_err().to_string().contains("dot"), "{bad}");
        }
        for good in ["http://localhost./", "http://a.localhost:1", "https://127.0.0.1", "http://[::1]:3000"] {
            assert!(split(good).is_ok(), "{good}");
        }
    }
}
