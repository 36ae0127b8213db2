//! The fuzzer: hands what the engine makes up to the target that HEALTHIE_FUZZ_TARGET names. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::OnceLock;

use tunnel_fuzz::Target;

static TARGET: OnceLock<&Target> = OnceLock::new();

/// The target that is asked for.
fn chosen() -> &'static Target {
    let name = std::env::var("HEALTHIE_FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("HEALTHIE_FUZZ_TARGET={name:?}; choose of {}", tunnel_fuzz::names()))
}

libfuzzer_sys::fuzz_target!(init: {
    let _ = TARGET.set(chosen());
}, |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.check)(data);
    }
});
