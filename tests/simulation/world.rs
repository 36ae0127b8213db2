//! One simulation: relay, agents, handlers and senders as hosts of one simulated network, the faults of a plan, healing, and the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use healthie_relay::{AnswerMode, Registry, TunnelSettings, WhenAway};
use healthie_tunnel::settings::Token;
use turmoil::Sim;

use crate::chance::Chance;
use crate::handler::{FIRST_PORT, Handlers};
use crate::keep::ArchiveDisk;
use crate::log::Log;
use crate::net::{Dials, Knife};
use crate::plan::{Fault, Plan, SENDERS};
use crate::process::{AgentProcess, Ending, RelayProcess};
use crate::sender::{Book, Sender};
use crate::spool::SpoolDisk;

/// How far a step goes.
pub(crate) const TICK: u64 = 10;
/// How long everything may take once all is well again.
const PATIENCE: u64 = 300_000;
/// How long it goes on after that, so that what should not be there any more is gone and who has no connection has one: longer than an idle
/// connection may stay, and than an agent waits for one that does not open (10 s) and then pauses (10 s).
const AFTERMATH: u64 = 26_000;

/// What becomes of a machine whose process is killed.
#[derive(Clone, Copy)]
enum End {
    /// Nothing runs until the fault is over.
    Stay,
    /// Another process.
    StartAgain,
}

/// What one agent's machine keeps, and what is known of its processes.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) disk: ArchiveDisk,
    pub(crate) dials: Dials,
    pub(crate) processes: Arc<AtomicU64>,
    /// Whether a process of it was ever killed.
    pub(crate) killed: Arc<AtomicBool>,
    /// Whether its process came to the end that it was asked for.
    pub(crate) stopped: Arc<AtomicBool>,
    /// Whether it is connected, as it says itself.
    pub(crate) connected: Arc<AtomicBool>,
    pub(crate) knife: Knife,
    pub(crate) ending: Ending,
}

/// Everything that the checks look at.
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) log: Log,
    pub(crate) book: Book,
    pub(crate) handlers: Handlers,
    pub(crate) machines: Vec<Machine>,
    pub(crate) spool: SpoolDisk,
    /// How many senders have deliveries left.
    pub(crate) at_work: Arc<AtomicUsize>,
    /// How many connections the relay had when it was last looked.
    pub(crate) relay_streams: Arc<AtomicUsize>,
    relay_ending: Ending,
    relay_knife: Knife,
    relay_starts: Arc<AtomicU64>,
    tokens: Vec<Token>,
    data: PathBuf,
}

/// Runs one seed to its end. `data` is an empty folder for the registry's file.
pub(crate) fn run(seed: u64, data: &Path) -> Scene {
    let plan = Plan::of(seed);
    let log = Log::default();
    let tokens = register(&plan, data, &log);
    let scene = Scene {
        seed,
        machines: plan.devices.iter().map(|_| Machine::default()).collect(),
        at_work: Arc::new(AtomicUsize::new(plan.tunnels.len() * plan.senders as usize)),
        plan,
        handlers: Handlers {
            calm: Arc::default(),
            given: Arc::default(),
            chance: Chance::of(seed, "handlers"),
            log: log.clone(),
        },
        log,
        book: Book::default(),
        spool: SpoolDisk::default(),
        relay_streams: Arc::default(),
        relay_ending: Ending::default(),
        relay_knife: Knife::default(),
        relay_starts: Arc::default(),
        tokens,
        data: data.to_owned(),
    };
    scene.play();
    scene
}

/// Adds the plan's tunnels to a registry, and makes a token for each.
fn register(plan: &Plan, data: &Path, log: &Log) -> Vec<Token> {
    let registry = Registry::open(data).expect("a registry in an empty folder");
    // Beside the spool the relay notes which tunnels there are, wherever the spool itself is.
    std::fs::create_dir(data.join("spool")).expect("a folder in an empty folder");
    let now = log.wall_clock();
    let token = |tunnel: &crate::plan::Tunnel| {
        let mode = if tunnel.passthrough.is_some() { AnswerMode::Passthrough } else { AnswerMode::Ack };
        let mut settings = TunnelSettings::new(mode, now);
        if let Some(within) = tunnel.passthrough {
            settings.answer_within_ms = within;
        }
        if tunnel.spool_when_away {
            settings.when_away = WhenAway::Spool;
        }
        registry.add_tunnel(tunnel.name.clone(), settings).expect("a new tunnel");
        let token = registry.create_token(&tunnel.name, now).expect("a token");
        Token::new(token.expose().to_owned()).expect("a token")
    };
    plan.tunnels.iter().map(token).collect()
}

