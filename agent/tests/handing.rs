//! Tries again and commands, in a running agent against a relay that the test plays.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use healthie_tunnel::exec::Exec;
use healthie_tunnel::listen::ListenConfig;
use healthie_tunnel::notice::{Notice, Tried};
use healthie_tunnel::retry::{Backoff, Retry};
use support::played::*;
use support::{Seen, Server, answering, eventually, patiently, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tunnel_delivery::{AnswerClass, Attempt, ErrorKind, Stored};
use tunnel_protocol::ToAgent;

const EVENT: &str = r#"{"resource_id":7,"resource_id_type":"Task","event_type":"task.updated","changed_fields":[]}"#;
const LIMIT: Duration = Duration::from_secs(20);

fn retrying(relay: &Relay, data: &Path, target: Option<&Server>, times: u32) -> ListenConfig {
    let mut config = config(relay, data, target);
    let backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(80) };
    config.policy.retry = Some(Retry { times, backoff, on: "5xx,connect,exit".parse().unwrap() });
    config
}

fn running(relay: &Relay, data: &Path, target: Option<&Server>, command: &str, limit: Duration) -> ListenConfig {
    let mut config = config(relay, data, target);
    config.policy.exec = Some(Exec { command: command.into(), limit });
    config
}

/// A handler that fails for bodies that begin with `bad` so often, and for as long as no other came.
async fn failing_until_another_came(times: usize) -> Server {
    let (failed, other) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    serve(move |mut s, seen: Seen| {
        let (failed, other) = (Arc::clone(&failed), Arc::clone(&other));
        async move {
            while let Some(request) = read_request(&mut s).await {
                let bad = String::from_utf8_lossy(&request).contains("\r\n\r\nbad");
                other.fetch_or(!bad, Ordering::SeqCst);
                let again = bad && (failed.fetch_add(1, Ordering::SeqCst) < times || !other.load(Ordering::SeqCst));
                seen.push(request);
                let answer = if again { "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" } else { OK };
                s.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

/// A handler that fails for bodies that begin with `bad`, so often.
async fn failing(times: usize) -> Server {
    let failed = Arc::new(AtomicUsize::new(0));
    serve(move |mut s, seen: Seen| {
        let failed = Arc::clone(&failed);
        async move {
            while let Some(request) = read_request(&mut s).await {
                let bad = String::from_utf8_lossy(&request).contains("\r\n\r\nbad");
                let again = bad && failed.fetch_add(1, Ordering::SeqCst) < times;
                seen.push(request);
                let answer = if again { "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" } else { OK };
                s.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

async fn tried(agent: &mut Agent) -> Tried {
    agent
        .until("an attempt", |n| match n {
            Notice::Attempt(t) => Some(t.clone()),
            _ => None,
        })
        .await
}

fn stored(data: &Path, number: u8) -> Stored {
    archive(data).get(delivery(number, "").id).unwrap().unwrap()
}

fn head_line(request: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(request).into_owned();
    text.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")).map(str::to_owned))
}

#[tokio::test]
async fn what_failed_is_tried_again_and_holds_up_nothing() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let handler = failing_until_another_came(3).await;
    let mut config = retrying(&relay, data.path(), Some(&handler), 10_000);
    // A retry that waited in the only place would keep the second delivery from its handler, and so never succeed.
    config.concurrency = 1;
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    for (n, body) in [(1, "bad"), (2, "good")] {
        session.send(&ToAgent::Delivery(incoming(n, delivery(n as u8, body), false))).await;
    }
    session.taken(vec![1, 2]).await;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while first.last() != Some(&(200, false)) || second.is_empty() {
        let t = tried(&mut agent).await;
        let whose = if t.delivery == delivery(1, "").id { &mut first } else { &mut second };
        whose.push((t.status.unwrap(), t.again_in_ms.is_some()));
    }
    agent.stop(session).await.unwrap();
    // Three times at least, and once more for each that came before the other.
    let failed = first.len() - 1;
    assert!(failed >= 3, "{first:?}");
    assert_eq!(first[..failed], vec![(503, true); failed]);
    assert_eq!(second, [(200, false)]);
    let came = handler.seen.all();
    let numbers = came.iter().filter(|r| r.ends_with(b"bad")).map(|r| head_line(r, "Healthie-Tunnel-Attempt").unwrap());
    assert!(numbers.eq((1..=first.len()).map(|n| n.to_string())));
    let attempts = stored(data.path(), 1).attempts;
    assert_eq!(attempts.len(), first.len());
    assert!(attempts.iter().map(|a| a.status.unwrap()).eq(first.iter().map(|(status, _)| *status)));
}

#[tokio::test]
async fn tries_end_and_what_would_not_get_better_is_not_tried_again() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let handler = failing(usize::MAX).await;
    let mut agent = Agent::start(retrying(&relay, data.path(), Some(&handler), 2));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "bad"), false))).await;
    let again: Vec<_> = [tried(&mut agent).await, tried(&mut agent).await, tried(&mut agent).await]
        .iter()
        .map(|t| t.again_in_ms.is_some())
        .collect();
    assert_eq!(again, [true, true, false]);
    // The sender of this one is told, and sends again itself.
    session.taken(vec![1]).await;
    session.send(&ToAgent::Delivery(incoming(2, delivery(2, "bad"), true))).await;
    assert_eq!(session.answer().await.outcome.unwrap().status, 503);
    assert_eq!(tried(&mut agent).await.again_in_ms, None);
    agent.stop(session).await.unwrap();
    assert_eq!(stored(data.path(), 1).attempts.len(), 3);
    assert_eq!(stored(data.path(), 2).attempts.len(), 1);
}

#[tokio::test]
async fn what_still_waits_at_the_end_is_told() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, failing(9).await);
    let mut config = retrying(&relay, data.path(), Some(&handler), 5);
    config.policy.retry.as_mut().unwrap().backoff = Backoff { first: LIMIT, longest: LIMIT };
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "bad"), false))).await;
    assert!(tried(&mut agent).await.again_in_ms.is_some());
    drop(agent.end.take());
    let warned = agent.until("the warning", |n| match n {
        Notice::Warning { message } => Some(message.clone()),
        _ => None,
    });
    let warned = warned.await;
    assert!(warned.starts_with("1 attempts that failed"), "{warned}");
    drop(session);
    patiently("the agent's end", agent.task).await.unwrap().unwrap();
}

