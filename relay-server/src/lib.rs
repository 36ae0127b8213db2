//! The public relay of healthie-tunnel, as a library: `healthie-relay` is a doormat before it, and tests and the demo run it in their own process.
//!
//! A delivery's way through it: `accept` takes the connection, `proxy` says who is at its other end, `tls` its encryption (with
//! certificates from files or by `acme`), `http` records the request exactly as sent and keeps hyper to
//! what was admitted, `route` tells what it is for, `ingest` makes the delivery and puts it into the spool or hands it to `hub`, whose `session`s
//! send it down to agents, and `respond` turns what came of it into the answer. `registry` and `tokens` know whose tunnel it is.
//!
//! The relay knows no signature's secret, verifies nothing and logs no body.

mod accept;
mod acme;
mod admission;
mod bodies;
mod cli;
mod config;
mod control;
mod flag;
#[doc(hidden)]
pub mod fuzzing;
mod ground;
mod http;
mod hub;
mod ids;
mod incarnations;
mod ingest;
// What asks for the figures comes with the next step.
#[allow(dead_code)]
mod metrics;
mod harmless;
mod page;
mod proxy;
mod rates;
mod registry;
mod relay;
mod respond;
mod route;
mod sealing;
mod session;
mod settings;
mod shared;
mod sources;
mod store;
mod stream;
mod tls;
mod tokens;

pub use accept::Listener;
pub use acme::AcmeError;
pub use cli::run;
pub use config::{Acme, AcmeBinding, AcmeChallenge, BODY_GRACE, Config, Https, Limits, PairFiles};
pub use ground::{Bound, Clock, Ground, Offload};
pub use proxy::Proxies;
pub use registry::{AnswerMode, Registry, RegistryError, Snapshot, TokenRecord, TunnelSettings, WhenAway};
pub use rates::Rate;
pub use relay::{Addresses, Relay, StartError};
pub use sources::Source;
pub use store::Store;
pub use tls::TlsError;
pub use tokens::{Token, TokenId};
pub use tunnel_spool::Limits as SpoolLimits;
