//! Which deliveries are meant, and reading them from the store page by page, oldest first.
//!
//! Owns what words on the command line mean. The query language is `query`'s, ids are `control`'s.

use std::collections::VecDeque;

use tunnel_delivery::{DeliveryId, Summary};

use super::Plan;
use super::course::{Item, MOST_SHUFFLED};
use crate::control::{Control, ControlError, Filter, Kind, PageAsk};

/// How many are asked for at a time.
const PAGE: usize = 500;
/// The shortest part of an id that is taken for one.
const SHORTEST_ID: usize = 4;

/// Which deliveries are meant.
#[derive(Clone, Debug)]
pub enum Selection {
    /// `latest`, ids or parts of ids.
    Ids(Vec<String>),
    /// What fits a query.
    Query(String),
    /// What fits a filter.
    Filter(Box<Filter>),
}

/// The words are no selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Ids and conditions together.
    #[error("{id:?} is a delivery and {other:?} is a condition; name deliveries, or write conditions")]
    Mixed {
        /// The id.
        id: String,
        /// The other word.
        other: String,
    },
    /// A word without anything in it, such as a variable that was not set: it would mean everything.
    #[error("the filter is empty; since:beginning means all")]
    Empty,
}

impl Selection {
    /// What words mean: ids where all of them look like ids (`latest`, or at least four hexadecimal digits), else a query.
    ///
    /// # Errors
    /// `latest` or a whole id stands beside conditions, or a word is empty.
    pub fn read(words: &[String]) -> Result<Selection, SelectionError> {
        if words.iter().any(|w| w.trim().is_empty()) {
            return Err(SelectionError::Empty);
        }
        match words.iter().find(|w| !looks_like_id(w)) {
            None => Ok(Selection::Ids(words.to_vec())),
            Some(other) => match words.iter().find(|w| *w == "latest" || w.parse::<DeliveryId>().is_ok()) {
                Some(id) => Err(SelectionError::Mixed { id: id.clone(), other: other.clone() }),
                None => Ok(Selection::Query(words.join(" "))),
            },
        }
    }
}

