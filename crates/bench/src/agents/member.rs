//! One agent that does nothing but stay: TLS, WebSocket, hello, heartbeat, and "taken" for what comes. When its session breaks it comes back as
//! the real one does. It keeps nothing but counts, so that thousands of them fit in one process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tunnel_protocol::{Beat, Heartbeat, Hello, MAX_FRAME, Start, ToAgent, ToRelay, VERSION_MAX, VERSION_MIN};
use tunnel_testkit::Dice;

use crate::load::NUMBER;

/// As the agent has them (`listen::machine` and `listen::driver`): what is measured is how such agents come back.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const GOOD_SESSION: Duration = Duration::from_secs(3);
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// How many open a session at once the first time. Later all come when they come.
const OPENING: usize = 100;

/// Agents from one address; beyond that the relay might take them for an attack.
const FROM_ONE_ADDRESS: usize = 16;

/// The least that the library works with: what is measured is the relay, but ten thousand members live here too.
const BUFFER: usize = 4096;

/// What all members share.
pub(crate) struct Company {
    /// Where the relay listens for TLS.
    relay: SocketAddr,
    /// Its name on the certificate.
    name: String,
    tls: TlsConnector,
    opening: Semaphore,
    end: watch::Sender<bool>,
    connected: AtomicUsize,
    /// Tries that came to nothing.
    failures: AtomicU64,
    /// Why the last of them did.
    last_words: Mutex<String>,
    /// Copies of deliveries that came, and those that came to the same member before.
    copies: AtomicU64,
    again: AtomicU64,
}

