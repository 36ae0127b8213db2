//! Networks other than the system's: how a simulation carries an agent.

use std::fmt;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Peer;

/// A connection over such a network.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Wire for T {}

/// A connection that is being opened.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send + 'a>>;

/// A network.
pub trait Network: Send + Sync {
    /// Opens a connection to `peer`.
    fn connect<'a>(&'a self, peer: &'a Peer) -> Connecting<'a>;
}
