//! Pausing a running agent and changing how its tunnel answers, against a relay that the test plays.

mod support;

use std::path::Path;

use healthie_tunnel::control::{Control, Kind, Remove, Status};
use healthie_tunnel::notice::Notice;
use support::agent::local;
use support::played::*;
use support::{answering, patiently};
use tunnel_archive::Archive;
use tunnel_delivery::{AnswerClass, DeliveryId};
use tunnel_protocol::{AnswerFailure, AnswerMode, Answers, SetAnswer, ToAgent, ToRelay, Welcome};

/// The agent that runs on the folder, by the way that commands take.
async fn control(data: &Path) -> Control {
    let control = patiently("the agent", local(data, &[]).connect()).await.unwrap();
    assert!(matches!(control, Control::Remote(_)));
    control
}

async fn status(control: &Control) -> Status {
    patiently("the status", control.status()).await.unwrap()
}

/// What became of a delivery, once the agent has ended.
fn answer(archive: &Archive, id: DeliveryId) -> (AnswerClass, usize) {
    let attempts = archive.get(id).unwrap().unwrap().attempts;
    let class = attempts.last().map_or(AnswerClass::None, AnswerClass::of);
    (class, attempts.len())
}

async fn ready(agent: &mut Agent) {
    agent.until("ready", |n| matches!(n, Notice::Ready(_)).then_some(())).await;
}

#[tokio::test]
async fn what_comes_during_a_pause_waits_and_goes_on_in_order() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut config = config(&relay, data.path(), Some(&handler));
    // So that the order at the handler is that of the deliveries.
    config.concurrency = 1;
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    ready(&mut agent).await;
    let control = control(data.path()).await;
    assert!(control.pause(true).await.unwrap());
    assert!(!control.pause(true).await.unwrap(), "it was paused already");
    agent.until("the pause", |n| matches!(n, Notice::Forwarding { paused: true }).then_some(())).await;
    // More than are held in memory: the rest is read back from the store.
    for number in 1..=300_u64 {
        let mut delivery = delivery(0, number.to_string());
        let mut unique = [0; 10];
        unique[..8].copy_from_slice(&number.to_be_bytes());
        delivery.id = DeliveryId::build(delivery.received_at, unique);
        session.send(&ToAgent::Delivery(incoming(number, delivery, false))).await;
    }
    session.taken((1..=300).collect()).await;
    let now = status(&control).await;
    assert!(now.paused);
    assert_eq!((now.waiting.to_forward, now.answer.as_deref()), (300, Some("ack")));
    assert_eq!(handler.seen.all().len(), 0, "nothing is forwarded during a pause");
    assert!(control.pause(false).await.unwrap());
    agent.until("the end of the pause", |n| matches!(n, Notice::Forwarding { paused: false }).then_some(())).await;
    handler.seen.wait_for(300).await;
    let bodies: Vec<String> = handler.seen.all().iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
    for (n, request) in bodies.iter().enumerate() {
        assert!(request.ends_with(&format!("\r\n\r\n{}", n + 1)), "{n}: {request}");
    }
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn what_is_removed_during_a_pause_is_not_forwarded_after_it() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    ready(&mut agent).await;
    let control = control(data.path()).await;
    control.pause(true).await.unwrap();
    for n in 1..=3_u8 {
        session.send(&ToAgent::Delivery(incoming(n.into(), delivery(n, n.to_string()), false))).await;
    }
    session.taken(vec![1, 2, 3]).await;
    let ids = [1, 2].map(|n| delivery(n, "").id.to_string()).to_vec();
    let mut remove = Remove { ids, recent: true, ..Remove::default() };
    assert_eq!(control.remove(&remove).await.unwrap().queued, 2, "not by accident");
    (remove.queued, remove.ids) = (true, remove.ids[..1].to_vec());
    assert_eq!(control.remove(&remove).await.unwrap().removed, 1);
    control.pause(false).await.unwrap();
    agent.attempt().await;
    agent.attempt().await;
    agent.stop(session).await.unwrap();
    let mut came: Vec<String> = handler.seen.all().iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
    came.sort_by_key(|r| r.chars().last());
    assert!(came.len() == 2 && came[0].ends_with("\r\n\r\n2") && came[1].ends_with("\r\n\r\n3"), "{came:?}");
}

