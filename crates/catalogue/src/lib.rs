//! Healthie's webhook events: what is documented about each of them, reading one from a delivery's body, and synthetic payloads.
//!
//! A name that is not in the catalogue is data, never an error: new events appear over time, and two documented names are
//! misspelt. This room knows nothing of disk and network; randomness comes in as a seed.

mod graphql;
mod pattern;
mod read;
mod synthetic;
mod table;

pub use graphql::{MOST_FIELDS, NoRecordQuery, record_query};
pub use pattern::matches;
pub use read::read;
pub use synthetic::{IdStyle, synthetic, synthetic_unknown};
pub use table::{EventType, ExtraField, FieldType, ResourceType, Source, Sources, all, find, nearest};
