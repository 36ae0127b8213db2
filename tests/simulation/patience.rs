//! How long relay and agent wait, by tokio's clock alone: it stands still while anybody works and jumps when everybody waits, so that every time here
//! is exact to the storage's few milliseconds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use healthie_tunnel::dial::Dialer;
use healthie_tunnel::forward::{HostHeader, Routes};
use healthie_tunnel::listen::{Allowance, Connecting, Parts, Works};
use healthie_tunnel::notice::{Announcer, Connection, Notice};
use healthie_tunnel::policy::Policy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tunnel_delivery::ErrorKind;
use tunnel_protocol::{AnswerMode, Start, ToAgent, ToRelay, Welcome};

use crate::chance::Chance;
use crate::hall::{Entrance, Wires, hall, house, team};
use crate::keep::{ArchiveDisk, MemoryKeep};
use crate::log::Log;

/// What a storage in memory takes at most, several commits in a row.
const STORING: Duration = Duration::from_millis(200);
const S: Duration = Duration::from_secs(1);

#[track_caller]
fn took(since: Instant, want: Duration) {
    let took = since.elapsed();
    assert!(took >= want && took <= want + STORING, "it took {took:?} and not {want:?}");
}

async fn all(stream: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

const POST: &[u8] = b"POST /t/team/x HTTP/1.1\r\nHost: relay\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_no_hello_is_let_go_after_ten_seconds() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), None, |_| {}).await;
    let mut socket = house.socket().await;
    let began = Instant::now();
    assert_eq!(socket.heard().await, None);
    took(began, 10 * S);
}

#[tokio::test(start_paused = true)]
async fn the_relay_asks_a_silent_agent_and_gives_it_up() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), None, |_| {}).await;
    let mut socket = house.agent("a").await;
    let began = Instant::now();
    for n in 1..=2 {
        assert_eq!(socket.heard().await, Some(ToAgent::Ping(n)));
        took(began, 3 * S * u32::try_from(n).unwrap());
    }
    assert_eq!(socket.heard().await, None);
    // What dies goes without a goodbye; the second is what closing may take.
    assert!(began.elapsed() >= 8 * S && began.elapsed() <= 9 * S + STORING, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_answers_pings_stays_for_hours() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), None, |_| {}).await;
    let mut socket = house.agent("a").await;
    let began = Instant::now();
    while began.elapsed() < 3600 * S {
        match socket.heard().await {
            Some(ToAgent::Ping(n)) => socket.say(ToRelay::Pong(n)).await,
            other => panic!("after {:?} came {other:?}", began.elapsed()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_in_passthrough_waits_as_long_as_the_tunnel_says() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), Some(7 * S), |_| {}).await;
    let mut socket = house.agent("a").await;
    let mut sender = house.entrance.connect();
    let began = Instant::now();
    sender.write_all(POST).await.unwrap();
    let (answer, ()) = tokio::join!(all(&mut sender), async {
        while let Some(frame) = socket.heard().await {
            match frame {
                ToAgent::Delivery(d) => assert_eq!(d.answer_within, Some(7 * S)),
                ToAgent::Ping(n) => socket.say(ToRelay::Pong(n)).await,
                other => panic!("{other:?}"),
            }
            if began.elapsed() > 9 * S {
                return;
            }
        }
    });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_the_relay_comes_at_its_limit_and_not_later() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), Some(2 * S), |_| {}).await;
    let _silent = house.agent("a").await;
    let mut sender = house.entrance.connect();
    let began = Instant::now();
    sender.write_all(POST).await.unwrap();
    let mut first = [0; 12];
    sender.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 504");
    took(began, 2 * S);
}

