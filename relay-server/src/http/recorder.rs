//! The stream that hyper reads from: records each request's head as it passes and gives hyper the head made in its place.
//!
//! It follows the framing of requests only as far as it must to find the next head: over a Content-Length. After a chunked body, an upgrade
//! or a refusal no further head is looked for; hyper closes then.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::head::{self, Framing, Head, HeadLimits, REFUSED_FOR_HYPER, Refusal};

/// How much is read from the socket at a time. Most deliveries fit, head and body.
const READ: usize = 4096;

/// How long, and how many bytes, to go on reading after an answer that did not wait for the end of its request.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// The heads that passed and were not picked up yet: hyper may read one request ahead. In the order of the requests.
#[derive(Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<VecDeque<Result<Head, Refusal>>>>);

impl Heads {
    /// The head of the request that hyper hands to the service now.
    pub(crate) fn next(&self) -> Option<Result<Head, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, head: Result<Head, Refusal>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(head);
    }
}

enum State {
    /// A head comes next.
    Head,
    /// So many bytes of a body are left; then a head comes.
    Body(u64),
    /// Whatever comes is hyper's: chunks, or another protocol after an upgrade.
    Rest,
    /// Nothing is read any more.
    Deaf,
}

/// A stream between socket and hyper.
pub(crate) struct Recorder<S> {
    inner: S,
    limits: HeadLimits,
    heads: Heads,
    state: State,
    /// What came from the socket and was not handed on.
    buf: BytesMut,
    /// So much of `buf` is known to be the beginning of a head and no more.
    looked_at: usize,
    /// What hyper is to read first.
    made: Bytes,
    /// Closing, but what is still coming is read and thrown away first.
    lingering: Option<Linger>,
}

struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Recorder<S> {
    pub(crate) fn new(inner: S, limits: HeadLimits, heads: Heads) -> Recorder<S> {
        Recorder {
            inner,
            limits,
            heads,
            state: State::Head,
            buf: BytesMut::new(),
            looked_at: 0,
            made: Bytes::new(),
            lingering: None,
        }
    }

    /// The socket again, with what had been read from it and not handed on.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.inner, self.buf)
    }

    fn take_head(&mut self) -> bool {
        // Nothing can have changed before a line ends (or what only looks like its end comes) or the head is too long: a head that comes byte by byte
        // is not read anew for each.
        let fresh = self.buf.get(self.looked_at..).unwrap_or_default();
        if self.looked_at > 0 && self.buf.len() < self.limits.bytes && !fresh.iter().any(u8::is_ascii_control) {
            self.looked_at = self.buf.len();
            return false;
        }
        let Some(head) = head::read(&mut self.buf, self.limits) else {
            self.looked_at = self.buf.len();
            return false;
        };
        self.looked_at = 0;
        match &head {
            Ok(head) => {
                self.made = head::for_hyper(head);
                self.state = match head.body {
                    _ if head.upgrade => State::Rest,
                    Framing::Length(0) => State::Head,
                    Framing::Length(length) => State::Body(length),
                    Framing::Chunked => State::Rest,
                };
            }
            Err(_) => {
                self.made = Bytes::from_static(REFUSED_FOR_HYPER);
                self.state = State::Deaf;
            }
        }
        self.heads.push(head);
        true
    }
}

