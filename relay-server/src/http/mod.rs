//! HTTP as the relay speaks it to the public: what was sent is recorded before hyper sees it, and hyper sees only what was admitted.

pub(crate) mod agents;
pub(crate) mod connection;
pub(crate) mod head;
pub(crate) mod recorder;
