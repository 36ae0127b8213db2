//! Events by name, by pattern, or all of the catalogue. Pure.

use tunnel_catalogue::{all, find, matches, nearest};

/// The word for every event of the catalogue.
const ALL: &str = "all";

/// The names are not all known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A name that the catalogue does not have, and those that are most like it.
    #[error("the catalogue has no event {name:?}")]
    Unknown {
        /// As given, cut.
        name: String,
        /// At most three.
        nearest: Vec<&'static str>,
    },
    /// A pattern that no event is of.
    #[error("no event of the catalogue is of the pattern {0:?}")]
    NoMatch(String),
}

impl SelectError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            SelectError::Unknown { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}? --force sends it all the same", nearest.join(", "))
            }
            SelectError::Unknown { .. } => {
                "`healthie-tunnel trigger --list` shows all; --force sends it all the same".to_owned()
            }
            SelectError::NoMatch(_) => "`healthie-tunnel trigger --list` shows all; `*` stands for any text".to_owned(),
        }
    }
}

/// The events that are meant, in the order of the names; of one pattern in the catalogue's. An event that is named twice is there twice,
/// one that two patterns have is there for each. `force` takes names that nobody knows.
///
/// # Errors
/// A name or pattern means none.
pub fn select(names: &[String], force: bool) -> Result<Vec<String>, SelectError> {
    let mut events = Vec::new();
    for name in names {
        let cut = || name.chars().take(100).collect::<String>();
        if name == ALL || name.contains('*') {
            let before = events.len();
            events.extend(all().iter().filter(|e| name == ALL || matches(name, e.name)).map(|e| e.name.to_owned()));
            if events.len() == before {
                return Err(SelectError::NoMatch(cut()));
            }
        } else if force || find(name).is_some() {
            events.push(name.clone());
        } else {
            let nearest = nearest(name).into_iter().map(|e| e.name).collect();
            return Err(SelectError::Unknown { name: cut(), nearest });
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str], force: bool) -> Result<Vec<String>, SelectError> {
        select(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), force)
    }

    #[test]
    fn names_patterns_and_all() {
        assert_eq!(of(&["task.created", "goal.d*"], false).unwrap(), ["task.created", "goal.delated", "goal.deleted"]);
        assert_eq!(of(&["all"], false).unwrap().len(), 182);
        assert_eq!(of(&["task.created", "task.created"], false).unwrap().len(), 2);
        assert_eq!(of(&["starship.launched"], true).unwrap(), ["starship.launched"]);
    }

    #[test]
    fn who_is_not_known_is_told_with_who_is() {
        let e = of(&["apointment.updated"], false).unwrap_err();
        assert!(e.to_string().contains("apointment.updated") && e.hint().contains("appointment.updated"), "{e:?}");
        assert!(of(&["zzzzzzzzzzzz"], false).unwrap_err().hint().contains("--list"));
        // A pattern is never an event's name, so that nothing is sent in its stead.
        assert_eq!(of(&["starship.*"], true), Err(SelectError::NoMatch("starship.*".into())));
    }
}
