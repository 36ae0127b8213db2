//! The window over a store of samples, gone through in every direction.

use std::sync::LazyLock;

use super::*;
use crate::tui::sample;
use proptest::prelude::*;

/// Made once: the samples are made by way of JSON.
static LINES: LazyLock<Vec<Summary>> = LazyLock::new(|| (0..6000).map(sample::line).collect());

/// A store of deliveries 0..n, asked as the archive is.
fn answer(n: u32, ask: &Ask) -> PageFound {
    let question = ask.question();
    let all = &LINES[..n as usize];
    let at = question.cursor.as_ref().map(|at| all.partition_point(|s| s.id.to_string() < *at));
    let (items, more): (Vec<Summary>, bool) = if question.oldest_first {
        // Behind the one at the cursor, if it is there.
        let from =
            at.map_or(0, |i| i + usize::from(all.get(i).is_some_and(|s| Some(s.id.to_string()) == question.cursor)));
        let rest = &all[from..];
        (rest.iter().take(question.limit).cloned().collect(), rest.len() > question.limit)
    } else {
        let rest = &all[..at.unwrap_or(all.len())];
        (rest.iter().rev().take(question.limit).cloned().collect(), rest.len() > question.limit)
    };
    let next = items.last().filter(|_| more).map(|s| s.id.to_string());
    PageFound { scanned: items.len() as u64, items, next }
}

fn settle(w: &mut Window, n: u32, mut ask: Option<Ask>) {
    while let Some(a) = ask {
        let found = answer(n, &a);
        ask = w.page(&a, found);
    }
}

fn window(n: u32) -> Window {
    let mut w = Window::new();
    w.set_rows(20);
    let ask = w.look_for("");
    settle(&mut w, n, Some(ask));
    w
}

#[test]
fn it_holds_a_few_pages_and_goes_everywhere() {
    let n = 5000;
    let mut w = window(n);
    assert_eq!(w.selected().unwrap().id, sample::id(n - 1));
    for i in 1..n {
        let ask = w.down(1);
        settle(&mut w, n, ask);
        assert_eq!(w.selected().unwrap().id, sample::id(n - 1 - i));
        assert!(w.len() <= KEEP);
    }
    assert_eq!(w.ends(), (false, true));
    for i in 1..n {
        let ask = w.up(1);
        settle(&mut w, n, ask);
        assert_eq!(w.selected().unwrap().id, sample::id(i));
    }
    let ask = w.last();
    settle(&mut w, n, ask);
    assert_eq!(w.selected().unwrap().id, sample::id(0));
    let ask = w.first();
    settle(&mut w, n, ask);
    assert_eq!((w.selected().unwrap().id, w.follow), (sample::id(n - 1), true));
}

#[test]
fn it_follows_until_one_scrolls() {
    let mut w = window(50);
    w.put(&sample::line(50));
    assert_eq!(w.selected().unwrap().id, sample::id(50));
    drop(w.down(3));
    assert_eq!(w.selected().unwrap().id, sample::id(47));
    let before = w.shown().1;
    w.put(&sample::line(51));
    assert_eq!((w.selected().unwrap().id, w.shown().1), (sample::id(47), before));
    drop(w.first());
    w.put(&sample::line(52));
    assert_eq!(w.selected().unwrap().id, sample::id(52));
    // One that is late stands where it belongs.
    assert!(w.get(sample::id(52)).is_some());
}

#[test]
fn a_list_that_nobody_tells_of_what_comes_looks_again() {
    for scrolled in [0, 5] {
        for more in [3, 190, 450] {
            let mut w = window(50);
            drop(w.down(scrolled));
            let ask = w.first_again();
            settle(&mut w, 50 + more, ask);
            let wanted = if scrolled == 0 { 50 + more - 1 } else { 49 - scrolled as u32 };
            assert_eq!(w.selected().unwrap().id, sample::id(wanted), "{scrolled} {more}");
            let ask = w.first();
            settle(&mut w, 50 + more, ask);
            // Nothing is left out in between, however much of it is there.
            let wanted = (0..50 + more).rev().map(sample::id);
            assert!(w.items.iter().map(|s| s.id).eq(wanted.take(w.len())), "{scrolled} {more}");
            assert!(w.len() > 50);
        }
    }
}

#[test]
fn failures_are_found_beyond_the_window() {
    let mut w = window(3000);
    let mut met = 0;
    loop {
        let (found, ask) = w.failure(true);
        settle(&mut w, 3000, ask);
        if !found || !w.selected().is_some_and(is_failure) {
            break;
        }
        met += 1;
    }
    assert!(w.took_no_failure() || w.ends().1);
    assert_eq!(met, LINES[..3000].iter().filter(|s| is_failure(s)).count());
}

#[test]
fn a_page_of_an_earlier_list_is_thrown_away() {
    let mut w = Window::new();
    let old = w.look_for("a");
    let new = w.look_for("b");
    assert_eq!(w.page(&old, answer(10, &old)), None);
    assert_eq!(w.len(), 0);
    settle(&mut w, 10, Some(new));
    assert_eq!(w.len(), 10);
}

proptest! {
    /// Whatever is done, the lines are in order, none is there twice, and the selection is in view.
    #[test]
    fn it_stays_in_order(n in 0_u32..900, steps in proptest::collection::vec((0_u8..9, 0_usize..400), 0..40)) {
        let mut w = window(n);
        let mut n = n;
        for (what, by) in steps {
            let ask = match what {
                0 => w.down(by),
                1 => w.up(by),
                2 => w.first(),
                3 => w.last(),
                4 => w.failure(by % 2 == 0).1,
                5 => w.scroll(by % 2 == 0, by / 20),
                6 => { w.set_rows(by / 8); w.more() }
                7 => w.at_row(by / 20),
                _ => { w.put(&sample::line(n)); n += 1; None }
            };
            settle(&mut w, n, ask);
            let ids: Vec<_> = w.items.iter().map(|s| s.id).collect();
            prop_assert!(ids.windows(2).all(|two| two[0] > two[1]));
            prop_assert!(w.items.is_empty() || w.selected < w.items.len());
            prop_assert!(w.items.is_empty() || (w.top <= w.selected && w.selected < w.top + w.rows));
            prop_assert!(w.len() <= KEEP);
        }
    }
}
