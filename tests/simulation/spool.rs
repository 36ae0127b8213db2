//! A spool in memory that keeps the promise of `Spool` and no more than it: what was answered is on its disk, what was not may be or not, and what
//! was `taken` gets there 200 ms late. The disk outlives the process; everything else goes with it.
//!
//! Neither threads nor files: the real spool's writer is a thread that waits for the disk, and no two runs of it come to pass alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tunnel_delivery::{Delivery, DeliveryId, DeviceKey, DeviceName, Timestamp, TunnelName};
use tunnel_spool::{DevicePlace, Dropped, Later, Place, ReadLimit, Role, Seq, Shares, Spool, SpoolError, Start, Stats};

use crate::chance::Chance;

/// The real spool's delay for what is lazy.
const LAZY: Duration = Duration::from_millis(200);

#[derive(Clone, Default)]
struct Tunnel {
    /// The last place that was given.
    last: u64,
    stored: BTreeMap<u64, Arc<Delivery>>,
    /// The last place taken, and when it last joined.
    devices: BTreeMap<DeviceName, (u64, Timestamp)>,
}

type Tunnels = BTreeMap<TunnelName, Tunnel>;

/// What is on the disk, and for the checks: every place that was ever given.
#[derive(Clone, Default)]
pub(crate) struct SpoolDisk {
    durable: Arc<Mutex<Tunnels>>,
    given: Arc<Mutex<BTreeMap<DeliveryId, u64>>>,
    joined: Arc<Mutex<BTreeSet<(TunnelName, DeviceName)>>>,
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SpoolDisk {
    /// The place of every delivery that was ever spooled.
    pub(crate) fn places(&self) -> BTreeMap<DeliveryId, u64> {
        lock(&self.given).clone()
    }

    /// How many devices of a tunnel have a place.
    pub(crate) fn devices(&self, tunnel: &TunnelName) -> usize {
        lock(&self.durable).get(tunnel).map_or(0, |t| t.devices.len())
    }

    /// How many devices of a tunnel were ever told their place.
    pub(crate) fn joined(&self, tunnel: &TunnelName) -> usize {
        lock(&self.joined).iter().filter(|(of, _)| of == tunnel).count()
    }
}

type Answer<T> = oneshot::Sender<Result<T, SpoolError>>;

enum Order {
    Append(Arc<Delivery>, Answer<Seq>),
    Join(TunnelName, DeviceName, Start, Timestamp, Answer<Place>),
    Flush(Answer<()>),
}

struct Inner {
    disk: SpoolDisk,
    /// What readers see: as much of the disk as was answered, and what was taken and is not on the disk yet.
    seen: Mutex<Tunnels>,
    waiting: Mutex<Vec<Order>>,
    rung: Notify,
    chance: Chance,
    /// How many of the last deliveries are at hand without a read.
    at_hand: u64,
    /// One in so many appends is refused; 0 for none.
    refuse: u64,
}

/// The spool of one relay process.
#[derive(Clone)]
pub(crate) struct MemorySpool(Arc<Inner>);

impl MemorySpool {
    /// Opens what is on the disk. Must be called on the relay's host, where its writer is to run.
    pub(crate) fn open(disk: SpoolDisk, chance: Chance, at_hand: u64, refuse: u64) -> MemorySpool {
        let seen = lock(&disk.durable).clone();
        let spool = MemorySpool(Arc::new(Inner {
            disk,
            seen: Mutex::new(seen),
            waiting: Mutex::default(),
            rung: Notify::new(),
            chance,
            at_hand,
            refuse,
        }));
        tokio::spawn(write(Arc::clone(&spool.0)));
        tokio::spawn(write_lazily(Arc::clone(&spool.0)));
        spool
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, SpoolError> {
        let (answer, answered) = oneshot::channel();
        lock(&self.0.waiting).push(order(answer));
        self.0.rung.notify_one();
        answered.await.unwrap_or(Err(SpoolError::Failed { reason: Arc::from("the process ends") }))
    }

    fn range(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Vec<(Seq, Arc<Delivery>)> {
        let seen = lock(&self.0.seen);
        let Some(tunnel) = seen.get(tunnel) else { return Vec::new() };
        let mut bytes = 0;
        tunnel
            .stored
            .range(after.0 + 1..)
            .take(limit.count)
            .take_while(|(_, d)| {
                let first = bytes == 0;
                bytes += d.body.len() + 100;
                first || bytes <= limit.bytes
            })
            .map(|(seq, d)| (Seq(*seq), Arc::clone(d)))
            .collect()
    }
}

/// The writer: everything that waits in one commit, which is on the disk some time before anybody hears of it.
async fn write(spool: Arc<Inner>) {
    loop {
        spool.rung.notified().await;
        let mut batch = std::mem::take(&mut *lock(&spool.waiting));
        sleep(spool.chance.millis(0, 15)).await;
        // What came meanwhile goes with it, as a group commit would have it.
        batch.append(&mut lock(&spool.waiting));
        let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        {
            let mut durable = lock(&spool.disk.durable);
            for order in batch {
                match order {
                    Order::Append(delivery, answer) => {
                        let tunnel = durable.entry(delivery.tunnel.clone()).or_default();
                        tunnel.last += 1;
                        let seq = tunnel.last;
                        tunnel.stored.insert(seq, Arc::clone(&delivery));
                        lock(&spool.disk.given).insert(delivery.id, seq);
                        let spool = Arc::clone(&spool);
                        answers.push(Box::new(move || {
                            {
                                let mut seen = lock(&spool.seen);
                                let tunnel = seen.entry(delivery.tunnel.clone()).or_default();
                                tunnel.last = seq;
                                tunnel.stored.insert(seq, delivery);
                            }
                            let _ = answer.send(Ok(Seq(seq)));
                        }));
                    }
                    Order::Join(name, device, start, now, answer) => {
                        let tunnel = durable.entry(name.clone()).or_default();
                        let first = tunnel.devices.is_empty();
                        let oldest = tunnel.stored.keys().next().map_or(tunnel.last, |seq| seq - 1);
                        let after = match start {
                            Start::Now if !first => tunnel.last,
                            Start::At(_) | Start::Beginning | Start::Now => oldest,
                        };
                        tunnel.devices.entry(device.clone()).or_insert((after, now));
                        let spool = Arc::clone(&spool);
                        answers.push(Box::new(move || {
                            lock(&spool.disk.joined).insert((name.clone(), device.clone()));
                            lock(&spool.seen).entry(name).or_default().devices.entry(device).or_insert((after, now));
                            let _ = answer.send(Ok(Place { after: Seq(after), new: true, gap: None }));
                        }));
                    }
                    Order::Flush(answer) => {
                        settle(&spool, &mut durable);
                        answers.push(Box::new(move || {
                            let _ = answer.send(Ok(()));
                        }));
                    }
                }
            }
        }
        sleep(spool.chance.millis(0, 15)).await;
        answers.into_iter().for_each(|answer| answer());
    }
}

async fn write_lazily(spool: Arc<Inner>) {
    loop {
        sleep(LAZY).await;
        let mut durable = lock(&spool.disk.durable);
        settle(&spool, &mut durable);
    }
}

/// Puts what was taken on the disk, and deletes what everybody has.
fn settle(spool: &Inner, durable: &mut Tunnels) {
    let mut seen = lock(&spool.seen);
    for (name, tunnel) in seen.iter_mut() {
        let Some(kept) = durable.get_mut(name) else { continue };
        for (device, place) in &tunnel.devices {
            kept.devices.insert(device.clone(), *place);
        }
        let Some(done) = kept.devices.values().map(|(after, _)| *after).min() else { continue };
        kept.stored.retain(|seq, _| *seq > done);
        tunnel.stored.retain(|seq, _| *seq > done);
    }
}

impl Spool for MemorySpool {
    fn usable(&self) -> Result<(), SpoolError> {
        Ok(())
    }

    fn set_shares(&self, _: Shares) {
        // All tunnels of a simulation have what they need.
    }

    fn append(&self, delivery: Arc<Delivery>) -> Later<'_, Seq> {
        Box::pin(async move {
            if self.0.refuse > 0 && self.0.chance.once_in(self.0.refuse) {
                return Err(SpoolError::Busy);
            }
            self.ask(|answer| Order::Append(delivery, answer)).await
        })
    }

    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>> {
        (after.0 + self.0.at_hand >= self.last(tunnel).0).then(|| self.range(tunnel, after, limit))
    }

    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError> {
        Ok(self.range(tunnel, after, limit))
    }

    fn join<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(async move {
            if let Some(place) = lock(&self.0.seen).get_mut(tunnel).and_then(|t| t.devices.get_mut(device)) {
                place.1 = now;
                return Ok(Place { after: Seq(place.0), new: false, gap: None });
            }
            self.ask(|answer| Order::Join(tunnel.clone(), device.clone(), start, now, answer)).await
        })
    }

