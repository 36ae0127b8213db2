//! The list as a window over the archive: a few pages of it, newest first, with a place at either end to go on from. Pure.
//!
//! What comes while the window reaches the newest delivery is put in by its id; what comes otherwise is read when somebody scrolls there.

use std::collections::VecDeque;

use tunnel_delivery::{DeliveryId, Summary};

use crate::control::{PageAsk, PageFound};

/// Lines read at once.
const PAGE: usize = 200;
/// Lines kept; three pages.
const KEEP: usize = 600;
/// So many lines before the end of what is there the next page is read.
const AHEAD: usize = 100;

/// A part of the list that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Which list; a page of an earlier one is thrown away.
    pub(crate) generation: u64,
    /// Which part of it.
    pub(crate) place: Place,
    /// In the query language.
    pub(crate) query: String,
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the newest on.
    Newest,
    /// From the oldest back.
    Oldest,
    /// Newer than this.
    Newer(String),
    /// Older than this.
    Older(String),
    /// The newest once more, for a list that reaches there.
    Again,
}

impl Ask {
    /// The question to the store.
    pub(crate) fn question(&self) -> PageAsk {
        let (oldest_first, cursor) = match &self.place {
            Place::Newest | Place::Again => (false, None),
            Place::Oldest => (true, None),
            Place::Newer(cursor) => (true, Some(cursor.clone())),
            Place::Older(cursor) => (false, Some(cursor.clone())),
        };
        PageAsk { query: self.query.clone(), oldest_first, cursor, limit: PAGE }
    }
}

/// What is at an end of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edge {
    /// Nothing more.
    End,
    /// More, from here.
    More(String),
}

/// The window.
#[derive(Debug)]
pub(crate) struct Window {
    items: VecDeque<Summary>,
    newer: Edge,
    older: Edge,
    /// Whether a page is on its way; there is one at a time.
    asked: bool,
    generation: u64,
    query: String,
    /// The selected line.
    selected: usize,
    /// The first line that is shown.
    top: usize,
    /// How many are shown.
    rows: usize,
    /// Whether the selection stays at the newest.
    pub(crate) follow: bool,
    /// How many deliveries the search looked at, while it goes on.
    pub(crate) searched: Option<u64>,
    /// A failure that is looked for further down or up than the window reaches.
    wanted_failure: Option<bool>,
}

impl Window {
    /// A window that shows nothing yet.
    pub(crate) fn new() -> Window {
        Window {
            items: VecDeque::new(),
            newer: Edge::End,
            older: Edge::End,
            asked: false,
            generation: 0,
            query: String::new(),
            selected: 0,
            top: 0,
            rows: 1,
            follow: true,
            searched: None,
            wanted_failure: None,
        }
    }

    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn selected(&self) -> Option<&Summary> {
        self.items.get(self.selected)
    }

    pub(crate) fn get(&self, id: DeliveryId) -> Option<&Summary> {
        self.place_of(id).ok().map(|i| &self.items[i])
    }

    /// The lines that are shown, and which of them is selected.
    pub(crate) fn shown(&self) -> (impl Iterator<Item = &Summary>, usize) {
        (self.items.iter().skip(self.top).take(self.rows), self.selected.saturating_sub(self.top))
    }

    /// Whether there is nothing before the first line, and nothing behind the last.
    pub(crate) fn ends(&self) -> (bool, bool) {
        (self.newer == Edge::End, self.older == Edge::End)
    }

    /// How many lines above and below what is shown are known.
    pub(crate) fn beyond(&self) -> (usize, usize) {
        (self.top, self.items.len().saturating_sub(self.top + self.rows))
    }

    /// Whether a page is on its way.
    pub(crate) fn waits(&self) -> bool {
        self.asked
    }

    /// Another list, or the same one read anew.
    pub(crate) fn look_for(&mut self, query: &str) -> Ask {
        self.start(query.to_owned(), Place::Newest)
    }

    fn start(&mut self, query: String, place: Place) -> Ask {
        self.generation += 1;
        self.query = query;
        self.items.clear();
        (self.newer, self.older) = (Edge::End, Edge::End);
        (self.selected, self.top, self.follow) = (0, 0, place == Place::Newest);
        self.wanted_failure = None;
        self.searched = Some(0);
        self.ask(place)
    }

    fn ask(&mut self, place: Place) -> Ask {
        self.asked = true;
        Ask { generation: self.generation, place, query: self.query.clone() }
    }

    /// Ends a search where it is.
    pub(crate) fn stop(&mut self) {
        self.generation += 1;
        self.asked = false;
        self.searched = None;
        self.wanted_failure = None;
    }