async fn commanded(command: &str, limit: Duration) -> (Stored, Attempt) {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let mut agent = Agent::start(running(&relay, data.path(), None, command, limit));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, EVENT), false))).await;
    session.taken(vec![1]).await;
    tried(&mut agent).await;
    agent.stop(session).await.unwrap();
    let stored = stored(data.path(), 1);
    let attempt = stored.attempts[0].clone();
    (stored, attempt)
}

#[tokio::test]
async fn a_command_is_given_the_delivery_and_its_end_is_recorded() {
    let command = r#"echo "$HEALTHIE_TUNNEL_EVENT $HEALTHIE_TUNNEL_RESOURCE_TYPE:$HEALTHIE_TUNNEL_RESOURCE_ID $HEALTHIE_TUNNEL_ATTEMPT"
echo "$HEALTHIE_TUNNEL_DELIVERY" >&2; cat"#;
    let (stored, attempt) = commanded(command, LIMIT).await;
    assert_eq!((AnswerClass::of(&attempt), attempt.status, &attempt.error), (AnswerClass::Success, None, &None));
    assert!(attempt.target.starts_with("exec:echo "), "{}", attempt.target);
    let printed = String::from_utf8(attempt.response_body.to_vec()).unwrap();
    assert!(printed.contains("task.updated Task:7 1\n"), "{printed}");
    assert!(printed.contains(&format!("{}\n", stored.delivery.id)), "{printed}");
    // What `events show --json` prints, but for the attempt.
    let json = &printed[printed.find('{').unwrap()..=printed.rfind('}').unwrap()];
    let given: Stored = serde_json::from_str(json).unwrap();
    assert_eq!(given, Stored { attempts: Vec::new(), ..stored });
}

#[tokio::test]
async fn commands_that_end_badly() {
    let (_, attempt) = commanded("echo why; exit 3", LIMIT).await;
    let error = attempt.error.unwrap();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Exit, "the command ended with exit code 3"));
    assert_eq!(attempt.response_body, "why\n");
    let (_, attempt) = commanded("kill -9 $$", LIMIT).await;
    assert_eq!(attempt.error.unwrap().message, "the command was ended by signal 9");
    // It reads nothing of what it is given, and what it leaves behind keeps its output open.
    let (_, attempt) = commanded("sleep 30 & exit 0", LIMIT).await;
    assert!(attempt.error.is_none() && attempt.duration < Duration::from_secs(15), "{attempt:?}");
    let (_, attempt) = commanded("yes | head -c 100000; echo; echo end", LIMIT).await;
    assert_eq!((attempt.response_body.len(), attempt.response_truncated), (16 * 1024, true));
    assert!(attempt.response_body.ends_with(b"\nend\n"));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("never-written");
    // Both are known by the file's name, however far they got in that time.
    let command = format!("touch {0}; tail -f {0} & wait", mark.display());
    let running = || {
        let name = mark.to_str().unwrap().as_bytes();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        // One that nobody has asked after yet has no command line any more; one that is gone has no file.
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines.filter(|line| line.windows(name.len()).any(|part| part == name)).count()
    };
    let (_, attempt) = commanded(&command, Duration::from_secs(2)).await;
    assert_eq!(attempt.error.unwrap().kind, ErrorKind::Timeout);
    // Elsewhere processes are no files that can be looked through.
    if cfg!(not(target_os = "linux")) {
        return;
    }
    eventually("the end of what the command started", async || (running() == 0).then_some(())).await;
}

