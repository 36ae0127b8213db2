//! The running agent against a relay that the test plays, frame by frame.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use healthie_tunnel::control::{Filter, Followed, Follower, Local};
use healthie_tunnel::dial::Trust;
use healthie_tunnel::forward::HostHeader;
use healthie_tunnel::listen::{self, ListenConfig, ListenError};
use healthie_tunnel::notice::{Connection, Notice};
use healthie_tunnel::policy::Policy;
use healthie_tunnel::standing::State;
use support::played::*;
use support::{Server, answering, patiently, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tunnel_delivery::{AnswerClass, Delivery, DeliveryId, Timestamp};
use tunnel_protocol::{
    AnswerFailure, Assembler, CHUNK, Chunk, Gap, GapReason, INLINE_BODY, Incoming, Refusal, Refused, Start, ToAgent,
    ToRelay, Welcome,
};

/// Long ones take longer to read and to verify than short ones, and several threads work on them.
/// Which delivery the handler was given.
fn resource_id(request: &[u8]) -> u8 {
    let request = String::from_utf8_lossy(request);
    let (_, behind) = request.split_once(r#""resource_id":"#).unwrap();
    behind.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_are_announced_and_forwarded_in_the_order_in_which_they_came() {
    const COUNT: u8 = 200;
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut config = config(&relay, data.path(), Some(&handler));
    // So that the order at the handler is that of the deliveries.
    config.concurrency = 1;
    // The relay's ids grow, and what is read back from the store comes in their order.
    let id = |n: u8| DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000 + i64::from(n) * 1000));
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    for n in 1..=COUNT {
        let filling = if n % 4 == 1 { INLINE_BODY - 100 } else { 0 };
        let body = format!(r#"{{"event_type":"appointment.created","resource_id":{n},"x":"{}"}}"#, "x".repeat(filling));
        session.send(&ToAgent::Delivery(incoming(n.into(), Delivery { id: id(n), ..delivery(n, body) }, false))).await;
    }
    let mut announced = Vec::new();
    while announced.len() < COUNT.into() {
        announced.push(
            agent
                .until("a delivery", |n| match n {
                    Notice::Delivery(summary) => Some(summary.id),
                    _ => None,
                })
                .await,
        );
    }
    let sent: Vec<DeliveryId> = (1..=COUNT).map(id).collect();
    assert_eq!(announced, sent);
    handler.seen.wait_for(COUNT.into()).await;
    let came: Vec<u8> = handler.seen.all().iter().map(|request| resource_id(request)).collect();
    assert_eq!(came, (1..=COUNT).collect::<Vec<_>>());
    session.taken((1..=COUNT.into()).collect()).await;
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn a_delivery_is_stored_taken_forwarded_and_recorded() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    assert_eq!((session.hello.versions, session.hello.start, session.hello.resume.clone()), ((1, 1), Start::Now, None));
    let ready = agent.until("ready", |n| match n {
        Notice::Ready(r) => Some(r.clone()),
        _ => None,
    });
    let ready = ready.await;
    assert_eq!(ready.public_urls, ["http://team.relay.test"]);
    assert!(ready.forwards && ready.target.unwrap().ends_with(&format!(":{}", handler.port)), "where to is told");
    let body = r#"{"event_type":"appointment.created","resource_id":7}"#;
    for n in 1..=3 {
        session.send(&ToAgent::Delivery(incoming(n, delivery(n as u8, body), false))).await;
    }
    session.taken(vec![1, 2, 3]).await;
    for _ in 0..3 {
        assert_eq!(agent.attempt().await.1, Some(200));
    }
    assert!(data.path().join("agent.json").exists());
    agent.stop(session).await.unwrap();
    assert!(!data.path().join("agent.json").exists());
    let sent = handler.seen.all();
    assert!(sent.iter().all(|r| r.ends_with(body.as_bytes())) && sent.len() == 3);
    let stored = archive(data.path()).get(delivery(2, "").id).unwrap().unwrap();
    assert_eq!((stored.delivery.tunnel.as_str(), &stored.delivery.body[..]), ("team", body.as_bytes()));
    assert_eq!(stored.event.unwrap().event_type, "appointment.created");
    assert_eq!((stored.attempts.len(), stored.attempts[0].status), (1, Some(200)));
}

#[tokio::test]
async fn what_comes_again_is_taken_again_and_not_forwarded_again() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.taken(vec![1]).await;
    agent.attempt().await;
    // The relay dies without having noted it.
    drop(session);
    let waiting = agent.until("the pause", |n| match n {
        Notice::Connection(Connection::Waiting { .. }) => Some(()),
        _ => None,
    });
    waiting.await;
    let mut session = relay.greeted().await;
    let resume = session.hello.resume.clone().unwrap();
    assert_eq!((&resume.stream[..], resume.after), (&b"stream"[..], 1));
    session.send(&welcome(0)).await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.send(&ToAgent::Delivery(incoming(2, delivery(2, "{}"), false))).await;
    session.taken(vec![1, 2]).await;
    assert_eq!(agent.attempt().await.0, delivery(2, "").id);
    agent.stop(session).await.unwrap();
    assert_eq!(handler.seen.all().len(), 2);
}

#[tokio::test]
async fn in_passthrough_the_handler_s_answer_goes_up() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let big = Bytes::from(vec![b'x'; INLINE_BODY + CHUNK + 1]);
    let body = big.clone();
    let handler = serve(move |mut s, seen| {
        let body = body.clone();
        async move {
            while let Some(request) = read_request(&mut s).await {
                seen.push(request);
                let head =
                    format!("HTTP/1.1 422 No\r\nX-a: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                s.write_all(head.as_bytes()).await.unwrap();
                s.write_all(&body).await.unwrap();
            }
        }
    })
    .await;
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), true))).await;
    let answer = session.answer().await;
    let head = answer.outcome.unwrap();
    assert_eq!((answer.n, head.status, head.body_len), (1, 422, big.len() as u64));
    let lines: Vec<_> = head.headers.iter().map(|l| l.name.to_vec()).collect();
    assert_eq!(lines, [b"X-a"]);
    let mut assembler = Assembler::new(1);
    assembler.begin(1, head.body_len, ()).unwrap();
    let whole = loop {
        match session.next().await {
            ToRelay::Chunk(chunk) => {
                if let Some(whole) = assembler.chunk(chunk).unwrap() {
                    break whole;
                }
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(whole.body, big);
    assert_eq!(agent.attempt().await.1, Some(422));
    agent.stop(session).await.unwrap();
    let stored = archive(data.path()).get(delivery(1, "").id).unwrap().unwrap();
    assert_eq!(stored.attempts.len(), 1, "the attempt was recorded before the end");
}

/// Where a tunnel has several devices, the one that answers gets a copy from the spool as well. On several threads either may be stored first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_not_forwarded_once_more_for_its_copy_from_the_spool() {
    const N: u8 = 40;
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    for k in 1..=N {
        let n = u64::from(k) * 2;
        let offer = incoming(n - 1, delivery(k, "{}"), true);
        let copy = Incoming { seq: Some(u64::from(k)), ..incoming(n, delivery(k, "{}"), false) };
        for frame in [offer, copy] {
            session.ws.feed(Message::Binary(ToAgent::Delivery(frame).encode())).await.unwrap();
        }
    }
    session.ws.flush().await.unwrap();
    let (mut answered, mut taken) = (0, 0);
    while answered < N || taken < usize::from(N) {
        match session.next().await {
            ToRelay::Answer(answer) => {
                assert_eq!(answer.outcome.unwrap().status, 200);
                answered += 1;
            }
            ToRelay::Taken(numbers) => taken += numbers.len(),
            other => panic!("{other:?}"),
        }
    }
    agent.stop(session).await.unwrap();
    assert_eq!(handler.seen.all().len(), usize::from(N));
    let stored = archive(data.path());
    for k in 1..=N {
        assert_eq!(stored.get(delivery(k, "").id).unwrap().unwrap().attempts.len(), 1);
    }
}

#[tokio::test]
async fn in_passthrough_no_answer_is_said_with_its_reason() {
    for (target, failure) in [(None, AnswerFailure::NotForwarded), (Some(Server::closed()), AnswerFailure::Unreachable)]
    {
        let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
        let agent = Agent::start(config(&relay, data.path(), target.as_ref()));
        let mut session = relay.session().await;
        session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), true))).await;
        assert_eq!(session.answer().await.outcome, Err(failure));
        agent.stop(session).await.unwrap();
        assert!(archive(data.path()).get(delivery(1, "").id).unwrap().is_some(), "it is stored all the same");
    }
}

