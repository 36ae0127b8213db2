//! Many agents and a relay that goes away: none of them runs in circles, they do not come back all at once, and each gets everything.

use std::time::Duration;

use tunnel_stories::{World, states};
use tunnel_testkit::{Agent, AnswerMode, Proxy, pass};

const AGENTS: usize = 20;

/// How long the relay is away.
const AWAY: Duration = Duration::from_secs(4);

/// The most tries of one agent in that time: its pauses double from at least 125 ms.
const TRIES: usize = 6;

/// The least time between the first and the last of the crowd to try again: the first pause is drawn from 125 ms.
const SPREAD: Duration = Duration::from_millis(40);

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

    world.relay.kill();
    pass(AWAY);
    let tries = proxy.accepted().after(already);
    assert!(tries.len() >= 2 * AGENTS, "only {} tries of {AGENTS} agents", tries.len());
    assert!(tries.len() <= TRIES * AGENTS, "{} tries of {AGENTS} agents in {AWAY:?}", tries.len());
    let spread = tries[AGENTS - 1].duration_since(tries[0]);
    assert!(spread >= SPREAD, "{AGENTS} agents tried again within {spread:?}");

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
