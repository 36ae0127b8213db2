//! What a relay stands on: the system's network, disk, clock and threads, or those of a simulation. The relay's own code is the same on both.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tunnel_delivery::Timestamp;

use crate::registry::Registry;
use crate::store::Store;

/// Everything that [`crate::Relay::on`] is handed.
pub struct Ground<L> {
    /// Tunnels and tokens.
    pub registry: Registry,
    /// What was accepted and not every agent has taken.
    pub spool: Store,
    /// Names the stream that the spool's places count in: another spool, another stream.
    pub stream: Bytes,
    /// Where connections come in.
    pub doors: Vec<Bound<L>>,
    /// The wall clock.
    pub clock: Clock,
    /// Where work is done that blocks.
    pub offload: Offload,
}

/// A listener that is bound.
pub struct Bound<L> {
    /// The listener.
    pub listener: L,
    /// Its address, with the port it really has.
    pub addr: SocketAddr,
    /// How TLS is set up, where it is spoken.
    pub tls: Option<TlsAcceptor>,
}

/// A wall clock. What must not go back or jump is measured by tokio's own, not by this one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// What it is now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The system's.
    fn default() -> Clock {
        Clock::new(crate::session::wall_clock)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Where work is done that blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// On threads of the runtime's own for it.
    #[default]
    Pool,
    /// In a task like any other: for a simulation, whose storage does not block and which has no threads.
    InPlace,
}

impl Offload {
    /// Has `work` done; the handle gives what it returns.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self {
            Offload::Pool => tokio::task::spawn_blocking(work),
            Offload::InPlace => tokio::spawn(async move { work() }),
        }
    }
}
