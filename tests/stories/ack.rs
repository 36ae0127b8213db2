//! Ack: what was answered 200 arrives, in order and once, whoever is away or killed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tunnel_stories::{HOST, World, post};
use tunnel_testkit::{AnswerMode, Connection, Log, Proxy, eventually};

#[test]
fn deliveries_wait_while_the_agent_is_away_and_come_in_order() {
    let mut world = World::connected(AnswerMode::Ack);
    world.accepted("/hook", b"first");
    world.handler.wait_for(1);
    assert!(world.agent.terminate().success());
    // More than an agent takes at once.
    let waited: Vec<String> = (0..700).map(|n| world.accepted("/hook", format!("{n}").as_bytes())).collect();
    assert_eq!(world.handler.received().len(), 1);

    world.agent.start();
    assert_eq!(world.agent.wait_line("ready")["waiting"], 700);
    let came = world.agent.wait_lines("delivery", waited.len());
    let ids: Vec<_> = came.iter().map(|d| d["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, waited);
    world.handler.wait_for(701);
}

#[test]
fn a_relay_killed_right_after_its_200_has_the_delivery_still() {
    let mut world = World::new(AnswerMode::Ack);
    let proxy = Proxy::start(world.relay.http());
    world.agent = world.stage.agent("agent").relay(&proxy.url(), &world.token).target(&world.handler.url());
    // The tunnel keeps deliveries for a device that it has seen.
    world.agent.start();
    world.agent.terminate();
    let mut answered = BTreeSet::new();
    for round in 0..5 {
        answered.insert(world.accepted("/hook", format!("{round}").as_bytes()));
        world.relay.kill();
        world.relay.start();
        proxy.lead_to(world.relay.http());
    }
    world.agent.start();
    all_are_stored_once(&world, &answered);
    world.handler.wait_for(5);
}

#[test]
fn a_relay_killed_under_load_loses_nothing_it_answered_for() {
    let mut world = World::new(AnswerMode::Ack);
    let proxy = Proxy::start(world.relay.http());
    world.agent = world.stage.agent("agent").relay(&proxy.url(), &world.token).target(&world.handler.url());
    world.agent.start();
    let mut answered = BTreeSet::new();
    for _ in 0..4 {
        let load = Load::start(&world);
        let already = world.handler.received().len();
        load.goes_on(20);
        world.handler.wait_for(already + 20);
        world.relay.kill();
        answered.extend(load.stop());
        world.relay.start();
        proxy.lead_to(world.relay.http());
    }
    assert!(answered.len() >= 80, "only {} were answered", answered.len());
    all_are_stored_once(&world, &answered);
}

#[test]
fn an_agent_killed_under_load_loses_nothing_that_was_answered() {
    let mut world = World::connected(AnswerMode::Ack);
    let load = Load::start(&world);
    for _ in 0..4 {
        let already = world.handler.received().len();
        load.goes_on(20);
        world.handler.wait_for(already + 20);
        world.agent.kill();
        world.agent.start();
    }
    let answered: BTreeSet<String> = load.stop().into_iter().collect();
    assert!(answered.len() >= 80, "only {} were answered", answered.len());
    all_are_stored_once(&world, &answered);
    // Each was handed to the handler at last; one that was on its way when the agent was killed, perhaps twice.
    eventually("an answer to each delivery", || {
        let open = world.agent.events(&["--status", "queued"]);
        open.is_empty().then_some(())
    });
}

/// Waits until the agent has all of them, and sees that it has each once.
fn all_are_stored_once(world: &World, answered: &BTreeSet<String>) {
    eventually("every delivery that was answered to be stored", || {
        let stored = world.agent.events(&[]);
        let ids: BTreeSet<String> = stored.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), stored.len(), "one is stored twice");
        answered.is_subset(&ids).then_some(())
    });
}

/// Four senders that send one delivery after the other until they are stopped or the relay is gone.
struct Load {
    over: Arc<AtomicBool>,
    /// The ids that were answered 200.
    answered: Log<String>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(world: &World) -> Load {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Log::default());
        let sender = |n: usize| {
            let (over, answered) = (over.clone(), answered.clone());
            // Here and not on the sender's own thread: the relay may be killed before that has its turn.
            let mut connection = Connection::open(world.relay.http());
            std::thread::spawn(move || {
                for count in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let body = format!("{n} {count}");
                    if connection.try_send(&post(HOST, "/hook", body.as_bytes())).is_err() {
                        break;
                    }
                    let Some(answer) = connection.try_answer() else { break };
                    assert_eq!(answer.status(), Some(200), "{}", answer.text());
                    answered.push(answer.header("healthie-tunnel-delivery").expect("the relay names the delivery"));
                }
            })
        };
        Load { senders: (0..4).map(sender).collect(), over, answered }
    }

    /// Waits until this many more were answered 200.
    fn goes_on(&self, more: usize) {
        let wanted = self.answered.len() + more;
        self.answered.wait(&format!("{wanted} answers"), |seen| (seen.len() >= wanted).then_some(()));
    }

    /// The ids that were answered 200.
    fn stop(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.senders.into_iter().for_each(|s| s.join().expect("a sender does not fail"));
        self.answered.all()
    }
}