#[tokio::test]
async fn a_big_body_in_chunks_does_not_hold_up_a_small_one() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    let big: Vec<u8> = (0..3 * CHUNK as u32).map(|n| (n % 253) as u8).collect();
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, big.clone()), false))).await;
    let chunk = |i: usize| {
        let data = Bytes::copy_from_slice(&big[i * CHUNK..(i + 1) * CHUNK]);
        ToAgent::Chunk(Chunk { n: 1, offset: (i * CHUNK) as u64, data })
    };
    session.send(&chunk(0)).await;
    session.send(&ToAgent::Delivery(incoming(2, delivery(2, "{}"), false))).await;
    session.taken(vec![2]).await;
    assert_eq!(agent.attempt().await.0, delivery(2, "").id);
    session.send(&chunk(1)).await;
    session.send(&chunk(2)).await;
    session.taken(vec![1]).await;
    assert_eq!(agent.attempt().await.0, delivery(1, "").id);
    agent.stop(session).await.unwrap();
    let stored = archive(data.path()).get(delivery(1, "").id).unwrap().unwrap();
    assert_eq!(stored.delivery.body, big);
}

#[tokio::test]
async fn what_was_still_queued_is_forwarded_by_the_next_run() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let silent = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        std::future::pending::<()>().await;
    })
    .await;
    let agent = Agent::start(ListenConfig { concurrency: 1, ..config(&relay, data.path(), Some(&silent)) });
    let mut session = relay.session().await;
    // More than are held in memory.
    let all: Vec<u64> = (1..=300).collect();
    for n in &all {
        let at = Timestamp::from_micros(1_763_714_000_000_000 + *n as i64 * 1000);
        let one = Delivery { id: DeliveryId::first_at(at), ..delivery(0, "{}") };
        session.send(&ToAgent::Delivery(incoming(*n, one, false))).await;
    }
    session.taken(all).await;
    silent.seen.wait_for(1).await;
    agent.stop(session).await.unwrap();

    let query = tunnel_archive::Query { answer: vec![AnswerClass::Queued], limit: 1000, ..Default::default() };
    let store = archive(data.path());
    assert_eq!(store.list(&query).unwrap().items.len(), 299, "one was tried and is recorded as interrupted");
    store.close().await.unwrap();

    let handler = answering(OK).await;
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let session = relay.session().await;
    for _ in 0..299 {
        assert_eq!(agent.attempt().await.1, Some(200));
    }
    agent.stop(session).await.unwrap();
    assert_eq!(handler.seen.all().len(), 299);
    let store = archive(data.path());
    assert!(store.list(&query).unwrap().items.is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_accepted_ends_it_clearly() {
    let server = answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!").await;
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut config = config(&relay, data.path(), None);
    config.relay.0.port = server.port;
    let mut agent = Agent::start(config);
    let said = agent.until("the refusal", |n| match n {
        Notice::Connection(Connection::Refused { reason }) => Some(reason.clone()),
        _ => None,
    });
    assert!(said.await.contains("does not accept the token for the tunnel team"));
    let ended = patiently("the end", agent.task).await.unwrap();
    assert!(matches!(ended, Err(ListenError::Refused(_))), "{ended:?}");
    assert!(!data.path().join("agent.json").exists());
}

#[tokio::test]
async fn a_refusal_that_passes_is_tried_again_and_one_that_does_not_is_not() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let agent = Agent::start(config(&relay, data.path(), None));
    let refused = |code| ToAgent::Refused(Refused { code, message: "not now".into() });
    relay.greeted().await.send(&refused(Refusal::TooMany)).await;
    relay.greeted().await.send(&refused(Refusal::Version)).await;
    let ended = patiently("the end", agent.task).await.unwrap();
    assert!(matches!(ended, Err(ListenError::Unfit(_))), "{ended:?}");
}