impl<S: AsyncRead + Unpin> Recorder<S> {
    /// Reads more from the socket into `buf`; false at its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let had = self.buf.len();
        self.buf.resize(had + READ, 0);
        let mut space = ReadBuf::new(&mut self.buf[had..]);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut space);
        let got = space.filled().len();
        self.buf.truncate(had + got);
        if had + got == 0 {
            // An idle connection keeps no buffer.
            self.buf = BytesMut::new();
        }
        ready!(polled)?;
        Poll::Ready(Ok(got > 0))
    }
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Recorder<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.made.is_empty() {
                let n = this.made.len().min(out.remaining());
                out.put_slice(&this.made[..n]);
                this.made.advance(n);
                // What belongs to it and is here already goes along: hyper then has head and body in one read.
                let body = match this.state {
                    State::Body(left) => {
                        usize::try_from(left).unwrap_or(usize::MAX).min(this.buf.len()).min(out.remaining())
                    }
                    _ => 0,
                };
                this.hand_on(body, &mut out);
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Head => {
                    if this.take_head() {
                        continue;
                    }
                    if !ready!(this.poll_fill(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Body(left) => {
                    if this.buf.is_empty() && !ready!(this.poll_fill(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(this.buf.len()).min(out.remaining());
                    this.hand_on(n, &mut out);
                    return Poll::Ready(Ok(()));
                }
                State::Rest => {
                    if this.buf.is_empty() && !ready!(this.poll_fill(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                    let n = this.buf.len().min(out.remaining());
                    out.put_slice(&this.buf[..n]);
                    this.buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // hyper answers what it was given and closes; nothing wakes this read, and nothing needs to.
                State::Deaf => return Poll::Pending,
            }
        }
    }
}

impl<S> Recorder<S> {
    fn hand_on(&mut self, n: usize, out: &mut ReadBufCursor<'_>) {
        if let State::Body(left) = self.state {
            out.put_slice(&self.buf[..n]);
            self.buf.advance(n);
            let left = left - n as u64;
            self.state = if left == 0 { State::Head } else { State::Body(left) };
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for Recorder<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            // A request that was read to its end leaves nothing that could come.
            if matches!(this.state, State::Head) {
                return Poll::Ready(Ok(()));
            }
        }
        let linger =
            this.lingering.get_or_insert_with(|| Linger { until: Box::pin(sleep(LINGER)), left: LINGER_BYTES });
        // Closing a socket with unread bytes resets the connection, and the reset can overtake the answer: a sender whose body is too long
        // would see a broken connection instead of 413 (RFC 9112, section 9.6).
        let mut scrap = [0; READ];
        while linger.left > 0 && linger.until.as_mut().poll(cx).is_pending() {
            let mut space = ReadBuf::new(&mut scrap);
            match Pin::new(&mut this.inner).poll_read(cx, &mut space) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(space.filled().len());
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Read as _;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    /// Sends `sent` in pieces through a recorder and gives what hyper would read, and the heads.
    fn through(sent: &[u8], pieces: &[usize]) -> (Vec<u8>, Vec<Result<Head, Refusal>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut ours, theirs) = tokio::io::duplex(7);
            let heads = Heads::default();
            let mut recorder = Recorder::new(theirs, HeadLimits { bytes: 2000, lines: 20 }, heads.clone());
            let sent = sent.to_vec();
            let pieces = pieces.to_vec();
            let writer = async move {
                let mut rest = &sent[..];
                for piece in pieces.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (now, later) = rest.split_at((*piece).max(1).min(rest.len()));
                    ours.write_all(now).await.unwrap();
                    rest = later;
                }
                drop(ours);
            };
            let reader = async {
                let mut seen = Vec::new();
                loop {
                    let mut space = [0; 16];
                    let mut buf = hyper::rt::ReadBuf::new(&mut space);
                    if matches!(recorder.state, State::Deaf) && recorder.made.is_empty() {
                        break;
                    }
                    std::future::poll_fn(|cx| Pin::new(&mut recorder).poll_read(cx, buf.unfilled())).await.unwrap();
                    if buf.filled().is_empty() {
                        break;
                    }
                    seen.extend_from_slice(buf.filled());
                }
                seen
            };
            // A writer whose rest nobody reads waits for ever; the reader knows when there is no more to see.
            let writer = async {
                writer.await;
                std::future::pending::<()>().await;
            };
            let seen = tokio::select! {
                seen = reader => seen,
                () = writer => Vec::new(),
            };
            (seen, std::iter::from_fn(|| heads.next()).collect())
        })
    }

    const TWO: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nGET / HTTP/\r\nPOST /b HTTP/1.1\r\nhost: b\r\nX-Y: z\r\nContent-Length: 2\r\n\r\nhi";

    proptest! {
        #[test]
        fn pipelined_requests_are_recorded_however_they_are_cut(pieces in proptest::collection::vec(1_usize..40, 1..8)) {
            let (seen, heads) = through(TWO, &pieces);
            let want: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\nGET / HTTP/POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
            prop_assert_eq!(String::from_utf8_lossy(&seen), String::from_utf8_lossy(want));
            let targets: Vec<String> = heads.iter().map(|h| h.as_ref().unwrap().target.to_string()).collect();
            prop_assert_eq!(targets, ["/a", "/b"]);
        }
    }

    #[test]
    fn after_a_refusal_nothing_more_is_read() {
        let (seen, heads) =
            through(b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /secret HTTP/1.1\r\nHost: a\r\n\r\n", &[500]);
        assert_eq!(seen, REFUSED_FOR_HYPER);
        assert_eq!(heads.len(), 1);
        assert!(heads[0].is_err());
    }

    #[test]
    fn chunks_pass_untouched_and_end_the_recording() {
        let sent = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        let (seen, heads) = through(sent, &[500]);
        let text = String::from_utf8(seen).unwrap();
        assert!(
            text.starts_with("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc"),
            "{text}"
        );
        assert_eq!(heads.len(), 1);
    }
}
