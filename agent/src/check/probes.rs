//! What is sent to a handler that refuses every valid delivery, to find out what it does accept. Pure.

use tunnel_signature::Reading;

use super::battery::Seeds;
use super::bodies;
use super::case::{Change, Place, Step};

/// Requests that find out what a handler does take which refuses every valid delivery: other paths, then other readings.
pub(super) fn probes(place: &Place, seed: u64) -> Vec<Step> {
    let mut seeds = Seeds(seed);
    let mut all = Vec::new();
    for path in shorter_paths(&place.signed) {
        let change = Change::SignedFor(path.clone());
        all.push(Step { label: path, body: bodies::usual(seeds.next()), change });
    }
    for reading in Reading::all().filter(|r| *r != place.reading) {
        all.push(Step { label: reading.to_string(), body: bodies::usual(seeds.next()), change: Change::As(reading) });
    }
    all
}

/// The most path segments that are taken off.
const MOST_SEGMENTS: usize = 8;

/// The path with its slash at the end added or taken off, and without its first segments, as a mounted handler sees it.
fn shorter_paths(path: &str) -> Vec<String> {
    let mut paths = vec![match path.strip_suffix('/') {
        Some(bare) if !bare.is_empty() => bare.to_owned(),
        _ => format!("{path}/"),
    }];
    let mut rest = path;
    for _ in 0..MOST_SEGMENTS {
        let Some(at) = rest.get(1..).and_then(|r| r.find('/')) else { break };
        rest = &rest[at + 1..];
        paths.push(rest.to_owned());
    }
    paths.push("/".to_owned());
    paths.retain(|p| p != path && !p.starts_with("//"));
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_paths_are_those_that_a_mounted_handler_sees() {
        assert_eq!(shorter_paths("/a/b/c"), ["/a/b/c/", "/b/c", "/c", "/"]);
        assert_eq!(shorter_paths("/a/b/"), ["/a/b", "/b/", "/"]);
        assert_eq!(shorter_paths("/a"), ["/a/", "/"]);
        assert_eq!(shorter_paths("/"), Vec::<String>::new());
        assert!(shorter_paths(&"/a".repeat(100)).len() <= MOST_SEGMENTS + 2);
    }
}
