//! A door for fuzzing: the parsers that see the outside and are otherwise this crate's own, over plain bytes and plain answers. Nothing but
//! the package in fuzz/ goes through it, nothing is decided here, and it promises nothing to anybody.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper::rt::Read as _;
use ipnet::IpNet;
use tokio::io::{AsyncRead, ReadBuf};
use tunnel_delivery::{Headers, HttpVersion, Target};

use crate::http::head::{Framing, HeadLimits};
use crate::http::recorder::{Heads, Recorder};
use crate::proxy::Proxies;
use crate::proxy::preface::{self, Client, Step};
use crate::route::{Domain, Route};

/// The most bytes of a head here: small, so that a fuzzer meets the bound.
pub const HEAD_BYTES: usize = 2048;
/// The most header lines here.
pub const HEAD_LINES: usize = 16;

/// A head that was admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// Whether it is HTTP/1.0.
    pub http10: bool,
    /// The lines as sent.
    pub headers: Headers,
    /// The body's length; `None` where it comes in chunks.
    pub length: Option<u64>,
    /// Whether the client asks for a WebSocket.
    pub upgrade: bool,
}

/// What came through the recorder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// What hyper read.
    pub seen: Vec<u8>,
    /// The heads, in order; the text says why one was refused.
    pub heads: Vec<Result<Admitted, String>>,
}

/// A stream that comes in pieces of these sizes, again and again, and then ends.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let size = usize::from(self.sizes.next().copied().unwrap_or(u8::MAX)) + 1;
        let (now, later) = self.rest.split_at(size.min(out.remaining()).min(self.rest.len()));
        out.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

/// Sends a connection's bytes through the recorder in pieces, each one byte longer than `sizes` say, to a reader that takes `take` bytes
/// at a time.
pub fn record(sent: &[u8], sizes: &[u8], take: usize) -> Recorded {
    let heads = Heads::default();
    let pieces = Pieces { rest: sent, sizes: sizes.iter().cycle() };
    let mut recorder = Recorder::new(pieces, HeadLimits { bytes: HEAD_BYTES, lines: HEAD_LINES }, heads.clone());
    let mut recorded = Recorded::default();
    let mut space = vec![0; take.max(1)];
    loop {
        let mut buf = hyper::rt::ReadBuf::new(&mut space);
        let polled = Pin::new(&mut recorder).poll_read(&mut Context::from_waker(Waker::noop()), buf.unfilled());
        if polled.is_pending() || buf.filled().is_empty() {
            break;
        }
        recorded.seen.extend_from_slice(buf.filled());
    }
    let plain = |head: crate::http::head::Head| Admitted {
        method: head.method.as_str().to_owned(),
        target: head.target.as_str().to_owned(),
        http10: head.version == HttpVersion::Http10,
        headers: head.headers,
        length: match head.body {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        },
        upgrade: head.upgrade,
    };
    let all = std::iter::from_fn(|| heads.next());
    recorded.heads = all.map(|head| head.map(plain).map_err(|why| format!("{why:?}"))).collect();
    recorded
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A tunnel's, and how many bytes of the target are its address.
    Tunnel(String, usize),
    /// An agent's.
    Agent(Option<String>),
    /// The relay's own.
    Own,
    /// Nothing that there is.
    Nothing,
}

/// Where a request goes; `None` where the target or the domain is none.
pub fn route(host: Option<&[u8]>, target: &str, domain: Option<&str>) -> Option<Way> {
    let target: Target = target.parse().ok()?;
    let domain = match domain {
        Some(domain) => Some(Domain::new(domain)?),
        None => None,
    };
    Some(match crate::route::route(host, &target, domain.as_ref()) {
        Route::Tunnel { name, prefix_len } => Way::Tunnel(name.to_string(), prefix_len),
        Route::Agent(name) => Way::Agent(name.map(|name| name.to_string())),
        Route::Health | Route::Ready | Route::Metrics | Route::Root => Way::Own,
        Route::Nothing => Way::Nothing,
    })
}

/// Reads a PROXY preface, so many bytes at a time at most: what came of it (`None` where the stream ends within it; an address, or none where
/// the peer itself is meant), and how many bytes were taken.
pub fn preface(stream: &[u8], at_a_time: usize) -> (Option<Result<Option<IpAddr>, &'static str>>, usize) {
    let mut taken = 0;
    loop {
        match preface::step(&stream[..taken]) {
            Step::Done(Client::At(address)) => return (Some(Ok(Some(address))), taken),
            Step::Done(Client::Peer) => return (Some(Ok(None)), taken),
            Step::Bad(why) => return (Some(Err(why)), taken),
            Step::Read(more) => {
                let now = more.min(at_a_time.max(1)).min(stream.len() - taken);
                if now == 0 {
                    return (None, taken);
                }
                taken += now;
            }
        }
    }
}

/// Who sends, and whether by HTTPS, where these networks are trusted to say it.
pub fn origin(trusted: &[IpNet], peer: IpAddr, headers: &Headers) -> (IpAddr, Option<bool>) {
    let origin = Proxies { trusted: trusted.to_vec(), ..Proxies::default() }.origin(peer, headers);
    (origin.source, origin.https)
}
