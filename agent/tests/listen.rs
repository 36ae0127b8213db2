//! What the running agent does with deliveries, against a relay that the test plays, frame by frame. Its connection is `session`'s.

mod support;

use bytes::Bytes;
use futures_util::SinkExt as _;
use healthie_tunnel::listen::ListenConfig;
use healthie_tunnel::notice::{Connection, Notice};
use support::played::*;
use support::{Server, answering, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tunnel_delivery::{AnswerClass, Delivery, DeliveryId, Timestamp};
use tunnel_protocol::{AnswerFailure, Assembler, CHUNK, Chunk, INLINE_BODY, Incoming, Start, ToAgent, ToRelay};

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