    /// A page came; what is to be read next.
    pub(crate) fn page(&mut self, ask: &Ask, found: PageFound) -> Option<Ask> {
        if ask.generation != self.generation {
            return None;
        }
        self.asked = false;
        if ask.place == Place::Again {
            // Perhaps so many came that what lies between is not in the page.
            let front = self.items.front().map(|s| s.id);
            let reaches = found.next.is_none() || found.items.last().is_none_or(|last| front >= Some(last.id));
            if !reaches {
                if self.follow {
                    let query = self.query.clone();
                    return Some(self.start(query, Place::Newest));
                }
                self.newer = Edge::More(front.map(|id| id.to_string()).unwrap_or_default());
                return self.more();
            }
            for line in found.items.iter().rev() {
                self.put(line);
                self.change(line.id, |there| there.pinned = line.pinned);
            }
            return None;
        }
        let edge = found.next.map_or(Edge::End, Edge::More);
        let searched = self.searched.unwrap_or(0) + found.scanned;
        let came = found.items.len();
        match ask.place {
            Place::Again => {}
            Place::Newest | Place::Older(_) => {
                // What came meanwhile by itself may be in the page too.
                let last = self.items.back().map(|s| s.id);
                self.items.extend(found.items.into_iter().filter(|s| last.is_none_or(|last| s.id < last)));
                self.older = edge;
            }
            Place::Oldest | Place::Newer(_) => {
                let first = self.items.front().map(|s| s.id);
                let more: Vec<_> = found.items.into_iter().filter(|s| first.is_none_or(|first| s.id > first)).collect();
                self.selected += more.len();
                self.top += more.len();
                for line in more {
                    self.items.push_front(line);
                }
                self.newer = edge;
                if ask.place == Place::Oldest {
                    self.older = Edge::End;
                    self.selected = self.items.len().saturating_sub(1);
                }
            }
        }
        self.trim();
        self.keep_in_view();
        if let Some(down) = self.wanted_failure
            && self.find_failure(down)
        {
            self.wanted_failure = None;
        }
        // A search that finds little goes on by itself.
        let goes_on = match &ask.place {
            Place::Newest | Place::Older(_) if came < PAGE => self.older.clone(),
            Place::Oldest | Place::Newer(_) if came < PAGE => self.newer.clone(),
            _ => Edge::End,
        };
        let next = match (goes_on, &ask.place) {
            (Edge::More(at), Place::Newest | Place::Older(_)) => Some(Place::Older(at)),
            (Edge::More(at), _) => Some(Place::Newer(at)),
            (Edge::End, _) => None,
        };
        self.searched = next.is_some().then_some(searched);
        match next.filter(|_| self.items.len() < KEEP) {
            Some(place) => Some(self.ask(place)),
            None => {
                self.searched = None;
                self.more()
            }
        }
    }

    /// What is newer than the newest that is known, for a list that nobody tells of what comes. Lines that are there are brought up to date.
    pub(crate) fn first_again(&mut self) -> Option<Ask> {
        if self.asked || self.newer != Edge::End {
            return None;
        }
        Some(self.ask(Place::Again))
    }

    /// Some came that were not told of.
    pub(crate) fn missed(&mut self) -> Option<Ask> {
        if self.follow {
            return self.first_again();
        }
        if let (Edge::End, Some(first)) = (&self.newer, self.items.front()) {
            self.newer = Edge::More(first.id.to_string());
        }
        self.more()
    }

    /// A page did not come.
    pub(crate) fn failed(&mut self, ask: &Ask) -> bool {
        if ask.generation != self.generation {
            return false;
        }
        self.asked = false;
        self.searched = None;
        true
    }

    /// The page that is needed because the end of what is there is near.
    pub(crate) fn more(&mut self) -> Option<Ask> {
        if self.asked {
            return None;
        }
        if let Edge::More(at) = &self.older
            && (self.selected.max(self.top + self.rows) + AHEAD >= self.items.len()
                || self.wanted_failure == Some(true))
        {
            let place = Place::Older(at.clone());
            return Some(self.ask(place));
        }
        if let Edge::More(at) = &self.newer
            && (self.selected.min(self.top) < AHEAD || self.wanted_failure == Some(false))
        {
            let place = Place::Newer(at.clone());
            return Some(self.ask(place));
        }
        None
    }

    /// Drops what is far from the selection.
    fn trim(&mut self) {
        while self.items.len() > KEEP {
            if self.selected * 2 < self.items.len() {
                self.items.pop_back();
                if let Some(last) = self.items.back() {
                    self.older = Edge::More(last.id.to_string());
                }
            } else {
                self.items.pop_front();
                self.selected = self.selected.saturating_sub(1);
                self.top = self.top.saturating_sub(1);
                if let Some(first) = self.items.front() {
                    self.newer = Edge::More(first.id.to_string());
                }
            }
        }
    }

    fn place_of(&self, id: DeliveryId) -> Result<usize, usize> {
        self.items.binary_search_by(|s| id.cmp(&s.id))
    }

