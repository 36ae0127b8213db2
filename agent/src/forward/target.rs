//! Where deliveries are forwarded to: targets as people write them, and which of them an event goes to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dial::{Peer, split_url, without_user};

/// A handler's address: a port, `host:port` (either may have a path), or a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl {
    /// Whom to connect to.
    pub peer: Peer,
    /// A path of its own, not `/`.
    path: Option<String>,
}

/// The text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a target: {why}; write a port (3000), host:port (localhost:3000) or a URL (http://localhost:3000/hooks)"
)]
pub struct TargetError {
    text: String,
    why: String,
}

impl TargetUrl {
    /// A peer, without a path of its own.
    pub fn of(peer: Peer) -> TargetUrl {
        TargetUrl { peer, path: None }
    }

    /// The request target that the handler gets for `seen`, the delivery's own target without the relay's prefix.
    ///
    /// A target URL without a path takes the delivery's path; one with a path is used as it stands, whatever the delivery's path is. The
    /// delivery's query is kept either way.
    pub fn map(&self, seen: &str) -> String {
        match &self.path {
            None => seen.to_owned(),
            Some(path) => match seen.split_once('?') {
                Some((_, query)) => format!("{path}?{query}"),
                None => path.clone(),
            },
        }
    }

    /// The URL that a request for `mapped` goes to.
    pub fn url(&self, mapped: &str) -> String {
        let scheme = if self.peer.tls { "https" } else { "http" };
        format!("{scheme}://{}{mapped}", self.peer.authority())
    }
}

impl FromStr for TargetUrl {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<TargetUrl, TargetError> {
        let wrong = |why: String| TargetError { text: without_user(text).chars().take(200).collect(), why };
        let bare = text.strip_prefix(':').unwrap_or(text);
        if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) {
            let port = bare.parse().ok().filter(|&p| p > 0).ok_or_else(|| wrong("there is no such port".into()))?;
            return Ok(TargetUrl { peer: Peer { tls: false, host: "localhost".into(), port }, path: None });
        }
        // A host of digits alone is a port with a path: nobody's handler is at a host that is called "3000".
        let port =
            bare.split(['/', '?', '#']).next().filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        let url = match port {
            Some(_) => format!("http://localhost:{bare}"),
            None if text.contains("://") => text.to_owned(),
            None => format!("http://{text}"),
        };
        let (peer, path) = split_url(&url, &["http"], &["https"]).map_err(|e| wrong(e.to_string()))?;
        if path.contains('?') {
            return Err(wrong("a query in it would hide the delivery's own".into()));
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("its path has a character that must be percent-encoded".into()));
        }
        if peer.port == 0 {
            return Err(wrong("there is no such port".into()));
        }
        Ok(TargetUrl { peer, path: (!path.is_empty() && path != "/").then_some(path) })
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(self.path.as_deref().unwrap_or("")))
    }
}

impl Serialize for TargetUrl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<TargetUrl, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Events of one pattern go to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A pattern of event names; `*` stands for any characters.
    pub pattern: String,
    /// Where they go.
    pub target: TargetUrl,
}

impl FromStr for Route {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Route, TargetError> {
        match text.split_once('=') {
            Some((pattern, target)) if !pattern.trim().is_empty() => {
                Ok(Route { pattern: pattern.trim().to_owned(), target: target.trim().parse()? })
            }
            _ => Err(TargetError {
                text: without_user(text).chars().take(200).collect(),
                why: "a forward is PATTERN=TARGET, such as 'appointment.*=http://localhost:3000/hooks'".into(),
            }),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.target)
    }
}

/// Which target an event goes to: the first route whose pattern matches, else the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// In the order in which they were given.
    pub routes: Vec<Route>,
    /// For what no route matches.
    pub default: Option<TargetUrl>,
}

impl Routes {
    /// The target for an event of that name; the empty name stands for a body that is no event.
    pub fn target(&self, event: &str) -> Option<&TargetUrl> {
        self.routes
            .iter()
            .find(|r| tunnel_catalogue::matches(&r.pattern, event))
            .map(|r| &r.target)
            .or(self.default.as_ref())
    }

    /// Whether nothing would be forwarded.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.default.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> TargetUrl {
        text.parse().unwrap()
    }

    #[test]
    fn targets_are_written_in_three_ways() {
        for (text, url) in [
            ("3000", "http://localhost:3000"),
            (":3000", "http://localhost:3000"),
            ("3000/hook", "http://localhost:3000/hook"),
            (":3000/hook", "http://localhost:3000/hook"),
            ("3000/", "http://localhost:3000"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("localhost:3000/hooks", "http://localhost:3000/hooks"),
            ("https://example.com/a/", "https://example.com/a/"),
            ("http://[::1]:9/", "http://[::1]:9"),
        ] {
            assert_eq!(target(text).to_string(), url);
        }
        for bad in [
            "",
            "0",
            "70000",
            "http://a?x=1",
            "ftp://a",
            "localhost:",
            "http://u@a/",
            "a b",
            "localhost:0",
            "0/a",
            "70000/a",
            "3000?x",
        ] {
            assert!(bad.parse::<TargetUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_delivery_s_path_is_kept_unless_the_target_has_one() {
        assert_eq!(target("3000").map("/a/../%2e?x=1"), "/a/../%2e?x=1");
        assert_eq!(target("http://localhost:3000/").map("/a"), "/a");
        assert_eq!(target("localhost:3000/hooks").map("/a?x=1&y"), "/hooks?x=1&y");
        assert_eq!(target("localhost:3000/hooks").map("/a?"), "/hooks?");
        assert_eq!(target("localhost:3000/hooks").map("/a"), "/hooks");
        assert_eq!(target("localhost:3000/hooks").url("/hooks?x"), "http://localhost:3000/hooks?x");
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let routes = Routes {
            routes: vec!["appointment.*=4000".parse().unwrap(), "*.created=5000".parse().unwrap()],
            default: Some(target("3000")),
        };
        let port = |event| routes.target(event).map(|t| t.peer.port);
        assert_eq!(
            (port("appointment.created"), port("goal.created"), port("goal.x"), port("")),
            (Some(4000), Some(5000), Some(3000), Some(3000))
        );
        assert!("=3000".parse::<Route>().is_err() && "3000".parse::<Route>().is_err());
    }
}
