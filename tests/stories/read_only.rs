//! A token that only looks: it gets what comes and changes nothing for anybody else.

use tunnel_stories::{TUNNEL, World};
use tunnel_testkit::{Agent, AnswerMode, Handler, Reply, eventually};

/// An agent named `name` with a read-only token of the tunnel, which forwards nowhere.
fn onlooker(world: &World, name: &str) -> Agent {
    let made = world.relay.run(&["token", "create", "--tunnel", TUNNEL, "--read-only"]).ok().out();
    world.stage.agent(name).relay(&world.relay.url(), made.trim()).with(&["--device", name, "--no-forward"])
}

#[test]
fn it_never_answers_a_sender_and_gets_a_copy_all_the_same() {
    let handler =
        Handler::answering(|_| Reply::Answer { status: 201, headers: vec![], body: b"of the handler".to_vec() });
    let mut world = World::with_handler(AnswerMode::Passthrough, handler);
    let mut eye = onlooker(&world, "eye");
    let ready = eye.start().wait_line("ready");
    assert_eq!((&ready["read_only"], &ready["answer"]), (&true.into(), &"passthrough".into()), "{ready}");
    // With nobody else there, nobody is there.
    assert_eq!(world.deliver("/hook", b"too early").status(), Some(503));
    world.agent.start();
    // It came later; the newest answers, but not if it only looks.
    let mut later = onlooker(&world, "later");
    later.start();
    let answer = world.deliver("/hook", b"for the handler");
    assert_eq!((answer.status(), answer.text()), (Some(201), "of the handler".to_owned()));
    for eye in [&eye, &later] {
        let came = eye.wait_line("delivery");
        assert_eq!(came["id"].as_str(), answer.header("healthie-tunnel-delivery").as_deref());
    }
    let status = eye.run(&["status", "--json"]).ok().json();
    assert_eq!(status["read_only"], true);
    assert!(eye.run(&["status"]).ok().out().contains("read-only"));
    let devices = world.relay.run(&["tunnel", "devices", TUNNEL]).ok().out();
    assert_eq!(devices.lines().filter(|line| line.contains("only looks")).count(), 2, "{devices}");
}

#[test]
fn it_cannot_change_how_the_tunnel_answers() {
    let world = World::connected(AnswerMode::Ack);
    let mut eye = onlooker(&world, "eye");
    eye.start();
    let refused = eye.run(&["answer", "passthrough"]);
    assert!(refused.exits(1).err().contains("read-only"));
    let tunnels = world.relay.run(&["tunnel", "list", "--json"]).ok().json();
    assert_eq!(tunnels[0]["answer"], "ack");
}

#[test]
fn it_leaves_the_first_device_all_that_waits() {
    let mut world = World::new(AnswerMode::Ack);
    let before = world.accepted("/hook", b"before anybody came");
    let mut eye = onlooker(&world, "eye");
    eye.start();
    let meanwhile = world.accepted("/hook", b"while only the onlooker was there");
    assert_eq!(eye.wait_line("delivery")["id"], meanwhile.as_str(), "what waited is not for it");
    eventually("the onlooker has taken it", || {
        let devices = world.relay.run(&["tunnel", "devices", TUNNEL, "--json"]).ok().json();
        (devices[0]["waiting"] == 0).then_some(())
    });
    // What it has must not be gone, with the relay started anew neither. It is at another port then, and the old one may be anybody's.
    assert!(eye.terminate().success());
    world.relay.terminate();
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    let ids: Vec<_> =
        world.agent.wait_lines("delivery", 2).iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [before, meanwhile]);
}

/// Names are first come, first served among equals only.
#[test]
fn it_takes_no_device_s_place() {
    let mut world = World::new(AnswerMode::Ack);
    world.agent = world.agent.with(&["--device", "desk"]);
    world.agent.start();
    let mut eye = onlooker(&world, "desk");
    eye.start_only();
    let told = eye.wait_state("waiting", 0);
    assert!(told["reason"].as_str().unwrap().contains("a name of its own"), "{told}");
    eye.kill();
    world.accepted("/hook", b"for the desk");
    world.agent.wait_line("delivery");
    // The other way round the onlooker has to go.
    let mut eye = onlooker(&world, "laptop");
    eye.start();
    let already = eye.lines().all().len();
    let mut laptop =
        world.stage.agent("laptop-2").relay(&world.relay.url(), &world.token).with(&["--device", "laptop"]);
    laptop = laptop.target(&world.handler.url());
    laptop.start();
    eye.wait_state("waiting", already);
    world.accepted("/hook", b"for both");
    laptop.wait_line("delivery");
}