    /// A delivery came that fits, or one changed.
    pub(crate) fn put(&mut self, line: &Summary) {
        match self.place_of(line.id) {
            Ok(i) => {
                // What happens to an attempt does not know of pins that were set meanwhile.
                let pinned = self.items[i].pinned;
                self.items[i] = Summary { pinned, ..line.clone() };
            }
            // Beyond an end that has more it will be read with the rest.
            Err(0) if self.newer != Edge::End => {}
            Err(i) if i == self.items.len() && self.older != Edge::End => {}
            Err(i) => {
                self.items.insert(i, line.clone());
                if !self.follow && self.items.len() > 1 && i <= self.selected {
                    self.selected += 1;
                    self.top += 1;
                }
                self.trim();
                self.keep_in_view();
            }
        }
    }

    /// Changes a line where it stands.
    pub(crate) fn change(&mut self, id: DeliveryId, change: impl FnOnce(&mut Summary)) {
        if let Ok(i) = self.place_of(id) {
            change(&mut self.items[i]);
        }
    }

    /// How many lines are shown.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        self.rows = rows.max(1);
        self.keep_in_view();
    }

    fn keep_in_view(&mut self) {
        self.selected = self.selected.min(self.items.len().saturating_sub(1));
        if self.follow {
            self.selected = 0;
        }
        self.top = self.top.clamp((self.selected + 1).saturating_sub(self.rows), self.selected);
        self.top = self.top.min(self.items.len().saturating_sub(self.rows));
    }

    /// Moves the selection.
    pub(crate) fn select(&mut self, to: usize) -> Option<Ask> {
        self.wanted_failure = None;
        self.selected = to.min(self.items.len().saturating_sub(1));
        self.follow = self.selected == 0 && self.newer == Edge::End;
        self.keep_in_view();
        self.more()
    }

    pub(crate) fn down(&mut self, by: usize) -> Option<Ask> {
        self.select(self.selected.saturating_add(by))
    }

    pub(crate) fn up(&mut self, by: usize) -> Option<Ask> {
        self.select(self.selected.saturating_sub(by))
    }

    /// Scrolls without taking the selection out of view.
    pub(crate) fn scroll(&mut self, down: bool, by: usize) -> Option<Ask> {
        let most = self.items.len().saturating_sub(self.rows);
        self.top = if down { (self.top + by).min(most) } else { self.top.saturating_sub(by) };
        self.selected = self.selected.clamp(self.top, self.top + self.rows - 1);
        self.select(self.selected)
    }

    /// The line at this row of the screen.
    pub(crate) fn at_row(&mut self, row: usize) -> Option<Ask> {
        if self.top + row < self.items.len() { self.select(self.top + row) } else { None }
    }

    /// The newest delivery, wherever that is.
    pub(crate) fn first(&mut self) -> Option<Ask> {
        if self.newer == Edge::End {
            return self.select(0);
        }
        let query = self.query.clone();
        Some(self.start(query, Place::Newest))
    }

    /// The oldest.
    pub(crate) fn last(&mut self) -> Option<Ask> {
        if self.older == Edge::End {
            return self.select(usize::MAX);
        }
        let query = self.query.clone();
        Some(self.start(query, Place::Oldest))
    }

    /// Stays where it is when something comes.
    pub(crate) fn hold(&mut self) {
        self.follow = false;
    }

    /// The next line that failed, below or above the selection; looks on where the window ends.
    pub(crate) fn failure(&mut self, down: bool) -> (bool, Option<Ask>) {
        if self.find_failure(down) {
            return (true, self.more());
        }
        let edge = if down { &self.older } else { &self.newer };
        if *edge == Edge::End {
            return (false, None);
        }
        self.wanted_failure = Some(down);
        self.selected = if down { self.items.len().saturating_sub(1) } else { 0 };
        self.keep_in_view();
        (true, self.more())
    }

    fn find_failure(&mut self, down: bool) -> bool {
        let fails = |s: &Summary| is_failure(s);
        let found = if down {
            (self.selected + 1..self.items.len()).find(|i| fails(&self.items[*i]))
        } else {
            (0..self.selected.min(self.items.len())).rev().find(|i| fails(&self.items[*i]))
        };
        if let Some(found) = found {
            self.selected = found;
            self.follow = false;
            self.keep_in_view();
        }
        found.is_some()
    }
}

/// Whether a delivery is one to look at: not answered 2xx, or with a signature that does not hold.
pub(crate) fn is_failure(s: &Summary) -> bool {
    use tunnel_delivery::{AnswerClass, SignatureStatus};
    !matches!(s.answer.class, AnswerClass::None | AnswerClass::Queued | AnswerClass::Success)
        || s.signature == SignatureStatus::Invalid
}

#[cfg(test)]
mod tests {
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
            let from = at
                .map_or(0, |i| i + usize::from(all.get(i).is_some_and(|s| Some(s.id.to_string()) == question.cursor)));
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
}
