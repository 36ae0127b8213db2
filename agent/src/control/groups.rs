//! A list of deliveries in which those that seem to be repeats stand with the delivery that they seem to repeat.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tunnel_archive::{Archive, ArchiveError, Cursor, Order, Query};
use tunnel_delivery::{DeliveryId, Summary};

use super::meant::Meant;
use super::operations::LIMIT;
use super::{ControlError, Filter, Kind, Operations};
use crate::summary;

/// The most repeats that are listed of one delivery.
const REPEATS: usize = 100;

/// A delivery and what seems to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The first delivery; absent where it is not stored any more.
    pub first: Option<Summary>,
    /// The later ones, oldest first.
    pub repeats: Vec<Summary>,
    /// How many more repeats there are.
    pub more: u64,
}

/// A list of groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grouped {
    /// The groups, in the order in which a list of all would come to the first of each.
    pub groups: Vec<Group>,
    /// Where to go on; absent at the end.
    pub next: Option<String>,
}

impl Operations {
    /// The groups of which one delivery at least is meant; the limit is one of groups.
    pub(crate) async fn groups(&self, filter: &Filter) -> Result<Grouped, ControlError> {
        let limit = filter.limit.unwrap_or(LIMIT);
        let mut cursor = match &filter.cursor {
            Some(text) => Some(text.parse::<Cursor>().map_err(|e| ControlError::new(Kind::Usage, e.to_string()))?),
            None => None,
        };
        let meant = Meant::read(filter)?;
        let mut met = HashSet::new();
        let mut groups = Vec::new();
        while groups.len() < limit {
            let (meant, room) = (meant.clone(), (limit - groups.len()).min(1000));
            let (found, next) = self
                .read(move |archive| {
                    let page = meant.page(archive, room, cursor)?;
                    let mut several = HashSet::new();
                    let mut found = HashMap::new();
                    let mut order = Vec::new();
                    for line in page.items {
                        let first = line.duplicate_of.unwrap_or(line.id);
                        if line.duplicate_of.is_some() || line.repeats > 0 {
                            several.insert(first);
                        }
                        if met.insert(first) {
                            order.push(first);
                        }
                        found.insert(line.id, line);
                    }
                    let groups: Result<Vec<Group>, ArchiveError> = order
                        .into_iter()
                        .map(|first| match (several.contains(&first), found.remove(&first)) {
                            (false, line) => Ok(Group { first: line, repeats: Vec::new(), more: 0 }),
                            (true, line) => group(archive, first, line),
                        })
                        .collect();
                    Ok(((groups?, met), page.next))
                })
                .await?;
            groups.extend(found.0);
            met = found.1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Grouped { groups, next: cursor.map(|c| c.to_string()) })
    }
}

/// The group of a first delivery that has repeats. Its own line may be known.
fn group(archive: &Archive, id: DeliveryId, line: Option<Summary>) -> Result<Group, ArchiveError> {
    let first = match line {
        Some(line) => Some(line),
        None => archive.get(id)?.map(|stored| summary::of_stored(&stored)),
    };
    let mut group = Group { first, repeats: Vec::new(), more: 0 };
    let mut cursor = None;
    loop {
        let query = Query {
            order: Order::OldestFirst,
            limit: REPEATS - group.repeats.len(),
            cursor,
            repeats_of: Some(id),
            ..Query::default()
        };
        let page = archive.list(&query)?;
        group.repeats.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || group.repeats.len() == REPEATS {
            break;
        }
    }
    let counted = group.first.as_ref().map_or(0, |first| u64::from(first.repeats));
    group.more = counted.saturating_sub(group.repeats.len() as u64);
    Ok(group)
}
