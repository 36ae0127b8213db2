//! Forwarding paused, tried again and marked, the answer mode switched from the laptop, and commands: by the words that a developer types.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tunnel_stories::{HOST, World, post};
use tunnel_testkit::{AnswerMode, Handler, Reply, eventually, send};

const BODY: &str =
    r#"{"resource_id":7,"resource_id_type":"Task","event_type":"task.updated","changed_fields":["complete"]}"#;

#[test]
fn a_pause_holds_everything_back_and_a_resume_lets_it_go_in_order() {
    let mut world = World::new(AnswerMode::Ack);
    world.agent = world.agent.with(&["--concurrency", "1"]);
    world.agent.start();
    world.accepted("/hook", b"before");
    world.handler.wait_for(1);
    // Until then it counts as one that waits.
    world.agent.wait_line("attempt");
    world.agent.run(&["pause"]).ok();
    assert_eq!(world.agent.wait_line("forwarding")["paused"], true);
    for n in 0..40 {
        world.accepted("/hook", n.to_string().as_bytes());
    }
    world.agent.wait_lines("delivery", 41);
    let status = world.agent.run(&["status", "--json"]).ok().json();
    assert_eq!((&status["paused"], &status["waiting"]["to_forward"]), (&true.into(), &40.into()));
    let said = world.agent.run(&["status"]).ok().out();
    assert!(said.contains("healthie-tunnel resume"), "{said}");
    assert_eq!(world.agent.events(&["--status", "queued"]).len(), 40);
    assert_eq!(world.handler.received().len(), 1);

    // Whoever paused meant it, whatever becomes of the process.
    world.agent.kill();
    let without = world.agent.run(&["status"]).exits(1).out();
    assert!(without.contains("paused, also when an agent starts"), "{without}");
    world.agent.start();
    let warned = world.agent.wait_line("warning");
    assert!(warned["message"].as_str().unwrap().contains("healthie-tunnel resume"), "{warned}");
    world.accepted("/hook", b"40");
    world.agent.wait_line("delivery");
    assert_eq!(world.agent.events(&["--status", "queued"]).len(), 41);
    assert_eq!(world.handler.received().len(), 1);
    world.agent.run(&["resume"]).ok();
    let got: Vec<_> = world.handler.wait_for(42)[1..].iter().map(|r| r.message.text()).collect();
    assert_eq!(got, (0..41).map(|n| n.to_string()).collect::<Vec<_>>());
    let status = world.agent.run(&["status", "--json"]).ok().json();
    assert_eq!(status["paused"], false);
}

#[test]
fn in_passthrough_a_pause_sends_healthie_away_for_a_while() {
    let world = World::connected(AnswerMode::Passthrough);
    world.agent.run(&["pause"]).ok();
    let answer = world.deliver("/hook", BODY.as_bytes());
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(503), &"agent-paused".into()));
    assert!(answer.header("retry-after").is_some());
    let id = answer.header("healthie-tunnel-delivery").unwrap();
    assert_eq!(world.agent.show(&id)["attempts"].as_array().map(Vec::len), Some(0), "it is stored");
    world.agent.run(&["resume"]).ok();
    assert_eq!(world.deliver("/hook", BODY.as_bytes()).status(), Some(200));
    assert_eq!(world.handler.received().len(), 1);
}

#[test]
fn the_answer_mode_is_switched_under_load_and_nothing_is_lost() {
    let mut world = World::connected(AnswerMode::Ack);
    let stop = Arc::new(AtomicBool::new(false));
    let relay = world.relay.http();
    let senders: Vec<_> = (0..4)
        .map(|s| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut taken = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let body = format!("{s}-{n}");
                    let answer = send(relay, &post(HOST, "/hook", body.as_bytes()));
                    assert_eq!(answer.status(), Some(200), "{}", answer.text());
                    taken.push((body, answer.text() == "ok\n"));
                }
                taken
            })
        })
        .collect();
    for (n, mode) in ["passthrough", "ack", "passthrough"].into_iter().enumerate() {
        world.handler.wait_for(40 * (n + 1));
        world.agent.run(&["answer", mode]).ok();
        let status = world.agent.run(&["status", "--json"]).ok().json();
        assert_eq!(status["answer"], mode, "in force when the command has ended");
    }
    world.handler.wait_for(world.handler.received().len() + 40);
    stop.store(true, Ordering::SeqCst);
    let taken: Vec<_> = senders.into_iter().flat_map(|s| s.join().unwrap()).collect();
    let from_handler = taken.iter().filter(|(_, handlers)| *handlers).count();
    assert!(from_handler > 0 && from_handler < taken.len(), "{from_handler} of {} from the handler", taken.len());
    let got = world.handler.wait_for(taken.len());
    let got: Vec<String> = got.iter().map(|r| r.message.text()).collect();
    let distinct: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!(distinct, taken.into_iter().map(|(body, _)| body).collect(), "each that was answered was handled");
    assert_eq!(got.len(), distinct.len(), "and once");

    // For good, and for whoever comes next.
    world.agent.terminate();
    world.relay.terminate();
    let listed = world.relay.run(&["tunnel", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["answer"], "passthrough");
}

#[test]
fn the_tunnel_s_other_agents_hear_of_it() {
    let world = World::connected(AnswerMode::Ack);
    let mut other = world.stage.agent("other").relay(&world.relay.url(), &world.token).target(&world.handler.url());
    other.start();
    world.agent.run(&["answer", "passthrough"]).ok();
    for agent in [&world.agent, &other] {
        assert_eq!(agent.wait_line("answer-mode")["answer"], "passthrough");
    }
    world.agent.run(&["answer", "sometimes"]).exits(2);
}

