//! Flow control: how much may be on its way.

/// Counts what was sent and not yet taken against what the agent allows.
#[derive(Clone, Debug)]
pub struct Window {
    deliveries: u32,
    bytes: u64,
    used_deliveries: u32,
    used_bytes: u64,
}

impl Window {
    /// A window of so many deliveries and bytes of bodies; at least one delivery is always allowed.
    pub fn new(deliveries: u32, bytes: u64) -> Window {
        Window { deliveries: deliveries.max(1), bytes, used_deliveries: 0, used_bytes: 0 }
    }

    /// Whether a delivery with a body of `len` bytes may be sent now. One alone always may, so that a body longer than the window
    /// does not wait for ever.
    pub fn allows(&self, len: u64) -> bool {
        self.used_deliveries == 0
            || (self.used_deliveries < self.deliveries && self.used_bytes.saturating_add(len) <= self.bytes)
    }

    /// A delivery was sent.
    pub fn sent(&mut self, len: u64) {
        self.used_deliveries += 1;
        self.used_bytes = self.used_bytes.saturating_add(len);
    }

    /// A delivery was taken.
    pub fn taken(&mut self, len: u64) {
        self.used_deliveries = self.used_deliveries.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(len);
    }

    /// How many deliveries are on their way.
    pub fn on_their_way(&self) -> u32 {
        self.used_deliveries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_by_count_and_by_bytes_and_opens_by_taking() {
        let mut w = Window::new(2, 100);
        w.sent(60);
        assert!(w.allows(40) && !w.allows(41));
        w.sent(40);
        assert!(!w.allows(0));
        w.taken(60);
        assert!(w.allows(60) && !w.allows(61));
        assert_eq!(w.on_their_way(), 1);
    }

    #[test]
    fn one_delivery_longer_than_the_window_still_goes() {
        let mut w = Window::new(0, 0);
        assert!(w.allows(1 << 40));
        w.sent(1 << 40);
        assert!(!w.allows(0));
    }
}
