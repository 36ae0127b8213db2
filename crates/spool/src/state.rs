//! What callers and the writer thread share: the tunnels as last committed, what waits for the next commit, and the lock over both.
//!
//! The lock is held for moments and never across disk access or an await. Only the writer changes what is committed; callers add to
//! the queue and move devices forward in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use tokio::sync::oneshot;
use tunnel_delivery::{Delivery, DeviceKey, DeviceName, Timestamp, TunnelName};

use crate::bounds::Bounds;
use crate::format::Encoded;
use crate::recent::Recent;
use crate::record::Record;
use crate::{Counters, Dropped, Limits, Place, Role, Seq, SpoolError, Start};

/// Deliveries that may wait for the next commit.
const MAX_QUEUED: usize = 4096;
/// Bytes of them. One commit takes all, so this bounds what a commit holds in memory too.
const MAX_QUEUED_BYTES: usize = 32 << 20;
/// Other requests that may wait.
const MAX_ORDERS: usize = 4096;

pub(crate) type Answer<T> = oneshot::Sender<Result<T, SpoolError>>;

/// A delivery that waits to be committed.
pub(crate) struct Append {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) encoded: Encoded,
    pub(crate) answer: Answer<Seq>,
}

/// Anything else the writer is asked for.
pub(crate) enum Order {
    Join {
        tunnel: TunnelName,
        device: DeviceName,
        role: Role,
        start: Start,
        now: Timestamp,
        answer: Answer<Place>,
    },
    /// Whether there is such a device.
    SetKey {
        tunnel: TunnelName,
        device: DeviceName,
        key: DeviceKey,
        answer: Answer<bool>,
    },
    Forget {
        tunnel: TunnelName,
        device: DeviceName,
        answer: Answer<bool>,
    },
    /// Forgets the devices and deletes a bounded number of deliveries. Whether some are left.
    DropTunnel {
        tunnel: TunnelName,
        answer: Answer<bool>,
    },
    /// Drops a tunnel's deliveries, whoever may need them, a bounded number with each commit: once begun it goes on by itself, also where nobody waits for it any
    /// more. What was dropped; after the last the file is written anew.
    Purge {
        tunnel: TunnelName,
        /// All before this place go; nothing is said before the first portion: those that are there then.
        before: Option<Seq>,
        /// What went with the portions before this one.
        dropped: Vec<Dropped>,
        answer: Answer<Vec<Dropped>>,
    },
    /// Drops a bounded number of deliveries. What was dropped, and whether some are left.
    Expire {
        now: Timestamp,
        answer: Answer<(Vec<Dropped>, bool)>,
    },
    /// Whether nothing that was dropped or purged is left in the file, once that has been seen to.
    Tidied {
        answer: Answer<bool>,
    },
    /// Commits everything lazy.
    Flush {
        answer: Answer<()>,
    },
}

impl Order {
    pub(crate) fn refuse(self, error: SpoolError) {
        // Whoever asked may be gone: nothing is owed then.
        match self {
            Order::Join { answer, .. } => drop(answer.send(Err(error))),
            Order::SetKey { answer, .. }
            | Order::Forget { answer, .. }
            | Order::DropTunnel { answer, .. }
            | Order::Tidied { answer } => drop(answer.send(Err(error))),
            Order::Expire { answer, .. } => drop(answer.send(Err(error))),
            Order::Purge { answer, .. } => drop(answer.send(Err(error))),
            Order::Flush { answer } => drop(answer.send(Err(error))),
        }
    }
}

/// A tunnel as last committed, with what its devices have taken since.
pub(crate) struct Tunnel {
    pub(crate) record: Record,
    /// Something in `record` is newer than the disk, or taken deliveries are still to be deleted.
    pub(crate) lazy: bool,
    /// Bytes of its deliveries that wait for a commit or are in one.
    pub(crate) queued: u64,
}

impl Tunnel {
    pub(crate) fn new(record: Record) -> Tunnel {
        let lazy = record.needed_from() > record.first;
        Tunnel { record, lazy, queued: 0 }
    }
}

