//! Any sequence of calls gives what a naive model in memory gives: places, contents, gaps and figures, across reopening.
//!
//! Every step ends with a flush, so that lazy work is done when the two are compared.

mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};
use tunnel_spool::{Gap, Limits, Place, ReadLimit, RedbSpool, Seq, Spool as _, SpoolError, Start, Why};

const LIMITS: Limits = Limits { max_age: Duration::from_micros(1000), max_bytes_per_tunnel: 12_000, min_free_bytes: 0 };

#[derive(Clone, Debug)]
enum Step {
    Append { tunnel: u8, len: usize, later: i64 },
    Join { tunnel: u8, device: u8, start: u8, ago: i64, watches: bool },
    Taken { tunnel: u8, device: u8, upto: u64 },
    Read { tunnel: u8, after: u64, count: usize, bytes: usize },
    Forget { tunnel: u8, device: u8 },
    DropTunnel { tunnel: u8 },
    Expire { later: i64 },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (tunnel, device) = (0..2u8, 0..3u8);
    prop_oneof![
        12 => (tunnel.clone(), 0..3000usize, 0..200i64).prop_map(|(tunnel, len, later)| Step::Append { tunnel, len, later }),
        4 => (tunnel.clone(), device.clone(), 0..3u8, 0..1000i64, prop::bool::weighted(0.3))
            .prop_map(|(tunnel, device, start, ago, watches)| Step::Join { tunnel, device, start, ago, watches }),
        6 => (tunnel.clone(), device.clone(), 0..40u64).prop_map(|(tunnel, device, upto)| Step::Taken { tunnel, device, upto }),
        4 => (tunnel.clone(), 0..40u64, 0..6usize, 0..9000usize)
            .prop_map(|(tunnel, after, count, bytes)| Step::Read { tunnel, after, count, bytes }),
        1 => (tunnel.clone(), device).prop_map(|(tunnel, device)| Step::Forget { tunnel, device }),
        1 => tunnel.prop_map(|tunnel| Step::DropTunnel { tunnel }),
        3 => (0..700i64).prop_map(|later| Step::Expire { later }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Device {
    watches: bool,
    began: u64,
    after: u64,
    /// Places of deliveries that were dropped before this device had them.
    missed: BTreeSet<u64>,
}

#[derive(Default)]
struct Tunnel {
    last: u64,
    /// Deliveries that somebody needs, with their stored bytes.
    there: BTreeMap<u64, (Arc<Delivery>, u64)>,
    devices: BTreeMap<DeviceName, Device>,
    /// What was dropped while there was no device, or only such that watch.
    missed: BTreeSet<u64>,
    dropped: u64,
    dropped_size: u64,
    /// Of those, the ones that were not told yet.
    made_room: u64,
}

impl Tunnel {
    fn takers(&self) -> impl Iterator<Item = &Device> {
        self.devices.values().filter(|d| !d.watches)
    }

    fn is_with_nobody(&self) -> bool {
        self.takers().next().is_none()
    }

    /// The oldest that are there and that some device has taken, as far as they reach without a hole; what only watches does not count.
    fn with_somebody(&self) -> Vec<u64> {
        let taken = |seq: &u64| self.takers().any(|d| d.began < *seq && *seq <= d.after);
        self.there.keys().copied().take_while(taken).collect()
    }

    fn trim(&mut self) {
        if self.is_with_nobody() {
            return;
        }
        if let Some(after) = self.devices.values().map(|d| d.after).min() {
            self.there.retain(|seq, _| *seq > after);
        }
    }

    fn bytes(&self) -> u64 {
        self.there.values().map(|(_, bytes)| bytes).sum()
    }

    fn place(&self, device: &DeviceName, new: bool) -> Place {
        let known = &self.devices[device];
        let before = self.there.keys().next().map_or(self.last, |first| first - 1);
        let after = if known.missed.is_empty() { known.after } else { known.after.max(before) };
        Place { after: Seq(after), new, gap: gap(&known.missed) }
    }
}

fn gap(missed: &BTreeSet<u64>) -> Option<Gap> {
    let gap = Gap { from: Seq(*missed.first()?), upto: Seq(*missed.last()?), why: Why::Age };
    assert_eq!(gap.count(), missed.len() as u64, "what is missed has no holes: {missed:?}");
    Some(gap)
}

/// The reason is the latest one, which the model does not follow.
fn without_reason(gap: Option<Gap>) -> Option<Gap> {
    gap.map(|gap| Gap { why: Why::Age, ..gap })
}

struct Run<'a> {
    dir: &'a Path,
    spool: Option<RedbSpool>,
    now: i64,
    appended: u64,
    tunnels: BTreeMap<TunnelName, Tunnel>,
}

fn tunnel_name(n: u8) -> TunnelName {
    format!("tunnel-{n}").parse().unwrap()
}

fn device_name(n: u8) -> DeviceName {
    format!("device-{n}").parse().unwrap()
}

impl Run<'_> {
    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let spool = self.spool.clone().unwrap();
        match step {
            Step::Append { tunnel, len, later } => {
                self.now += later;
                let name = tunnel_name(tunnel);
                let delivery = sample::delivery(&name, self.appended, self.now, len);
                self.appended += 1;
                let before = spool.stats(&name).unwrap();
                let model = self.tunnels.entry(name.clone()).or_default();
                let limit = LIMITS.max_bytes_per_tunnel;
                let appended = spool.append(Arc::clone(&delivery)).await;
                let now = spool.stats(&name).unwrap();
                // What was dropped is the beginning of what somebody has.
                let droppable = model.with_somebody();
                let count = (now.dropped_size - before.dropped_size) as usize;
                prop_assert!(count <= droppable.len(), "{count} dropped, of {droppable:?}");
                let gone: BTreeSet<u64> = droppable[..count].iter().copied().collect();
                let sizes: Vec<u64> = gone.iter().map(|seq| model.there.remove(seq).unwrap().1).collect();
                model.dropped_size += count as u64;
                model.made_room += count as u64;
                for device in model.devices.values_mut() {
                    device.missed.extend(gone.iter().filter(|seq| **seq > device.after));
                }
                let left = before.bytes - sizes.iter().sum::<u64>();
                match appended {
                    Ok(seq) => {
                        model.last += 1;
                        prop_assert_eq!(seq.0, model.last, "places grow by one and are never given twice");
                        let bytes = now.bytes - left;
                        prop_assert!(now.bytes <= limit);
                        prop_assert!(count == 0 || before.bytes + bytes > limit, "dropped without need");
                        if let Some((_, but_the_last)) = sizes.split_last() {
                            let sum: u64 = but_the_last.iter().sum();
                            prop_assert!(before.bytes + bytes - sum > limit - limit / 64, "dropped more than needed");
                        }
                        model.there.insert(seq.0, (delivery, bytes));
                    }
                    Err(SpoolError::TunnelFull { .. }) => {
                        prop_assert!(left + len as u64 + 300 > limit, "{left} + {len} would fit");
                        prop_assert_eq!(count, droppable.len(), "refused though more could be dropped");
                    }
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                }
            }
            Step::Join { tunnel, device, start, ago, watches } => {
                let (name, device) = (tunnel_name(tunnel), device_name(device));
                let model = self.tunnels.entry(name.clone()).or_default();
                let at = Timestamp::from_micros(self.now - ago);
                let start = [Start::Now, Start::Beginning, Start::At(at)][usize::from(start)];
                let role = model.devices.get(&device).map(|known| known.watches);
                if watches && role == Some(false) {
                    let refused = spool.watch(&name, &device, start, Timestamp::from_micros(self.now)).await;
                    prop_assert!(matches!(refused, Err(SpoolError::NotAWatcher { .. })), "{refused:?}");
                    return Ok(());
                }
                if !watches && role == Some(true) {
                    // What only it still needed is there until the new one has its place.
                    model.devices.remove(&device);
                }
                let new = !model.devices.contains_key(&device);
                if new {
                    let first = model.there.keys().next().copied();
                    let since = model.there.iter().find(|(_, (d, _))| d.received_at >= at).map(|(seq, _)| *seq);
                    let from = match start {
                        Start::Now if watches || !model.is_with_nobody() => None,
                        Start::Now | Start::Beginning => first,
                        Start::At(_) => since,
                    };
                    let after = from.map_or(model.last, |seq| seq - 1);
                    let mut known = Device { watches, began: after, after, ..Device::default() };
                    let missed = if watches { model.missed.clone() } else { std::mem::take(&mut model.missed) };
                    if from == first {
                        known.after = missed.first().map_or(known.after, |seq| seq - 1);
                        known.missed = missed;
                    }
                    model.devices.insert(device.clone(), known);
                }
                let now = Timestamp::from_micros(self.now);
                let place = if watches {
                    spool.watch(&name, &device, start, now).await.unwrap()
                } else {
                    spool.join(&name, &device, start, now).await.unwrap()
                };
                prop_assert_eq!(Place { gap: without_reason(place.gap), ..place }, model.place(&device, new));
            }
            Step::Taken { tunnel, device, upto } => {
                let (name, device) = (tunnel_name(tunnel), device_name(device));
                spool.taken(&name, &device, Seq(upto));
                let Some(model) = self.tunnels.get_mut(&name) else { return Ok(()) };
                let upto = upto.min(model.last);
                if let Some(known) = model.devices.get_mut(&device).filter(|d| d.after < upto) {
                    known.after = upto;
                    known.missed.retain(|seq| *seq > upto);
                }
            }
            Step::Read { tunnel, after, count, bytes } => {
                let name = tunnel_name(tunnel);
                let got = spool.read(&name, Seq(after), ReadLimit { count, bytes }).unwrap();
                let mut sum = 0;
                let mut expected = Vec::new();
                for (seq, (delivery, len)) in self.tunnels.entry(name).or_default().there.range(after + 1..) {
                    sum += *len as usize;
                    if !expected.is_empty() && (sum > bytes || expected.len() >= count) {
                        break;
                    }
                    expected.push((Seq(*seq), Arc::clone(delivery)));
                }
                prop_assert_eq!(got, expected);
            }
            Step::Forget { tunnel, device } => {
                let (name, device) = (tunnel_name(tunnel), device_name(device));
                let model = self.tunnels.entry(name.clone()).or_default();
                let gone = model.devices.remove(&device);
                prop_assert_eq!(spool.forget(&name, &device).await.unwrap(), gone.is_some());
                if let Some(gone) = gone.filter(|gone| !gone.watches && model.is_with_nobody()) {
                    model.missed = gone.missed;
                }
            }
            Step::DropTunnel { tunnel } => {
                let name = tunnel_name(tunnel);
                spool.drop_tunnel(&name).await.unwrap();
                let model = self.tunnels.entry(name).or_default();
                let Tunnel { last, dropped, dropped_size, made_room, .. } = *model;
                *model = Tunnel { last, dropped, dropped_size, made_room, ..Tunnel::default() };
            }
            Step::Expire { later } => {
                self.now += later;
                let told = spool.expire(Timestamp::from_micros(self.now)).await.unwrap();
                for (name, model) in &mut self.tunnels {
                    let old = |d: &Delivery| d.received_at.as_micros() < self.now - 1000;
                    let gone: BTreeSet<u64> =
                        model.there.iter().filter(|(_, (d, _))| old(d)).map(|(seq, _)| *seq).collect();
                    let bytes = gone.iter().map(|seq| model.there.remove(seq).unwrap().1).sum::<u64>();
                    model.dropped += gone.len() as u64;
                    for device in model.devices.values_mut() {
                        device.missed.extend(gone.iter().filter(|seq| **seq > device.after));
                    }
                    if model.is_with_nobody() {
                        model.missed.extend(&gone);
                    }
                    // No limit is lowered here: what was dropped for its size was so when something came in.
                    let (made_room, runs): (Vec<_>, Vec<_>) =
                        told.iter().filter(|d| d.tunnel == *name).partition(|d| d.why == Why::Size);
                    let count: u64 = made_room.iter().map(|d| d.count()).sum();
                    prop_assert_eq!(count, std::mem::take(&mut model.made_room), "told once, all of it");
                    let expected = gone.first().zip(gone.last()).map(|(from, upto)| (Seq(*from), Seq(*upto), bytes));
                    prop_assert_eq!(
                        runs.iter().map(|d| (d.from, d.upto, d.bytes)).collect::<Vec<_>>(),
                        Vec::from_iter(expected)
                    );
                }
            }
            Step::Reopen => {
                // What was not told yet is only in the figures.
                self.tunnels.values_mut().for_each(|model| model.made_room = 0);
                drop(spool);
                self.spool = None; // the last handle: it closes the file
                self.spool = Some(RedbSpool::open(self.dir, LIMITS).unwrap());
            }
        }
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), TestCaseError> {
        let spool = self.spool.as_ref().unwrap();
        spool.flush().await.unwrap();
        for (name, model) in &mut self.tunnels {
            model.trim();
            prop_assert_eq!(spool.last(name), Seq(model.last));
            let stats = spool.stats(name).unwrap();
            prop_assert_eq!((stats.waiting, stats.bytes), (model.there.len() as u64, model.bytes()));
            prop_assert_eq!(stats.oldest, model.there.values().next().map(|(d, _)| d.received_at));
            prop_assert_eq!((stats.dropped_age, stats.dropped_size), (model.dropped, model.dropped_size));
            let mut places: Vec<_> = spool
                .devices(name)
                .unwrap()
                .into_iter()
                .map(|d| (d.device, d.after.0, d.waiting, without_reason(d.gap)))
                .collect();
            places.sort_by(|a, b| a.0.cmp(&b.0));
            let expected: Vec<_> = model
                .devices
                .iter()
                .map(|(name, d)| {
                    (name.clone(), d.after, model.there.range(d.after + 1..).count() as u64, gap(&d.missed))
                })
                .collect();
            prop_assert_eq!(places, expected);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_does_what_the_model_does(steps in proptest::collection::vec(any_step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let spool = Some(RedbSpool::open(dir.path(), LIMITS).unwrap());
        let mut run = Run { dir: dir.path(), spool, now: 1_000_000, appended: 0, tunnels: BTreeMap::new() };
        for (at, step) in steps.into_iter().enumerate() {
            let said = format!("{step:?}");
            let done = runtime.block_on(async {
                run.step(step).await?;
                run.compare().await
            });
            if let Err(failed) = done {
                return Err(TestCaseError::fail(format!("step {at}, {said}: {failed}")));
            }
        }
    }
}
