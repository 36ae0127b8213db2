//! The spool on redb: the handle that callers hold. It encodes, queues and reads; writing is the writer's (writer.rs).

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase as _};
use tokio::sync::oneshot;
use tunnel_delivery::{Delivery, DeviceKey, DeviceName, Timestamp, TunnelName};
use tunnel_vault::{Entropy, UserKey, Vault};

use crate::format::At;
use crate::state::{Answer, Append, Order, Shared};
use crate::writer::Writer;
use crate::{
    Copied, CopyError, CopySink, Counters, DevicePlace, Dropped, Later, Limits, Place, ReadLimit, Role, Seq, Shares,
    Spool, SpoolError, Start, Stats, copy, disk, format,
};

/// A spool in one redb file with one writer thread. Cheap to clone; the last clone to go commits what is lazy and closes the file.
#[derive(Clone)]
pub struct RedbSpool(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    db: Arc<RwLock<Database>>,
    dir: PathBuf,
    vault: Option<Arc<Vault>>,
    born: Option<u64>,
    went_on: Vec<TunnelName>,
    writer: Option<JoinHandle<()>>,
}

impl Handle {
    /// An open spool, and what is to write it on a thread of its own: until then everything waits.
    fn without_writer(dir: &Path, limits: Limits, key: Option<&UserKey>) -> Result<(Handle, Writer), SpoolError> {
        let disk::Opened { db, tunnels, vault, owed, purges, born } = disk::open(dir, key, Entropy::system())?;
        let vault = vault.map(Arc::new);
        let next_id = tunnels.values().map(|t| t.id).max().unwrap_or(0) + 1;
        let shared = Arc::new(Shared::new(tunnels, limits));
        let went_on = purges.iter().map(|(tunnel, _)| tunnel.clone()).collect();
        for (tunnel, before) in purges {
            tracing::info!(%tunnel, "a purge was cut short: it goes on");
            // Nobody waits for it.
            let (answer, _) = oneshot::channel();
            shared.lock().orders.push(Order::Purge { tunnel, before: Some(before), dropped: Vec::new(), answer });
        }
        let db = Arc::new(RwLock::new(db));
        let (theirs, keys) = (Arc::clone(&db), vault.clone());
        let dir_of_writer = dir.to_owned();
        let writer = Writer { shared: Arc::clone(&shared), db: theirs, dir: dir_of_writer, vault: keys, next_id, owed };
        Ok((Handle { shared, db, dir: dir.to_owned(), vault, born, went_on, writer: None }, writer))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so to everybody who waited.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for RedbSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbSpool").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl RedbSpool {
    /// Opens the spool in the folder `dir`, making both where they are missing. Blocks: a spool that was not closed is checked from
    /// end to end first.
    ///
    /// # Errors
    /// `Held` if somebody has it open, `Damaged` and `NewerFormat` if it cannot be understood, `Open` if the folder cannot be used.
    pub fn open(dir: &Path, limits: Limits) -> Result<RedbSpool, SpoolError> {
        RedbSpool::open_with(dir, limits, None)
    }

    /// As [`RedbSpool::open`], of one that is encrypted with this key, or is to be from now on: what is in it already stays as it is until it is
    /// taken or too old.
    ///
    /// # Errors
    /// Likewise; `Key` where it is the wrong one, or is missing.
    pub fn open_with(dir: &Path, limits: Limits, key: Option<&UserKey>) -> Result<RedbSpool, SpoolError> {
        let (mut handle, writer) = Handle::without_writer(dir, limits, key)?;
        let thread = std::thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run());
        handle.writer = match thread {
            Ok(thread) => Some(thread),
            Err(e) => return Err(SpoolError::Open { path: dir.to_owned(), reason: e.to_string() }),
        };
        Ok(RedbSpool(Arc::new(handle)))
    }

    /// Whether there is a spool in the folder `dir`.
    pub fn is_in(dir: &Path) -> bool {
        disk::file(dir).exists()
    }

    /// What was appended and committed since it was opened.
    pub fn counters(&self) -> Counters {
        self.0.shared.counters()
    }

    /// The file that holds everything.
    pub fn file(&self) -> PathBuf {
        disk::file(&self.0.dir)
    }

    /// When its first file was made, however often that was written anew since (nanoseconds since 1970): another time is another spool. Nothing where the file
    /// system does not say. What was copied or restored was made then.
    pub fn born(&self) -> Option<u64> {
        self.0.born
    }

