//! Paces, played through with answers that take a time: what begins when.

use super::*;
use crate::replay::course::Manner;
use proptest::prelude::*;
use tunnel_delivery::{DeliveryId, Timestamp};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One begin: which delivery, which try, when.
type Begin = (u64, u32, u64);

/// Plays a replay of `all` deliveries; `answer` says how long a try of a delivery takes and whether it succeeds. Stops before `stop`.
fn play(all: u64, pace: Pace, answer: impl Fn(u64, u32) -> (u64, bool), stop: Option<u64>) -> (Vec<Begin>, usize, u64) {
    let mut pacer = Pacer::new(Course::new(Manner { interval: pace.interval, ..Manner::default() }), pace);
    let mut offered = 0;
    let (mut now, mut begun, mut most) = (Duration::ZERO, Vec::new(), 0);
    let mut flying: BTreeMap<(Duration, Ticket), bool> = BTreeMap::new();
    let mut done = 0;
    for _ in 0..100_000 {
        if stop.is_some_and(|at| now >= ms(at)) {
            pacer.stop();
        }
        let until = match pacer.next(now) {
            Next::Send(ticket, shot, tries) => {
                let (takes, good) = answer(ticket, tries);
                begun.push((ticket, tries, now.as_millis() as u64));
                assert_eq!(shot.number, ticket);
                flying.insert((now + ms(takes), ticket), good);
                most = most.max(flying.len());
                continue;
            }
            Next::Want(_) => {
                let at = Timestamp::from_micros(offered * 1000);
                let item = (offered < all as i64).then(|| Item { id: DeliveryId::first_at(at), received_at: at });
                offered += 1;
                pacer.offer(item);
                continue;
            }
            Next::Over => return (begun, most, done),
            Next::Wait(until) => until,
        };
        match flying.first_key_value().map(|(key, good)| (*key, *good)) {
            Some(((at, ticket), good)) if until.is_none_or(|until| at <= until) => {
                flying.pop_first();
                now = now.max(at);
                done += u64::from(pacer.answered(ticket, !good, now) == After::Done);
            }
            _ => now = now.max(until.expect("something to wait for")),
        }
    }
    panic!("it does not end");
}

fn begins(begun: &[Begin]) -> Vec<(u64, u64)> {
    begun.iter().map(|(n, _, at)| (*n, *at)).collect()
}

#[test]
fn one_after_the_other_or_so_many_at_once() {
    let slow = |_, _| (100, true);
    assert_eq!(begins(&play(3, Pace::default(), slow, None).0), [(0, 0), (1, 100), (2, 200)]);
    let two = Pace { at_once: 2, ..Pace::default() };
    assert_eq!(begins(&play(4, two, slow, None).0), [(0, 0), (1, 0), (2, 100), (3, 100)]);
}

#[test]
fn a_rate_is_kept_also_after_a_slow_answer() {
    let pace = Pace { at_once: 8, interval: ms(100), until_success: None };
    assert_eq!(begins(&play(3, pace, |_, _| (1, true), None).0), [(0, 0), (1, 100), (2, 200)]);
    let one = Pace { at_once: 1, ..pace };
    let slow_first = |n, _| (if n == 0 { 1000 } else { 1 }, true);
    assert_eq!(begins(&play(3, one, slow_first, None).0), [(0, 0), (1, 1000), (2, 1100)]);
}

#[test]
fn tries_go_on_until_success_and_keep_the_order() {
    let until = UntilSuccess { pause: ms(50), tries: 3, within: ms(10_000) };
    let pace = Pace { until_success: Some(until), ..Pace::default() };
    let (begun, _, done) = play(2, pace, |n, tries| (10, n == 1 || tries == 3), None);
    assert_eq!(begun, [(0, 1, 0), (0, 2, 60), (0, 3, 120), (1, 1, 130)]);
    assert_eq!(done, 2);
    let (begun, ..) = play(1, pace, |_, _| (10, false), None);
    assert_eq!(begun.len(), 3, "{begun:?}");
    let soon = Pace { until_success: Some(UntilSuccess { within: ms(70), ..until }), ..pace };
    assert_eq!(play(1, soon, |_, _| (10, false), None).0.len(), 2);
    // Others go on where there is room.
    let two = Pace { at_once: 2, ..pace };
    let (begun, ..) = play(3, two, |n, tries| (10, n > 0 || tries == 2), None);
    assert_eq!(begun, [(0, 1, 0), (1, 1, 0), (2, 1, 10), (0, 2, 60)]);
}

