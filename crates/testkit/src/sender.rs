//! Sends bytes over TCP or TLS exactly as given and reads the answers. It builds no request: that is the story's.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::{Authority, DEADLINE, HttpMessage};

trait Transport: Read + Write + Send {}
impl<T: Read + Write + Send> Transport for T {}

/// A connection to a server.
pub struct Connection {
    tcp: TcpStream,
    stream: BufReader<Box<dyn Transport>>,
}

impl Connection {
    /// Connects over TCP.
    ///
    /// # Panics
    /// If nothing accepts.
    #[track_caller]
    pub fn open(to: SocketAddr) -> Connection {
        let tcp = connect(to);
        let stream = tcp.try_clone().expect("a socket has a second handle");
        Connection { tcp, stream: BufReader::new(Box::new(stream)) }
    }

    /// Connects over TLS with the server's name, trusting that authority only. The handshake happens with the first bytes.
    ///
    /// # Panics
    /// If nothing accepts.
    #[track_caller]
    pub fn open_tls(to: SocketAddr, name: &str, trusted: &Authority) -> Connection {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted.der()).expect("the story's own authority is a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("the story gives a DNS name");
        let session = rustls::ClientConnection::new(Arc::new(settings), name).expect("the settings are complete");
        let tcp = connect(to);
        let socket = tcp.try_clone().expect("a socket has a second handle");
        let stream: Box<dyn Transport> = Box::new(rustls::StreamOwned::new(session, socket));
        Connection { tcp, stream: BufReader::new(stream) }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If the connection does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|e| panic!("the connection took no more: {e}"));
    }

    /// Sends bytes; the server may have closed.
    ///
    /// # Errors
    /// If the connection does not take them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // It may be closed already.
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Reads one answer.
    ///
    /// # Panics
    /// If there is none within [`DEADLINE`].
    #[track_caller]
    pub fn answer(&mut self) -> HttpMessage {
        match HttpMessage::read(&mut self.stream) {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(e) => panic!("no answer: {e}"),
        }
    }

    /// Reads one answer; none if the server closes instead.
    pub fn try_answer(&mut self) -> Option<HttpMessage> {
        HttpMessage::read(&mut self.stream).ok().flatten()
    }

    /// Waits until the server closes, and gives what it still sent.
    ///
    /// # Panics
    /// If it has not closed after [`DEADLINE`].
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the server keeps the connection open; it sent {:?}", String::from_utf8_lossy(&rest));
            }
            // A reset is an end too.
            _ => rest,
        }
    }
}

#[track_caller]
fn connect(to: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect_timeout(&to, DEADLINE).unwrap_or_else(|e| panic!("{to} does not accept: {e}"));
    tcp.set_read_timeout(Some(DEADLINE)).expect("a limit that is not zero");
    tcp.set_write_timeout(Some(DEADLINE)).expect("a limit that is not zero");
    tcp.set_nodelay(true).expect("TCP has this option");
    tcp
}

/// Sends one request over a connection of its own and reads the answer.
///
/// # Panics
/// If there is none within [`DEADLINE`].
#[track_caller]
pub fn send(to: SocketAddr, request: &[u8]) -> HttpMessage {
    let mut connection = Connection::open(to);
    connection.send(request);
    connection.answer()
}
