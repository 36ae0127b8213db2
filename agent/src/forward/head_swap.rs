//! Puts exact bytes where an HTTP library would write its own: hyper keeps a request's headers in a map, which loses their order, letter
//! case and repetition, so it is given a stand-in head, and on the way to the socket that head is exchanged for the real one. The answer's
//! head is copied as it passes, because hyper loses the same things of it.
//!
//! hyper frames, parses and keeps the connection; this file knows only where a head ends and how long the body after it is.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes of answers' heads that are copied; hyper refuses longer ones.
const MAX_HEAD: usize = 64 * 1024;

/// The heads to be written, and the answer's head as it came. Shared with the owner of the connection.
#[derive(Clone, Default)]
pub(super) struct Swap(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    heads: VecDeque<(Bytes, usize)>,
    copying: bool,
    written: bool,
    answered: bool,
    copy: Vec<u8>,
}

impl Swap {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request goes out with `head` and has a body of `body_len` bytes. To be called before hyper is given the request.
    pub(super) fn arm(&self, head: Bytes, body_len: usize) {
        let mut shared = self.lock();
        shared.heads.push_back((head, body_len));
        shared.copying = true;
        shared.written = false;
        shared.answered = false;
        shared.copy.clear();
    }

    /// Whether all of the request was written since [`Swap::arm`]: head and body are with the system.
    pub(super) fn written(&self) -> bool {
        self.lock().written
    }

    /// Whether any byte came since [`Swap::arm`].
    pub(super) fn answered(&self) -> bool {
        self.lock().answered
    }

    /// Everything from the answer's first byte to at least the end of its head; stops copying.
    pub(super) fn take_copy(&self) -> Vec<u8> {
        let mut shared = self.lock();
        shared.copying = false;
        std::mem::take(&mut shared.copy)
    }
}

enum Place {
    /// Within the stand-in head; so many bytes of the empty line at its end were seen.
    Head(usize),
    /// Within the body; so many bytes are to come.
    Body(usize),
}

/// A connection on which heads are exchanged.
pub(super) struct HeadSwap<S> {
    inner: S,
    swap: Swap,
    place: Place,
    real: Bytes,
    /// Whether a request was written before.
    kept: bool,
}

/// A connection that can tell whether its other end did something while it was idle.
pub(super) trait Idle {
    /// Whether the other end closed it, or spoke without being asked. Says no where that cannot be known.
    fn stirred(&self) -> bool;
}

impl Idle for crate::dial::Stream {
    fn stirred(&self) -> bool {
        self.has_input()
    }
}

impl<S> HeadSwap<S> {
    pub(super) fn new(inner: S, swap: Swap) -> HeadSwap<S> {
        HeadSwap { inner, swap, place: Place::Head(0), real: Bytes::new(), kept: false }
    }

    /// How many bytes of `buf` belong to the stand-in head; moves on to the body where the head ends.
    fn swallow(&mut self, buf: &[u8], mut seen: usize) -> io::Result<usize> {
        const END: &[u8; 4] = b"\r\n\r\n";
        for (i, byte) in buf.iter().enumerate() {
            // hyper's own heads have no stray CR, so after a mismatch only a CR can begin the end again.
            seen = if *byte == END[seen] { seen + 1 } else { usize::from(*byte == b'\r') };
            if seen == END.len() {
                let (real, body_len) = self
                    .swap
                    .lock()
                    .heads
                    .pop_front()
                    .ok_or_else(|| io::Error::other("a request was written for which no head was prepared"))?;
                self.real = real;
                self.place = if body_len == 0 { Place::Head(0) } else { Place::Body(body_len) };
                return Ok(i + 1);
            }
        }
        self.place = Place::Head(seen);
        Ok(buf.len())
    }
}

