//! Synthetic deliveries on demand: which events, in which order and at which pace, and what is made wrong about them.
//!
//! `forge` signs and tampers; nothing here touches network, disk or clock.

pub mod forge;
