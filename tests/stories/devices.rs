//! The devices of a tunnel: each has its place, one that is away keeps nobody out, and an operator can see and forget them.

use tunnel_stories::{TUNNEL, World};
use tunnel_testkit::{Agent, AnswerMode, Binary, Process, Stage, eventually};

fn named(world: &World, name: &str) -> Agent {
    let agent = world.stage.agent(name).relay(&world.relay.url(), &world.token).with(&["--device", name]);
    agent.target(&world.handler.url())
}

/// Device, whether it is connected, how many wait for it.
fn devices(world: &World) -> Vec<(String, bool, u64)> {
    let listed = world.relay.run(&["tunnel", "devices", TUNNEL, "--json"]).ok().json();
    let mut devices: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            (
                d["device"].as_str().unwrap_or("nobody").to_owned(),
                d["connected"].as_bool().unwrap(),
                d["waiting"].as_u64().unwrap(),
            )
        })
        .collect();
    devices.sort();
    devices
}

#[test]
fn devices_are_seen_and_forgotten_with_the_relay_running_and_without() {
    let mut world = World::new(AnswerMode::Ack);
    let (mut desk, mut laptop) = (named(&world, "desk"), named(&world, "laptop"));
    desk.start();
    laptop.start();
    assert!(laptop.terminate().success());
    world.accepted("/hook", b"one");
    world.accepted("/hook", b"two");
    let state = |desk: (bool, u64), laptop: (bool, u64)| {
        vec![("desk".to_owned(), desk.0, desk.1), ("laptop".to_owned(), laptop.0, laptop.1)]
    };
    eventually("the desk has taken both, the laptop waits", || {
        (devices(&world) == state((true, 0), (false, 2))).then_some(())
    });
    let refused = world.relay.run(&["tunnel", "forget", TUNNEL, "desk"]);
    assert!(refused.exits(1).err().contains("is connected"));
    assert!(desk.terminate().success());
    assert!(world.relay.terminate().success());
    assert_eq!(devices(&world), state((false, 0), (false, 2)), "without a relay the folder is asked");
    world.relay.run(&["tunnel", "forget", TUNNEL, "desk"]).ok();
    world.relay.start();
    let refused = world.relay.run(&["tunnel", "forget", TUNNEL, "laptop"]).exits(2).err();
    assert!(refused.contains("2 deliveries") && refused.contains("--yes"), "{refused}");
    assert_eq!(devices(&world), state((false, 0), (false, 2))[1..], "nothing was done");
    world.relay.run(&["tunnel", "forget", TUNNEL, "laptop", "--yes"]).ok();
    assert!(world.relay.run(&["tunnel", "forget", TUNNEL, "laptop"]).exits(1).err().contains("no device laptop"));
    assert_eq!(devices(&world), [("nobody".to_owned(), false, 2)], "they wait for the first to come");
    let told = world.relay.run(&["tunnel", "devices", TUNNEL]).ok().out();
    assert!(told.contains("2 deliveries wait for the first"), "{told}");
}

/// Killed, it notes nothing any more: that a device was there when it last gave a sign is all that is known.
#[test]
fn of_who_was_there_when_the_relay_was_killed_no_more_is_said_than_is_known() {
    let mut world = World::new(AnswerMode::Ack);
    world.agent.start();
    world.accepted("/hook", b"one");
    world.agent.wait_line("delivery");
    let listed = |world: &World| world.relay.run(&["tunnel", "devices", TUNNEL]).ok().out();
    assert!(listed(&world).contains("\tconnected\t"), "{}", listed(&world));
    world.relay.kill();
    assert!(world.agent.terminate().success());
    let told = listed(&world);
    assert!(told.contains("\taway, last known to be there at "), "{told}");
    world.relay.start();
    let told = listed(&world);
    assert!(told.contains("\taway, last known to be there at "), "by the next relay too: {told}");
    assert!(world.relay.terminate().success());
}

/// A laptop that was put away must not close the tunnel for its team. When it comes back it is told what it missed.
#[test]
fn a_device_that_is_away_keeps_nobody_out() {
    let mut world = World::new(AnswerMode::Ack);
    assert!(world.relay.terminate().success());
    world.relay = world.relay.with_arguments(&["--spool-bytes", "1000000"]);
    world.relay.start();
    let (mut desk, mut laptop) = (named(&world, "desk"), named(&world, "laptop"));
    desk.start();
    laptop.start();
    laptop.kill();
    let body = vec![b'x'; 50_000];
    for n in 0..60 {
        // One after the other: what nobody has yet is never dropped for room.
        world.accepted("/hook", &body);
        world.handler.wait_for(n + 1);
    }
    laptop = named(&world, "laptop");
    laptop.start();
    let gap = laptop.wait_line("gap");
    let missed = gap["count"].as_u64().unwrap();
    assert!(gap["reason"] == "size" && (40..60).contains(&missed), "{gap}");
    laptop.wait_lines("delivery", 60 - missed as usize);
    assert_eq!(desk.events(&[]).len(), 60);
    assert_eq!(laptop.events(&[]).len(), 60 - missed as usize);
}

#[test]
fn a_folder_that_is_mistyped_is_told_and_not_made() {
    let stage = Stage::new();
    let missing = stage.data("relayy");
    for command in [&["tunnel", "list"][..], &["tunnel", "devices"], &["tunnel", "remove", "team"], &["token", "list"]]
    {
        let ran =
            Process::run("healthie-relay", stage.program(Binary::Relay).args(command).arg("--data").arg(&missing));
        assert!(ran.exits(2).err().contains("relayy"), "{command:?}");
        assert!(!missing.exists(), "{command:?}");
    }
}