impl<S: AsyncWrite + Unpin> HeadSwap<S> {
    /// Writes what is left of the real head.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.real.is_empty() {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.real))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.real.advance(n);
            if self.real.is_empty() && matches!(self.place, Place::Head(_)) {
                self.wrote_all();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Idle + Unpin> AsyncWrite for HeadSwap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let left = match this.place {
            Place::Head(seen) => {
                // The head of the request before this one, where that had no body.
                ready!(this.poll_head(cx))?;
                // Asked here, at the last moment before the first byte: hyper learns of a close only when its task is woken for it.
                if seen == 0 && this.kept && this.inner.stirred() {
                    let why = "the kept connection was closed before it was used again";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
                }
                return Poll::Ready(this.swallow(buf, seen));
            }
            Place::Body(left) => left,
        };
        let body = &buf[..buf.len().min(left)];
        // Head and body in one packet where the socket can do that.
        while !this.real.is_empty() {
            let slices = [IoSlice::new(&this.real), IoSlice::new(body)];
            let n = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &slices))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_body = n.saturating_sub(this.real.len());
            this.real.advance(n - of_body);
            if of_body > 0 {
                return Poll::Ready(Ok(this.wrote_body(left, of_body)));
            }
        }
        let n = ready!(Pin::new(&mut this.inner).poll_write(cx, body))?;
        Poll::Ready(Ok(this.wrote_body(left, n)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S> HeadSwap<S> {
    fn wrote_body(&mut self, left: usize, n: usize) -> usize {
        self.place = if n == left { Place::Head(0) } else { Place::Body(left - n) };
        if n == left {
            self.wrote_all();
        }
        n
    }

    fn wrote_all(&mut self) {
        self.kept = true;
        self.swap.lock().written = true;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadSwap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if !came.is_empty() {
            let mut shared = this.swap.lock();
            shared.answered = true;
            if shared.copying {
                let room = MAX_HEAD.saturating_sub(shared.copy.len());
                shared.copy.extend_from_slice(&came[..came.len().min(room)]);
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    impl Idle for DuplexStream {
        fn stirred(&self) -> bool {
            false
        }
    }

    /// Requests as hyper writes them, cut anywhere, must come out with the real heads and the bodies untouched.
    fn exchanged(requests: &[(String, Vec<u8>)], cuts: &[usize], pipe: usize) -> (Vec<u8>, Vec<u8>) {
        let mut stand_ins = Vec::new();
        let mut expected = Vec::new();
        let swap = Swap::default();
        for (real, body) in requests {
            stand_ins
                .extend_from_slice(format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
            stand_ins.extend_from_slice(body);
            let head = format!("{real}\r\n\r\n");
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(body);
            swap.arm(head.into(), body.len());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let got = runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(pipe);
            let write = async move {
                let mut io = HeadSwap::new(near, swap);
                let mut rest = &stand_ins[..];
                let mut cuts = cuts.iter().copied().cycle();
                while !rest.is_empty() {
                    let n = cuts.next().unwrap_or(1).clamp(1, rest.len());
                    io.write_all(&rest[..n]).await.unwrap();
                    rest = &rest[n..];
                }
                io.shutdown().await.unwrap();
            };
            let read = async move {
                let mut got = Vec::new();
                far.read_to_end(&mut got).await.unwrap();
                got
            };
            tokio::join!(write, read).1
        });
        (got, expected)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn any_split_gives_the_real_bytes(
            requests in proptest::collection::vec(("[A-Z]{1,8} /[ -~]{0,40}\r\n[a-zA-Z]{1,9}: [ -~]{0,30}", proptest::collection::vec(any::<u8>(), 0..200)), 1..4),
            cuts in proptest::collection::vec(1_usize..70, 1..6),
            pipe in 1_usize..64,
        ) {
            let (got, expected) = exchanged(&requests, &cuts, pipe);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_body_that_looks_like_the_end_of_a_head_is_left_alone() {
        let body = b"\r\n\r\n\r\n\r\nPOST / HTTP/1.1\r\n\r\n".to_vec();
        let (got, expected) = exchanged(&[("A /".into(), body.clone()), ("B /".into(), body)], &[3, 50], 7);
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_request_without_a_prepared_head_is_an_error_not_a_leak_of_the_stand_in() {
        let (near, _far) = tokio::io::duplex(64);
        let mut io = HeadSwap::new(near, Swap::default());
        assert!(io.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_err());
    }

    #[tokio::test]
    async fn a_request_is_written_when_its_last_byte_is() {
        for body in [&b""[..], b"body"] {
            let (near, _far) = tokio::io::duplex(64);
            let swap = Swap::default();
            swap.arm(Bytes::from_static(b"A /\r\n\r\n"), body.len());
            let mut io = HeadSwap::new(near, swap.clone());
            io.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
            if let Some((last, most)) = body.split_last() {
                io.write_all(most).await.unwrap();
                io.flush().await.unwrap();
                assert!(!swap.written(), "a byte is missing");
                io.write_all(&[*last]).await.unwrap();
            } else {
                assert!(!swap.written(), "nothing is written yet");
            }
            io.flush().await.unwrap();
            assert!(swap.written());
            swap.arm(Bytes::new(), 0);
            assert!(!swap.written());
        }
    }

    #[tokio::test]
    async fn the_answer_s_head_is_copied_as_it_came() {
        let (near, mut far) = tokio::io::duplex(64);
        let swap = Swap::default();
        swap.arm(Bytes::new(), 0);
        let mut io = HeadSwap::new(near, swap.clone());
        assert!(!swap.answered());
        far.write_all(b"HTTP/1.1 200 OK\r\nX-a: 1\r\n\r\n").await.unwrap();
        let mut buf = [0; 10];
        io.read_exact(&mut buf).await.unwrap();
        assert!(swap.answered());
        assert_eq!(swap.take_copy(), b"HTTP/1.1 2");
        io.read_exact(&mut buf).await.unwrap();
        assert!(swap.take_copy().is_empty());
    }
}
