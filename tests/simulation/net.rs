//! The simulated network as relay and agent are handed it: a listener, a dialer, and a way to cut what an agent has open.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use healthie_tunnel::dial::{Connecting, Network, Peer, Wire};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::log::Log;

/// The relay's listener.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) knife: Knife,
}

impl healthie_relay::Listener for Door {
    type Io = Cuttable;

    async fn accept(&mut self) -> io::Result<(Cuttable, IpAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((self.knife.hold(stream), peer.ip()))
    }
}

/// Cuts connections: all that were opened before a cut break at it.
#[derive(Clone, Default)]
pub(crate) struct Knife(Arc<Edge>);

#[derive(Default)]
struct Edge {
    cuts: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl Knife {
    /// A connection that the next cut breaks.
    fn hold(&self, stream: TcpStream) -> Cuttable {
        Cuttable { stream, knife: self.clone(), born: self.0.cuts.load(Ordering::Relaxed) }
    }

    /// Breaks everything that is open.
    pub(crate) fn cut(&self) {
        self.0.cuts.fetch_add(1, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A connection that can be cut.
#[derive(Debug)]
pub(crate) struct Cuttable {
    stream: TcpStream,
    knife: Knife,
    born: u64,
}

impl std::fmt::Debug for Knife {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Knife")
    }
}

impl Cuttable {
    fn whole(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.knife.0.cuts.load(Ordering::Relaxed) != self.born {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut wakers = self.knife.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Ok(())
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.whole(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.whole(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// When an agent opened connections to the relay: the process and the time.
pub(crate) type Dials = Arc<Mutex<Vec<(u64, u64)>>>;

/// An agent's way into the network.
pub(crate) struct Net {
    pub(crate) log: Log,
    pub(crate) device: String,
    pub(crate) knife: Knife,
    /// Which of the device's processes it is.
    pub(crate) process: u64,
    pub(crate) dials: Dials,
}

impl Network for Net {
    fn connect<'a>(&'a self, peer: &'a Peer) -> Connecting<'a> {
        if peer.host == "relay" {
            self.log.say(format_args!("{} dials", self.device));
            let mut dials = self.dials.lock().unwrap_or_else(PoisonError::into_inner);
            dials.push((self.process, self.log.now()));
        }
        Box::pin(async move {
            let stream = TcpStream::connect((peer.host.as_str(), peer.port)).await?;
            Ok(Box::new(self.knife.hold(stream)) as Box<dyn Wire>)
        })
    }
}
