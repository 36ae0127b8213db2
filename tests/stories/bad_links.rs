//! Links that delay, throttle, cut and lose: everything arrives once all the same. By the project's own proxy everywhere, and over network
//! namespaces with real lost packets where the machine allows it.

use std::time::Duration;

use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, World, audit, in_order, told};
use tunnel_testkit::{AnswerMode, Handler, Line, Plan, Proxy, Stage, Weather, seed, skipped};

const MS: Duration = Duration::from_millis(1);

/// How long what was answered may take to get through.
const SETTLED: Duration = Duration::from_secs(90);

/// How many deliveries go through each link.
const DELIVERIES: usize = 120;

/// Lets deliveries through a link in that weather, and looks at what arrived.
fn through(weather: Weather, answer: AnswerMode) {
    let seed = weather.seed;
    let mut world = World::new(answer);
    let link = Proxy::in_weather(world.relay.http(), weather.clone());
    world.agent = world.stage.agent("agent").relay(&link.url(), &world.token).target(&world.handler.url());
    world.agent.start();
    let plan = Plan { seed, host: HOST.to_owned(), senders: 4, rest: 5 * MS };
    let load = plan.clone().start(world.relay.http());
    load.goes_on(DELIVERIES);
    let answered = load.stop();
    audit(&format!("{weather:?}"), &world.agent, &plan, &answered, SETTLED);
    let told = told("agent", &[world.agent.lines().clone()]);
    if answer == AnswerMode::Ack {
        in_order("agent", &told, &answered);
    }
}

#[test]
fn a_long_way_with_jitter() {
    through(Weather::from_seed(seed()).delayed(80 * MS, 60 * MS), AnswerMode::Ack);
}

#[test]
fn a_long_way_with_jitter_and_back() {
    through(Weather::from_seed(seed()).delayed(30 * MS, 30 * MS), AnswerMode::Passthrough);
}

#[test]
fn losses_that_stop_everything_and_come_in_bursts() {
    through(Weather::from_seed(seed()).delayed(5 * MS, 5 * MS).losing(25, 300 * MS), AnswerMode::Ack);
}

#[test]
fn a_narrow_link() {
    through(Weather::from_seed(seed()).throttled(150_000), AnswerMode::Ack);
}

#[test]
fn connections_that_never_live_long() {
    through(Weather::from_seed(seed()).delayed(2 * MS, 8 * MS).living(100 * MS..900 * MS), AnswerMode::Ack);
}

#[test]
fn packets_are_lost_and_the_line_is_narrow() {
    let line = match Line::lay().and_then(|line| line.throttle(4000).and_then(|()| line.lose(5)).map(|()| line)) {
        Ok(line) => line,
        Err(why) => return skipped(&why),
    };
    let [public, home] = line.ends();
    let stage = Stage::new();
    let mut relay = stage.relay().within(public);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    // Beside the agent, in its own namespace.
    let handler = home.within(Handler::start);
    let mut agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).within(home);
    agent = agent.with(&["--allow-plain-http"]);
    agent.start();
    let plan = Plan { seed: seed(), host: HOST.to_owned(), senders: 4, rest: 5 * MS };
    // The senders are beside the relay: the line that is bad is the agent's.
    let load = public.within(|| plan.clone().start(relay.http()));
    load.goes_on(DELIVERIES / 2);
    line.lose(20).expect("what could lose five percent can lose twenty");
    load.goes_on(DELIVERIES / 2);
    let answered = load.stop();
    let arrived = |lines: &[Value]| lines.iter().filter(|line| line["type"] == "delivery").count();
    let lines = agent.lines().clone();
    lines
        .wait_within(SETTLED, "everything that was answered", |lines| (arrived(lines) >= answered.len()).then_some(()));
    assert!(agent.terminate().success());
    in_order("agent", &told("agent", &[lines]), &answered);
    // By commands that stand here, on the folder that the agent has left.
    audit("agent", &stage.agent("agent"), &plan, &answered, SETTLED);
}
