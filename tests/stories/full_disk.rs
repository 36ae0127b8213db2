//! The disk under the relay's or the agent's data fills up under load: nothing hangs, nothing that was answered 2xx is lost, it is said what is
//! wrong, and work goes on by itself once there is room. Needs root for small file systems; where that is missing the stories say so.

use std::time::Duration;

use tunnel_stories::{HOST, TUNNEL, audit, post};
use tunnel_testkit::{Agent, AnswerMode, Handler, Load, Plan, Proxy, Relay, SmallDisk, Stage, send};

const MIB: u64 = 1 << 20;

/// How long everything may take to arrive once there is room.
const SETTLED: Duration = Duration::from_secs(60);

fn load(relay: &Relay) -> Load {
    let plan = Plan { seed: 11, host: HOST.to_owned(), senders: 3, rest: Duration::from_millis(10) };
    plan.start(relay.http())
}

fn agent(stage: &Stage, name: &str, (relay, token): (&str, &str), handler: &Handler) -> Agent {
    stage.agent(name).relay(relay, token).target(&handler.url())
}

/// Sends one delivery and expects to be told to come again later.
#[track_caller]
fn refused_for_now(relay: &Relay) {
    let answer = send(relay.http(), &post(HOST, "/hook/9/0", b"{}"));
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(503), &"spool-full".into()), "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
}

#[test]
fn the_relay_s_disk_is_nearly_full() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mount_or_skip(&stage.data("relay"), 64 * MIB) else { return };
    let mut relay = stage.relay().with_arguments(&["--min-free", &(16 * MIB).to_string()]);
    let tokens = [relay.add_tunnel(TUNNEL, AnswerMode::Ack), relay.add_tunnel("other", AnswerMode::Passthrough)];
    relay.start();
    let handler = Handler::start();
    let [mut ours, mut other] = [("ours", &tokens[0]), ("other", &tokens[1])]
        .map(|(name, token)| agent(&stage, name, (&relay.url(), token), &handler));
    ours.start();
    other.start();
    let load = load(&relay);
    load.goes_on(20);

    disk.fill_up(8 * MIB);
    load.refused().wait("a refusal", |seen| seen.contains(&503).then_some(()));
    refused_for_now(&relay);
    // What needs no room goes on: the relay itself, and tunnels whose handlers answer.
    assert_eq!(send(relay.http(), b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n").status(), Some(200));
    let answer = send(relay.http(), &post("other.relay.test", "/hook", b"{}"));
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ok\n"));
    // It says so itself, and strangers are not told of the disk.
    let ready = || send(relay.http(), b"GET /readyz HTTP/1.1\r\nHost: relay.test\r\n\r\n");
    let said = ready();
    assert_eq!(said.status(), Some(503), "{}", said.text());
    assert!(said.text().contains("cannot be stored") && !said.text().contains("free"), "{}", said.text());
    // Agents come and go.
    ours.kill();
    ours.start();

    disk.make_room();
    load.goes_on(20);
    assert_eq!(ready().status(), Some(200));
    let plan = load.plan().clone();
    audit("ours", &ours, &plan, &load.stop(), SETTLED);
}

#[test]
fn the_relay_s_disk_is_full_to_the_last_byte() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mount_or_skip(&stage.data("relay"), 64 * MIB) else { return };
    let mut relay = stage.relay().with_arguments(&["--min-free", &(16 * MIB).to_string()]);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    let handler = Handler::start();
    let mut ours = agent(&stage, "ours", (&relay.url(), &token), &handler);
    ours.start();
    let load = load(&relay);
    load.goes_on(20);

    // All at once, and between two looks at how much is free.
    disk.fill_up(0);
    load.refused().wait("a refusal", |seen| seen.contains(&503).then_some(()));
    assert_eq!(send(relay.http(), b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n").status(), Some(200));

    disk.make_room();
    load.goes_on(20);
    let plan = load.plan().clone();
    audit("ours", &ours, &plan, &load.stop(), SETTLED);
}

#[test]
fn the_agent_s_disk_is_nearly_full() {
    agent_s_disk(48 * MIB);
}

#[test]
fn the_agent_s_disk_is_full_to_the_last_byte() {
    agent_s_disk(0);
}

fn agent_s_disk(left: u64) {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mount_or_skip(&stage.data("ours"), 200 * MIB) else { return };
    let mut relay = stage.relay();
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    let proxy = Proxy::start(relay.http());
    let handler = Handler::start();
    let mut ours = agent(&stage, "ours", (&proxy.url(), &token), &handler);
    ours.start();
    let load = load(&relay);
    load.goes_on(20);

    let already = ours.lines().len();
    disk.fill_up(left);
    let waiting = ours.wait_state("waiting", already);
    assert!(waiting["reason"].as_str().is_some_and(|why| why.contains("nearly full")), "{waiting}");
    // The relay keeps what the agent does not take, and answers for it.
    let refused = load.refused().len();
    load.goes_on(50);
    assert_eq!(load.refused().len(), refused);
    // What is stored can be looked at.
    assert!(!ours.events(&[]).is_empty());
    // It does not run in circles meanwhile.
    let tries = proxy.accepted().len();
    let again = ours.wait_state("waiting", ours.lines().len());
    assert!(proxy.accepted().len() <= tries + 3, "{again}");

    disk.make_room();
    let plan = load.plan().clone();
    let answered = load.stop();
    audit("ours", &ours, &plan, &answered, SETTLED);
    assert!(ours.terminate().success());
}
