//! Courses: order, numbers, times, and that a seed tells one story.

use super::*;
use proptest::prelude::*;

const BEGAN: i64 = 1_763_714_000_000_000;

/// Deliveries, each so many milliseconds after the one before.
fn items(gaps: &[u32]) -> Vec<Item> {
    let mut at = BEGAN;
    let item = |(n, gap): (usize, &u32)| {
        at += i64::from(*gap) * 1000;
        let received_at = Timestamp::from_micros(at);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&(n as u64).to_be_bytes());
        Item { id: DeliveryId::build(received_at, random), received_at }
    };
    gaps.iter().enumerate().map(item).collect()
}

/// The whole course; `eager` are offered before any is taken.
fn course(items: &[Item], manner: Manner, eager: usize) -> Vec<Shot> {
    let mut items = items.to_vec();
    if manner.chaos.shuffle {
        manner.shuffle(&mut items);
    }
    let mut items = items.into_iter();
    let mut course = Course::new(manner);
    items.by_ref().take(eager).for_each(|i| course.offer(i));
    let mut shots = Vec::new();
    loop {
        match course.step() {
            Step::Shot(shot) => shots.push(shot),
            Step::Want => match items.next() {
                Some(item) => course.offer(item),
                None => course.end(),
            },
            Step::Over => break,
        }
    }
    assert_eq!(course.step(), Step::Over);
    shots
}

