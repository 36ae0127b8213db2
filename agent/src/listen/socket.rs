//! The WebSocket to the relay: opening it, reading frames and writing what waits in the outbox, both at once.
//!
//! Knows frames and bytes, nothing of what they mean. The only file that names the WebSocket library.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tunnel_delivery::TunnelName;
use tunnel_protocol::{MAX_FRAME, Outbox, ToRelay};

use crate::dial::{Peer, broken};
use crate::settings::Token;

/// Small ones: a frame is seldom over 4 KiB, and one that is gets its own memory while it is read.
const BUFFER: usize = 8 * 1024;
/// After so many frames read without a pause what is written goes out, however busy the line is.
const FLUSH_EVERY: u32 = 32;
/// How long closing may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The relay, or something before it, answered the upgrade with a status.
    #[error("{peer} answered {status}{text}")]
    Status {
        /// Who answered.
        peer: Peer,
        /// The status.
        status: u16,
        /// What the body said, with a colon before it.
        text: String,
    },
    /// What answered does not speak WebSocket.
    #[error("{peer} does not answer as a relay: {why}")]
    NotARelay {
        /// Who answered.
        peer: Peer,
        /// What is wrong.
        why: String,
    },
}

/// An open WebSocket.
pub(super) struct Link<S> {
    ws: WebSocketStream<S>,
    /// What is to be sent.
    pub outbox: Outbox<ToRelay>,
    unflushed: bool,
    read_since_flush: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Upgrades a connection. `tunnel` may be left out where the token says which it is.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub(super) async fn open(
        stream: S,
        peer: &Peer,
        token: &Token,
        tunnel: Option<&TunnelName>,
    ) -> Result<Link<S>, OpenError> {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(BUFFER + 2 * MAX_FRAME)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let not_a_relay = |why: String| OpenError::NotARelay { peer: peer.clone(), why };
        let scheme = if peer.tls { "wss" } else { "ws" };
        let place = tunnel.map_or_else(String::new, |t| format!("/{t}"));
        let uri = format!("{scheme}://{}/agent/v1{place}", peer.authority());
        let uri = uri.parse().map_err(|_| not_a_relay(format!("{uri} is not an address")))?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {}", token.expose()))
            .with_header("User-Agent", super::SOFTWARE);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((ws, _)) => Ok(Link { ws, outbox: Outbox::default(), unflushed: false, read_since_flush: 0 }),
            Err(WsError::Http(answer)) => Err(OpenError::Status {
                peer: peer.clone(),
                status: answer.status().as_u16(),
                text: said(answer.body().as_deref().unwrap_or_default()),
            }),
            Err(WsError::Io(e)) => Err(not_a_relay(broken(&e))),
            Err(e) => Err(not_a_relay(e.to_string())),
        }
    }

    /// The next frame. While it waits, what is in the outbox goes out. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection is over; the text says why.
    pub(super) async fn next(&mut self) -> Result<Bytes, String> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, String>> {
        self.push(cx)?;
        loop {
            match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => {
                    self.read_since_flush += 1;
                    if self.read_since_flush >= FLUSH_EVERY {
                        self.flush(cx)?;
                    }
                    return Poll::Ready(Ok(frame));
                }
                // The library answers pings by itself; the answer goes out with the next flush.
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => self.unflushed = true,
                Poll::Ready(Some(Ok(Message::Text(_)))) => {
                    return Poll::Ready(Err("the relay sent text, which this protocol does not have".into()));
                }
                Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                    let why = frame.map(|f| f.reason.to_string()).filter(|r| !r.is_empty());
                    return Poll::Ready(Err(match why {
                        Some(why) => format!("the relay closed the connection: {why}"),
                        None => "the relay closed the connection".into(),
                    }));
                }
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(explain(&e))),
                Poll::Ready(None) => return Poll::Ready(Err("the relay closed the connection".into())),
                Poll::Pending => {
                    self.flush(cx)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Hands frames to the library as long as it takes them.
    fn push(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        while !self.outbox.is_empty() {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Err(explain(&e)),
                Poll::Pending => return Ok(()),
            }
            if let Some(frame) = self.outbox.pop() {
                self.unflushed = true;
                Pin::new(&mut self.ws).start_send(Message::Binary(frame)).map_err(|e| explain(&e))?;
            }
        }
        Ok(())
    }

    /// Writes what the library holds as far as the socket takes it, and goes on with the outbox when it took all.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        while self.unflushed || !self.outbox.is_empty() {
            match Pin::new(&mut self.ws).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    self.read_since_flush = 0;
                    self.push(cx)?;
                }
                Poll::Ready(Err(e)) => return Err(explain(&e)),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Sends what is left and closes, within [`FAREWELL`].
    pub(super) async fn finish(mut self, reason: &str) {
        self.outbox.whole(ToRelay::Goodbye(reason.to_owned()).encode());
        let farewell = async {
            std::future::poll_fn(|cx| {
                if self.push(cx).and_then(|()| self.flush(cx)).is_err() {
                    return Poll::Ready(());
                }
                if self.outbox.is_empty() && !self.unflushed { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let _ = self.ws.close(None).await;
            // The relay's own close ends it; until then it may still be sending.
            while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut self.ws).poll_next(cx)).await {}
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// What an answer's body says, with a colon before it: the sentence of a relay's JSON, or the beginning of anything else.
fn said(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let sentence = json.as_ref().and_then(|j| j.get("message")?.as_str()).map(str::to_owned);
    let text = sentence.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned());
    let text: String = text.trim().chars().take(300).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

fn explain(e: &WsError) -> String {
    match e {
        WsError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "the relay went away".into(),
        WsError::Io(e) => format!("the connection to the relay broke: {}", broken(e)),
        WsError::ConnectionClosed | WsError::AlreadyClosed => "the relay closed the connection".into(),
        WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            "the relay went away".into()
        }
        WsError::Capacity(e) => format!("the relay sent a message that is too long: {e}"),
        other => format!("the connection to the relay failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        assert_eq!(said(br#"{"error":"bad-token","message":"The token is unknown."}"#), ": The token is unknown.");
        assert_eq!(said(b"<h1>nope\n"), ": <h1>nope");
        assert_eq!(said(b" \n"), "");
        assert_eq!(said(&[b'x'; 1000]).len(), 302);
    }
}
