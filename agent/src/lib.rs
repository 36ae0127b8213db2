//! healthie-tunnel: what a developer keeps open while building against Healthie's webhooks.
//!
//! The rooms: `cli` (one file per command) · `settings` (flags, environment, files) · `listen` (the connection to the relay) · `intake`
//! (receive, verify, store, acknowledge, announce, forward) · `backlog` (what is stored and waits to be forwarded) · `forward` (the only HTTP
//! client) · `device_keys`, `key_guard` and `opening` (deliveries that come sealed) · `system_keyring` (where the key of the store may be) · `keep` (what both need of the store) · `control` (what commands can do with the store) · `api` (the same for other processes) ·
//! `trigger` (synthetic deliveries: which, when, and what is wrong about them) · `check` (a handler under a battery of deliveries) ·
//! `request_text` (requests as raw HTTP, curl lines, JSON) · `examine` and `habit` (signatures explained) · `query` and `saved_filters` (the language of
//! filters, and those that have a name) · `audit` (who did what with stored deliveries) · `fixtures` (deliveries as files: to
//! and from the store, and against a handler) · `compare` (what differs) · `stats` (figures) · `demo` (everything in one process).
//! · `trail` (what a collector of traces is told) · `turns` (many tasks whose ends come in the order of their beginnings) · `gaps` (which
//! gaps in the stream were told) · `data_folder` (whether this process may work in one).
//! `listen` knows nothing of terminals; `forward` never verifies.

pub mod api;
pub mod arrivals;
pub mod audit;
pub mod check;
pub mod cli;
pub mod compare;
pub mod control;
pub mod data_folder;
pub mod demo;
pub mod device_keys;
pub mod dial;
pub mod examine;
pub mod exec;
pub mod fixtures;
pub mod forward;
pub mod habit;
pub mod keep;
pub mod key_guard;
pub mod listen;
pub mod notice;
pub mod opening;
pub mod pause;
pub mod policy;
pub mod query;
pub mod replay;
pub mod request_text;
pub mod retry;
pub mod safe_text;
pub mod settings;
pub mod signing;
pub mod standing;
pub mod stats;
pub mod trigger;
pub mod upkeep;

mod again;
mod backlog;
mod gaps;
mod hand;
mod inflight;
mod intake;
mod saved_filters;
mod summary;
mod system_keyring;
mod trail;
mod tui;
mod turns;
