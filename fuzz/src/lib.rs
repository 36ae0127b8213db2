//! What must hold of every parser that sees the outside, for any input: one function for each, which panics where it does not hold.
//!
//! A *target* takes any bytes, reads them as an outsider's parser of ours would, and checks what came of it against a second opinion: a plainer
//! reader written here, the encoder, or the same bytes cut otherwise. The functions know no fuzzer. `tests/replay.rs` runs them over the kept
//! inputs in `corpus/`, one folder for each target, in every test run; `src/bin/fuzz.rs` lets a coverage-guided engine make up more, and
//! `fuzz/run` does that for some seconds for each.
//!
//! An input that a fuzzer finds and that breaks something is kept twice: as a test beside the code that was mended, and in the corpus.

mod cut;
mod fixtures;
mod frames;
mod http_head;
mod proxies;
mod queries;
mod request;
mod routing;
mod sealed;
mod shown;
mod signatures;
mod stored;

/// Something that must hold for any input.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// Panics where it does not hold for this input.
    pub check: fn(&[u8]),
    /// The longest input that is worth trying, in bytes.
    pub longest: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("frames-to-agent", frames::to_agent, 4096),
    target("frames-to-relay", frames::to_relay, 4096),
    target("chunks", frames::chunks, 1024),
    target("http-head", http_head::check, 4096),
    target("route", routing::check, 512),
    target("proxy-preface", proxies::preface, 600),
    target("forwarded-for", proxies::forwarded, 1024),
    target("signature", signatures::verdict, 4096),
    target("signature-input", signatures::input, 1024),
    target("digest", signatures::digest, 1500),
    target("doctor", signatures::doctor, 4096),
    target("fixture", fixtures::fixture, 4096),
    target("har", fixtures::har, 4096),
    target("bundle", fixtures::bundle, 8192),
    target("scenario", fixtures::scenario, 2048),
    target("request-text", fixtures::request_text, 4096),
    target("query", queries::query, 2048),
    target("saved-filters", queries::saved, 1024),
    target("shown", shown::safe_text, 1024),
    target("event", shown::event, 4096),
    target("stored-json", shown::stored, 4096),
    target("spool-delivery", stored::spool_delivery, 2048),
    target("spool-tunnel", stored::spool_tunnel, 1024),
    target("archive-record", stored::archive_record, 2048),
    target("envelope-content", sealed::content, 2048),
    target("envelope-changed", sealed::changed, 1024),
    target("keys", sealed::keys, 1024),
    target("archive-seals", stored::archive_seals, 8192),
];

const fn target(name: &'static str, check: fn(&[u8]), longest: usize) -> Target {
    Target { name, check, longest }
}

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// The names of all targets, a blank between them.
pub fn names() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(" ")
}
