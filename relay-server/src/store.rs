//! Which spool a relay has: any that keeps the promise of [`Spool`], behind one pointer, so that all else need not know which it is.

use std::ops::Deref;
use std::sync::Arc;

use tunnel_spool::Spool;

/// The spool of one relay. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<dyn Spool>);

impl Store {
    /// A store that is this spool.
    pub fn new(spool: impl Spool) -> Store {
        Store(Arc::new(spool))
    }
}

impl Deref for Store {
    type Target = dyn Spool;

    fn deref(&self) -> &(dyn Spool + 'static) {
        &*self.0
    }
}