#[tokio::test(start_paused = true)]
async fn connections_that_say_nothing_or_half_are_closed_in_time() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), None, |config| {
        config.limits.head_time = 5 * S;
        config.limits.body_time = 7 * S;
    })
    .await;
    for said in [&b""[..], b"POST /t/team/x HT"] {
        let mut idle = house.entrance.connect();
        let began = Instant::now();
        idle.write_all(said).await.unwrap();
        let answer = all(&mut idle).await;
        // Up to two seconds more, in which what is still coming is read and thrown away.
        assert!(began.elapsed() >= 5 * S && began.elapsed() <= 7 * S + STORING, "{:?}: {answer}", began.elapsed());
    }
    let mut slow = house.entrance.connect();
    let began = Instant::now();
    slow.write_all(b"POST /t/team/x HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    let mut first = [0; 12];
    slow.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    took(began, 7 * S);
    all(&mut slow).await;
    assert!(began.elapsed() <= 9 * S + STORING, "lingering took until {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_device_is_forgotten_when_it_was_away_for_longer_than_anything_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), None, |config| config.spool.max_age = 3600 * S).await;
    let (gone, mut stays) = (house.agent("gone").await, house.agent("stays").await);
    tokio::spawn(async move {
        while let Some(frame) = stays.heard().await {
            if let ToAgent::Ping(n) = frame {
                stays.say(ToRelay::Pong(n)).await;
            }
        }
    });
    drop(gone);
    tokio::time::sleep(3590 * S).await;
    assert_eq!(house.disk.devices(&team()), 2);
    tokio::time::sleep(80 * S).await;
    assert_eq!(house.disk.devices(&team()), 1);
    house.relay.stop().await;
}

/// An agent over these wires: the states of its connection as it tells them, and its disk.
fn agent(wires: Wires, token: &str, chance: f64) -> (mpsc::UnboundedReceiver<(Instant, Connection)>, ArchiveDisk) {
    let (tell, told) = mpsc::unbounded_channel();
    let sink = move |notice: Arc<Notice>| {
        if let Notice::Connection(state) = &*notice {
            let _ = tell.send((Instant::now(), state.clone()));
        }
    };
    let disk = ArchiveDisk::default();
    let calm = (0, Arc::default());
    let keep = MemoryKeep::open(disk.clone(), Chance::of(2, "store"), calm, Log::default(), "agent".into());
    let works = Works::new(Parts {
        connecting: Connecting {
            relay: "http://relay".parse().unwrap(),
            token: healthie_tunnel::settings::Token::new(token.to_owned()).unwrap(),
            tunnel: None,
            device: "agent".parse().unwrap(),
            start: Start::Now,
            allowance: Allowance::default(),
        },
        dialer: Dialer::over(Arc::new(wires)),
        keep: Arc::new(keep),
        announcer: Announcer::new(Arc::new(sink)),
        policy: Policy {
            routes: Routes { default: Some("http://handler".parse().unwrap()), ..Routes::default() },
            ..Policy::default()
        },
        concurrency: 1,
        host_header: HostHeader::Sent,
        secrets: Vec::new(),
        // Made with the system's chance and not the seed's.
        keys: None,
        last_attempts: S,
        chance: Arc::new(move || chance),
    });
    tokio::spawn(works.run(std::future::pending()));
    (told, disk)
}

fn wires(entrance: Option<Entrance>, refuses: bool) -> Wires {
    Wires { entrance, refuses, times: Arc::default(), handler: Mutex::default() }
}

/// Waits until the agent has no connection; why, and when.
async fn waiting(told: &mut mpsc::UnboundedReceiver<(Instant, Connection)>) -> (Instant, String) {
    loop {
        if let (at, Connection::Waiting { reason, .. }) = told.recv().await.unwrap() {
            return (at, reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_really_pauses_between_connections() {
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    let _told = agent(Wires { times: Arc::clone(&times), ..wires(None, true) }, "t", 1.0);
    tokio::time::sleep(40 * S).await;
    let times = times.lock().unwrap().clone();
    let pauses: Vec<_> = times.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    // Each timer is a millisecond's step late at most.
    let near: Vec<_> = pauses.iter().map(|ms| ms / 10 * 10).collect();
    assert_eq!(near, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000], "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_gives_up_a_connection_that_does_not_open() {
    let began = Instant::now();
    let (mut told, _) = agent(wires(None, false), "t", 0.0);
    let (_, reason) = waiting(&mut told).await;
    assert_eq!(reason, "http://relay did not answer within 10 s");
    took(began, 10 * S);
    // The same where it opens and nobody answers the upgrade.
    let (_hall, entrance) = hall();
    let began = Instant::now();
    let (mut told, _) = agent(wires(Some(entrance), false), "t", 0.0);
    waiting(&mut told).await;
    took(began, 10 * S);
}

#[tokio::test(start_paused = true)]
async fn an_agent_gives_up_a_relay_that_does_not_answer_its_hello() {
    let (mut hall, entrance) = hall();
    let began = Instant::now();
    let (mut told, _) = agent(wires(Some(entrance), false), "t", 0.0);
    let _silent = tokio_tungstenite::accept_async(hall.next().await).await.unwrap();
    let (_, reason) = waiting(&mut told).await;
    assert_eq!(reason, "the relay did not answer the hello");
    took(began, 10 * S);
}

#[tokio::test(start_paused = true)]
async fn an_agent_asks_a_silent_relay_and_gives_it_up() {
    let (mut hall, entrance) = hall();
    let (mut told, _) = agent(wires(Some(entrance), false), "t", 0.0);
    let mut relay = tokio_tungstenite::accept_async(hall.next().await).await.unwrap();
    let welcome = Welcome {
        version: 1,
        tunnel: team(),
        answer_mode: AnswerMode::Ack,
        public_urls: Vec::new(),
        max_body: 1,
        heartbeat: 2 * S,
        dead_after: 5 * S,
        stream: "s".into(),
        after: 0,
        waiting: 0,
        software: "test".into(),
        sets_answer: true,
        sealed: false,
        notice: None,
    };
    relay.send(Message::Binary(ToAgent::Welcome(welcome).encode())).await.unwrap();
    let began = Instant::now();
    let (_, reason) = waiting(&mut told).await;
    assert_eq!(reason, "nothing was heard from the relay for 5s");
    took(began, 5 * S);
    let mut pings = 0;
    while let Some(Ok(message)) = relay.next().await {
        if let Message::Binary(frame) = message {
            pings += u32::from(matches!(ToRelay::decode(frame).unwrap(), ToRelay::Ping(_)));
        }
    }
    assert_eq!(pings, 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_answer_in_the_senders_time_is_recorded_so() {
    let data = tempfile::tempdir().unwrap();
    let house = house(data.path(), Some(3 * S), |_| {}).await;
    let (mut told, disk) = agent(wires(Some(house.entrance.clone()), false), &house.token, 0.0);
    while told.recv().await.unwrap().1 != Connection::Connected {}
    let mut sender = house.entrance.connect();
    let began = Instant::now();
    sender.write_all(POST).await.unwrap();
    let mut first = [0; 12];
    sender.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 504");
    took(began, 3 * S);
    // The handler has longer than the sender: what becomes of it is recorded at its own limit.
    tokio::time::sleep(STORING).await;
    assert!(disk.all().iter().all(|k| k.attempts.is_empty()), "recorded before its time");
    tokio::time::sleep(Policy::default().limit).await;
    let kept = disk.all();
    let kinds: Vec<_> = kept.iter().flat_map(|k| &k.attempts).map(|a| a.error.as_ref().map(|e| e.kind)).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == Some(ErrorKind::Timeout)), "{kinds:?}");
}
