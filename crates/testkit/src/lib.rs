//! For tests only: what a story needs to put the two programs on a stage and watch them from outside.
//!
//! Everything here is blocking and on threads of its own, so that a story reads from top to bottom and shares no run time, no HTTP
//! library and no code with what it tests. Waiting is always for a condition and always has a deadline ([`DEADLINE`]); who waits in vain is
//! told what was seen instead. What a story started is ended and removed when it is dropped, and says what it printed if the
//! story failed.
//!
//! This room knows the programs by their command lines only.

mod agent;
mod binaries;
mod certificates;
mod closed_port;
mod collector;
mod dice;
mod handler;
mod http;
mod link;
mod load;
mod log;
mod namespace;
mod pebble;
mod process;
mod proxy;
mod relay;
mod sender;
mod settings;
mod small_disk;
mod stage;
mod wait;
mod weather;

pub use agent::Agent;
pub use binaries::Binary;
pub use certificates::{Authority, ServerCertificate};
pub use closed_port::ClosedPort;
pub use collector::{Collector, Spanned};
pub use dice::Dice;
pub use handler::{Gate, Handler, Received, Reply};
pub use http::{HttpMessage, Lines, chunked};
pub use load::{Answered, Load, Plan};
pub use log::Log;
pub use namespace::{Line, Namespace};
pub use pebble::Pebble;
pub use process::{Process, Ran, Signal};
pub use proxy::Proxy;
pub use relay::{AnswerMode, Relay};
pub use sender::{Connection, send};
pub use settings::{seed, setting, words};
pub use small_disk::{SmallDisk, skipped};
pub use stage::Stage;
pub use wait::{DEADLINE, eventually, pass, within};
pub use weather::{Loss, Weather};
