//! Under steady load relay and agents are killed and links cut at moments that dice choose; at the end every delivery that was answered 2xx
//! is in each agent's archive once, byte for byte and in order.
//!
//! `HEALTHIE_TUNNEL_CRASHES` is the number of rounds (10 unless set); `HEALTHIE_TUNNEL_SEED` plays a plan again, as far as a busy machine does.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, audit, in_order, told};
use tunnel_testkit::{
    Agent, AnswerMode, Dice, Handler, Load, Log, Plan, Proxy, Relay, Reply, Stage, Weather, pass, seed, setting,
};

const MS: Duration = Duration::from_millis(1);

/// How long what was answered may take to reach every archive once nobody is killed any more.
const SETTLED: Duration = Duration::from_secs(90);

/// An agent, the link it has to the relay, and what it said each time it ran.
struct Member {
    name: &'static str,
    agent: Agent,
    link: Proxy,
    runs: Vec<Log<Value>>,
}

impl Member {
    fn start(&mut self) {
        self.agent.start_only();
        self.runs.push(self.agent.lines().clone());
    }
}

/// Everybody. Ended in this order.
struct Cast {
    members: Vec<Member>,
    /// What the senders connect to.
    door: Proxy,
    relay: Relay,
    _handler: Handler,
    dice: Dice,
    kills: [usize; 3],
    cuts: usize,
}

impl Cast {
    fn new(answer: AnswerMode, sealed: bool, handler: Handler, seed: u64) -> Cast {
        let dice = Dice::new(seed).other(1);
        let stage = Stage::new();
        let mut relay = stage.relay();
        let token = relay.add_tunnel(TUNNEL, answer);
        if sealed {
            relay.run(&["tunnel", "set", TUNNEL, "--seal"]).ok();
        }
        relay.start();
        // Senders lose their connections, and with them answers to what was taken.
        let door = Proxy::in_weather(relay.http(), Weather::from_seed(seed).living(300 * MS..6000 * MS));
        let member = |(name, seed)| {
            let bad = Weather::from_seed(seed).delayed(MS, 8 * MS).losing(300, 200 * MS).living(800 * MS..8000 * MS);
            let link = Proxy::in_weather(relay.http(), bad);
            let agent = stage.agent(name).relay(&link.url(), &token).target(&handler.url()).with(&["--device", name]);
            Member { name, agent, link, runs: vec![] }
        };
        let mut members: Vec<_> = [("ada", seed ^ 1), ("ben", seed ^ 2)].into_iter().map(member).collect();
        for member in &mut members {
            member.start();
            // The tunnel keeps deliveries for the devices that it has seen.
            member.agent.wait_line("ready");
        }
        Cast { members, door, relay, _handler: handler, dice, kills: [0; 3], cuts: 0 }
    }

    /// One thing that goes wrong, after a while in which all goes well.
    fn misfortune(&mut self) {
        pass(self.dice.within(&(Duration::ZERO..500 * MS)));
        let away = self.dice.within(&(Duration::ZERO..400 * MS));
        match self.dice.below(8) {
            0..=2 => self.kill_relay(away),
            n @ 3..=6 => self.kill_agent(usize::from(n > 4), away),
            _ => {
                let kinds = self.dice.below(3);
                for member in self.members.iter().filter(|_| kinds > 0) {
                    member.link.cut();
                }
                if kinds < 2 {
                    self.door.cut();
                }
                self.cuts += 1;
            }
        }
    }

    fn kill_relay(&mut self, away: Duration) {
        self.relay.kill();
        self.kills[0] += 1;
        // An agent may go at the same time.
        if self.dice.one_in(3) {
            let which = usize::from(self.dice.one_in(2));
            self.kill_agent(which, Duration::ZERO);
        }
        pass(away);
        if self.dice.one_in(4) {
            // While it opens its spool.
            let begun = self.dice.within(&(Duration::ZERO..60 * MS));
            self.relay.start_only();
            pass(begun);
            self.relay.kill();
            self.kills[0] += 1;
        }
        self.relay.start();
        for proxy in self.members.iter().map(|m| &m.link).chain([&self.door]) {
            proxy.lead_to(self.relay.http());
        }
    }

    fn kill_agent(&mut self, which: usize, away: Duration) {
        self.members[which].agent.kill();
        self.kills[1 + which] += 1;
        pass(away);
        self.members[which].start();
    }

    /// Ends the misfortunes, and looks at what came of it.
    fn reckon(mut self, what: &str, load: Load, ordered: bool) {
        for proxy in self.members.iter().map(|m| &m.link).chain([&self.door]) {
            proxy.weather(Weather::default());
        }
        // Everybody is there again, and what is sent now is answered.
        load.goes_on(load.plan().senders * 2);
        let plan = load.plan().clone();
        let refused = load.refused().len();
        let answered = load.stop();
        let again = answered.iter().filter(|a| a.tries > 1).count();
        let mut said = format!(
            "{what}: {} kills of the relay, {:?} of the agents, {} cuts; {} answered 2xx, {again} of them not at the first try ({refused} other answers)\n",
            self.kills[0],
            &self.kills[1..],
            self.cuts,
            answered.len(),
        );
        for member in &mut self.members {
            let tally = audit(member.name, &member.agent, &plan, &answered, SETTLED);
            let told = told(member.name, &member.runs);
            if ordered {
                in_order(member.name, &told, &answered);
            }
            // A fresh process reads the same.
            assert!(member.agent.terminate().success());
            assert_eq!(member.agent.events(&[]).len(), tally.stored);
            said += &format!(
                "  {}: {} stored, {} of them told of when they were; 0 lost, 0 twice\n",
                member.name,
                tally.stored,
                told.len()
            );
        }
        // Beside the test's own output, which is kept back where it passes.
        std::io::stderr().write_all(said.as_bytes()).expect("standard error can be written to");
    }
}

fn load(seed: u64, cast: &Cast) -> Load {
    Plan { seed, host: HOST.to_owned(), senders: 4, rest: 30 * MS }.start(cast.door.address())
}

fn rounds() -> u64 {
    setting("HEALTHIE_TUNNEL_CRASHES", 10)
}

fn what_was_answered_survives(sealed: bool) {
    let seed = seed();
    let mut cast = Cast::new(AnswerMode::Ack, sealed, Handler::start(), seed);
    let load = load(seed, &cast);
    for _ in 0..rounds() {
        cast.misfortune();
    }
    cast.reckon(&format!("ack{}, seed {seed}", if sealed { ", sealed" } else { "" }), load, true);
}

#[test]
fn what_was_answered_survives_crashes_of_everybody() {
    what_was_answered_survives(false);
}

#[test]
fn what_was_sealed_survives_crashes_of_everybody() {
    what_was_answered_survives(true);
}

#[test]
fn what_handlers_answered_survives_crashes_of_everybody() {
    let seed = seed();
    // It fails now and then, and answers the same delivery well when it comes again.
    let count = AtomicU64::new(0);
    let moody = Handler::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) % 23 {
        7 => Reply::Close,
        11 => Reply::status(500, "not now"),
        17 => Reply::status(204, ""),
        _ => Reply::ok(),
    });
    let mut cast = Cast::new(AnswerMode::Passthrough, false, moody, seed);
    let load = load(seed, &cast);
    for _ in 0..rounds() {
        cast.misfortune();
    }
    cast.reckon(&format!("passthrough, seed {seed}"), load, false);
}
