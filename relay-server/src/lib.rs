//! The public relay of healthie-tunnel, as a library: `healthie-relay` is a doormat before it, and tests and the demo run it in their own process.
//!
//! A delivery's way through it: `accept` takes the connection, if `admission` has a place for it, `proxy` says who is at its other end, `tls` its
//! encryption (with certificates from files or by `acme`), `http` records the request exactly as sent and keeps hyper to
//! what was admitted, `route` tells what it is for, `ingest` makes the delivery and puts it into the spool or hands it to `hub`, whose `session`s
//! send it down to agents, and `respond` turns what came of it into the answer. `registry` and `tokens` know whose tunnel it is and what a token
//! may do, `attempts` who tried too many wrong ones, `audit` who did what; `lines` bounds what others can have written into the log, `recurring` counts it. `ownership` sees to it that what root's commands make is the relay's. `sources`, `rates`, `handshakes` and `bodies` say from where, how often and how much may
//! come, `harmless` what may go back, and `page` what a browser is shown.
//!
//! The relay knows no signature's secret, verifies nothing and logs no body.

mod accept;
mod acme;
mod admission;
mod attempts;
mod audit;
mod backup;
mod bodies;
mod checkup;
mod cli;
mod config;
mod control;
mod flag;
#[doc(hidden)]
pub mod fuzzing;
mod ground;
mod handshakes;
mod harmless;
mod http;
mod hub;
mod ids;
mod incarnations;
mod ingest;
mod lines;
mod metrics;
mod ownership;
mod page;
mod proxy;
mod rates;
mod recurring;
mod registry;
mod relay;
mod respond;
mod route;
#[cfg(test)]
mod sample;
mod sealing;
mod session;
mod settings;
mod shared;
mod sources;
mod store;
mod stream;
mod tls;
mod tokens;
mod traces;
mod whose;

pub use accept::Listener;
pub use acme::AcmeError;
pub use cli::run;
pub use config::{Acme, AcmeBinding, AcmeChallenge, BODY_GRACE, Config, Https, Limits, PairFiles, TraceTo};
pub use ground::{Bound, Clock, Ground, Offload};
pub use proxy::Proxies;
pub use rates::Rate;
pub use registry::{
    Access, AnswerMode, NewToken, Registry, RegistryError, Reserved, Snapshot, TokenRecord, TunnelSettings, WhenAway,
};
pub use relay::{Addresses, Relay, StartError};
pub use sources::Source;
pub use store::Store;
pub use tls::TlsError;
pub use tokens::{Label, Token, TokenId};
pub use tunnel_spool::Limits as SpoolLimits;