    /// The tunnels whose purge was cut short before it was opened and goes on by itself.
    pub fn purged_further(&self) -> &[TunnelName] {
        &self.0.went_on
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, SpoolError> {
        let (answer, answered) = oneshot::channel();
        self.0.shared.queue_order(order(answer))?;
        self.answer(answered).await
    }

    async fn answer<T>(&self, answered: oneshot::Receiver<Result<T, SpoolError>>) -> Result<T, SpoolError> {
        match answered.await {
            Ok(answer) => answer,
            // Only a writer that ended drops an answer, and it says why before.
            Err(_) => match self.0.shared.lock().usable() {
                Err(error) => Err(error),
                Ok(()) => Err(SpoolError::Failed { reason: Arc::from("its writer ended") }),
            },
        }
    }

    async fn enter(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        role: Role,
        start: Start,
        now: Timestamp,
    ) -> Result<Place, SpoolError> {
        if let Some(place) = self.0.shared.rejoin(tunnel, device, role, now)? {
            return Ok(place);
        }
        let (tunnel, device) = (tunnel.clone(), device.clone());
        self.ask(|answer| Order::Join { tunnel, device, role, start, now, answer }).await
    }

    /// The number and bounds of a tunnel: (number, first there, next to come).
    fn bounds(&self, tunnel: &TunnelName) -> Result<Option<(u32, Seq, Seq)>, SpoolError> {
        let state = self.0.shared.lock();
        state.usable()?;
        Ok(state.tunnels.get(tunnel).map(|t| (t.record.id, t.record.needed_from(), t.record.next)))
    }

    /// Calls `each` for the stored deliveries from `from` to before `next` until it says stop.
    fn scan(
        &self,
        id: u32,
        from: Seq,
        next: Seq,
        mut each: impl FnMut(Seq, &[u8]) -> Result<bool, SpoolError>,
    ) -> Result<(), SpoolError> {
        let failed = |e: redb::Error| SpoolError::Failed { reason: Arc::from(e.to_string()) };
        let db = self.0.db.read().unwrap_or_else(PoisonError::into_inner);
        let txn = db.begin_read().map_err(|e| failed(e.into()))?;
        let table = txn.open_table(disk::DELIVERIES).map_err(|e| failed(e.into()))?;
        for entry in table.range((id, from.0)..(id, next.0)).map_err(|e| failed(e.into()))? {
            let (key, value) = entry.map_err(|e| failed(e.into()))?;
            if !each(Seq(key.value().1), value.value())? {
                break;
            }
        }
        Ok(())
    }
}

impl Spool for RedbSpool {
    fn usable(&self) -> Result<(), SpoolError> {
        self.0.shared.lock().usable()
    }

    fn accepts(&self) -> Result<(), SpoolError> {
        self.0.shared.accepts(&self.0.shared.lock())
    }

    fn set_shares(&self, shares: Shares) {
        self.0.shared.lock().bounds.set_shares(shares);
    }

    fn append(&self, delivery: Arc<Delivery>) -> Later<'_, Seq> {
        Box::pin(async move {
            let encrypted = self.0.vault.as_ref().is_some_and(|vault| vault.is_encrypting());
            let encoded = format::encode(&delivery, encrypted);
            let (answer, answered) = oneshot::channel();
            self.0.shared.queue_append(Append { delivery, encoded, answer })?;
            self.answer(answered).await
        })
    }

    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>> {
        let state = self.0.shared.lock();
        state.usable().ok()?;
        match state.tunnels.get(tunnel) {
            Some(known) if after < known.record.last() => state.recent.read(known.record.id, after, limit),
            _ => Some(Vec::new()),
        }
    }

    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError> {
        if let Some(recent) = self.recent(tunnel, after, limit) {
            return Ok(recent);
        }
        let mut out = Vec::new();
        let Some((id, _, next)) = self.bounds(tunnel)? else { return Ok(out) };
        let mut bytes = 0usize;
        self.scan(id, after.next(), next, |seq, value| {
            bytes = bytes.saturating_add(value.len());
            if !out.is_empty() && (bytes > limit.bytes || out.len() >= limit.count) {
                return Ok(false);
            }
            let vault = self.0.vault.as_deref();
            let delivery = format::decode(tunnel, At(id, seq), value, vault)
                .map_err(|reason| SpoolError::Unreadable { tunnel: tunnel.clone(), seq, reason })?;
            out.push((seq, Arc::new(delivery)));
            Ok(true)
        })
        .or_else(|error| match error {
            // What came before it is whole; the next read begins with it and tells.
            SpoolError::Unreadable { .. } if !out.is_empty() => Ok(()),
            other => Err(other),
        })?;
        Ok(out)
    }