#[tokio::test]
async fn a_sender_that_waits_is_told_of_the_pause_and_the_delivery_is_kept() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    ready(&mut agent).await;
    let control = control(data.path()).await;
    control.pause(true).await.unwrap();
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), true))).await;
    assert_eq!(session.answer().await.outcome, Err(AnswerFailure::Paused));
    control.pause(false).await.unwrap();
    session.send(&ToAgent::Delivery(incoming(2, delivery(2, "{}"), true))).await;
    assert_eq!(session.answer().await.outcome.unwrap().status, 200);
    agent.attempt().await;
    agent.stop(session).await.unwrap();
    let archive = archive(data.path());
    // Its sender sends it again: it must not be forwarded from here as well.
    assert_eq!(answer(&archive, delivery(1, "").id), (AnswerClass::None, 0));
    assert_eq!(answer(&archive, delivery(2, "").id), (AnswerClass::Success, 1));
    assert_eq!(handler.seen.all().len(), 1);
}

#[tokio::test]
async fn an_agent_that_ends_while_paused_is_paused_when_it_is_started_again_and_forwards_what_waited() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let mut session = relay.session().await;
    ready(&mut agent).await;
    control(data.path()).await.pause(true).await.unwrap();
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.taken(vec![1]).await;
    agent.stop(session).await.unwrap();
    assert_eq!(handler.seen.all().len(), 0);
    let mut agent = Agent::start(config(&relay, data.path(), Some(&handler)));
    let session = relay.session().await;
    ready(&mut agent).await;
    let again = control(data.path()).await;
    assert!(status(&again).await.paused);
    assert_eq!(handler.seen.all().len(), 0);
    again.pause(false).await.unwrap();
    assert_eq!(agent.attempt().await, (delivery(1, "").id, Some(200)));
    agent.stop(session).await.unwrap();
}

async fn asked(session: &mut Session) -> SetAnswer {
    match session.next().await {
        ToRelay::SetAnswer(set) => set,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_tunnel_answers_otherwise_once_the_relay_says_so() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.session().await;
    ready(&mut agent).await;
    let ask = |mode| {
        let data = data.path().to_owned();
        tokio::spawn(async move { control(&data).await.answer(mode).await })
    };
    let question = ask(AnswerMode::Passthrough);
    let set = asked(&mut session).await;
    assert_eq!(set.mode, AnswerMode::Passthrough);
    let answers = |asked, refused: Option<&str>| {
        ToAgent::Answers(Answers { asked, mode: AnswerMode::Passthrough, refused: refused.map(str::to_owned) })
    };
    session.send(&answers(set.asked, None)).await;
    patiently("the answer", question).await.unwrap().unwrap();
    let told = |n: &Notice| match n {
        Notice::AnswerMode { answer } => Some(*answer),
        _ => None,
    };
    assert_eq!(agent.until("the change", told).await, "passthrough");
    assert_eq!(status(&control(data.path()).await).await.answer.as_deref(), Some("passthrough"));

    let question = ask(AnswerMode::Ack);
    let set = asked(&mut session).await;
    session.send(&answers(set.asked, Some("the disk is full"))).await;
    let refused = patiently("the refusal", question).await.unwrap().unwrap_err();
    assert!(refused.kind == Kind::Negative && refused.message.contains("the disk is full"), "{refused}");
    assert_eq!(status(&control(data.path()).await).await.answer.as_deref(), Some("passthrough"));

    // Somebody else changed it.
    session.send(&ToAgent::Answers(Answers { asked: 0, mode: AnswerMode::Ack, refused: None })).await;
    assert_eq!(agent.until("the other's change", told).await, "ack");
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn a_relay_that_cannot_is_not_asked() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut agent = Agent::start(config(&relay, data.path(), None));
    let mut session = relay.greeted().await;
    let ToAgent::Welcome(older) = welcome(0) else { panic!("a welcome") };
    session.send(&ToAgent::Welcome(Welcome { sets_answer: false, ..older })).await;
    ready(&mut agent).await;
    let refused = patiently("the refusal", control(data.path()).await.answer(AnswerMode::Passthrough)).await;
    let refused = refused.unwrap_err();
    assert!(refused.kind == Kind::Negative && refused.message.contains("older version"), "{refused}");
    // What comes next is not the question.
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "{}"), false))).await;
    session.taken(vec![1]).await;
    agent.stop(session).await.unwrap();
}

#[tokio::test]
async fn without_an_agent_there_is_nothing_to_steer() {
    let data = tempfile::tempdir().unwrap();
    drop(archive(data.path()));
    let control = local(data.path(), &[]).connect().await.unwrap();
    for refused in [control.pause(true).await.map(|_| ()), control.answer(AnswerMode::Ack).await] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.kind, refused.hint.is_some()), (Kind::Unreachable, true), "{refused}");
    }
    control.close().await;
}
