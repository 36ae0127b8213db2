//! The relay's limits: each holds, is counted, and what it says is what it must say. Time is tokio's and moves when everybody waits, except where
//! deliveries are stored.

mod answers;
mod crowds;
mod floods;
mod hall;
mod http2;
mod slow;
mod sources;
#[path = "../door/visitor.rs"]
#[allow(dead_code)]
mod visitor;
