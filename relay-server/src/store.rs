//! Which spool a relay has: any that keeps the promise of [`Spool`], behind one pointer, so that all else need not know which it is.
//!
//! A call costs one allocation more than the spool's own; what it asks for is a write to the disk, or happens a few times in a session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tunnel_delivery::{Delivery, DeviceKey, DeviceName, Timestamp, TunnelName};
use tunnel_spool::{
    Copied, CopyError, CopySink, DevicePlace, Dropped, Place, ReadLimit, Seq, Shares, Spool, SpoolError, Start, Stats,
};

type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, SpoolError>> + Send + 'a>>;

/// The spool of one relay. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<dyn AnySpool>);

impl Store {
    /// A store that is this spool.
    pub fn new(spool: impl Spool) -> Store {
        Store(Arc::new(spool))
    }
}

/// [`Spool`] as it must be to stand behind a pointer.
trait AnySpool: Send + Sync {
    fn usable(&self) -> Result<(), SpoolError>;
    fn set_shares(&self, shares: Shares);
    fn append(&self, delivery: Arc<Delivery>) -> Later<'_, Seq>;
    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>>;
    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError>;
    fn join<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place>;
    fn set_key<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName, key: DeviceKey) -> Later<'a, bool>;
    fn watch<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place>;
    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq);
    fn forget<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName) -> Later<'a, bool>;
    fn drop_tunnel<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, ()>;
    fn purge<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, Vec<Dropped>>;
    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError>;
    fn last(&self, tunnel: &TunnelName) -> Seq;
    fn stats(&self, tunnel: &TunnelName) -> Result<Stats, SpoolError>;
    fn expire(&self, now: Timestamp) -> Later<'_, Vec<Dropped>>;
    fn flush(&self) -> Later<'_, ()>;
    fn copy(&self, to: &mut dyn CopySink) -> Result<Copied, CopyError>;
}

impl<S: Spool> AnySpool for S {
    fn usable(&self) -> Result<(), SpoolError> {
        Spool::usable(self)
    }

    fn set_shares(&self, shares: Shares) {
        Spool::set_shares(self, shares);
    }

    fn append(&self, delivery: Arc<Delivery>) -> Later<'_, Seq> {
        Box::pin(Spool::append(self, delivery))
    }

    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>> {
        Spool::recent(self, tunnel, after, limit)
    }

    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError> {
        Spool::read(self, tunnel, after, limit)
    }

    fn join<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(Spool::join(self, tunnel, device, start, now))
    }

    fn set_key<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName, key: DeviceKey) -> Later<'a, bool> {
        Box::pin(Spool::set_key(self, tunnel, device, key))
    }

    fn watch<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place> {
        Box::pin(Spool::watch(self, tunnel, device, start, now))
    }

    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq) {
        Spool::taken(self, tunnel, device, upto);
    }

    fn forget<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName) -> Later<'a, bool> {
        Box::pin(Spool::forget(self, tunnel, device))
    }

    fn drop_tunnel<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, ()> {
        Box::pin(Spool::drop_tunnel(self, tunnel))
    }

    fn purge<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, Vec<Dropped>> {
        Box::pin(Spool::purge(self, tunnel))
    }

    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError> {
        Spool::devices(self, tunnel)
    }

    fn last(&self, tunnel: &TunnelName) -> Seq {
        Spool::last(self, tunnel)
    }

    fn stats(&self, tunnel: &TunnelName) -> Result<Stats, SpoolError> {
        Spool::stats(self, tunnel)
    }

    fn expire(&self, now: Timestamp) -> Later<'_, Vec<Dropped>> {
        Box::pin(Spool::expire(self, now))
    }

    fn flush(&self) -> Later<'_, ()> {
        Box::pin(Spool::flush(self))
    }

    fn copy(&self, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
        Spool::copy(self, to)
    }
}

impl Spool for Store {
    fn usable(&self) -> Result<(), SpoolError> {
        self.0.usable()
    }

    fn set_shares(&self, shares: Shares) {
        self.0.set_shares(shares);
    }

    fn append(&self, delivery: Arc<Delivery>) -> impl Future<Output = Result<Seq, SpoolError>> + Send {
        self.0.append(delivery)
    }

    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>> {
        self.0.recent(tunnel, after, limit)
    }

    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError> {
        self.0.read(tunnel, after, limit)
    }

    async fn join(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Result<Place, SpoolError> {
        self.0.join(tunnel, device, start, now).await
    }

    async fn set_key(&self, tunnel: &TunnelName, device: &DeviceName, key: DeviceKey) -> Result<bool, SpoolError> {
        self.0.set_key(tunnel, device, key).await
    }

    async fn watch(
        &self,
        tunnel: &TunnelName,
        device: &DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Result<Place, SpoolError> {
        self.0.watch(tunnel, device, start, now).await
    }

    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq) {
        self.0.taken(tunnel, device, upto);
    }

    async fn forget(&self, tunnel: &TunnelName, device: &DeviceName) -> Result<bool, SpoolError> {
        self.0.forget(tunnel, device).await
    }

    async fn drop_tunnel(&self, tunnel: &TunnelName) -> Result<(), SpoolError> {
        self.0.drop_tunnel(tunnel).await
    }

    async fn purge(&self, tunnel: &TunnelName) -> Result<Vec<Dropped>, SpoolError> {
        self.0.purge(tunnel).await
    }

    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError> {
        self.0.devices(tunnel)
    }

    fn last(&self, tunnel: &TunnelName) -> Seq {
        self.0.last(tunnel)
    }

    fn stats(&self, tunnel: &TunnelName) -> Result<Stats, SpoolError> {
        self.0.stats(tunnel)
    }

    fn expire(&self, now: Timestamp) -> impl Future<Output = Result<Vec<Dropped>, SpoolError>> + Send {
        self.0.expire(now)
    }

    fn flush(&self) -> impl Future<Output = Result<(), SpoolError>> + Send {
        self.0.flush()
    }

    fn copy(&self, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
        self.0.copy(to)
    }
}