fn looks_like_id(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    word == "latest" || (digits >= SHORTEST_ID && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// The deliveries of a plan, as they are read.
pub(super) struct Reader<'a> {
    control: &'a Control,
    plan: &'a Plan,
    /// Where to go on.
    from: From,
    /// How many were given.
    given: u64,
    /// The last that may be meant.
    until: Option<DeliveryId>,
}

enum From {
    /// Not begun.
    Beginning,
    Cursor(String),
    End,
}

impl<'a> Reader<'a> {
    pub(super) fn new(control: &'a Control, plan: &'a Plan) -> Reader<'a> {
        let from = match plan.after {
            Some(id) => From::Cursor(id.to_string()),
            None => From::Beginning,
        };
        Reader { control, plan, from, given: 0, until: plan.until }
    }

    /// Some more of them, perhaps none yet; `None` at the end.
    pub(super) async fn more(&mut self) -> Result<Option<VecDeque<Item>>, ControlError> {
        let room = self.plan.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.given));
        let cursor = match &self.from {
            From::End => return Ok(None),
            _ if room == 0 => return Ok(None),
            From::Beginning => None,
            From::Cursor(cursor) => Some(cursor.clone()),
        };
        let limit = usize::try_from(room).unwrap_or(usize::MAX).min(PAGE);
        if self.until.is_none() && !matches!(self.plan.selection, Selection::Ids(_)) {
            self.until = newest(self.control).await?;
            if self.until.is_none() {
                self.from = From::End;
                return Ok(Some(VecDeque::new()));
            }
        }
        let (lines, next): (Vec<Summary>, _) = match &self.plan.selection {
            Selection::Ids(ids) => {
                self.from = From::End;
                let mut items = self.named(ids).await?;
                items.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                self.given += items.len() as u64;
                return Ok(Some(items.into()));
            }
            Selection::Query(query) => {
                let ask = PageAsk { query: query.clone(), oldest_first: true, cursor, limit };
                let page = self.control.page(&ask).await?;
                (page.items, page.next)
            }
            Selection::Filter(filter) => {
                let filter = Filter { oldest_first: true, cursor, limit: Some(limit), ..Filter::clone(filter) };
                let found = self.control.list(&filter).await?;
                (found.items, found.next)
            }
        };
        self.from = next.map_or(From::End, From::Cursor);
        let found = lines.len();
        let items: VecDeque<Item> = lines
            .into_iter()
            .map(|l| Item { id: l.id, received_at: l.received_at })
            .take_while(|i| self.meant(i))
            .collect();
        if items.len() < found {
            // The rest came meanwhile.
            self.from = From::End;
        }
        self.given += items.len() as u64;
        Ok(Some(items))
    }

    fn meant(&self, item: &Item) -> bool {
        self.until.is_none_or(|until| item.id <= until)
    }

    /// Those that are named, each once, oldest first.
    async fn named(&self, ids: &[String]) -> Result<Vec<Item>, ControlError> {
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            let stored = self.control.get(id).await.map_err(|e| match e.kind {
                Kind::Negative if id != "latest" => e.hint(format!(
                    "`healthie-tunnel events list` shows what is there; to look for text write text:{id}"
                )),
                _ => e,
            })?;
            items.push(Item { id: stored.delivery.id, received_at: stored.delivery.received_at });
        }
        items.sort_by_key(|i| i.id);
        items.dedup();
        items.retain(|i| self.plan.after.is_none_or(|after| i.id > after));
        Ok(items)
    }

    /// All of them.
    ///
    /// # Errors
    /// They cannot be read, or are too many to be known all at once.
    pub(super) async fn all(&mut self) -> Result<Vec<Item>, ControlError> {
        let mut all = Vec::new();
        while let Some(more) = self.more().await? {
            all.extend(more);
            if all.len() > MOST_SHUFFLED {
                return Err(ControlError::new(
                    Kind::Usage,
                    format!("more than {MOST_SHUFFLED} deliveries cannot be put into another order"),
                )
                .hint("narrow the selection, or name its size with --limit"));
            }
        }
        Ok(all)
    }
}

/// The newest delivery that is stored.
///
/// # Errors
/// It cannot be read.
pub async fn newest(control: &Control) -> Result<Option<DeliveryId>, ControlError> {
    let found = control.list(&Filter { limit: Some(1), ..Filter::default() }).await?;
    Ok(found.items.first().map(|line| line.id))
}

/// How many deliveries a plan means; stops counting at `most`.
///
/// # Errors
/// They cannot be read.
pub async fn count(control: &Control, plan: &Plan, most: u64) -> Result<u64, ControlError> {
    let mut reader = Reader::new(control, plan);
    let mut count = 0;
    while count < most
        && let Some(more) = reader.more().await?
    {
        count += more.len() as u64;
    }
    Ok(count.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(words: &[&str]) -> Result<Selection, SelectionError> {
        Selection::read(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_ids_or_a_query() {
        let id = "01934b2e-5c1a-7000-8000-0123456789ab";
        for words in [&["latest"][..], &[id], &["beef", "0123456789ab"], &["latest", "c0ffee"]] {
            assert!(matches!(read(words), Ok(Selection::Ids(ids)) if ids == words), "{words:?}");
        }
        for words in [&["status:5xx"][..], &["abc"], &["no", "show"], &["text:beef"], &["beef", "status:5xx"]] {
            assert!(matches!(read(words), Ok(Selection::Query(q)) if q == words.join(" ")), "{words:?}");
        }
        for words in [&[""][..], &[" \t"], &["", "status:5xx"], &["latest", ""]] {
            assert!(matches!(read(words), Err(SelectionError::Empty)), "{words:?}");
        }
        for words in [&["latest", "status:5xx"][..], &["sig:valid", id]] {
            assert!(matches!(read(words), Err(SelectionError::Mixed { .. })), "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read(words in proptest::collection::vec(any::<String>(), 0..4)) {
            let _ = Selection::read(&words);
        }
    }
}