    /// Agents of a simulation have no keys: those come from the system's chance and not from the seed.
    fn set_key<'a>(&'a self, _: &'a TunnelName, _: &'a DeviceName, _: DeviceKey) -> Later<'a, bool> {
        Box::pin(async move { Ok(false) })
    }

    fn watch<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(async move {
            // Nobody in a simulation has a token that only looks.
            self.join(tunnel, device, start, now).await
        })
    }

    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq) {
        if let Some(tunnel) = lock(&self.0.seen).get_mut(tunnel) {
            let last = tunnel.last;
            if let Some((after, _)) = tunnel.devices.get_mut(device) {
                *after = (*after).max(upto.0.min(last));
            }
        }
    }

    fn forget<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName) -> Later<'a, bool> {
        Box::pin(async move {
            let was = lock(&self.0.seen).get_mut(tunnel).is_some_and(|t| t.devices.remove(device).is_some());
            if let Some(tunnel) = lock(&self.0.disk.durable).get_mut(tunnel) {
                tunnel.devices.remove(device);
            }
            Ok(was)
        })
    }

    fn drop_tunnel<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, ()> {
        Box::pin(async move {
            lock(&self.0.seen).remove(tunnel);
            lock(&self.0.disk.durable).remove(tunnel);
            Ok(())
        })
    }

    fn purge<'a>(&'a self, _: &'a TunnelName) -> Later<'a, Vec<Dropped>> {
        Box::pin(async move {
            // Nobody asks for it within a simulation.
            Ok(Vec::new())
        })
    }

    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError> {
        let seen = lock(&self.0.seen);
        let Some(tunnel) = seen.get(tunnel) else { return Ok(Vec::new()) };
        let place = |(device, (after, joined)): (&DeviceName, &(u64, Timestamp))| DevicePlace {
            device: device.clone(),
            role: Role::Takes,
            after: Seq(*after),
            began: Seq::ZERO,
            waiting: tunnel.last - after,
            only_here: 0,
            gap: None,
            joined: *joined,
            key: None,
        };
        Ok(tunnel.devices.iter().map(place).collect())
    }

    fn last(&self, tunnel: &TunnelName) -> Seq {
        Seq(lock(&self.0.seen).get(tunnel).map_or(0, |t| t.last))
    }

    fn stats(&self, _: &TunnelName) -> Result<Stats, SpoolError> {
        Ok(Stats::default())
    }

    fn expire(&self, _: Timestamp) -> Later<'_, Vec<Dropped>> {
        Box::pin(async move {
            // Nothing grows old within a simulation.
            Ok(Vec::new())
        })
    }

    fn flush(&self) -> Later<'_, ()> {
        Box::pin(async move { self.ask(Order::Flush).await })
    }
}
