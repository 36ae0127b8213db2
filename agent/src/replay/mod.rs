//! Sending stored deliveries again: which ones, in which order, when, and what came of it.
//!
//! A [`Plan`] says all of that. `selection` reads what is meant, page by page; `course` puts it into an order with times, chaos included;
//! `pace` decides when the next request may begin; both are pure and the seed decides what is random. `run` is the loop that keeps the clock
//! and asks [`Control`](crate::control::Control), in whoever's process wants it: a command or the inspector. `tally` counts. `draft` is a
//! request as text that people edit.
//!
//! Does not know HTTP, signatures or terminals: what is sent and where it may go is decided by `control`.

pub mod chaos;
pub mod course;
pub mod draft;
pub mod pace;
pub mod preview;
pub mod run;
pub mod selection;
pub mod tally;

use tunnel_delivery::DeliveryId;

use crate::control::Edited;
use crate::forward::TargetUrl;
use crate::signing::ForwardAs;

pub use chaos::Chaos;
pub use course::{Item, Manner, Shot};
pub use pace::{Pace, Rate, UntilSuccess};
pub use preview::preview;
pub use run::{Told, Tried, run};
pub use selection::{Selection, SelectionError, count, newest};
pub use tally::{Left, Summary};

/// A replay before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which deliveries, oldest first.
    pub selection: Selection,
    /// None that came later than this one; where it is not said, than the newest that is stored when the replay begins. What arrives meanwhile is not
    /// meant. An id and not a time: the relay's clock, which says when deliveries came, may be ahead of this machine's.
    pub until: Option<DeliveryId>,
    /// Only those behind this one.
    pub after: Option<DeliveryId>,
    /// At most so many deliveries, the oldest of them.
    pub limit: Option<u64>,
    /// What is sent of each.
    pub copy: Copy,
    /// Their order and times.
    pub manner: Manner,
    /// How fast and how many at once.
    pub pace: Pace,
}

/// What is sent of each delivery, and where.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// Where to, instead of where each would be forwarded to.
    pub to: Option<TargetUrl>,
    /// With which signature.
    pub forward_as: Option<ForwardAs>,
    /// With digest and signature made anew.
    pub resign: bool,
    /// Whether deliveries from production may go to other machines.
    pub allow_production: bool,
    /// This request instead of the delivery's own; for selections of one.
    pub edited: Option<Edited>,
}

impl Plan {
    /// Each of them once, one after the other, where they would be forwarded to.
    pub fn new(selection: Selection) -> Plan {
        Plan {
            selection,
            until: None,
            after: None,
            limit: None,
            copy: Copy::default(),
            manner: Manner::default(),
            pace: Pace::default(),
        }
    }
}
