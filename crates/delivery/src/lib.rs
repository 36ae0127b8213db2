//! The nouns of healthie-tunnel: a delivery exactly as it was sent, the attempts to hand it over, ids and verdicts.
//!
//! Everything here is plain data with its printed form (the JSON that `events show --json` prints and that the agent's
//! local interface serves). This room knows nothing of async, network, disk and clock: times come in as arguments,
//! ids are built from a time and random bytes that the caller supplies.

mod attempt;
mod bytes_json;
mod delivery;
mod device_key;
mod environment;
mod event;
mod headers;
mod id;
mod names;
mod numbers;
mod stored;
mod time;
mod verdict;

pub use attempt::{Attempt, AttemptError, COMMAND, Cause, ErrorKind};
pub use delivery::{Delivery, HttpVersion, Lost, Method, MethodError, Target, TargetError};
pub use device_key::DeviceKey;
pub use environment::Environment;
pub use event::Event;
pub use headers::{HeaderLine, Headers};
pub use id::{DeliveryId, IdError};
pub use names::{DeviceName, NameError, TunnelName};
pub use numbers::{address_bytes, address_of};
pub use stored::{Answer, AnswerClass, DuplicateOf, Stored, Summary};
pub use time::{Timestamp, TimestampError};
pub use verdict::{SignatureStatus, Verdict};
