//! Whose deliveries they are: several agents of one tunnel, and one name that changes hands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tunnel_stories::{HOST, SECRET, TUNNEL, World, post};
use tunnel_testkit::{AnswerMode, Connection, eventually};

/// In passthrough one agent answers, and a 2xx still means that every other agent of the tunnel gets the delivery: also while a new one is joining.
#[test]
fn an_agent_that_joins_takes_nothing_away_from_the_one_that_is_there() {
    let world = World::connected(AnswerMode::Passthrough);
    let mut newcomers = Vec::new();
    let (stop, http) = (Arc::new(AtomicBool::new(false)), world.relay.http());
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut answered = BTreeSet::new();
                let mut connection = Connection::open(http);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    connection.send(&post(HOST, "/hook", format!("{sender}-{n}").as_bytes()));
                    let answer = connection.answer();
                    if answer.status() == Some(200) {
                        answered.insert(answer.header("healthie-tunnel-delivery").unwrap());
                    }
                }
                answered
            })
        })
        .collect();
    for name in ["b", "c", "d"] {
        let mut newcomer =
            world.stage.agent(name).relay(&world.relay.url(), &world.token).target(&world.handler.url()).secret(SECRET);
        newcomer.start();
        let already = world.handler.received().len();
        world.handler.wait_for(already + 50);
        newcomers.push(newcomer);
    }
    stop.store(true, Ordering::Relaxed);
    let answered: BTreeSet<String> = senders.into_iter().flat_map(|s| s.join().unwrap()).collect();
    assert!(answered.len() > 100, "only {} deliveries were answered", answered.len());
    eventually("the first agent has every delivery that was answered", || {
        answered.is_subset(&stored(&world)).then_some(())
    });
}

/// A tunnel added again under a name is another one: with the relay running, and with the change made while it did not run.
#[test]
fn a_name_that_changes_hands_brings_nothing_along() {
    for relay_runs in [true, false] {
        let mut world = World::new(AnswerMode::Ack);
        world.accepted("/hook", b"of the first owner");
        if !relay_runs {
            assert!(world.relay.terminate().success());
        }
        let asked = world.relay.run(&["tunnel", "remove", TUNNEL]).exits(2).err();
        assert!(asked.contains("1 delivery ") && asked.contains("--yes"), "{asked}");
        let told = world.relay.run(&["tunnel", "remove", TUNNEL, "--yes"]).ok().err();
        let idle = world.token.split('_').nth(1).unwrap();
        assert!(told.contains("1 delivery ") && told.contains(idle) && told.contains("token revoke"), "{told}");
        // Its name is kept for its owner, but an operator may say otherwise.
        assert!(world.relay.run(&["tunnel", "add", TUNNEL]).exits(1).err().contains("--take-name"));
        world.relay.run(&["tunnel", "add", TUNNEL, "--take-name"]).ok();
        let token = world.relay.token(TUNNEL);
        if !relay_runs {
            world.relay.start();
        }
        let mut second = world.stage.agent("second").relay(&world.relay.url(), &token).target(&world.handler.url());
        second.start();
        let id = eventually("the new tunnel takes deliveries", || {
            let answer = world.deliver("/hook", b"of the second owner");
            answer.header("healthie-tunnel-delivery").filter(|_| answer.status() == Some(200))
        });
        let first = second.wait_line("delivery");
        assert_eq!(first["id"], id.as_str(), "relay running: {relay_runs}");
    }
}

fn stored(world: &World) -> BTreeSet<String> {
    let list = world.agent.events(&[]);
    list.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}
