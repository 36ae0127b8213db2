//! The connection between agent and relay breaks in every way a laptop knows; after each a delivery arrives, and the states are told.

use std::time::{Duration, Instant};

use tunnel_stories::World;
use tunnel_testkit::{AnswerMode, Proxy, Signal};

/// How long a dead connection may go unnoticed: the heartbeat's limit with room for a busy machine.
const NOTICED: Duration = Duration::from_secs(20);

/// A world in which the agent reaches the relay through a proxy.
fn behind_a_proxy() -> (World, Proxy) {
    let mut world = World::new(AnswerMode::Ack);
    let proxy = Proxy::start(world.relay.http());
    world.agent = world.stage.agent("agent").relay(&proxy.url(), &world.token).target(&world.handler.url());
    world.agent.start();
    world.accepted("/hook", b"before");
    world.handler.wait_for(1);
    (world, proxy)
}

/// Sees that the next delivery comes through.
#[track_caller]
fn arrives(world: &World) {
    let already = world.handler.received().len();
    world.accepted("/hook", b"after");
    world.handler.wait_for(already + 1);
}

#[test]
fn the_relay_restarts() {
    let (mut world, proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    assert!(world.relay.terminate().success());
    world.agent.wait_state("waiting", already);
    world.relay.start();
    proxy.lead_to(world.relay.http());
    world.agent.wait_state("connected", already);
    arrives(&world);
}

#[test]
fn the_relay_is_away_for_a_while() {
    let (world, proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    proxy.turn_away(true);
    proxy.cut();
    let waits = world.agent.lines().wait("three tries", |lines| {
        let waits: Vec<_> = lines[already..].iter().filter(|l| l["state"] == "waiting").cloned().collect();
        (waits.len() >= 3).then_some(waits)
    });
    assert!(waits.iter().all(|w| w["reason"].is_string() && w["delay_ms"].is_u64()), "{waits:?}");
    proxy.turn_away(false);
    world.agent.wait_state("connected", already);
    arrives(&world);
}

#[test]
fn the_connection_is_cut() {
    let (world, proxy) = behind_a_proxy();
    for _ in 0..3 {
        let already = world.agent.lines().len();
        proxy.cut();
        world.agent.wait_state("connected", already);
        arrives(&world);
    }
}

#[test]
fn the_connection_is_dead_and_nobody_says_so() {
    let (world, proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    let begin = Instant::now();
    proxy.freeze();
    // Goes into the dead connection first, and must come again over the next.
    world.accepted("/hook", b"into the void");
    world.agent.wait_state("waiting", already);
    assert!(begin.elapsed() < NOTICED, "noticed after {:?}", begin.elapsed());
    world.agent.wait_state("connected", already);
    world.handler.wait_for(2);
    arrives(&world);
}

#[test]
fn the_laptop_sleeps_and_wakes() {
    let (mut world, proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    world.agent.process().signal(Signal::STOP);
    // The relay gives up on an agent that is silent and closes; a proxy then has no connection left.
    let slept: Vec<_> = (0..3).map(|_| world.accepted("/hook", b"while it slept")).collect();
    proxy.cut();
    world.agent.process().signal(Signal::CONT);
    world.agent.wait_state("connected", already);
    world.handler.wait_for(1 + slept.len());
    arrives(&world);
}

#[test]
fn a_nap_too_short_to_lose_the_connection() {
    let (mut world, _proxy) = behind_a_proxy();
    world.agent.process().signal(Signal::STOP);
    world.accepted("/hook", b"while it slept");
    world.agent.process().signal(Signal::CONT);
    world.handler.wait_for(2);
    arrives(&world);
}
