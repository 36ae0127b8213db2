//! The local interface of a running agent: who is let in, and that commands work through it.

mod support;

use healthie_tunnel::control::{
    AgentFile, Control, CopyOf, Examine, Export, Exported, Filter, Followed, Follower, Local, Replay, Verify,
};
use healthie_tunnel::notice::Notice;
use healthie_tunnel::request_text::Written;
use support::agent::{Agent, SECRET, local, stored, stored_with};
use support::{Server, answering, patiently};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_archive::Keep;
use tunnel_delivery::{AnswerClass, SignatureStatus, Summary, Timestamp};

async fn next(follower: &mut Follower) -> Box<Summary> {
    match follower.next().await {
        Ok(Followed::Delivery(line)) => line,
        other => panic!("{other:?}"),
    }
}

async fn status_of(file: &AgentFile, head: &str) -> String {
    let mut s = TcpStream::connect(file.addr).await.unwrap();
    let request = format!("GET /v1/status HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
    s.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patiently("the answer", s.read_to_string(&mut answer)).await.unwrap();
    answer.get(9..12).unwrap_or(&answer).to_owned()
}

#[tokio::test]
async fn only_whoever_has_the_token_and_is_no_web_page_is_let_in() {
    let agent = Agent::start(tempfile::tempdir().unwrap()).await;
    let file = agent.file();
    let (port, token) = (file.addr.port(), &file.token);
    let host = format!("Host: 127.0.0.1:{port}\r\n");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (head, status) in [
        (format!("{host}{bearer}"), "200"),
        (format!("Host: localhost:{port}\r\n{bearer}"), "200"),
        (host.clone(), "401"),
        (format!("{host}Authorization: Bearer {}\r\n", "0".repeat(64)), "401"),
        (format!("{host}Authorization: {token}\r\n"), "401"),
        (format!("Host: evil.example:{port}\r\n{bearer}"), "403"),
        (format!("Host: 127.0.0.1\r\n{bearer}"), "403"),
        (format!("{host}{bearer}Origin: http://127.0.0.1:{port}\r\n"), "403"),
    ] {
        assert_eq!(status_of(&file, &head).await, status, "{head}");
    }
    agent.stop().await;
}

/// One story for both ways: with a running agent and without.
async fn commands(control: Control, local: &Local) {
    let handler = answering("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n").await;
    let found = control.list(&Filter { limit: Some(2), ..Filter::default() }).await.unwrap();
    assert_eq!((found.items.len(), found.next.is_some()), (2, true));
    assert_eq!(found.items[0].resource_id.as_deref(), Some("2"));
    let latest = control.get("latest").await.unwrap();
    assert_eq!(latest.delivery.id, found.items[0].id);
    let e = control.get("nothing").await.unwrap_err();
    assert!(e.message.contains("nothing") && e.hint.is_some(), "{e:?}");

    let id = latest.delivery.id.to_string();
    let explained =
        control.verify(&Verify { id: id.clone(), secrets: vec![SECRET.into()], ..Verify::default() }).await.unwrap();
    assert_eq!((explained.status, explained.stored), (SignatureStatus::Valid, Some(SignatureStatus::NoSecret)));
    assert!(explained.signed.unwrap().text.starts_with("post /hook  "), "method, path and an empty query");

    // A request from elsewhere, longer than other questions may be.
    let mut request = Written::of(&latest.delivery);
    request.body = vec![b'x'; 2 << 20].into();
    let asked = Examine { request, secrets: vec![SECRET.into()], others: Vec::new() };
    let explained = control.examine(asked).await.unwrap();
    assert_eq!((explained.status, &*explained.digest), (SignatureStatus::Invalid, "wrong"));
    let copy = CopyOf { id: id.clone(), to: Some("3000".parse().unwrap()), resign: false, secrets: Vec::new() };
    let copied = control.copy(&copy).await.unwrap();
    assert_eq!((&*copied.url, copied.resigned), ("http://localhost:3000/hook", false));
    assert_eq!(copied.request.body, latest.delivery.body);

    let replay = |to| Replay { id: id.clone(), to, ..Replay::default() };
    let e = control.replay(&replay(None)).await.unwrap_err();
    assert!(e.message.contains("no target"), "{e}");
    let done = control.replay(&replay(Some(handler.port.to_string().parse().unwrap()))).await.unwrap();
    assert_eq!(done.attempt.status, Some(418));
    assert_eq!(control.get(&id).await.unwrap().attempts.len(), 1);

    let status = control.status().await.unwrap();
    assert_eq!((status.archive.deliveries, status.archive.attempts, status.waiting.to_forward), (3, 1, 0));
    assert_eq!(status.running, matches!(control, Control::Remote(_)));
    let grouped = control.groups(&Filter { limit: Some(2), ..Filter::default() }).await.unwrap();
    assert_eq!((grouped.groups.len(), grouped.next.is_some()), (2, true));
    assert_eq!(grouped.groups[0].first.as_ref().unwrap().id.to_string(), id);
    control.close().await;
    whole(local, &id).await;

    let since = Some(Timestamp::from_micros(0));
    let filter = Filter { since, resource_id: Some("2".into()), text: Some("APPOINTMENT".into()), ..Filter::default() };
    let mut follower = local.clone().follow(filter);
    let line = patiently("the stored one", next(&mut follower)).await;
    assert_eq!((line.id.to_string(), line.answer.status), (id, Some(418)));
}

/// What is done with the store as a whole.
async fn whole(local: &Local, latest: &str) {
    let mut parts = local.export(Export::default(), Box::new(|_| ())).await.unwrap();
    let mut ids = Vec::new();
    loop {
        match patiently("a part of the export", parts.recv()).await.unwrap() {
            Exported::Delivery { id, stored } => {
                assert!(stored.get().contains(&id.to_string()));
                ids.push(id.to_string());
            }
            Exported::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ids.len(), ids.is_sorted(), ids[2].as_str()), (3, true, latest));
    let checked = patiently("the check", local.check(Box::new(|_| ()))).await.unwrap();
    assert!(checked.sound && checked.findings.is_empty(), "{checked:?}");
    assert_eq!((checked.deliveries, checked.attempts), (3, 1));
    let shrunk = patiently("the compaction", local.compact()).await.unwrap();
    assert!(shrunk.after <= shrunk.before, "{shrunk:?}");
}

#[tokio::test]
async fn commands_work_through_a_running_agent() {
    let agent = Agent::start(stored(3).await).await;
    let local = local(&agent.data, &[]);
    let control = local.connect().await.unwrap();
    assert!(matches!(control, Control::Remote(_)));
    commands(control, &local).await;
    agent.stop().await;
}

#[tokio::test]
async fn commands_work_on_the_store_itself() {
    let data = stored(3).await;
    // What an agent left that was killed.
    std::fs::write(
        data.path().join("agent.json"),
        format!(r#"{{"addr":"127.0.0.1:{}","token":"x","pid":1}}"#, Server::closed().port),
    )
    .unwrap();
    let local = local(&data, &[SECRET]);
    let control = local.connect().await.unwrap();
    assert!(matches!(control, Control::Local(_)));
    commands(control, &local).await;
}

#[tokio::test]
async fn big_deliveries_are_written_out_whole_by_a_running_agent() {
    let more = "0123456789".repeat(300_000);
    let agent = Agent::start(stored_with(3, &more).await).await;
    let mut parts = local(&agent.data, &[]).export(Export::default(), Box::new(|_| ())).await.unwrap();
    for n in 0..3 {
        match patiently("a big part", parts.recv()).await.unwrap() {
            Exported::Delivery { stored, .. } => {
                let stored: tunnel_delivery::Stored = serde_json::from_str(stored.get()).unwrap();
                assert_eq!(stored.event.unwrap().resource_id, Some(n.to_string()));
                assert!(stored.delivery.body.len() > more.len());
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(patiently("the end", parts.recv()).await, Some(Exported::End)));
    agent.stop().await;
}

/// An agent that dies while it is asked: half an export must not look like a whole one.
#[tokio::test]
async fn an_export_that_breaks_off_says_so() {
    let agent = support::serve(|mut s, _| async move {
        let request = support::read_request(&mut s).await.unwrap();
        let line = r#"{"delivery":{"id":"019aa58b-ec50-7000-8000-000000000000","stored":{"any":"JSON"}}}"#;
        // The end of a line may come by itself, and the end of the answer in the middle of one.
        let parts = match request.starts_with(b"GET /v1/hello ") {
            true => vec![r#"{"pid":7,"software":"x","api":1}"#, ""],
            false => vec![line, "\n", &line[..40]],
        };
        let chunks: Vec<String> = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        s.write_all(format!("{head}{}", chunks.concat()).as_bytes()).await.unwrap();
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let file = format!(r#"{{"addr":"127.0.0.1:{}","token":"x","pid":7}}"#, agent.port);
    std::fs::write(data.path().join("agent.json"), file).unwrap();
    let mut parts = local(&data, &[]).export(Export::default(), Box::new(|_| ())).await.unwrap();
    assert!(matches!(patiently("the first part", parts.recv()).await, Some(Exported::Delivery { .. })));
    match patiently("the end", parts.recv()).await {
        Some(Exported::Failed(e)) => assert!(e.message.contains("went away"), "{e}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_over_the_bounds_is_removed_at_the_start_and_told() {
    let keep = Keep { count: Some(2), bytes: Some(u64::MAX), age: None };
    let (agent, mut told) = Agent::keeping(stored(5).await, keep).await;
    let removed = async {
        loop {
            if let Notice::Removed { count, reason, bytes } = *told.recv().await.unwrap() {
                return (count, reason, bytes);
            }
        }
    };
    let (count, reason, bytes) = patiently("the removal", removed).await;
    assert_eq!((count, reason), (3, "count"));
    assert!(bytes > 3 * 100, "{bytes}");
    let control = local(&agent.data, &[]).connect().await.unwrap();
    let left = control.list(&Filter::default()).await.unwrap().items;
    let left: Vec<_> = left.iter().map(|s| s.resource_id.as_deref().unwrap()).collect();
    assert_eq!(left, ["4", "3"]);
    let status = patiently("the status to have it", async {
        loop {
            let status = control.status().await.unwrap();
            if status.upkeep.as_ref().is_some_and(|u| u.last.is_some()) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    });
    let upkept = status.await.upkeep.unwrap();
    assert_eq!((upkept.keep_count, upkept.last.unwrap().removed), (Some(2), 3));
    agent.stop().await;
}

#[tokio::test]
async fn a_follower_hears_what_comes_and_finds_an_agent_that_comes_later() {
    let data = stored(1).await;
    let local = local(&data, &[]);
    // It fits no filter for answers before it is replayed.
    let since = Some(Timestamp::from_micros(0));
    let mut follower = local.clone().follow(Filter { since, status: vec![AnswerClass::Success], ..Filter::default() });
    // Nobody is there yet: the follower waits, and keeps nobody from starting.
    let early = tokio::time::timeout(std::time::Duration::from_millis(50), follower.next()).await;
    assert!(early.is_err(), "nothing can have come: {early:?}");
    let agent = Agent::start(data).await;
    let handler = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let control = local.connect().await.unwrap();
    let to = Some(handler.port.to_string().parse().unwrap());
    let replay = Replay { id: "latest".into(), to, ..Replay::default() };
    let (line, replayed) = tokio::join!(patiently("the replayed one", next(&mut follower)), control.replay(&replay));
    assert_eq!(line.id, replayed.unwrap().id);
    assert_eq!(line.answer.status, Some(200));
    agent.stop().await;
}

#[tokio::test]
async fn a_port_that_is_in_use_is_told_and_another_one_taken() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let (agent, first) = Agent::at(tempfile::tempdir().unwrap(), port).await;
    match &*first {
        Notice::Warning { message } => {
            assert!(message.contains(&format!("port {port} is in use")), "{message}");
            assert!(message.contains(&agent.file().addr.to_string()), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(status_of(&agent.file(), &support::api::good(&agent.file())).await, "200");
    agent.stop().await;
}
