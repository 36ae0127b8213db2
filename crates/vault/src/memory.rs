//! Keeps what a program has in memory from the disk: no core dumps, and nobody of the same user reads its memory.
//!
//! Keys, tokens and secrets are wiped when they go. Bodies are not: they lie in the buffers of sockets, of the runtime and of the storage
//! engines, which this project does not write. Memory that the system swaps out is not in a program's hands either: encrypt the swap, or
//! have none.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Who else is meant by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumps {
    /// The program and all that it starts.
    NoneAtAll,
    /// The program; what it starts may raise the limit again.
    NotOurs,
}

/// Has no core dumps written. What the system does not allow is no reason not to start.
pub fn no_core_dumps(dumps: Dumps) {
    let maximum = match dumps {
        Dumps::NoneAtAll => Some(0),
        Dumps::NotOurs => getrlimit(Resource::Core).maximum,
    };
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
    // A limit of 0 does not hold where a program takes dumps from the kernel (`core_pattern` with a pipe); this does.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