#[test]
fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let pace = Pace { at_once: 4, interval: ms(10), until_success: None };
    let (begun, _, done) = play(100, pace, |_, _| (500, true), Some(25));
    assert!(begun.len() <= 4 && done == begun.len() as u64, "{begun:?} {done}");
    let until = UntilSuccess { pause: ms(1000), tries: 3, within: ms(10_000) };
    let mut pacer = Pacer::new(Course::new(Manner::default()), Pace { until_success: Some(until), ..Pace::default() });
    let at = Timestamp::from_micros(0);
    pacer.offer(Some(Item { id: DeliveryId::first_at(at), received_at: at }));
    assert!(matches!(pacer.next(ms(0)), Next::Send(0, _, 1)));
    assert_eq!(pacer.answered(0, true, ms(5)), After::Again);
    assert_eq!((pacer.stop(), pacer.next(ms(5))), (1, Next::Over));
}

#[test]
fn rates_are_read() {
    let read = |text: &str| text.parse::<Rate>().map(Rate::interval);
    assert_eq!(read("5/s"), Ok(ms(200)));
    assert_eq!(read("300/m"), Ok(ms(200)));
    assert_eq!(read("0.5"), Ok(ms(2000)));
    assert_eq!(read("3/s"), Ok(Duration::from_nanos(333_333_334)));
    for bad in ["", "5/d", "0/s", "-1/s", "NaN", "inf", "1e-9/h", "x/s"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn bounds_hold_and_nothing_is_lost(
        all in 0_u64..40, at_once in 1_usize..9, interval in 0_u64..40, tries in 1_u32..4, took in proptest::collection::vec(0_u64..300, 8),
        good in proptest::collection::vec(any::<bool>(), 7),
    ) {
        let until = UntilSuccess { pause: ms(30), tries, within: ms(100_000) };
        let pace = Pace { at_once, interval: ms(interval), until_success: Some(until) };
        let answer = |n: u64, t: u32| (took[(n as usize + t as usize) % 8], good[(n as usize * 3 + t as usize) % 7]);
        let (begun, most, done) = play(all, pace, answer, None);
        prop_assert!(most <= at_once);
        prop_assert_eq!(done, all);
        // Never more in any time than the rate allows, but for what lateness is made up for.
        for (i, first) in begun.iter().enumerate() {
            let apart = |(n, later): (usize, &Begin)| later.2 - first.2 + LATE.as_millis() as u64 >= interval * n as u64;
            prop_assert!(begun[i..].iter().enumerate().all(apart), "{:?}", begun);
        }
        for n in 0..all {
            let made: Vec<u32> = begun.iter().filter(|b| b.0 == n).map(|b| b.1).collect();
            let first_good = (1..=tries).find(|t| answer(n, *t).1).unwrap_or(tries);
            prop_assert_eq!(made, (1..=first_good).collect::<Vec<_>>());
        }
        // The order of first tries is the course's.
        let firsts: Vec<u64> = begun.iter().filter(|b| b.1 == 1).map(|b| b.0).collect();
        prop_assert_eq!(firsts, (0..all).collect::<Vec<_>>());
    }
}

#[test]
fn coarse_timers_do_not_slow_a_rate_down() {
    let pace = Pace { at_once: 9, interval: Duration::from_micros(700), until_success: None };
    let mut pacer = Pacer::new(Course::new(Manner { interval: pace.interval, ..Manner::default() }), pace);
    let (mut now, mut begun) = (Duration::ZERO, 0_u32);
    while now < ms(1000) {
        match pacer.next(now) {
            Next::Send(ticket, ..) => {
                begun += 1;
                pacer.answered(ticket, false, now);
            }
            Next::Want(_) => {
                let at = Timestamp::from_micros(begun.into());
                pacer.offer(Some(Item { id: DeliveryId::first_at(at), received_at: at }));
            }
            // Whole milliseconds, and one more.
            Next::Wait(until) => now = ms(until.expect("a time").as_millis() as u64 + 2),
            Next::Over => panic!("over"),
        }
    }
    assert!((1420..=1430).contains(&begun), "{begun}");
}