#[tokio::test]
async fn a_second_agent_is_told_who_holds_the_folder() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let agent = Agent::start(config(&relay, data.path(), None));
    let session = relay.session().await;
    let second = listen::run(config(&relay, data.path(), None), Arc::new(|_: Arc<Notice>| {}), std::future::pending());
    match patiently("the refusal", second).await {
        Err(ListenError::Held { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn a_relay_that_breaks_the_rules_is_left_and_tried_again() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.session().await;
    let too_much = Incoming { body_len: 20 << 20, ..incoming(1, delivery(1, ""), false) };
    session.send(&ToAgent::Delivery(too_much)).await;
    // One alone may be of any length, but this one is not there yet.
    session.send(&ToAgent::Delivery(incoming(2, delivery(2, "{}"), false))).await;
    let why = agent.until("the pause", |n| match n {
        Notice::Connection(Connection::Waiting { reason, .. }) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(why.await, "the relay sent more than was agreed");
    let session = relay.session().await;
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_forwards_nothing_names_no_target() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut config = config(&relay, data.path(), Some(&handler));
    config.policy.no_forward = true;
    let mut agent = Agent::start(config);
    let session = relay.session().await;
    let ready = agent.until("ready", |n| match n {
        Notice::Ready(r) => Some(r.clone()),
        _ => None,
    });
    let ready = ready.await;
    assert_eq!((ready.target, ready.forwards), (None, false));
    agent.stop(session).await.unwrap();
}

async fn followed(follower: &mut Follower) -> DeliveryId {
    match patiently("a delivery for the follower", follower.next()).await {
        Ok(Followed::Delivery(line)) => line.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_follower_misses_nothing_of_an_agent_that_comes_later_nor_of_the_next_one() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let local = Local {
        store_key: None,
        data: data.path().to_owned(),
        secrets: Vec::new(),
        policy: Policy::default(),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    };
    let mut follower = local.follow(Filter::default());
    let early = tokio::time::timeout(Duration::from_millis(100), follower.next()).await;
    assert!(early.is_err(), "nothing can have come: {early:?}");
    for numbers in [[1, 2, 3], [4, 5, 6]] {
        let agent = Agent::start(config(&relay, data.path(), None));
        let mut session = relay.session().await;
        // The catch-up: it is taken in before the follower finds the agent.
        for n in numbers {
            session.send(&ToAgent::Delivery(incoming(n, delivery(n as u8, "{}"), false))).await;
        }
        session.taken(numbers.to_vec()).await;
        for n in numbers {
            assert_eq!(followed(&mut follower).await, delivery(n as u8, "").id);
        }
        agent.stop(session).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_fails_records_what_was_under_way() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let silent = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        std::future::pending::<()>().await;
    })
    .await;
    let agent = Agent::start(config(&relay, data.path(), Some(&silent)));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.taken(vec![1]).await;
    silent.seen.wait_for(1).await;
    drop(session);
    let refused = ToAgent::Refused(Refused { code: Refusal::Version, message: "too old".into() });
    relay.greeted().await.send(&refused).await;
    let ended = patiently("the end", agent.task).await.unwrap();
    assert!(matches!(ended, Err(ListenError::Unfit(_))), "{ended:?}");
    let stored = archive(data.path()).get(delivery(1, "").id).unwrap().unwrap();
    let kinds: Vec<_> = stored.attempts.iter().map(|a| a.error.as_ref().map(|e| e.kind)).collect();
    assert_eq!(kinds, [Some(tunnel_delivery::ErrorKind::Interrupted)]);
}

#[tokio::test]
async fn the_status_is_right_at_every_moment() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.greeted().await;
    let ToAgent::Welcome(two_wait) = welcome(0) else { unreachable!() };
    session.send(&ToAgent::Welcome(Welcome { waiting: 2, ..two_wait })).await;
    agent.until("ready", |n| matches!(n, Notice::Ready(_)).then_some(())).await;
    let local = Local {
        store_key: None,
        data: data.path().to_owned(),
        secrets: Vec::new(),
        policy: Policy::default(),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    };
    let status = async || local.connect().await.unwrap().status().await.unwrap();
    let connection = async || status().await.connection.unwrap();
    let began = status().await;
    assert_eq!((began.running, began.tunnel.as_deref(), began.waiting.at_relay), (true, Some("team"), Some(2)));
    assert_eq!((began.connection.as_ref().unwrap().state, began.archive.deliveries), (State::Connected, 0));
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.taken(vec![1]).await;
    let after = status().await;
    assert_eq!((after.waiting.at_relay, after.archive.deliveries), (Some(1), 1));
    // One that is stored already, as a relay sends it that was restored from a backup.
    session.send(&ToAgent::Delivery(incoming(2, delivery(1, "{}"), false))).await;
    session.taken(vec![2]).await;
    let known = status().await;
    assert_eq!((known.waiting.at_relay, known.archive.deliveries), (Some(0), 1));

    const SILENCE: u64 = 300;
    patiently("silence", async { while connection().await.heard_ms_ago.unwrap() < SILENCE {} }).await;
    patiently("a sign of life to be heard", async {
        while connection().await.heard_ms_ago.unwrap() >= SILENCE {
            session.send(&ToAgent::Ping(1)).await;
        }
    })
    .await;

    drop(session);
    // Whoever comes is turned away; the port stays ours, or another test would meet this agent there.
    let turning_away = tokio::spawn(async move {
        loop {
            drop(relay.listener.accept().await);
        }
    });
    let lost = patiently("the loss of the relay", async {
        loop {
            let c = connection().await;
            if c.state == State::Waiting && c.attempt > 1 {
                return c;
            }
        }
    })
    .await;
    assert!(lost.reason.is_some() && lost.next_try_ms.is_some(), "{lost:?}");
    assert!(lost.since > began.connection.unwrap().since, "{lost:?}");
    assert_eq!(status().await.waiting.at_relay, None);
    drop(agent.end.take());
    patiently("the agent's end", agent.task).await.unwrap().unwrap();
    turning_away.abort();
}

/// As a relay repeats a gap at each connection until something behind it is taken.
#[tokio::test]
async fn a_gap_is_told_once_over_connections_and_restarts() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let gap = |upto| Gap { from: 1, upto, count: upto, reason: GapReason::Removed };
    let ToAgent::Welcome(plain) = welcome(0) else { unreachable!() };
    let welcome = |after, waiting| ToAgent::Welcome(Welcome { after, waiting, ..plain.clone() });
    let told = |n: &Notice| match n {
        Notice::Gap { count, reason } => Some((*count, *reason)),
        _ => None,
    };
    let lost = |n: &Notice| matches!(n, Notice::Connection(Connection::Waiting { .. })).then_some(());

    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.greeted().await;
    session.send(&welcome(3, 0)).await;
    session.send(&ToAgent::Gap(gap(3))).await;
    assert_eq!(agent.until("the gap", told).await, (3, "removed"));
    drop(session);
    agent.until("the loss of the connection", lost).await;
    let mut session = relay.greeted().await;
    session.send(&welcome(3, 2)).await;
    session.send(&ToAgent::Gap(gap(3))).await;
    // More went meanwhile: had the first been told again, this would be heard second.
    session.send(&ToAgent::Gap(gap(5))).await;
    assert_eq!(agent.until("what else is missing", told).await, (2, "removed"));
    agent.stop(session).await.unwrap();

    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.greeted().await;
    session.send(&welcome(5, 1)).await;
    session.send(&ToAgent::Gap(gap(5))).await;
    session.send(&ToAgent::Gap(gap(6))).await;
    assert_eq!(agent.until("what is missing since the agent ended", told).await, (1, "removed"));
    // Another stream's gap is another.
    drop(session);
    agent.until("the loss of the connection", lost).await;
    let mut session = relay.greeted().await;
    let stream = Bytes::from_static(b"restored");
    session.send(&ToAgent::Welcome(Welcome { stream, after: 5, ..plain.clone() })).await;
    session.send(&ToAgent::Gap(gap(5))).await;
    assert_eq!(agent.until("the gap of another stream", told).await, (5, "removed"));
    agent.stop(session).await.unwrap();
}
