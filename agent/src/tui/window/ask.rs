//! Which part of the list is read next.

use crate::control::PageAsk;

/// Lines read at once.
pub(crate) const PAGE: usize = 200;

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
pub(super) enum Edge {
    /// Nothing more.
    End,
    /// More, from here.
    More(String),
}
