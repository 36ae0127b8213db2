//! What the stories share: the usual cast (a relay, a tunnel, an agent, a handler), and programs in other languages that sign and
//! verify. What any test of this project may need is in crates/testkit; what only stories need is here.

mod audit;
mod foreign;
mod states;
mod world;

pub use audit::{Tally, audit, in_order, told};
pub use foreign::{ForeignHandler, Sender, signed};
pub use states::states;
pub use world::{HOST, SECRET, TUNNEL, World, post};
