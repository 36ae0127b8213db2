//! healthie-tunnel: what a developer keeps open while building against Healthie's webhooks.
//!
//! The rooms: `cli` (one file per command) · `settings` (flags, environment, files) · `listen` (the connection to the relay) · `intake`
//! (receive, verify, store, acknowledge, announce, forward) · `backlog` (what is stored and waits to be forwarded) · `forward` (the only HTTP
//! client) · `control` (what commands can do with the store) · `api` (the same for other processes) · `demo` (everything in one process).
//! `listen` knows nothing of terminals; `forward` never verifies.

pub mod api;
pub mod arrivals;
pub mod cli;
pub mod control;
pub mod demo;
pub mod dial;
pub mod forward;
pub mod listen;
pub mod notice;
pub mod policy;
pub mod query;
pub mod safe_text;
pub mod settings;
pub mod signing;

mod backlog;
mod hand;
mod inflight;
mod intake;
mod summary;
mod tui;