impl Scene {
    fn play(&self) {
        let chance = Chance::of(self.seed, "network");
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .tick_duration(Duration::from_millis(TICK))
            .simulation_duration(Duration::from_secs(24 * 3600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(chance.millis(5, 120))
            .build();
        self.people(&mut sim);
        let mut ended = None;
        let mut doomed = Vec::new();
        let mut running: BTreeMap<usize, ()> = BTreeMap::new();
        let mut next = 0;
        let mut healed = false;
        loop {
            let now = self.log.now();
            let faults = &self.plan.faults;
            for (host, end) in doomed.drain(..) {
                match end {
                    End::Stay => sim.crash(host),
                    End::StartAgain => sim.bounce(host),
                }
            }
            let over: Vec<usize> = running.keys().copied().filter(|at| faults[*at].until <= now).collect();
            for at in over {
                running.remove(&at);
                doomed.extend(self.end(&mut sim, &faults[at].fault));
            }
            while next < faults.len() && faults[next].from <= now {
                doomed.extend(self.begin(&mut sim, &faults[next].fault));
                running.insert(next, ());
                next += 1;
            }
            if !healed && now >= self.plan.heal && running.is_empty() && doomed.is_empty() {
                self.log.say("all is well");
                self.handlers.calm.store(true, Ordering::Relaxed);
                healed = true;
            }
            if healed && ended.is_none() && now.is_multiple_of(500) && self.quiet() {
                self.log.say("all is quiet");
                ended = Some(now + AFTERMATH);
            }
            if ended.is_some_and(|at| now >= at) {
                return;
            }
            if now > self.plan.heal + PATIENCE {
                return self.log.wrong("it did not come to rest");
            }
            if let Err(e) = sim.step() {
                return self.log.wrong(format_args!("a host failed: {e}"));
            }
            self.log.set_now(now + TICK);
        }
    }

    /// Whether every sender is done, and every device has what it must have and has tried to forward it.
    fn quiet(&self) -> bool {
        if self.at_work.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan.devices.iter().zip(&self.machines).all(|(device, machine)| {
            let tunnel = &self.plan.tunnels[device.tunnel];
            let ours = book.values().filter(|sent| sent.tunnel == tunnel.name);
            let answered = ours.filter(|sent| sent.answered.is_some_and(|s| (200..300).contains(&s))).count();
            let (stored, waiting) = machine.disk.counts();
            stored >= answered && waiting == 0
        })
    }

    /// Begins a fault; gives whose process ends with the next step.
    fn begin<'f>(&self, sim: &mut Sim<'_>, fault: &'f Fault) -> Option<(&'f str, End)> {
        self.log.say(format_args!("begins: {fault:?}"));
        match fault {
            Fault::Partition(a, b) => sim.partition(a.as_str(), b.as_str()),
            Fault::Oneway(from, to) => sim.partition_oneway(from.as_str(), to.as_str()),
            Fault::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
            Fault::Crash { host, power } => {
                if let Some(machine) = self.machine(host) {
                    machine.killed.store(true, Ordering::Relaxed);
                    machine.connected.store(false, Ordering::Relaxed);
                }
                if !power {
                    return Some((host.as_str(), self.kill(host, End::Stay)));
                }
                for other in self.hosts().iter().filter(|other| *other != host) {
                    sim.partition(host.as_str(), other.as_str());
                }
                sim.crash(host.as_str());
            }
            Fault::Stop(host) => {
                let ending = self.machine(host).map_or(&self.relay_ending, |machine| &machine.ending);
                ending.lock().unwrap_or_else(PoisonError::into_inner).send_replace(true);
            }
            Fault::Cut(device) => self.machines[*device].knife.cut(),
            Fault::Slow(a, b, most) => {
                sim.set_link_max_message_latency(a.as_str(), b.as_str(), Duration::from_millis(*most));
            }
        }
        None
    }

    /// Breaks the connections of a process that is killed. The process itself is torn down with the next step: tokio does that in an order that is not
    /// the seed's, and what its connections say when they are dropped would be sent in that order.
    fn kill(&self, host: &str, end: End) -> End {
        self.machine(host).map_or(&self.relay_knife, |machine| &machine.knife).cut();
        end
    }

    /// Ends a fault; gives whose process ends with the next step.
    fn end<'f>(&self, sim: &mut Sim<'_>, fault: &'f Fault) -> Option<(&'f str, End)> {
        self.log.say(format_args!("ends: {fault:?}"));
        match fault {
            Fault::Partition(a, b) => sim.repair(a.as_str(), b.as_str()),
            Fault::Oneway(from, to) => sim.repair_oneway(from.as_str(), to.as_str()),
            Fault::Hold(a, b) => sim.release(a.as_str(), b.as_str()),
            Fault::Crash { host, power } => {
                for other in self.hosts().iter().filter(|other| *power && *other != host) {
                    sim.repair(host.as_str(), other.as_str());
                }
                sim.bounce(host.as_str());
            }
            Fault::Stop(host) => {
                // Whoever stops a program waits only so long.
                if let Some(machine) = self.machine(host).filter(|m| !m.stopped.load(Ordering::Relaxed)) {
                    machine.killed.store(true, Ordering::Relaxed);
                }
                return Some((host.as_str(), self.kill(host, End::StartAgain)));
            }
            Fault::Cut(_) => {}
            Fault::Slow(a, b, _) => {
                sim.set_link_max_message_latency(a.as_str(), b.as_str(), Duration::from_millis(60));
            }
        }
        None
    }

