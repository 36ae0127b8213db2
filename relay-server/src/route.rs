//! What a request is for, told from its Host and its target. Pure.

use tunnel_delivery::{Target, TunnelName};

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A delivery.
    Tunnel {
        /// The tunnel it is addressed to, which need not exist.
        name: TunnelName,
        /// How many bytes at the beginning of the target are the tunnel's address.
        prefix_len: usize,
    },
    /// An agent that wants a session; without a name it is the tunnel of its token.
    Agent(Option<TunnelName>),
    /// Is the process alive?
    Health,
    /// Is it at work, and not stopping or failed? A full disk passes and is told to each sender.
    Ready,
    /// The figures, for the operator.
    Metrics,
    /// Somebody looks at the front page.
    Root,
    /// Nothing that there is.
    Nothing,
}

impl Route {
    /// What it is for, in a word for logs and figures.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Route::Tunnel { .. } => "delivery",
            Route::Agent(_) => "agent",
            Route::Health => "health",
            Route::Ready => "ready",
            Route::Metrics => "metrics",
            Route::Root => "root",
            Route::Nothing => "nothing",
        }
    }
}

/// The domain under which tunnels have host names, and where the relay itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain(String);

impl Domain {
    /// A domain in lower case without dots around it.
    pub(crate) fn new(domain: &str) -> Option<Domain> {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let fits = !domain.is_empty()
            && domain.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        fits.then_some(Domain(domain))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a request with that Host and target is for.
///
/// A host name one label below the domain names a tunnel, and its target is then the handler's alone. With every other host name, the
/// relay's own and addresses among them, the path decides: `/t/NAME/…` names a tunnel too, for relays without wildcard DNS.
pub(crate) fn route(host: Option<&[u8]>, target: &Target, domain: Option<&Domain>) -> Route {
    if let (Some(host), Some(domain)) = (host, domain)
        && let Some(label) = below(host, domain)
    {
        return match label.parse() {
            Ok(name) => Route::Tunnel { name, prefix_len: 0 },
            Err(_) => Route::Nothing,
        };
    }
    let path = target.path();
    if let Some(rest) = path.strip_prefix("/t/") {
        let name = rest.split('/').next().unwrap_or_default();
        return match name.parse() {
            Ok(tunnel) => Route::Tunnel { name: tunnel, prefix_len: "/t/".len() + name.len() },
            Err(_) => Route::Nothing,
        };
    }
    if let Some(rest) = path.strip_prefix("/agent/v1") {
        return match rest.strip_prefix('/') {
            None if rest.is_empty() => Route::Agent(None),
            Some("") => Route::Agent(None),
            Some(name) => name.parse().map_or(Route::Nothing, |name| Route::Agent(Some(name))),
            None => Route::Nothing,
        };
    }
    match path {
        "/" => Route::Root,
        "/healthz" => Route::Health,
        "/readyz" => Route::Ready,
        "/metrics" => Route::Metrics,
        _ => Route::Nothing,
    }
}

/// The part of `host` before `.domain`, in lower case; `None` if `host` is not below the domain.
fn below(host: &[u8], domain: &Domain) -> Option<String> {
    let host = std::str::from_utf8(host).ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, target: &str) -> Route {
        let domain = Domain::new("relay.test").unwrap();
        route(Some(host.as_bytes()), &target.parse().unwrap(), Some(&domain))
    }

    fn tunnel(name: &str, prefix_len: usize) -> Route {
        Route::Tunnel { name: name.parse().unwrap(), prefix_len }
    }

    #[test]
    fn a_host_below_the_domain_is_a_tunnel_whatever_its_path() {
        for host in ["team.relay.test", "TEAM.relay.test:8443", "team.relay.test."] {
            for target in ["/", "/healthz", "/t/other/x", "/agent/v1/team"] {
                assert_eq!(at(host, target), tunnel("team", 0), "{host} {target}");
            }
        }
        assert_eq!(at("a.b.relay.test", "/"), Route::Nothing);
        assert_eq!(at("-.relay.test", "/"), Route::Nothing);
        assert_eq!(at(".relay.test", "/"), Route::Nothing);
    }

    #[test]
    fn elsewhere_the_path_decides() {
        for host in ["relay.test", "127.0.0.1:8080", "[::1]:8080", "notrelay.test", "relay.test:80"] {
            assert_eq!(at(host, "/t/team/a/b?c"), tunnel("team", 7), "{host}");
            assert_eq!(at(host, "/t/team"), tunnel("team", 7));
            assert_eq!(at(host, "/t/team?x"), tunnel("team", 7));
            assert_eq!(at(host, "/healthz?x"), Route::Health);
            assert_eq!(at(host, "/agent/v1/team"), Route::Agent(Some("team".parse().unwrap())));
            assert_eq!(at(host, "/agent/v1"), Route::Agent(None));
        }
        for target in ["/t/", "/t/Team/", "/t//x", "/agent/v2/team", "/agent/v1x", "/x", "/t/%74eam/"] {
            assert_eq!(at("relay.test", target), Route::Nothing, "{target}");
        }
    }
}
