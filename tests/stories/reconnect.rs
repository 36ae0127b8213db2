//! The connection between agent and relay breaks in every way a laptop knows; after each a delivery arrives, and the states are told.

use std::time::{Duration, Instant};

use tunnel_stories::{HOST, TUNNEL, World, post, states};
use tunnel_testkit::{AnswerMode, Handler, Line, Proxy, Signal, Stage, send, skipped};

/// How long a dead connection may go unnoticed: the heartbeat's limit, 15 s, with room for a busy machine. Without a heartbeat it would be for ever.
const NOTICED: Duration = Duration::from_secs(50);

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

/// Waits until the relay gives the agent up because it hears nothing from it.
#[track_caller]
fn given_up(world: &mut World) {
    world.relay.server().messages().wait("the relay to give the agent up", |lines| {
        lines.iter().any(|line| line.contains("agent gone") && line.contains("nothing was heard")).then_some(())
    });
}

#[test]
fn the_agent_restarts() {
    let (mut world, _proxy) = behind_a_proxy();
    assert!(world.agent.terminate().success());
    assert_eq!(states(&world.agent.lines().all()), ["connecting", "connected", "closed"]);
    world.agent.start();
    arrives(&world);
    world.agent.kill();
    world.agent.start();
    arrives(&world);
}

#[test]
fn the_connection_is_dead_and_nobody_says_so() {
    let (mut world, proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    let begin = Instant::now();
    proxy.freeze();
    // Goes into the dead connection first, and must come again over the next.
    world.accepted("/hook", b"into the void");
    world.agent.wait_state("waiting", already);
    assert!(begin.elapsed() < NOTICED, "the agent noticed after {:?}", begin.elapsed());
    world.agent.wait_state("connected", already);
    world.handler.wait_for(2);
    arrives(&world);
    // The agent's new session takes the old one's seat, or the relay hears nothing for too long: no session stays for ever.
    world.relay.server().messages().wait("the relay to end the dead session", |lines| {
        lines.iter().any(|line| line.contains("agent gone")).then_some(())
    });
    assert!(begin.elapsed() < NOTICED, "the relay noticed after {:?}", begin.elapsed());
    states(&world.agent.lines().all());
}

#[test]
fn the_relay_gives_up_an_agent_that_it_does_not_hear() {
    let (mut world, proxy) = behind_a_proxy();
    let begin = Instant::now();
    // Nothing comes through, and no new connection either.
    proxy.turn_away(true);
    proxy.freeze();
    given_up(&mut world);
    assert!(begin.elapsed() < NOTICED, "noticed after {:?}", begin.elapsed());
    let already = world.agent.lines().len();
    world.accepted("/hook", b"meanwhile");
    proxy.turn_away(false);
    proxy.thaw();
    world.agent.wait_state("connected", already);
    world.handler.wait_for(2);
    arrives(&world);
}

#[test]
fn the_laptop_sleeps_for_longer_than_the_relay_waits() {
    let (mut world, _proxy) = behind_a_proxy();
    let already = world.agent.lines().len();
    world.agent.process().signal(Signal::STOP);
    world.accepted("/hook", b"into its sockets");
    given_up(&mut world);
    let slept: Vec<_> = (0..3).map(|_| world.accepted("/hook", b"while it slept")).collect();
    world.agent.process().signal(Signal::CONT);
    world.agent.wait_state("waiting", already);
    world.agent.wait_state("connected", already);
    world.handler.wait_for(2 + slept.len());
    arrives(&world);
    states(&world.agent.lines().all());
}

/// A port that nobody else has in a namespace of the story's own.
const PORT: u16 = 8080;

#[test]
fn the_relay_s_name_leads_elsewhere() {
    let line = match Line::lay() {
        Ok(line) => line,
        Err(why) => return skipped(&why),
    };
    let [public, home] = line.ends();
    let stage = Stage::new();
    let mut relay = stage.relay().within(public);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    let handler = home.within(Handler::start);
    let url = format!("http://relay.test:{PORT}");
    let mut agent = stage.agent("agent").relay(&url, &token).target(&handler.url()).within(home);
    agent = agent.with(&["--allow-plain-http"]);
    for (at, address) in ["10.203.0.1", "10.203.0.7"].into_iter().enumerate() {
        public.answers_to(address);
        home.resolves("relay.test", address);
        let already = agent.lines().len();
        relay.listen_at(&format!("{address}:{PORT}"));
        relay.start();
        if at == 0 {
            agent.start();
        }
        agent.wait_state("connected", already);
        let hook = post(HOST, "/hook", b"{}");
        assert_eq!(public.within(|| send(relay.http(), &hook)).status(), Some(200));
        handler.wait_for(at + 1);
        assert!(relay.terminate().success());
    }
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
