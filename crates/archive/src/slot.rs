//! The engine in use, which a compaction replaces while others read. Nobody waits for a reader but whoever closes the engine that it reads: a
//! list may take seconds, and neither writing nor the next look may wait for it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::engine::Engine;

/// An engine while it is open; `None` once it is closed. Read-locked while it is used.
pub(crate) type Store = RwLock<Option<Engine>>;

/// Holds the engine in use.
pub(crate) struct Slot(Mutex<Arc<Store>>);

impl Slot {
    pub(crate) fn new(engine: Engine) -> Slot {
        Slot(Mutex::new(Arc::new(RwLock::new(Some(engine)))))
    }

    /// The one in use at this moment; it may be replaced and closed before it is locked.
    pub(crate) fn current(&self) -> Arc<Store> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works with the one in use; with none if the archive is closed.
    pub(crate) fn using<T>(&self, work: impl FnOnce(Option<&Engine>) -> T) -> T {
        loop {
            let store = self.current();
            let engine = store.read().unwrap_or_else(PoisonError::into_inner);
            if engine.is_some() || Arc::ptr_eq(&store, &self.current()) {
                return work(engine.as_ref());
            }
            // Replaced and closed since it was looked for.
        }
    }

    /// Puts another one in its place.
    pub(crate) fn replace(&self, engine: Engine) -> Arc<Store> {
        let new = Arc::new(RwLock::new(Some(engine)));
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), new)
    }
}

/// Takes the engine out to be closed, once nobody reads it any more.
pub(crate) fn take(store: &Store) -> Option<Engine> {
    store.write().unwrap_or_else(PoisonError::into_inner).take()
}