#[tokio::test]
async fn nothing_that_a_sender_chooses_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let trap = folder.path().join("trap");
    let evil = format!("$(touch {0}) `touch {0}`; touch {0} \u{0} '\" \n", trap.display());
    let body = serde_json::json!({ "event_type": evil, "resource_id": evil, "resource_id_type": evil }).to_string();
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let command = r#"printf %s "$HEALTHIE_TUNNEL_EVENT""#;
    let mut agent = Agent::start(running(&relay, data.path(), None, command, LIMIT));
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, body), false))).await;
    session.taken(vec![1]).await;
    tried(&mut agent).await;
    agent.stop(session).await.unwrap();
    let attempt = &stored(data.path(), 1).attempts[0];
    assert!(attempt.succeeded(), "{attempt:?}");
    assert_eq!(attempt.response_body, evil.replace('\0', "\u{fffd}"));
    assert!(!trap.exists());
}

#[tokio::test]
async fn handler_and_command_both_get_it_and_the_one_that_failed_gets_it_again() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, answering(OK).await);
    let mark = data.path().join("mark");
    let command = format!("test -e {0} || {{ touch {0}; exit 1; }}", mark.display());
    let mut config = retrying(&relay, data.path(), Some(&handler), 3);
    config.policy.exec = Some(Exec { command: command.into(), limit: LIMIT });
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, EVENT), false))).await;
    session.taken(vec![1]).await;
    for _ in 0..3 {
        tried(&mut agent).await;
    }
    agent.stop(session).await.unwrap();
    let attempts = stored(data.path(), 1).attempts;
    let came: Vec<_> = attempts.iter().map(|a| (a.is_command(), a.succeeded())).collect();
    assert_eq!(came, [(false, true), (true, false), (true, true)]);
    assert_eq!(handler.seen.all().len(), 1);
}

#[tokio::test]
async fn a_command_that_succeeds_does_not_hide_that_the_handler_failed() {
    let (data, relay, handler) = (tempfile::tempdir().unwrap(), Relay::start().await, failing(9).await);
    let mut config = running(&relay, data.path(), Some(&handler), "exit 0", LIMIT);
    config.policy.retry = None;
    let mut agent = Agent::start(config);
    let mut session = relay.session().await;
    session.send(&ToAgent::Delivery(incoming(1, delivery(1, "bad"), false))).await;
    session.taken(vec![1]).await;
    for _ in 0..2 {
        tried(&mut agent).await;
    }
    agent.stop(session).await.unwrap();
    let listed = archive(data.path()).list(&tunnel_archive::Query { limit: 9, ..Default::default() }).unwrap();
    assert_eq!((listed.items[0].attempts, listed.items[0].answer.status), (2, Some(503)), "what a list shows");
}

#[tokio::test]
async fn in_passthrough_the_sender_is_told_how_the_command_ended_and_nothing_of_what_it_printed() {
    let (data, relay) = (tempfile::tempdir().unwrap(), Relay::start().await);
    let command = r#"echo secret; test "$HEALTHIE_TUNNEL_EVENT" = task.updated"#;
    let mut agent = Agent::start(running(&relay, data.path(), None, command, LIMIT));
    let mut session = relay.session().await;
    for (n, body, status) in [(1, EVENT, 200), (2, "{}", 500)] {
        session.send(&ToAgent::Delivery(incoming(n, delivery(n as u8, body), true))).await;
        let answer = session.answer().await.outcome.unwrap();
        assert_eq!((answer.status, answer.body_len, answer.headers.0.len()), (status, 0, 0));
        tried(&mut agent).await;
    }
    agent.stop(session).await.unwrap();
    assert_eq!(stored(data.path(), 1).attempts[0].response_body, "secret\n");
}