fn chaos(text: &str) -> Chaos {
    text.parse().unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn the_original_gaps_at_any_speed() {
    let items = items(&[0, 100, 0, 900]);
    let at = |speed| -> Vec<u64> {
        let manner = Manner { speed: Some(speed), ..Manner::default() };
        course(&items, manner, 0).iter().map(|s| s.at.as_millis() as u64).collect()
    };
    assert_eq!(at(1.0), [0, 100, 100, 1000]);
    assert_eq!(at(10.0), [0, 10, 10, 100]);
    assert_eq!(at(0.5), [0, 200, 200, 2000]);
}

#[test]
fn a_time_that_goes_back_is_not_waited_for() {
    let mut items = items(&[0, 100, 100]);
    items[2].received_at = items[0].received_at;
    let manner = Manner { speed: Some(1.0), ..Manner::default() };
    let at: Vec<_> = course(&items, manner, 0).iter().map(|s| s.at).collect();
    assert_eq!(at, [ms(0), ms(100), ms(100)]);
}

#[test]
fn each_in_a_row_and_the_last_is_marked() {
    let items = items(&[0, 1]);
    let shots = course(&items, Manner { times: 2, ..Manner::default() }, 0);
    let told: Vec<_> = shots.iter().map(|s| (s.id == items[0].id, s.copy, s.last, s.number)).collect();
    assert_eq!(told, [(true, 1, false, 0), (true, 2, true, 1), (false, 1, false, 2), (false, 2, true, 3)]);
}

#[test]
fn late_ones_do_not_hold_others_up() {
    let items = items(&[10; 200]);
    let manner = Manner { speed: Some(1.0), chaos: chaos("late=300ms:50%"), seed: 3, ..Manner::default() };
    let shots = course(&items, manner, 0);
    let due = |s: &Shot| ms(items.iter().position(|i| i.id == s.id).unwrap() as u64 * 10);
    let late = shots.iter().filter(|s| s.at != due(s)).count();
    assert!((70..130).contains(&late), "{late}");
    assert!(shots.iter().all(|s| s.at >= due(s) && s.at <= due(s) + ms(300)));
    // Twice as fast, late ones are late by half.
    let fast = course(&items, Manner { speed: Some(2.0), ..manner }, 0);
    assert!(fast.iter().zip(&shots).all(|(f, s)| f.id == s.id && (f.at * 2).abs_diff(s.at) < ms(1)));
}

#[test]
fn repeats_come_soon_but_not_always_next() {
    let items = items(&[1; 300]);
    let shots = course(&items, Manner { chaos: chaos("twice"), seed: 5, ..Manner::default() }, 0);
    assert_eq!(shots.len(), 600);
    let mut apart = Vec::new();
    for item in &items {
        let places: Vec<u64> = shots.iter().filter(|s| s.id == item.id).map(|s| s.number).collect();
        let [first, second] = places[..] else { panic!("{places:?}") };
        apart.push(second - first);
    }
    // Its own gap, and the repeats of others that fall into it.
    assert!(apart.iter().all(|a| (1..=2 * MOST_GAP + 2).contains(a)), "{apart:?}");
    assert!(apart.contains(&1) && apart.iter().any(|a| *a > MOST_GAP), "{apart:?}");
}

#[test]
fn a_course_can_be_gone_on_with_in_the_middle() {
    let items = items(&[5; 50]);
    let manner =
        Manner { chaos: chaos("twice=30%,shuffle,late=50ms,drop=10%"), seed: 9, speed: Some(1.0), ..Manner::default() };
    let whole = course(&items, manner, 0);
    let rest = course(&items, Manner { skip: 20, ..manner }, 0);
    assert_eq!(rest.len(), whole.len() - 20);
    assert!(rest.iter().zip(&whole[20..]).all(|(a, b)| (a.id, a.copy, a.number) == (b.id, b.copy, b.number)));
    assert_eq!(rest[0].at, Duration::ZERO);
}

fn any_chaos() -> impl Strategy<Value = Chaos> {
    let share = || proptest::option::of(0_u32..=100);
    (share(), any::<bool>(), share(), 1_u64..2000, share()).prop_map(|(twice, shuffle, late, by, drop)| {
        let share = |s: Option<u32>| format!("{}%", s.unwrap_or(0)).parse().unwrap();
        Chaos { twice: share(twice), shuffle, late: share(late), late_by: ms(by), drop: share(drop) }
    })
}

fn any_manner() -> impl Strategy<Value = Manner> {
    let speed = proptest::option::of(prop_oneof![Just(0.1), Just(1.0), Just(7.0)]);
    (1_u32..4, speed, 0_u64..50, any_chaos(), any::<u64>()).prop_map(|(times, speed, interval, chaos, seed)| Manner {
        times,
        speed,
        interval: ms(interval),
        chaos,
        seed,
        skip: 0,
    })
}

proptest! {
    #[test]
    fn the_same_seed_is_the_same_course_however_it_is_taken(
        gaps in proptest::collection::vec(0_u32..100, 0..60), manner in any_manner(), eager in 0_usize..60,
    ) {
        let items = items(&gaps);
        let once = course(&items, manner, 0);
        prop_assert_eq!(&once, &course(&items, manner, eager));
        prop_assert_eq!(manner.requests(items.len() as u64), once.len() as u64);
        prop_assert!(once.windows(2).all(|w| w[0].at <= w[1].at && w[0].number + 1 == w[1].number));
    }

    #[test]
    fn without_chaos_the_order_and_the_number_are_the_deliveries(
        gaps in proptest::collection::vec(0_u32..100, 0..60), times in 1_u32..4, speed in proptest::option::of(0.1_f64..20.0),
    ) {
        let items = items(&gaps);
        let shots = course(&items, Manner { times, speed, ..Manner::default() }, 0);
        let expected: Vec<_> = items.iter().flat_map(|i| std::iter::repeat_n(i.id, times as usize)).collect();
        prop_assert_eq!(shots.iter().map(|s| s.id).collect::<Vec<_>>(), expected);
        if let (Some(last), Some(speed)) = (shots.last(), speed) {
            let all: u64 = gaps.iter().skip(1).map(|g| u64::from(*g)).sum();
            prop_assert!((last.at.as_secs_f64() * speed - all as f64 / 1e3).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_not_dropped_is_sent_once_or_twice(
        gaps in proptest::collection::vec(0_u32..100, 0..60), chaos in any_chaos(), seed: u64,
    ) {
        let items = items(&gaps);
        let shots = course(&items, Manner { chaos, seed, ..Manner::default() }, 0);
        for item in &items {
            let copies: Vec<u32> = shots.iter().filter(|s| s.id == item.id).map(|s| s.copy).collect();
            let mut sorted = copies.clone();
            sorted.sort_unstable();
            prop_assert!([&[][..], &[1], &[1, 2]].contains(&&sorted[..]), "{:?}", copies);
            prop_assert!(!copies.is_empty() || chaos.drop > super::super::chaos::Share::NONE);
        }
    }
}

#[test]
fn another_seed_is_another_course() {
    let items = items(&[1; 40]);
    let ids = |seed| -> Vec<_> {
        let manner = Manner { chaos: chaos("shuffle"), seed, ..Manner::default() };
        course(&items, manner, 0).iter().map(|s| s.id).collect()
    };
    assert_ne!(ids(1), ids(2));
    assert_ne!(ids(1), items.iter().map(|i| i.id).collect::<Vec<_>>());
}