    fn machine(&self, host: &str) -> Option<&Machine> {
        self.plan.devices.iter().position(|d| d.host == host).map(|at| &self.machines[at])
    }

    fn hosts(&self) -> Vec<String> {
        let fixed = ["relay", SENDERS, "handlers"].map(str::to_owned);
        self.plan.devices.iter().map(|d| d.host.clone()).chain(fixed).collect()
    }

    /// Registers all hosts.
    fn people(&self, sim: &mut Sim<'_>) {
        let relay = RelayProcess {
            data: self.data.clone(),
            seed: self.seed,
            log: self.log.clone(),
            disk: self.spool.clone(),
            ending: Arc::clone(&self.relay_ending),
            knife: self.relay_knife.clone(),
            starts: Arc::clone(&self.relay_starts),
            at_hand: self.plan.at_hand,
            refuses: self.plan.spool_refuses,
        };
        sim.host("relay", move || relay.clone().run());
        let (handlers, devices) = (self.handlers.clone(), self.plan.devices.len());
        sim.host("handlers", move || {
            let handlers = handlers.clone();
            async move {
                for device in 0..devices {
                    tokio::spawn(handlers.clone().serve(device));
                }
                std::future::pending().await
            }
        });
        for (at, (device, machine)) in self.plan.devices.iter().zip(&self.machines).enumerate() {
            let agent = AgentProcess {
                seed: self.seed,
                log: self.log.clone(),
                machine: machine.clone(),
                device: device.clone(),
                port: FIRST_PORT + at as u16,
                token: self.tokens[device.tunnel].clone(),
                refuses: self.plan.store_refuses,
                calm: Arc::clone(&self.handlers.calm),
            };
            sim.host(device.host.as_str(), move || agent.clone().run());
        }
        let senders: Vec<_> = self
            .plan
            .tunnels
            .iter()
            .enumerate()
            .flat_map(|(at, tunnel)| {
                let here = self.plan.devices.iter().filter(|d| d.tunnel == at).count();
                // What comes before a device joins is not its own; only the first of a tunnel gets all that waited.
                let wait_for = if here == 1 && tunnel.passthrough.is_none() { 0 } else { here };
                (0..self.plan.senders)
                    .map(move |number| (format!("{}{number}", &tunnel.name.as_str()[..1]), tunnel, wait_for))
            })
            .collect();
        let (streams, spool) = (Arc::clone(&self.relay_streams), self.spool.clone());
        let mut tasks = Vec::new();
        for (name, tunnel, wait_for) in senders {
            let sender = Sender {
                chance: Chance::of(self.seed, &name),
                name,
                tunnel: tunnel.name.clone(),
                count: self.plan.deliveries,
                pause: self.plan.pause,
                log: self.log.clone(),
                book: Arc::clone(&self.book),
                at_work: Arc::clone(&self.at_work),
            };
            let spool = spool.clone();
            tasks.push(async move {
                while spool.joined(&sender.tunnel) < wait_for {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                sender.run().await;
            });
        }
        sim.client(SENDERS, async move {
            for task in tasks {
                tokio::spawn(task);
            }
            loop {
                streams.store(turmoil::established_tcp_stream_count_on("relay"), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
}