impl Company {
    /// Nobody yet. Sessions are never resumed: after a restart no relay knows them any more.
    pub(crate) fn new(relay: SocketAddr, name: &str, mut tls: ClientConfig) -> Company {
        tls.resumption = rustls::client::Resumption::disabled();
        Company {
            relay,
            name: name.to_owned(),
            tls: TlsConnector::from(Arc::new(tls)),
            opening: Semaphore::new(OPENING),
            end: watch::Sender::new(false),
            connected: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            last_words: Mutex::default(),
            copies: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// How many have a session now.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many tries came to nothing, or sessions broke, so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last try came to nothing.
    pub(crate) fn last_words(&self) -> String {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many different copies of deliveries came to members, and how many came again.
    pub(crate) fn copies(&self) -> (u64, u64) {
        (self.copies.load(Ordering::Relaxed), self.again.load(Ordering::Relaxed))
    }

    /// Sends all of them home.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}

/// As whom a member comes.
pub(crate) struct Pass {
    /// Its number among all members.
    pub(crate) at: usize,
    /// Its tunnel.
    pub(crate) tunnel: String,
    /// A token for it.
    pub(crate) token: Arc<str>,
}

/// Counts a member as connected as long as it lives.
struct Here<'c>(&'c Company);

impl<'c> Here<'c> {
    fn new(company: &'c Company) -> Here<'c> {
        company.connected.fetch_add(1, Ordering::Relaxed);
        Here(company)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Comes, stays and comes back until the company ends.
pub(crate) async fn stay(company: Arc<Company>, pass: Pass) {
    let mut end = company.end.subscribe();
    tokio::select! {
        biased;
        // The sender is the company's own and cannot be gone.
        _ = end.wait_for(|end| *end) => {}
        () = come_and_go(&company, &pass) => {}
    }
}

async fn come_and_go(company: &Company, pass: &Pass) {
    let mut dice = Dice::new(0x5eed).other(pass.at as u64);
    let mut seen = Vec::new();
    let (mut failures, mut ever) = (0_u32, false);
    loop {
        // The queue before the first session only: a relay that restarts gets no such favour.
        let turn = if ever { None } else { company.opening.acquire().await.ok() };
        let opened = tokio::time::timeout(OPEN_WITHIN, open(company, pass)).await;
        let (why, lasted) = match opened {
            Ok(Ok(mut socket)) => {
                ever = true;
                drop(turn);
                let began = Instant::now();
                (serve(company, &mut socket, &mut seen).await, began.elapsed())
            }
            Ok(Err(why)) => (why, Duration::ZERO),
            Err(_) => (format!("no session within {OPEN_WITHIN:?}"), Duration::ZERO),
        };
        company.failures.fetch_add(1, Ordering::Relaxed);
        *company.last_words.lock().unwrap_or_else(PoisonError::into_inner) = why;
        if lasted >= GOOD_SESSION {
            failures = 0;
        }
        let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        failures += 1;
        tokio::time::sleep(dice.within(&(whole / 2..whole))).await;
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// Where a member comes from: some sixteen share an address of the loopback network.
fn home(at: usize) -> IpAddr {
    let house = u32::try_from(at / FROM_ONE_ADDRESS).unwrap_or(0);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + house).into()
}

async fn open(company: &Company, pass: &Pass) -> Result<Socket, String> {
    let no = |doing: &'static str| move |e: io::Error| format!("{doing}: {e}");
    let socket = TcpSocket::new_v4().map_err(no("make a socket"))?;
    socket.bind(SocketAddr::new(home(pass.at), 0)).map_err(no("bind"))?;
    let stream = socket.connect(company.relay).await.map_err(no("connect"))?;
    stream.set_nodelay(true).map_err(no("connect"))?;
    let name = ServerName::try_from(company.name.clone()).map_err(|e| e.to_string())?;
    let stream = company.tls.connect(name, stream).await.map_err(no("TLS"))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(4 * MAX_FRAME)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let uri = format!("wss://{}:{}/agent/v1/{}", company.name, company.relay.port(), pass.tunnel);
    let uri = uri.parse().map_err(|_| format!("{uri} is no address"))?;
    let request = ClientRequestBuilder::new(uri).with_header("Authorization", format!("Bearer {}", pass.token));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (mut socket, _) = opened.map_err(|e| format!("upgrade: {e}"))?;
    let device = format!("member-{}", pass.at).parse().map_err(|e| format!("{e}"))?;
    let hello = Hello {
        versions: (VERSION_MIN, VERSION_MAX),
        device,
        software: concat!("tunnel-bench ", env!("CARGO_PKG_VERSION")).to_owned(),
        start: Start::Now,
        resume: None,
        window_deliveries: 64,
        window_bytes: 1 << 20,
        device_key: None,
    };
    send(&mut socket, &ToRelay::Hello(hello)).await?;
    Ok(socket)
}

async fn send(socket: &mut Socket, frame: &ToRelay) -> Result<(), String> {
    socket.send(Message::Binary(frame.encode())).await.map_err(|e| format!("send: {e}"))
}

/// Stays until the session ends; gives why it did.
async fn serve(company: &Company, socket: &mut Socket, seen: &mut Vec<u64>) -> String {
    // What the relay asks for comes with its welcome.
    let mut beat = Heartbeat::new(Instant::now(), OPEN_WITHIN, 2 * OPEN_WITHIN);
    let mut here = None;
    loop {
        let look_at = match beat.look(Instant::now()) {
            Beat::Dead => return "nothing was heard for too long".to_owned(),
            Beat::Ping(n) => match send(socket, &ToRelay::Ping(n)).await {
                Ok(()) => continue,
                Err(why) => return why,
            },
            Beat::Wait(until) => until,
        };
        let message = tokio::select! {
            message = socket.next() => message,
            () = tokio::time::sleep_until(look_at.into()) => continue,
        };
        beat.heard(Instant::now());
        let frame = match message {
            Some(Ok(Message::Binary(frame))) => frame,
            Some(Ok(Message::Close(_))) | None => return "the relay closed the connection".to_owned(),
            Some(Ok(_)) => continue,
            Some(Err(e)) => return e.to_string(),
        };
        let answer = match ToAgent::decode(frame) {
            Ok(ToAgent::Welcome(welcome)) => {
                beat = Heartbeat::new(Instant::now(), welcome.heartbeat, welcome.dead_after);
                here = Some(Here::new(company));
                None
            }
            Ok(ToAgent::Refused(refused)) => return refused.message,
            Ok(ToAgent::Goodbye(why)) => return why,
            Ok(ToAgent::Ping(n)) => Some(ToRelay::Pong(n)),
            Ok(ToAgent::Delivery(incoming)) => {
                let number =
                    incoming.delivery.headers.get(NUMBER).and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
                if let Some(number) = number {
                    let counter = if seen.contains(&number) { &company.again } else { &company.copies };
                    counter.fetch_add(1, Ordering::Relaxed);
                    seen.push(number);
                }
                Some(ToRelay::Taken(vec![incoming.n]))
            }
            Ok(_) => None,
            Err(e) => return format!("a frame that is none: {e}"),
        };
        if let Some(answer) = answer
            && let Err(why) = send(socket, &answer).await
        {
            return why;
        }
        // Only for its end.
        let _ = &here;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_live_in_houses_of_their_own_on_loopback() {
        assert_eq!(home(0), home(FROM_ONE_ADDRESS - 1));
        assert_ne!(home(0), home(FROM_ONE_ADDRESS));
        assert!([0, 15, 9_999, 19_999].map(home).iter().all(IpAddr::is_loopback));
    }
}