pub(crate) struct State {
    pub(crate) tunnels: HashMap<TunnelName, Tunnel>,
    pub(crate) recent: Recent,
    pub(crate) appends: Vec<Append>,
    append_bytes: usize,
    pub(crate) orders: Vec<Order>,
    /// The tunnels that became [`Tunnel::lazy`] since the last commit that saw to them.
    pub(crate) lazy: Vec<TunnelName>,
    /// Since when they wait.
    pub(crate) lazy_since: Option<Instant>,
    /// The writer sleeps and must be woken.
    pub(crate) writer_sleeps: bool,
    pub(crate) closing: bool,
    /// Free bytes, when they were last found to be too few.
    pub(crate) disk_full: Option<u64>,
    pub(crate) bounds: Bounds,
    /// A delivery was refused for want of room for its tunnel since the disk was last looked at.
    pub(crate) short_of_room: bool,
    /// What was dropped to make room since that was last told, a run for each tunnel.
    pub(crate) made_room: Vec<Dropped>,
    /// Why the spool has stopped.
    pub(crate) failed: Option<Arc<str>>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) wake: Condvar,
    pub(crate) limits: Limits,
    pub(crate) appended: AtomicU64,
    pub(crate) commits: AtomicU64,
    /// Held while the file must stay as it is laid out: by who copies it, and by the writer while it compacts.
    pub(crate) whole: Mutex<()>,
    /// It is the writer that holds it.
    pub(crate) compacting: AtomicBool,
}

