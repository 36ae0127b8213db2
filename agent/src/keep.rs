//! Where an agent's deliveries and attempts are kept, as far as taking them in and handing them on needs it.
//!
//! [`Keep`] is the promise; the archive keeps it. What commands ask of the archive beyond that is `control`'s.

use std::pin::Pin;

use tunnel_archive::{Archive, ArchiveError, Inserted, Intake, Page, Query};
use tunnel_delivery::{Attempt, DeliveryId, Stored};

/// What a call gives later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, ArchiveError>> + Send + 'a>>;

/// Keeps deliveries and attempts. What a future returned for is durable; of one that was dropped, it may be.
pub trait Keep: Send + Sync {
    /// Stores a delivery, unless one of its id is there.
    ///
    /// # Errors
    /// As [`Archive::insert`].
    fn insert(&self, intake: Intake) -> Later<'_, Inserted>;

    /// Stores an attempt; gives its number, from 1.
    ///
    /// # Errors
    /// As [`Archive::record`].
    fn record(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32>;

    /// Likewise, in no haste.
    ///
    /// # Errors
    /// As [`Archive::record`].
    fn record_with_next(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32>;

    /// A page of a list.
    ///
    /// # Errors
    /// As [`Archive::list`].
    fn list(&self, query: &Query) -> Result<Page, ArchiveError>;

    /// One delivery.
    ///
    /// # Errors
    /// As [`Archive::get`].
    fn get(&self, id: DeliveryId) -> Result<Option<Stored>, ArchiveError>;

    /// Whether [`Keep::list`] and [`Keep::get`] may block, so that they must not be called on an async worker.
    fn blocks(&self) -> bool;
}

impl Keep for Archive {
    fn insert(&self, intake: Intake) -> Later<'_, Inserted> {
        Box::pin(Archive::insert(self, intake))
    }

    fn record(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        Box::pin(Archive::record(self, id, attempt))
    }

    fn record_with_next(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        Box::pin(Archive::record_with_next(self, id, attempt))
    }

    fn list(&self, query: &Query) -> Result<Page, ArchiveError> {
        Archive::list(self, query)
    }

    fn get(&self, id: DeliveryId) -> Result<Option<Stored>, ArchiveError> {
        Archive::get(self, id)
    }

    fn blocks(&self) -> bool {
        true
    }
}
