//! How far this agent got in the tunnel's stream: everything up to a place is stored, whatever order it was stored in. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use tunnel_protocol::{Resume, Welcome};

/// The books of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    stream: Bytes,
    /// The greatest place that came.
    last: u64,
    /// Came and is not stored yet.
    open: BTreeSet<u64>,
}

impl Progress {
    /// A session begins.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) {
        // What was open in the session before is sent again.
        *self = Progress { stream: welcome.stream.clone(), last: welcome.after, open: BTreeSet::new() };
    }

    /// A delivery came.
    pub(super) fn came(&mut self, seq: u64) {
        self.last = self.last.max(seq);
        self.open.insert(seq);
    }

    /// A delivery is stored.
    pub(super) fn stored(&mut self, seq: u64) {
        self.open.remove(&seq);
    }

    /// What the next hello says.
    pub(super) fn resume(&self) -> Option<Resume> {
        let after = self.open.first().map_or(self.last, |first| first - 1);
        (after > 0 && !self.stream.is_empty()).then(|| Resume { stream: self.stream.clone(), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_hole_before_it_counts() {
        let mut p = Progress { stream: Bytes::from_static(b"s"), last: 4, ..Progress::default() };
        for seq in [5, 6, 9] {
            p.came(seq);
        }
        p.stored(6);
        p.stored(9);
        assert_eq!(p.resume().unwrap().after, 4);
        p.stored(5);
        assert_eq!(p.resume().unwrap().after, 9);
        assert_eq!(Progress::default().resume(), None);
    }
}
