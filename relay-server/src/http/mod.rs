//! HTTP as the relay speaks it to the public: what was sent is recorded before hyper sees it, and hyper sees only what was admitted.

pub(crate) mod agents;
mod carried;
pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod host;
pub(crate) mod recorder;
