//! A port that is taken and on which nobody answers.

use std::net::{Ipv4Addr, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// A port of loopback that connections are refused on for as long as this lives: bound, so that nobody else gets it, and not listened on.
#[derive(Debug)]
pub struct ClosedPort {
    address: SocketAddr,
    _held: OwnedFd,
}

impl ClosedPort {
    /// Takes a free port.
    ///
    /// # Panics
    /// If loopback has none.
    #[expect(clippy::new_without_default, reason = "it takes a port, which a default value should not")]
    pub fn new() -> ClosedPort {
        let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket can be made");
        bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let name = getsockname(&held).expect("a bound socket has an address");
        let address = SocketAddr::try_from(name).expect("it is an address of IPv4");
        ClosedPort { address, _held: held }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_answers_there() {
        let port = ClosedPort::new();
        let refused = std::net::TcpStream::connect(port.address()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
