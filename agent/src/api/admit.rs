//! Who is let in. Pure: it looks at a request's head and says yes or why not.
//!
//! A web page in the developer's browser can send requests to loopback. It cannot read or guess the token, which is in a file that only the user
//! can read; and what a page sends is refused before the token is looked at: its Host is its own name (DNS rebinding), or it has an Origin, or
//! the browser says that it is cross-site. There are no CORS headers anywhere, so that no answer can be read by a page, and no preflight succeeds.

use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;
use crate::control::Kind;

/// The interface's address and the hash of its token.
pub(super) struct Door {
    names: [String; 2],
    token: [u8; 32],
}

impl Door {
    pub(super) fn new(addr: SocketAddr, token: &str) -> Door {
        Door {
            names: [addr.to_string(), format!("localhost:{}", addr.port())],
            token: tunnel_signature::sha256(token.as_bytes()),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        self.names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }

    /// Whether the request may go on.
    pub(super) fn admit(&self, head: &Parts) -> Result<(), Problem> {
        let no = |why| Err(Problem::new(StatusCode::FORBIDDEN, Kind::Usage, why));
        let host = only(&head.headers, header::HOST).unwrap_or_default();
        // A target in absolute form names a host of its own, and goes before the line (RFC 9112, section 3.2.2).
        let named = head.uri.authority().is_none_or(|authority| self.is_ours(authority.as_str()));
        if !self.is_ours(host) || !named {
            // Said to everybody who leaves the port out, so that it tells a page nothing that it did not know.
            let bare = |ours: &String| ours.rsplit_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(host));
            return no(match self.names.iter().any(bare) {
                true => "the Host line has no port; it must be as in the interface's address, with the port",
                false => "this interface is only for names of this machine",
            });
        }
        if head.headers.contains_key(header::ORIGIN) {
            return no("this interface is not for web pages");
        }
        // What a browser's user typed says `none`; nothing of ours is a page that could say `same-origin`.
        if head.headers.get_all("sec-fetch-site").iter().any(|site| site != "none") {
            return no("this interface is not for web pages");
        }
        let shown = only(&head.headers, header::AUTHORIZATION).and_then(bearer).unwrap_or_default();
        // Hashes are compared, so that the time it takes says nothing about the token.
        if tunnel_signature::sha256(shown.as_bytes()) == self.token {
            return Ok(());
        }
        let refused = Problem::new(StatusCode::UNAUTHORIZED, Kind::Usage, "show the token that is in agent.json");
        Err(refused.hint("`healthie-tunnel api` says how"))
    }
}

/// The scheme's name in any letter case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// The value of a line that must not be there twice.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn status(target: &str, lines: &[(&str, &str)]) -> u16 {
        let door = Door::new("127.0.0.1:4040".parse().unwrap(), "secret");
        let mut request = Request::get(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        door.admit(&head).err().map_or(200, |p| p.status.as_u16())
    }

    #[test]
    fn a_refusal_says_what_to_ask_otherwise() {
        let door = Door::new("127.0.0.1:4040".parse().unwrap(), "secret");
        let told = |host: &str, lines: &[(&str, &str)]| {
            let request = lines.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
            let (head, ()) = request.header("host", host).body(()).unwrap().into_parts();
            let problem = door.admit(&head).unwrap_err();
            (problem.kind(), problem.message().to_owned())
        };
        for host in ["localhost", "127.0.0.1", "LOCALHOST"] {
            assert!(told(host, &[TOKEN]).1.contains("no port"), "{host}");
        }
        for host in ["evil.example", "localhost:1", ""] {
            assert!(told(host, &[TOKEN]).1.contains("names of this machine"), "{host}");
        }
        assert_eq!(told("localhost", &[]).0, Kind::Usage);
        assert_eq!(told("localhost:4040", &[]).0, Kind::Usage);
        assert_eq!(told("localhost:4040", &[("origin", "null")]).0, Kind::Usage);
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4040");
    const TOKEN: (&str, &str) = ("authorization", "Bearer secret");

    #[test]
    fn whoever_has_the_token_gets_in_by_names_of_this_machine() {
        assert_eq!(status("/v1/status", &[HOST, TOKEN]), 200);
        assert_eq!(status("/v1/status", &[("host", "LocalHost:4040"), ("authorization", "bearer  secret")]), 200);
        assert_eq!(status("/v1/status", &[HOST, TOKEN, ("sec-fetch-site", "none")]), 200);
        assert_eq!(status("http://127.0.0.1:4040/v1/status", &[HOST, TOKEN]), 200);
    }

    #[test]
    fn the_token_must_be_the_token() {
        for value in ["secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "Bearer SECRET"]
        {
            assert_eq!(status("/v1/status", &[HOST, ("authorization", value)]), 401, "{value}");
        }
        assert_eq!(status("/v1/status", &[HOST]), 401);
        assert_eq!(status("/v1/status", &[HOST, TOKEN, TOKEN]), 401, "two are none");
        assert_eq!(status("/v1/status?token=secret", &[HOST]), 401);
    }

    #[test]
    fn web_pages_and_other_names_are_refused_with_the_token_too() {
        for host in
            ["evil.example", "evil.example:4040", "127.0.0.1", "127.0.0.1:4041", "localhost", "127.0.0.2:4040", ""]
        {
            assert_eq!(status("/v1/status", &[("host", host), TOKEN]), 403, "{host}");
        }
        assert_eq!(status("/v1/status", &[TOKEN]), 403);
        assert_eq!(status("/v1/status", &[HOST, HOST, TOKEN]), 403);
        assert_eq!(status("http://evil.example/v1/status", &[HOST, TOKEN]), 403);
        for origin in ["http://evil.example", "http://127.0.0.1:4040", "null"] {
            assert_eq!(status("/v1/status", &[HOST, TOKEN, ("origin", origin)]), 403, "{origin}");
        }
        for site in ["cross-site", "same-site", "same-origin", ""] {
            assert_eq!(status("/v1/status", &[HOST, TOKEN, ("sec-fetch-site", site)]), 403, "{site}");
        }
    }
}
