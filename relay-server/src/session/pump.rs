//! A WebSocket and what is to be sent over it, driven together: writing never keeps from reading, and frames that wait share one flush.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tunnel_protocol::{ChunkFrame, MAX_FRAME, Outbox};

use crate::metrics::{Limit, Metrics};

/// Small buffers: ten thousand idle agents should cost little.
const BUFFER: usize = 4096;

/// What ended a session's connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The peer closed it, or it broke.
    #[error("the connection ended")]
    Closed,
    /// The system or the peer's WebSocket is at fault.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A text message.
    #[error("the peer sent a text message")]
    Text,
    /// A frame or message that is too long.
    #[error("the peer sent a frame that is too long: {0}")]
    TooLong(String),
    /// What was sent was not taken in time.
    #[error("the peer did not read what it was sent")]
    NotRead,
}

impl Ended {
    /// Counts it where it was a limit.
    pub(crate) fn count(&self, metrics: &Metrics) {
        match self {
            Ended::TooLong(_) => metrics.limit_hit(Limit::FrameSize),
            Ended::NotRead => metrics.limit_hit(Limit::ReadTime),
            Ended::Closed | Ended::Broken(_) | Ended::Text => {}
        }
    }
}

/// A WebSocket with an outbox.
pub(crate) struct Pump<S> {
    socket: WebSocketStream<S>,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    /// The server's side of a connection that was upgraded; `read` is what had come after the request already.
    /// The peer may send frames and messages of so many bytes.
    pub(crate) async fn server(stream: S, read: Vec<u8>, longest: usize) -> Pump<S> {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(4 * MAX_FRAME)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let socket = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
        Pump { socket, unflushed: false }
    }

    /// Sends what is in the outbox and gives the next frame that comes. Nothing is lost if it is dropped before it is done.
    pub(crate) async fn next<F: ChunkFrame>(&mut self, outbox: &mut Outbox<F>) -> Result<Bytes, Ended> {
        std::future::poll_fn(|cx| self.poll(cx, outbox)).await
    }

    /// Sends everything in the outbox.
    pub(crate) async fn drain<F: ChunkFrame>(&mut self, outbox: &mut Outbox<F>) -> Result<(), Ended> {
        std::future::poll_fn(|cx| {
            self.poll_send(cx, outbox)?;
            if outbox.is_empty() && !self.unflushed { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Says goodbye in WebSocket's own way.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    fn poll_send<F: ChunkFrame>(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox<F>) -> Result<(), Ended> {
        while Pin::new(&mut self.socket).poll_ready(cx).map_err(ended)?.is_ready() {
            let Some(frame) = outbox.pop() else { break };
            Pin::new(&mut self.socket).start_send(Message::Binary(frame)).map_err(ended)?;
            self.unflushed = true;
        }
        if self.unflushed && Pin::new(&mut self.socket).poll_flush(cx).map_err(ended)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll<F: ChunkFrame>(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox<F>) -> Poll<Result<Bytes, Ended>> {
        loop {
            if let Err(e) = self.poll_send(cx, outbox) {
                return Poll::Ready(Err(e));
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None | Some(Ok(Message::Close(_)))) => return Poll::Ready(Err(Ended::Closed)),
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(ended(e))),
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => return Poll::Ready(Ok(frame)),
                Poll::Ready(Some(Ok(Message::Text(_)))) => return Poll::Ready(Err(Ended::Text)),
                // Answering a WebSocket ping only queues the pong; it goes out with the next flush.
                Poll::Ready(Some(Ok(_))) => self.unflushed = true,
            }
        }
    }
}

fn ended(error: Error) -> Ended {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ended::Closed,
        Error::Io(e)
            if matches!(
                e.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ended::Closed
        }
        Error::Io(e) if e.kind() == io::ErrorKind::TimedOut => Ended::NotRead,
        Error::Capacity(e) => Ended::TooLong(e.to_string()),
        Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            Ended::Closed
        }
        other => Ended::Broken(other.to_string()),
    }
}
