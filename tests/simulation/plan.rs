//! What a seed decides before a simulation begins: who is there, and what goes wrong when.

use tunnel_delivery::{DeviceName, TunnelName};

use crate::chance::Chance;

/// A tunnel of the relay.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    pub(crate) name: TunnelName,
    /// How long a sender waits for the handler, in milliseconds; nothing for `ack`.
    pub(crate) passthrough: Option<u64>,
    /// Whether it spools in passthrough where no agent is there.
    pub(crate) spool_when_away: bool,
}

/// An agent.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    pub(crate) host: String,
    /// Index of its tunnel.
    pub(crate) tunnel: usize,
    /// How many deliveries it forwards at once.
    pub(crate) concurrency: usize,
    /// How many deliveries and bytes may be on their way to it.
    pub(crate) allowance: (u32, u64),
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing gets through between two hosts; what is on its way is lost.
    Partition(String, String),
    /// Nothing gets through from one to the other.
    Oneway(String, String),
    /// Nothing arrives for now, and all of it later: what a sleeping laptop looks like from outside.
    Hold(String, String),
    /// The process is killed; with `power`, the machine is gone without a word.
    Crash { host: String, power: bool },
    /// The process is asked to end, and started again.
    Stop(String),
    /// All connections that a device has open break.
    Cut(usize),
    /// The line becomes slow.
    Slow(String, String, u64),
}

/// A fault and its time, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) fault: Fault,
}

/// A whole plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tunnels: Vec<Tunnel>,
    pub(crate) devices: Vec<Device>,
    pub(crate) faults: Vec<Timed>,
    /// When everything is healed.
    pub(crate) heal: u64,
    /// How many senders each tunnel has, how many deliveries each sends, and the most time between two.
    pub(crate) senders: u64,
    pub(crate) deliveries: u64,
    pub(crate) pause: u64,
    /// Of the spool: deliveries at hand without a read; one in so many refused.
    pub(crate) at_hand: u64,
    pub(crate) spool_refuses: u64,
    /// One in so many insertions of an agent's store refused.
    pub(crate) store_refuses: u64,
}

/// Where senders live.
pub(crate) const SENDERS: &str = "senders";

impl Plan {
    pub(crate) fn of(seed: u64) -> Plan {
        let chance = Chance::of(seed, "plan");
        let tunnels: Vec<Tunnel> = ["first", "second"][..chance.between(1, 2) as usize]
            .iter()
            .map(|name| Tunnel {
                name: name.parse().expect("a name"),
                passthrough: chance.once_in(2).then(|| chance.between(1500, 5000)),
                spool_when_away: chance.once_in(3),
            })
            .collect();
        let count = chance.between(2, 3) as usize;
        let devices: Vec<Device> = (0..count)
            .map(|i| Device {
                name: format!("device-{i}").parse().expect("a name"),
                host: format!("agent-{i}"),
                tunnel: i % tunnels.len(),
                concurrency: chance.between(1, 4) as usize,
                allowance: (*chance.pick(&[1, 2, 7, 512]), *chance.pick(&[0, 50_000, 8 << 20])),
            })
            .collect();
        let heal = chance.between(12_000, 40_000);
        let mut faults = Vec::new();
        for (at, device) in devices.iter().enumerate() {
            faults.extend(trouble(&chance, heal, |chance| agents(chance, at, &device.host)));
        }
        if !chance.once_in(4) {
            faults.extend(trouble(&chance, heal, relays));
        }
        if chance.once_in(3) {
            faults.extend(trouble(&chance, heal, senders));
        }
        faults.sort_by_key(|f| f.from);
        Plan {
            tunnels,
            devices,
            faults,
            heal,
            senders: chance.between(1, 3),
            deliveries: chance.between(5, 40),
            pause: *chance.pick(&[20, 300, 1500]),
            at_hand: *chance.pick(&[0, 3, 64]),
            spool_refuses: *chance.pick(&[0, 0, 30]),
            store_refuses: *chance.pick(&[0, 0, 0, 40]),
        }
    }
}

/// One trouble after the other, with pauses, until it is healed.
fn trouble(chance: &Chance, heal: u64, next: impl Fn(&Chance) -> (Fault, u64)) -> Vec<Timed> {
    let mut all = Vec::new();
    let often = *chance.pick(&[2500, 6000, 15_000]);
    let mut at = 1500 + chance.between(0, often);
    while at < heal {
        let (fault, lasts) = next(chance);
        let until = (at + lasts).min(heal);
        all.push(Timed { from: at, until, fault });
        at = until + 10 + chance.between(0, often);
    }
    all
}

fn agents(chance: &Chance, device: usize, host: &str) -> (Fault, u64) {
    let (host, relay) = (host.to_owned(), "relay".to_owned());
    match chance.between(0, 11) {
        0..=1 => (Fault::Partition(host, relay), chance.between(50, 14_000)),
        2 => (Fault::Oneway(host, relay), chance.between(50, 12_000)),
        3 => (Fault::Oneway(relay, host), chance.between(50, 12_000)),
        4..=5 => (Fault::Hold(host, relay), chance.between(50, 16_000)),
        6..=7 => (Fault::Crash { host, power: chance.once_in(2) }, chance.between(50, 6000)),
        8 => (Fault::Stop(host), chance.between(500, 9000)),
        9..=10 => (Fault::Cut(device), 10),
        _ => (Fault::Slow(host, relay, chance.between(200, 3000)), chance.between(1000, 9000)),
    }
}

fn relays(chance: &Chance) -> (Fault, u64) {
    let host = "relay".to_owned();
    match chance.between(0, 2) {
        0..=1 => (Fault::Crash { host, power: chance.once_in(3) }, chance.between(50, 5000)),
        _ => (Fault::Stop(host), chance.between(500, 9000)),
    }
}

fn senders(chance: &Chance) -> (Fault, u64) {
    let (host, relay) = (SENDERS.to_owned(), "relay".to_owned());
    match chance.between(0, 2) {
        0 => (Fault::Partition(host, relay), chance.between(50, 5000)),
        1 => (Fault::Hold(host, relay), chance.between(50, 9000)),
        _ => (Fault::Slow(host, relay, chance.between(200, 1500)), chance.between(1000, 9000)),
    }
}