#[test]
fn without_an_agent_the_commands_say_so() {
    let mut world = World::connected(AnswerMode::Ack);
    world.agent.terminate();
    for command in [&["pause"][..], &["resume"], &["answer", "ack"]] {
        let ran = world.agent.run(command).exits(3);
        assert!(ran.err().contains("no agent runs"), "{}", ran.err());
    }
}

#[test]
fn a_handler_that_is_down_for_a_while_gets_everything() {
    let (up, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_up, count) = (Arc::clone(&up), Arc::clone(&failed));
    let handler = Handler::answering(move |_| {
        if is_up.load(Ordering::SeqCst) {
            return Reply::ok();
        }
        // Some are refused, and some find nobody.
        match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Reply::status(503, "down"),
            _ => Reply::Close,
        }
    });
    let mut world = World::with_handler(AnswerMode::Ack, handler);
    world.agent = world.agent.with(&["--retry", "100", "--retry-backoff", "50ms..1s", "--concurrency", "2"]);
    world.agent.start();
    let ids: Vec<_> = (0..20).map(|n| world.accepted("/hook", n.to_string().as_bytes())).collect();
    // Each was tried, and most more than once.
    world.handler.received().wait("a try of each, and 50 in all", |seen| {
        let tried: BTreeSet<_> = seen.iter().map(|r| r.message.text()).collect();
        (tried.len() == ids.len() && seen.len() >= 50).then_some(())
    });
    let waiting = eventually("deliveries that wait to be tried again", || {
        let status = world.agent.run(&["status", "--json"]).ok().json();
        status["waiting"]["to_retry"].as_u64().filter(|n| *n > 0)
    });
    assert!(waiting <= 20, "{waiting}");
    up.store(true, Ordering::SeqCst);
    for id in ids {
        let last = eventually("the try that succeeds", || {
            let attempts = world.agent.show(&id)["attempts"].as_array().cloned()?;
            attempts.last().filter(|a| a["status"] == 200).map(|_| attempts.len())
        });
        assert!(last > 1, "{id} was tried {last} times");
    }
}

#[test]
fn a_replay_says_that_it_is_one_unless_it_is_told_not_to() {
    let mut world = World::connected(AnswerMode::Ack);
    let forged = format!(
        "POST /hook HTTP/1.1\r\nHost: {HOST}\r\nHealthie-Tunnel-Replay: true\r\nhealthie-tunnel-attempt: 77\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let id = send(world.relay.http(), forged.as_bytes()).header("healthie-tunnel-delivery").unwrap();
    world.agent.show_attempted(&id, 1);
    world.agent.run(&["replay", &id]).ok();
    let got = world.handler.wait_for(2);
    for (request, attempt, replay) in [(&got[0], "1", None), (&got[1], "2", Some("true"))] {
        let line = |name: &str| request.message.header(name);
        assert_eq!(line("healthie-tunnel-delivery").as_ref(), Some(&id));
        assert_eq!(line("healthie-tunnel-attempt").as_deref(), Some(attempt));
        assert_eq!(line("healthie-tunnel-replay").as_deref(), replay, "what a sender claims is not handed on");
    }
    // As sent stays as sent.
    assert!(world.agent.show(&id)["headers"].to_string().contains("77"));
    world.agent.terminate();
    world.agent = world.agent.with(&["--no-tunnel-headers"]);
    world.agent.start();
    world.agent.run(&["replay", &id]).ok();
    let last = world.handler.wait_for(3).remove(2).message;
    assert!(
        last.headers.iter().all(|(name, _)| !name.to_ascii_lowercase().starts_with(b"healthie-tunnel")),
        "{last:?}"
    );
}

#[test]
fn a_script_gets_each_event_that_is_meant() {
    let mut world = World::new(AnswerMode::Ack);
    let script = world.stage.work().join("on-event.py");
    std::fs::write(
        &script,
        "import json, os, sys\nd = json.load(sys.stdin)\nassert d['id'] == os.environ['HEALTHIE_TUNNEL_DELIVERY']\n\
         print(d['event']['event_type'], d['method'], d['signature']['status'])\nsys.exit(d['event']['resource_id'] == '9')\n",
    )
    .unwrap();
    world.agent = world.stage.agent("agent").relay(&world.relay.url(), &world.token).with(&[
        "--exec",
        "python3 on-event.py",
        "--events",
        "task.*",
    ]);
    world.agent.start();
    let meant = world.accepted("/hook", BODY.as_bytes());
    let other = world.accepted("/hook", BODY.replace("task.", "goal.").as_bytes());
    let fails = world.accepted("/hook", BODY.replace('7', "9").as_bytes());
    world.agent.wait_lines("delivery", 3);
    let attempt = world.agent.show_attempted(&meant, 1)["attempts"][0].clone();
    assert_eq!((&attempt["target"], &attempt["cause"]), (&"exec:python3 on-event.py".into(), &"forward".into()));
    assert_eq!((&attempt["status"], &attempt["error"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(attempt["response_body"]["text"], "task.updated POST unsigned\n");
    let attempt = world.agent.show_attempted(&fails, 1)["attempts"][0].clone();
    assert_eq!(attempt["error"]["kind"], "exit");
    assert_eq!(world.agent.show(&other)["attempts"].as_array().map(Vec::len), Some(0));
    let ids = |status| world.agent.events(&["--status", status]).iter().map(|e| e["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids("2xx"), ids("error")), (vec![meant.into()], vec![fails.into()]));
    assert_eq!(world.handler.received().len(), 0);
}