impl Shared {
    pub(crate) fn new(records: HashMap<TunnelName, Record>, limits: Limits) -> Shared {
        let tunnels: HashMap<_, _> = records.into_iter().map(|(name, record)| (name, Tunnel::new(record))).collect();
        let lazy: Vec<_> = tunnels.iter().filter(|(_, t)| t.lazy).map(|(name, _)| name.clone()).collect();
        let lazy_since = (!lazy.is_empty()).then(Instant::now);
        let state = State {
            tunnels,
            recent: Recent::default(),
            appends: Vec::new(),
            append_bytes: 0,
            orders: Vec::new(),
            lazy,
            lazy_since,
            writer_sleeps: false,
            closing: false,
            disk_full: None,
            bounds: Bounds::new(limits),
            short_of_room: false,
            made_room: Vec::new(),
            failed: None,
        };
        Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            limits,
            appended: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            whole: Mutex::new(()),
            compacting: AtomicBool::new(false),
        }
    }

    /// The state. A panic while it was locked is no reason to stop: nothing is left half done in it that the writer's guard does not
    /// mark as failed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody copies the spool while this is held; none where somebody does.
    pub(crate) fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        match self.whole.try_lock() {
            Ok(guard) => Some(guard),
            // A copy that panicked has ended.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What whoever wants to copy the spool must wait for.
    pub(crate) fn copy_waits_for(&self) -> Option<&'static str> {
        match self.alone() {
            Some(_) => None,
            None if self.compacting.load(Ordering::Relaxed) => {
                Some("its file is being compacted, which takes as long as what is in it takes to be written")
            }
            None => Some("another copy of it is being made"),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { appended: self.appended.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }

    /// Stored bytes of all deliveries that are there.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.lock().tunnels.values().map(|t| t.record.bytes).sum()
    }

    fn wake_writer(&self, state: &mut State) {
        if state.writer_sleeps {
            state.writer_sleeps = false;
            self.wake.notify_one();
        }
    }

    /// Whether any delivery is taken now, as far as that is known without looking at the disk.
    pub(crate) fn accepts(&self, state: &State) -> Result<(), SpoolError> {
        state.usable()?;
        match state.disk_full {
            Some(free) => Err(SpoolError::DiskFull { free, reserve: self.limits.min_free_bytes }),
            None => Ok(()),
        }
    }

    /// Queues a delivery, or says why not.
    pub(crate) fn queue_append(&self, append: Append) -> Result<(), SpoolError> {
        let len = append.encoded.len();
        let bytes = len as u64;
        let mut state = self.lock();
        state.usable()?;
        let largest = state.bounds.share_of(&append.delivery.tunnel).min(crate::MAX_DELIVERY as u64);
        if bytes > largest {
            return Err(SpoolError::TooLarge { bytes, limit: largest });
        }
        self.accepts(&state)?;
        // One delivery is always let in, however large: it waits for nothing but its own commit.
        let full = state.append_bytes + len > MAX_QUEUED_BYTES && !state.appends.is_empty();
        if full || state.appends.len() >= MAX_QUEUED {
            return Err(SpoolError::Busy);
        }
        let name = &append.delivery.tunnel;
        let limit = state.bounds.bytes_of(name);
        match state.tunnels.get_mut(name) {
            Some(tunnel) => {
                let held = tunnel.record.bytes + tunnel.queued;
                // Where some of it is kept only for devices that are behind, the batch makes room, or refuses.
                let firm = || tunnel.record.with_somebody() < tunnel.record.first;
                if held + bytes > limit && firm() {
                    let refused = state.bounds.refusal(name, held);
                    if matches!(refused, SpoolError::DiskLow { .. }) {
                        state.short_of_room = true;
                        self.wake_writer(&mut state); // so that it looks again
                    }
                    return Err(refused);
                }
                tunnel.queued += bytes;
            }
            None => {
                // Id 0 is never on the disk: the writer gives the real one with the first commit.
                let tunnel = Tunnel { record: Record::new(0), lazy: false, queued: bytes };
                state.tunnels.insert(name.clone(), tunnel);
            }
        }
        state.append_bytes += len;
        state.appends.push(append);
        self.wake_writer(&mut state);
        Ok(())
    }

    pub(crate) fn queue_order(&self, order: Order) -> Result<(), SpoolError> {
        let mut state = self.lock();
        state.usable()?;
        if state.orders.len() >= MAX_ORDERS {
            return Err(SpoolError::Busy);
        }
        state.orders.push(order);
        self.wake_writer(&mut state);
        Ok(())
    }

    /// Joins a device that is known already: nothing to commit, but when it came.
    pub(crate) fn rejoin(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        role: Role,
        now: Timestamp,
    ) -> Result<Option<Place>, SpoolError> {
        let mut state = self.lock();
        state.usable()?;
        let Some(known) = state.tunnels.get_mut(tunnel) else { return Ok(None) };
        let place = known.record.rejoin(device, role, now);
        if place.is_some() {
            self.lazily(&mut state, tunnel);
        }
        Ok(place)
    }

    /// Moves a device forward.
    pub(crate) fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(known) = state.tunnels.get_mut(tunnel) else { return };
        if known.record.taken(device, upto) {
            state.recent.forget_upto(known.record.id, known.record.needed_from().prev());
            self.lazily(state, tunnel);
        }
    }

    /// Has the tunnel's record written, and what all have taken deleted, with some later commit.
    fn lazily(&self, state: &mut State, name: &TunnelName) {
        match state.tunnels.get_mut(name) {
            Some(tunnel) if !tunnel.lazy => tunnel.lazy = true,
            _ => return,
        }
        state.lazy.push(name.clone());
        if state.lazy_since.is_none() {
            state.lazy_since = Some(Instant::now());
            self.wake_writer(state); // so that it sets its alarm
        }
    }

    /// Ends the writer after a last commit.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.wake_writer(&mut state);
    }
}

impl State {
    pub(crate) fn usable(&self) -> Result<(), SpoolError> {
        match &self.failed {
            Some(reason) => Err(SpoolError::Failed { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Takes everything that waits.
    pub(crate) fn take_queue(&mut self) -> (Vec<Append>, Vec<Order>) {
        self.append_bytes = 0;
        (std::mem::take(&mut self.appends), std::mem::take(&mut self.orders))
    }

    /// Stops the spool: everybody who waits is told, and everybody who comes.
    pub(crate) fn fail(&mut self, reason: &Arc<str>) {
        self.failed.get_or_insert_with(|| Arc::clone(reason));
        let (appends, orders) = self.take_queue();
        for append in appends {
            drop(append.answer.send(Err(SpoolError::Failed { reason: Arc::clone(reason) })));
        }
        for order in orders {
            order.refuse(SpoolError::Failed { reason: Arc::clone(reason) });
        }
    }
}
