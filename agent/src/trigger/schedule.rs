//! What is sent, in which order, and when: repeats, another order, late ones, a pace. Pure; the seed decides.

use std::time::Duration;

/// The most deliveries of one command.
pub const MOST: usize = 100_000;

/// One delivery to be sent. `what` says which; the schedule does not look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned<T> {
    /// What is sent.
    pub what: T,
    /// Whether it was sent before, byte for byte.
    pub repeat: bool,
    /// Not before so long after the beginning.
    pub at: Duration,
    /// Not before so long after the answer to the one before.
    pub after: Duration,
}

/// How a list of deliveries is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Manner {
    /// So many more of each.
    pub duplicate: usize,
    /// In an order that this seed decides.
    pub shuffle: Option<u64>,
    /// The repeats come so much later; where there are none, the first delivery does.
    pub late: Option<Duration>,
    /// So many a second at most.
    pub rate: Option<f64>,
}

/// The schedule says too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are {0} deliveries; at most {MOST} are sent by one command")]
pub struct TooMany(pub usize);

/// The deliveries in the order in which they are sent, each with the wait that it was given.
///
/// # Errors
/// There are more than [`MOST`].
pub fn schedule<T: Clone>(what: Vec<(T, Duration)>, manner: Manner) -> Result<Vec<Planned<T>>, TooMany> {
    let all = what.len().saturating_mul(manner.duplicate.saturating_add(1));
    if all > MOST {
        return Err(TooMany(all));
    }
    let mut planned: Vec<Planned<T>> = Vec::with_capacity(all);
    for (what, after) in what {
        let one = Planned { what, repeat: false, at: Duration::ZERO, after };
        let again = Planned { repeat: true, after: Duration::ZERO, ..one.clone() };
        planned.push(one);
        planned.extend(std::iter::repeat_n(again, manner.duplicate));
    }
    if let Some(seed) = manner.shuffle {
        shuffle(&mut planned, seed);
        // Waits belong to the order that they were written for.
        planned.iter_mut().for_each(|p| p.after = Duration::ZERO);
    }
    if let Some(rate) = manner.rate.filter(|r| *r > 0.0) {
        for (n, one) in planned.iter_mut().enumerate() {
            one.at = Duration::try_from_secs_f64(n as f64 / rate).unwrap_or(Duration::MAX);
        }
    }
    if let Some(late) = manner.late {
        if manner.duplicate > 0 {
            planned.iter_mut().filter(|p| p.repeat).for_each(|p| p.at = p.at.saturating_add(late));
        } else if let Some(first) = planned.first_mut() {
            first.at = first.at.saturating_add(late);
        }
        // Stable, so that those of one moment keep their order.
        planned.sort_by_key(|p| p.at);
    }
    Ok(planned)
}

/// Fisher and Yates, with SplitMix64's numbers.
fn shuffle<T>(all: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..all.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The bias for lists of at most a hundred thousand is below one in 10^14.
        let other = ((z ^ (z >> 31)) % (last as u64 + 1)) as usize;
        all.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(n: u32, manner: Manner) -> Vec<(u32, bool, u64)> {
        let what = (0..n).map(|n| (n, Duration::ZERO)).collect();
        let planned = schedule(what, manner).unwrap();
        planned.iter().map(|p| (p.what, p.repeat, p.at.as_millis() as u64)).collect()
    }

    #[test]
    fn repeats_follow_and_late_ones_come_at_the_end() {
        let twice = Manner { duplicate: 1, ..Manner::default() };
        assert_eq!(plan(2, twice), [(0, false, 0), (0, true, 0), (1, false, 0), (1, true, 0)]);
        let late = Some(Duration::from_secs(10));
        assert_eq!(
            plan(2, Manner { late, ..twice }),
            [(0, false, 0), (1, false, 0), (0, true, 10_000), (1, true, 10_000)]
        );
        assert_eq!(plan(3, Manner { late, ..Manner::default() }), [(1, false, 0), (2, false, 0), (0, false, 10_000)]);
    }

    #[test]
    fn a_rate_spreads_them() {
        let manner = Manner { rate: Some(4.0), ..Manner::default() };
        assert_eq!(plan(3, manner), [(0, false, 0), (1, false, 250), (2, false, 500)]);
        assert_eq!(plan(2, Manner { rate: Some(0.0), ..manner })[1].2, 0);
        assert_eq!(
            schedule(vec![((), Duration::ZERO); 2], Manner { duplicate: MOST, ..manner }),
            Err(TooMany(200_002))
        );
    }

    #[test]
    fn waits_hold_for_the_order_they_were_written_for() {
        let what = vec![('a', Duration::ZERO), ('b', Duration::from_secs(2))];
        let told = schedule(what.clone(), Manner { duplicate: 1, ..Manner::default() }).unwrap();
        let waits: Vec<_> = told.iter().map(|p| (p.what, p.after.as_secs())).collect();
        assert_eq!(waits, [('a', 0), ('a', 0), ('b', 2), ('b', 0)]);
        let mixed = schedule(what, Manner { shuffle: Some(1), ..Manner::default() }).unwrap();
        assert!(mixed.iter().all(|p| p.after.is_zero()));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_seed_decides(n in 0_u32..50, duplicate in 0_usize..4, seed: u64, late: bool) {
            let manner = Manner {
                duplicate,
                shuffle: Some(seed),
                late: late.then_some(Duration::from_secs(1)),
                rate: Some(10.0),
            };
            let once = plan(n, manner);
            prop_assert_eq!(&once, &plan(n, manner));
            prop_assert!(once.windows(2).all(|w| w[0].2 <= w[1].2));
            let mut ids: Vec<_> = once.iter().map(|p| p.0).collect();
            ids.sort_unstable();
            let expected: Vec<_> = (0..n).flat_map(|n| std::iter::repeat_n(n, duplicate + 1)).collect();
            prop_assert_eq!(ids, expected);
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let order = |seed| plan(20, Manner { shuffle: Some(seed), ..Manner::default() });
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), plan(20, Manner::default()));
    }
}