    fn join<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(async move { self.enter(tunnel, device, Role::Takes, start, now).await })
    }

    fn watch<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(async move { self.enter(tunnel, device, Role::Watches, start, now).await })
    }

    fn set_key<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName, key: DeviceKey) -> Later<'a, bool> {
        Box::pin(async move {
            let (tunnel, device) = (tunnel.clone(), device.clone());
            self.ask(|answer| Order::SetKey { tunnel, device, key, answer }).await
        })
    }

    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq) {
        self.0.shared.taken(tunnel, device, upto);
    }

    fn forget<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName) -> Later<'a, bool> {
        Box::pin(async move {
            let (tunnel, device) = (tunnel.clone(), device.clone());
            self.ask(|answer| Order::Forget { tunnel, device, answer }).await
        })
    }

    fn drop_tunnel<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, ()> {
        Box::pin(async move {
            while self.ask(|answer| Order::DropTunnel { tunnel: tunnel.clone(), answer }).await? {}
            Ok(())
        })
    }

    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError> {
        let state = self.0.shared.lock();
        state.usable()?;
        Ok(state.tunnels.get(tunnel).map(|t| t.record.device_places()).unwrap_or_default())
    }

    fn last(&self, tunnel: &TunnelName) -> Seq {
        self.0.shared.lock().tunnels.get(tunnel).map_or(Seq::ZERO, |t| t.record.last())
    }

    fn stats(&self, tunnel: &TunnelName) -> Result<Stats, SpoolError> {
        let Some((id, from, next)) = self.bounds(tunnel)? else { return Ok(Stats::default()) };
        let mut oldest = None;
        self.scan(id, from, next, |_, value| {
            oldest = format::received_at(value).ok();
            Ok(false)
        })?;
        let state = self.0.shared.lock();
        let Some(record) = state.tunnels.get(tunnel).map(|t| &t.record) else { return Ok(Stats::default()) };
        Ok(Stats {
            waiting: record.waiting(),
            bytes: record.bytes,
            oldest,
            dropped_age: record.dropped_age,
            dropped_size: record.dropped_size,
        })
    }

    fn purge<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, Vec<Dropped>> {
        Box::pin(async move {
            let tunnel = tunnel.clone();
            self.ask(|answer| Order::Purge { tunnel, before: None, dropped: Vec::new(), answer }).await
        })
    }

    fn tidied(&self) -> Later<'_, bool> {
        Box::pin(async move { self.ask(|answer| Order::Tidied { answer }).await })
    }

    fn expire(&self, now: Timestamp) -> Later<'_, Vec<Dropped>> {
        Box::pin(async move {
            let mut all = std::mem::take(&mut self.0.shared.lock().made_room);
            loop {
                let (dropped, more) = self.ask(|answer| Order::Expire { now, answer }).await?;
                join_runs(&mut all, dropped);
                if !more {
                    return Ok(all);
                }
            }
        })
    }

    fn copy_waits_for(&self) -> Option<&'static str> {
        self.0.shared.copy_waits_for()
    }

    fn copy(&self, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
        // The writer does not compact meanwhile, which it can only do alone; it asks without waiting.
        let _whole = self.0.shared.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |e: redb::Error| SpoolError::Failed { reason: Arc::from(e.to_string()) };
        let txn = self.0.db.read().unwrap_or_else(PoisonError::into_inner).begin_read();
        copy::copy_moment(&txn.map_err(|e| failed(e.into()))?, to)
    }

    fn flush(&self) -> Later<'_, ()> {
        Box::pin(async move { self.ask(|answer| Order::Flush { answer }).await })
    }
}

/// Adds what one batch dropped to what those before it did. What a tunnel dropped in several runs for one reason stays apart where something lies between: that
/// was in nobody's way, and is not missing.
pub(crate) fn join_runs(all: &mut Vec<Dropped>, dropped: Vec<Dropped>) {
    for next in dropped {
        let before =
            all.iter_mut().find(|d| d.tunnel == next.tunnel && d.why == next.why && d.upto.next() == next.from);
        match before {
            Some(run) => {
                run.upto = next.upto;
                run.bytes += next.bytes;
            }
            None => all.push(next),
        }
    }
}

#[cfg(test)]
mod tests;
