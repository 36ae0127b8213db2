//! Keeps panics of the archive's storage engine off the terminal. It panics where a store is damaged; the archive catches that and says what it means,
//! and the panic's own text would only hide it. Every other panic is a mistake of ours and is shown as always.

use std::panic::PanicHookInfo;
use std::path::{Component, Path};

/// The engine's name, as the folder of its source and its threads have it.
const ENGINE: &str = "sled";

/// Installs it for this process. What it keeps back is in the log at the level `debug`.
pub(super) fn quiet_engine() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if of_engine(panic) {
            tracing::debug!("{panic}");
        } else {
            before(panic);
        }
    }));
}

fn of_engine(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|at| source_of_engine(at.file()))
        || std::thread::current().name().is_some_and(|name| name.starts_with(ENGINE))
}

/// Whether a file lies in a folder as cargo names it after a package: `sled-0.34.7`, or `sled` where packages are vendored.
fn source_of_engine(file: &str) -> bool {
    Path::new(file).components().any(|part| match part {
        Component::Normal(name) => name
            .to_str()
            .and_then(|name| name.strip_prefix(ENGINE))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("-0.")),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::source_of_engine;

    #[test]
    fn only_the_engine_s_own_source() {
        assert!(source_of_engine("/home/x/.cargo/registry/src/index/sled-0.34.7/src/pagecache/mod.rs"));
        assert!(source_of_engine("vendor/sled/src/lib.rs"));
        for other in ["crates/archive/src/engine.rs", "/x/sledge-0.1/src/lib.rs", "/x/sled.rs", "src/unsled-0.1/a.rs"] {
            assert!(!source_of_engine(other), "{other}");
        }
    }
}
