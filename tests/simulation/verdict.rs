//! Whether what came to pass in a simulation is what was promised.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tunnel_protocol::INLINE_BODY;

use crate::keep::Kept;
use crate::plan::Device;
use crate::world::{Machine, Scene, TICK};

/// The shortest pause between two connections of one process: half of the agent's first pause, as far as a step of the simulation can tell.
const SHORTEST_PAUSE: u64 = 125 - TICK;
/// The most connections of one process in [`WINDOW`] milliseconds. A session that lasted three seconds begins the pauses anew.
const MOST_DIALS: usize = 24;
const WINDOW: u64 = 30_000;

/// What was checked, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) requests: usize,
    pub(crate) answered: usize,
    pub(crate) stored: usize,
    pub(crate) dials: usize,
    pub(crate) faults: usize,
    pub(crate) seconds: u64,
}

/// Looks at everything; what is wrong goes into the log.
pub(crate) fn check(scene: &Scene) -> Checked {
    let mut checked =
        Checked { faults: scene.plan.faults.len(), seconds: scene.log.now() / 1000, ..Checked::default() };
    for (at, (device, machine)) in scene.plan.devices.iter().zip(&scene.machines).enumerate() {
        let kept = machine.disk.all();
        checked.stored += kept.len();
        everything_once(scene, device, &kept);
        in_order(scene, device, &kept);
        attempts(scene, at, device, machine, &kept);
        checked.dials += pauses(scene, device, machine);
        if !machine.connected.load(Ordering::Relaxed) {
            scene.log.wrong(format_args!("{} is not connected at the end", device.name));
        }
    }
    let streams = scene.relay_streams.load(Ordering::Relaxed);
    if streams != scene.machines.len() {
        let agents = scene.machines.len();
        scene.log.wrong(format_args!("at the end the relay has {streams} connections, and there are {agents} agents"));
    }
    let book = scene.book.lock().unwrap_or_else(PoisonError::into_inner);
    checked.requests = book.len();
    checked.answered = book.values().filter(|sent| sent.answered.is_some()).count();
    checked
}

fn name_of(kept: &Kept) -> String {
    String::from_utf8_lossy(kept.delivery.headers.get("x-try").unwrap_or(b"?")).into_owned()
}

/// Each request that was answered 2xx is there once, as it was sent; each other one at most once.
fn everything_once(scene: &Scene, device: &Device, kept: &[Kept]) {
    let tunnel = &scene.plan.tunnels[device.tunnel].name;
    let mut by_name: BTreeMap<String, Vec<&Kept>> = BTreeMap::new();
    for kept in kept {
        by_name.entry(name_of(kept)).or_default().push(kept);
    }
    let book = scene.book.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, sent) in book.iter().filter(|(_, sent)| sent.tunnel == *tunnel) {
        let here = by_name.remove(name).unwrap_or_default();
        let ok = sent.answered.is_some_and(|s| (200..300).contains(&s));
        if here.len() > 1 || (ok && here.is_empty()) {
            scene.log.wrong(format_args!(
                "{name} was answered {:?} and {} has it {} times",
                sent.answered,
                device.name,
                here.len()
            ));
        }
        for kept in here {
            let d = &kept.delivery;
            if d.target.as_str() != sent.target || d.headers != sent.headers || d.body != sent.body {
                scene.log.wrong(format_args!("{name} is not in {} as it was sent", device.name));
            }
        }
    }
    for name in by_name.keys() {
        scene.log.wrong(format_args!("{} has {name}, which nobody sent to its tunnel", device.name));
    }
}

/// What came from the spool in one piece was first stored in the stream's order. A longer body may be overtaken by those behind it, and in passthrough
/// a delivery reaches the agent before it has a place. Where the store refused one, those behind it were stored first.
fn in_order(scene: &Scene, device: &Device, kept: &[Kept]) {
    if scene.plan.tunnels[device.tunnel].passthrough.is_some() || scene.plan.store_refuses > 0 {
        return;
    }
    let places = scene.spool.places();
    let mut last = 0;
    for kept in kept.iter().filter(|kept| kept.delivery.body.len() <= INLINE_BODY) {
        match places.get(&kept.delivery.id) {
            Some(place) if *place > last => last = *place,
            place => scene.log.wrong(format_args!(
                "{} first stored {} (place {place:?}) after place {last}",
                device.name,
                name_of(kept)
            )),
        }
    }
}

/// What waits is tried in the end; what a handler was given it was given once, and that is recorded, unless the agent was killed or could not store.
fn attempts(scene: &Scene, at: usize, device: &Device, machine: &Machine, kept: &[Kept]) {
    let whole = !machine.killed.load(Ordering::Relaxed) && scene.plan.store_refuses == 0;
    let given = scene.handlers.given.lock().unwrap_or_else(PoisonError::into_inner);
    for kept in kept {
        let name = name_of(kept);
        let tried = kept.attempts.len();
        if kept.queued && tried == 0 {
            scene.log.wrong(format_args!("{} never tried to forward {name}", device.name));
        }
        let times = given.get(&(at, name.clone())).copied().unwrap_or(0) as usize;
        if whole && times > tried {
            scene
                .log
                .wrong(format_args!("{}'s handler was given {name} {times} times, recorded are {tried}", device.name));
        }
        if whole && times > 1 {
            scene.log.wrong(format_args!("{}'s handler was given {name} {times} times", device.name));
        }
    }
}

/// No busy loop: the pauses of the backoff are kept, and there are not many connections in any half minute. How many there were.
fn pauses(scene: &Scene, device: &Device, machine: &Machine) -> usize {
    let dials = machine.dials.lock().unwrap_or_else(PoisonError::into_inner);
    for pair in dials.windows(2) {
        let ((process, at), (next, then)) = (pair[0], pair[1]);
        if process == next && then < at + SHORTEST_PAUSE {
            scene.log.wrong(format_args!("{} connects at {at} and again at {then}", device.name));
        }
    }
    for many in dials.windows(MOST_DIALS + 1) {
        let (first, last) = (many[0], many[MOST_DIALS]);
        if first.0 == last.0 && last.1 < first.1 + WINDOW {
            scene.log.wrong(format_args!("{} connects {MOST_DIALS} times from {} to {}", device.name, first.1, last.1));
        }
    }
    dials.len()
}
