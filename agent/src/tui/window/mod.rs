//! The list as a window over the archive: a few pages of it, newest first, with a place at either end to go on from. Pure.
//!
//! What comes while the window reaches the newest delivery is put in by its id; what comes otherwise is read when somebody scrolls there.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use tunnel_delivery::{DeliveryId, Summary};

use crate::control::PageFound;

use ask::Edge;
pub(crate) use ask::{Ask, PAGE, Place};

/// Lines kept; three pages.
const KEEP: usize = 600;
/// So many lines before the end of what is there the next page is read.
const AHEAD: usize = 100;

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
    /// Whether there was none.
    no_failure: bool,
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
            no_failure: false,
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

    /// Another list, with this line of it selected; what is older and newer is read around it.
    pub(crate) fn look_around(&mut self, query: &str, line: Summary) -> Ask {
        let id = line.id.to_string();
        let ask = self.start(query.to_owned(), Place::Older(id.clone()));
        self.items.push_back(line);
        (self.newer, self.older) = (Edge::More(id.clone()), Edge::More(id));
        ask
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
        if let Some(down) = self.wanted_failure {
            let ends = *(if down { &self.older } else { &self.newer }) == Edge::End;
            if self.find_failure(down) {
                self.wanted_failure = None;
            } else if ends {
                self.wanted_failure = None;
                self.no_failure = true;
            } else {
                // What was gone through is not gone through again.
                self.selected = if down { self.items.len().saturating_sub(1) } else { 0 };
                self.keep_in_view();
            }
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

    /// A delivery is not stored any more.
    pub(crate) fn gone(&mut self, id: DeliveryId) {
        if let Ok(i) = self.place_of(id) {
            self.items.remove(i);
            if i < self.selected {
                self.selected -= 1;
                self.top = self.top.saturating_sub(1);
            }
            self.keep_in_view();
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

    /// Whether the look for a failure beyond the window came to nothing since this was asked last.
    pub(crate) fn took_no_failure(&mut self) -> bool {
        std::mem::take(&mut self.no_failure)
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
