//! SIGTERM with deliveries in flight: all are answered, everything is written, exit 0.

use tunnel_stories::{HOST, World, post};
use tunnel_testkit::{AnswerMode, Connection, Gate, Handler, Reply, Signal};

const IN_FLIGHT: usize = 5;

/// A passthrough world in which the handler answers once the gate is open, with deliveries that wait for it.
fn in_flight() -> (World, Gate, Vec<Connection>) {
    let gate = Gate::default();
    let shut = gate.clone();
    let handler = Handler::answering(move |_| Reply::After(shut.clone(), Box::new(Reply::ok())));
    let mut world = World::with_handler(AnswerMode::Passthrough, handler);
    world.agent.start();
    let open = |n: usize| {
        let mut connection = Connection::open(world.relay.http());
        connection.send(&post(HOST, "/hook", n.to_string().as_bytes()));
        connection
    };
    let connections = (0..IN_FLIGHT).map(open).collect();
    world.handler.wait_for(IN_FLIGHT);
    (world, gate, connections)
}

fn all_are_answered(connections: &mut [Connection]) {
    for connection in connections {
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ok\n"));
    }
}

#[test]
fn the_relay_answers_what_it_has_taken() {
    let (mut world, gate, mut connections) = in_flight();
    world.relay.server().signal(Signal::TERM);
    // It has heard it once nothing new is accepted.
    tunnel_testkit::eventually("the relay to take nothing new", || {
        std::net::TcpStream::connect(world.relay.http()).is_err().then_some(())
    });
    gate.open();
    all_are_answered(&mut connections);
    assert!(world.relay.server().wait().success());
}

#[test]
fn the_agent_finishes_what_it_has_begun() {
    let (mut world, gate, mut connections) = in_flight();
    world.agent.process().signal(Signal::TERM);
    gate.open();
    all_are_answered(&mut connections);
    assert!(world.agent.process().wait().success());
    let stored = world.agent.events(&["--status", "2xx"]);
    assert_eq!(stored.len(), IN_FLIGHT);
}

#[test]
fn what_is_acknowledged_survives_the_end_of_both() {
    let mut world = World::connected(AnswerMode::Ack);
    let ids: Vec<_> = (0..20).map(|n| world.accepted("/hook", n.to_string().as_bytes())).collect();
    assert!(world.relay.terminate().success());
    assert!(world.agent.terminate().success());
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    tunnel_testkit::eventually("all deliveries", || (world.agent.events(&[]).len() == ids.len()).then_some(()));
}

#[test]
fn sigint_ends_them_too() {
    let mut world = World::connected(AnswerMode::Ack);
    world.agent.process().signal(Signal::INT);
    assert!(world.agent.process().wait().success());
    world.relay.server().signal(Signal::INT);
    assert!(world.relay.server().wait().success());
}
