//! A word to whoever asks for something that is not there and may be a slip: event names that nobody knows, a data folder without a store.

use super::super::{Failure, Output};
use crate::control::{Control, Filter, Local, has_store};

/// Says which of the patterns match no event of the catalogue and none that is stored. Without a store the catalogue has to do.
pub(crate) async fn note(patterns: &[String], control: Option<&Control>, out: &mut Output) -> Result<(), Failure> {
    for pattern in
        patterns.iter().filter(|p| !tunnel_catalogue::all().iter().any(|e| tunnel_catalogue::matches(p, e.name)))
    {
        let stored = match control {
            Some(control) => {
                let filter = Filter { events: vec![pattern.clone()], limit: Some(1), ..Filter::default() };
                !control.list(&filter).await?.items.is_empty()
            }
            None => false,
        };
        if !stored {
            out.flush()?;
            out.message(&sentence(
                pattern,
                if control.is_some() { "in the catalogue or stored" } else { "in the catalogue" },
            ));
        }
    }
    Ok(())
}

/// The same before a command that goes on; it also says where there is nothing yet, since that one waits and does not fail.
pub(super) async fn before_following(local: &Local, filter: &Filter, out: &mut Output) -> Result<(), Failure> {
    let unknown = |p: &String| !tunnel_catalogue::all().iter().any(|e| tunnel_catalogue::matches(p, e.name));
    if filter.events.iter().any(unknown) {
        let control = local.connect_if_any().await?;
        let noted = note(&filter.events, control.as_ref(), out).await;
        if let Some(control) = control {
            control.close().await;
        }
        noted?;
    }
    if !has_store(&local.data) {
        out.message(&format!("nothing is stored in {} yet; waiting for an agent there", local.data.display()));
    }
    Ok(())
}

fn sentence(pattern: &str, place: &str) -> String {
    let near = nearest(pattern);
    let shown: String = pattern.chars().take(100).collect();
    let hint = match near[..] {
        [] => "`healthie-tunnel trigger --list` shows the catalogue".to_owned(),
        _ => format!("did you mean {}?", near.join(", ")),
    };
    format!("note: no event {shown:?} is {place}; {hint}")
}

/// Up to three names that may have been meant. A star stands for the ends that most families of events have.
fn nearest(pattern: &str) -> Vec<&'static str> {
    let ends: &[&str] = if pattern.contains('*') { &["created", "updated", "deleted"] } else { &[""] };
    let mut near = Vec::new();
    for end in ends {
        let name = pattern.replacen('*', end, 1).replace('*', "");
        for event in tunnel_catalogue::nearest(&name) {
            if !near.contains(&event.name) {
                near.push(event.name);
            }
        }
    }
    near.truncate(3);
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_put_right() {
        let said = |pattern| sentence(pattern, "stored");
        assert!(
            said("apointment.created").contains("did you mean appointment.created"),
            "{}",
            said("apointment.created")
        );
        assert!(nearest("apointment.*").contains(&"appointment.created"), "{:?}", nearest("apointment.*"));
        assert_eq!(
            said("nonsense"),
            "note: no event \"nonsense\" is stored; `healthie-tunnel trigger --list` shows the catalogue"
        );
        assert!(said("\u{1b}[2J").contains("\\u{1b}"));
    }
}
