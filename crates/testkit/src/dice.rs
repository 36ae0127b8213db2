//! Chance that comes again: the same seed, the same throws. It owns the generator and nothing that is drawn for.

use std::ops::Range;
use std::time::Duration;

/// A generator of numbers (SplitMix64), good enough to choose moments and sizes.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that throw what this seed always throws.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Other dice from the same seed, for another matter: what the one throws does not move the other.
    #[must_use]
    pub fn other(&self, matter: u64) -> Dice {
        Dice(Dice(self.0 ^ matter.wrapping_mul(0xd6e8_feb8_6659_fd93)).throw())
    }

    /// Any number.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.throw() % end.max(1)
    }

    /// True once in so many throws; never for 0.
    pub fn one_in(&mut self, throws: u64) -> bool {
        throws > 0 && self.below(throws) == 0
    }

    /// A time within the bounds, in whole microseconds.
    pub fn within(&mut self, bounds: &Range<Duration>) -> Duration {
        let width = bounds.end.saturating_sub(bounds.start).as_micros();
        bounds.start + Duration::from_micros(self.below(u64::try_from(width).unwrap_or(u64::MAX)))
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.throw().to_le_bytes());
        words.take(length.div_ceil(8)).flatten().take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_throws_the_same_again_and_another_matter_throws_otherwise() {
        let throws = |mut dice: Dice| (0..8).map(|_| dice.throw()).collect::<Vec<_>>();
        assert_eq!(throws(Dice::new(7)), throws(Dice::new(7)));
        assert_ne!(throws(Dice::new(7)), throws(Dice::new(8)));
        assert_ne!(throws(Dice::new(7).other(1)), throws(Dice::new(7).other(2)));
    }

    #[test]
    fn what_is_drawn_keeps_its_bounds() {
        let mut dice = Dice::new(1);
        let bounds = Duration::from_millis(3)..Duration::from_millis(9);
        let drawn: Vec<_> = (0..1000).map(|_| dice.within(&bounds)).collect();
        assert!(drawn.iter().all(|time| bounds.contains(time)));
        assert!(drawn.iter().any(|time| *time > Duration::from_millis(8)), "never late");
        assert_eq!((dice.within(&(bounds.start..bounds.start)), dice.below(0)), (bounds.start, 0));
        assert!(!dice.one_in(0) && dice.one_in(1));
        let hits = (0..10_000).filter(|_| dice.one_in(10)).count();
        assert!((800..1200).contains(&hits), "{hits} of 10,000 for one in ten");
        assert_eq!(dice.bytes(13).len(), 13);
    }
}
