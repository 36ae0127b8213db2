//! Many agents and a relay that goes away: none of them runs in circles, they do not come back all at once, and each gets everything.

use std::time::{Duration, Instant};

use tunnel_stories::{World, states};
use tunnel_testkit::{Agent, AnswerMode, Proxy, pass};

const AGENTS: usize = 20;

/// How long the relay is away.
const AWAY: Duration = Duration::from_secs(4);

/// The most tries of one agent in that time: its pauses double from at least 125 ms.
const TRIES: usize = 6;

/// The least between the shortest and the longest of the crowd's first pauses, in milliseconds: they are drawn from 125.
const SPREAD: u64 = 40;

/// The first pause that an agent made after so many lines, in milliseconds, once it has made a second one.
fn first_of_two_pauses(agent: &Agent, before: usize) -> u64 {
    agent.lines().wait("two pauses", |lines| {
        let mut pauses = lines[before..].iter().filter(|line| line["state"] == "waiting");
        pauses.next().filter(|_| pauses.next().is_some()).and_then(|line| line["delay_ms"].as_u64())
    })
}

#[test]
fn they_come_back_spread_and_without_a_busy_loop() {
    let mut world = World::new(AnswerMode::Ack);
    let proxy = Proxy::start(world.relay.http());
    let member = |n: usize| {
        let device = format!("device-{n}");
        let agent = world.stage.agent(&device).relay(&proxy.url(), &world.token);
        agent.with(&["--no-forward", "--device", &device])
    };
    let mut agents: Vec<Agent> = (0..AGENTS).map(member).collect();
    for agent in &mut agents {
        agent.start_only();
    }
    agents.iter().for_each(|agent| drop(agent.wait_line("ready")));
    let before: Vec<usize> = agents.iter().map(|agent| agent.lines().len()).collect();
    let already = proxy.accepted().len();

    let gone = Instant::now();
    world.relay.kill();
    pass(AWAY);
    // A busy machine may have let more time pass.
    let tries = proxy.accepted().after(already);
    let tries = tries.iter().filter(|at| at.duration_since(gone) <= AWAY).count();
    assert!(tries <= TRIES * AGENTS, "{tries} tries of {AGENTS} agents in {AWAY:?}");
    // Each tries more than once. How far apart they mean to be is in what they say; when they come is the machine's affair too.
    let first: Vec<u64> =
        agents.iter().zip(&before).map(|(agent, before)| first_of_two_pauses(agent, *before)).collect();
    let spread = first.iter().max().zip(first.iter().min()).map(|(most, least)| most - least);
    assert!(spread >= Some(SPREAD), "{AGENTS} agents meant to try again after {first:?} ms");

    world.relay.start();
    proxy.lead_to(world.relay.http());
    for (agent, before) in agents.iter().zip(before) {
        agent.wait_state("connected", before);
        let states = states(&agent.lines().all());
        assert!(states.iter().filter(|state| *state == "waiting").count() >= 2, "{states:?}");
    }
    let id = world.accepted("/hook", b"for everybody");
    for agent in &agents {
        assert_eq!(agent.wait_line("delivery")["id"], id.as_str());
    }
}
