//! The versions and caps of the protocol. Every length that a peer can choose has one here.

use std::time::Duration;

/// The oldest version of the protocol this code speaks.
pub const VERSION_MIN: u32 = 1;
/// The newest version of the protocol this code speaks.
pub const VERSION_MAX: u32 = 1;

/// The longest frame, in bytes: a head at its cap with an inline body at its cap fits with room for new fields.
pub const MAX_FRAME: usize = 256 * 1024;
/// The longest body that travels in the same frame as its head, in bytes.
pub const INLINE_BODY: usize = 32 * 1024;
/// The most bytes of a body in one chunk: some 25 ms on a line of 10 Mbit/s, so that small deliveries are not held up longer.
pub const CHUNK: usize = 32 * 1024;
/// The longest body, in bytes, whatever the peer announces.
pub const MAX_BODY: u64 = 64 * 1024 * 1024;
/// The longest body of a handler's answer that an agent sends up, in bytes.
pub const MAX_ANSWER: u64 = 8 * 1024 * 1024;
/// The most bytes of method, target, header names and header values together.
pub const MAX_HEAD: usize = 128 * 1024;
/// The most header lines.
pub const MAX_HEADER_LINES: usize = 512;
/// The most numbers in one frame that says taken.
pub const MAX_TAKEN: usize = 4096;
/// How long the relay waits for the hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The highest version in both ranges.
pub fn choose_version(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let (low, high) = (ours.0.max(theirs.0), ours.1.min(theirs.1));
    (low <= high && theirs.0 <= theirs.1).then_some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        assert_eq!(choose_version((1, 3), (2, 7)), Some(3));
        assert_eq!(choose_version((1, 1), (1, 9)), Some(1));
        assert_eq!(choose_version((1, 1), (2, 3)), None);
        assert_eq!(choose_version((1, 5), (3, 2)), None);
    }
}
