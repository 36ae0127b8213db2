//! A connection with or without TLS, and how long its other end may take to take what is written.
//!
//! A peer that takes nothing must not hold a connection, whatever it sends meanwhile. hyper has no limit of its own for that, so it stands here, below
//! it: what is written must have gone out, to the last byte, so long after it first had to wait. On an agent's connection there is always more to
//! send, and it is enough that something goes out. What HTTP/2 keeps for a peer that opens no window never comes here: see `admission`.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::admission::Place;

enum Kind<S> {
    /// As it is.
    Plain(S),
    /// After the TLS handshake.
    Tls(Box<TlsStream<S>>),
}

/// A connection as a listener got it.
pub(crate) struct Stream<S> {
    kind: Kind<S>,
    place: Arc<Place>,
    write_time: Duration,
    /// When what waits must have gone out; nothing while nothing waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

macro_rules! either {
    ($kind:expr, $stream:ident => $do:expr) => {
        match $kind {
            Kind::Plain($stream) => $do,
            Kind::Tls($stream) => $do,
        }
    };
}

impl<S> Stream<S> {
    /// As it is.
    pub(crate) fn plain(stream: S, place: Arc<Place>, write_time: Duration) -> Stream<S> {
        Stream { kind: Kind::Plain(stream), place, write_time, waiting: None }
    }

    /// After the TLS handshake.
    pub(crate) fn tls(stream: TlsStream<S>, place: Arc<Place>, write_time: Duration) -> Stream<S> {
        Stream { kind: Kind::Tls(Box::new(stream)), place, write_time, waiting: None }
    }

    /// What both ends agreed to speak over TLS.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The other end did not take what there is: it is an error once that has lasted for too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let write_time = self.write_time;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(write_time)));
        match waiting.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.place.too_slow_a_reader();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what it is sent")))
            }
        }
    }

    /// Something was written.
    fn wrote(&mut self, written: usize) {
        if written > 0 && self.place.is_agent() {
            self.waiting = None;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = either!(&mut self.kind, s => Pin::new(s).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.place.heard();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match either!(&mut self.kind, s => Pin::new(s).poll_write(cx, buf)) {
            Poll::Pending => self.wait(cx),
            done => {
                self.wrote(if let Poll::Ready(Ok(n)) = done { n } else { 0 });
                done
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match either!(&mut self.kind, s => Pin::new(s).poll_flush(cx)) {
            Poll::Pending => self.wait(cx),
            done => {
                self.waiting = None;
                done
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match either!(&mut self.kind, s => Pin::new(s).poll_shutdown(cx)) {
            Poll::Pending => self.wait(cx),
            done => {
                self.waiting = None;
                done
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match either!(&mut self.kind, s => Pin::new(s).poll_write_vectored(cx, bufs)) {
            Poll::Pending => self.wait(cx),
            done => {
                self.wrote(if let Poll::Ready(Ok(n)) = done { n } else { 0 });
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.kind, s => s.is_write_vectored())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A stream to a peer that has room for 100 bytes.
    fn stream() -> (Stream<DuplexStream>, DuplexStream, Arc<Place>) {
        let (near, far) = tokio::io::duplex(100);
        let place = Arc::new(Place::new());
        (Stream::plain(near, Arc::clone(&place), LIMIT), far, place)
    }

    /// Takes a byte each second for so long.
    async fn sip(peer: &mut DuplexStream, seconds: u32) {
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            peer.read_u8().await.unwrap();
        }
        std::future::pending::<()>().await;
    }

    async fn fails_after(stream: &mut Stream<DuplexStream>, peer: &mut DuplexStream, sips: u32) -> Duration {
        let began = Instant::now();
        let wrote = tokio::select! {
            wrote = stream.write_all(&[7; 1000]) => wrote,
            () = sip(peer, sips) => unreachable!(),
        };
        assert_eq!(wrote.unwrap_err().kind(), io::ErrorKind::TimedOut);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_has_so_long_for_all_and_sipping_makes_it_no_longer() {
        let (mut stream, mut peer, place) = stream();
        assert_eq!(fails_after(&mut stream, &mut peer, 100).await, LIMIT);
        assert!(place.was_too_slow_a_reader());
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_has_so_long_until_it_takes_something_again() {
        let (mut stream, mut peer, place) = stream();
        place.is_an_agent_s();
        assert_eq!(fails_after(&mut stream, &mut peer, 30).await, Duration::from_secs(30) + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_has_the_whole_time_again() {
        let (mut stream, mut peer, _place) = stream();
        for _ in 0..5 {
            let slow = async {
                sleep(LIMIT / 2).await;
                peer.read_exact(&mut [0; 150]).await.unwrap();
            };
            let write = async {
                stream.write_all(&[7; 150]).await.unwrap();
                stream.flush().await.unwrap();
            };
            tokio::join!(write, slow);
        }
    }
}
