//! Synthetic deliveries on demand: which events, in which order and at which pace, and what is made wrong about them.
//!
//! `select` finds events by name and pattern, `field` sets fields of a payload, `schedule` says what is sent when, `drive` keeps to it, `tally`
//! counts what came of it, `forge` signs and tampers. Nothing here touches network or disk.

pub mod drive;
pub mod field;
pub mod forge;
pub mod schedule;
pub mod select;
pub mod tally;
