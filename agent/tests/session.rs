//! The running agent and its connection, against a relay that the test plays: refusals, losses, what is told of them, and who follows it.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use healthie_tunnel::control::{Filter, Followed, Follower, Local};
use healthie_tunnel::dial::Trust;
use healthie_tunnel::forward::HostHeader;
use healthie_tunnel::listen::{self, ListenError};
use healthie_tunnel::notice::{Connection, Notice};
use healthie_tunnel::policy::Policy;
use healthie_tunnel::standing::State;
use support::played::*;
use support::{answering, patiently, read_request, serve};
use tunnel_delivery::DeliveryId;
use tunnel_protocol::{Gap, GapReason, Incoming, Refusal, Refused, ToAgent, Welcome};

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

/// A command on that data folder.
fn local(data: &std::path::Path) -> Local {
    Local {
        store_key: None,
        data: data.to_owned(),
        secrets: Vec::new(),
        policy: Policy::default(),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    }
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
    let local = local(data.path());
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
    let local = local(data.path());
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
    // Whoever looks afterwards finds it, also where no agent runs.
    let found = async || {
        let control = local(data.path()).connect().await.unwrap();
        let gaps = control.status().await.unwrap().gaps;
        control.close().await;
        gaps.into_iter().map(|gap| (gap.tunnel.to_string(), gap.count, gap.reason)).collect::<Vec<_>>()
    };
    let five = [("team".to_owned(), 5, "removed".to_owned())];
    assert_eq!(found().await, five);
    agent.stop(session).await.unwrap();
    assert_eq!(found().await, five);

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
