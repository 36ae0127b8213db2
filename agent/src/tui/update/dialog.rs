//! The keys while something stands above the panes: help, a line that is asked for, a question, a menu.

use std::path::PathBuf;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tunnel_catalogue::EventType;

use super::super::copy;
use super::super::edit;
use super::super::keys::Action;
use super::super::message::Effect;
use super::super::model::{Asking, Dialog, Model};
use super::action::leaves_with_patients_data;
use super::{filter, stored};
use crate::control::Marking;
use crate::forward::TargetUrl;

/// Rows of help that a page is.
const PAGE: usize = 10;

pub(super) fn on_key(m: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if key.code == KeyCode::Esc || control_c {
        if let Some(Dialog::Edited { .. }) = m.dialog.take() {
            m.say("the changed copy is thrown away, nothing is sent");
        }
        return;
    }
    let Some(dialog) = m.dialog.take() else { return };
    m.dialog = match dialog {
        Dialog::Help { top } => help(m, key, top),
        Dialog::Confirm { question, yes } => match key.code {
            KeyCode::Char('y' | 'Y') | KeyCode::Enter => {
                effects.extend(yes);
                None
            }
            KeyCode::Char('n' | 'N' | 'q') => None,
            _ => Some(Dialog::Confirm { question, yes }),
        },
        Dialog::Copy => match key.code {
            KeyCode::Char(choice) if copy::CHOICES.iter().any(|(c, _)| *c == choice) => {
                copied(m, choice, effects);
                None
            }
            _ => Some(Dialog::Copy),
        },
        Dialog::Prompt(mut prompt) => {
            if key.code == KeyCode::Enter {
                let text = prompt.input.value().trim().to_owned();
                match answered(m, prompt.what, &text, effects) {
                    // The answer may have opened a question.
                    Ok(()) => m.dialog.take(),
                    Err(problem) => {
                        prompt.problem = Some(problem);
                        Some(Dialog::Prompt(prompt))
                    }
                }
            } else {
                if let Some(request) = filter::request(key) {
                    prompt.input.handle(request);
                    prompt.problem = None;
                }
                Some(Dialog::Prompt(prompt))
            }
        }
        Dialog::Trigger { mut input, mut selected } => {
            let found = events(input.value());
            match key.code {
                KeyCode::Enter => {
                    if let Some(event) = found.get(selected) {
                        m.busy = Some(format!("sending {} …", event.name));
                        effects.push(Effect::Trigger(event.name.to_owned()));
                        return;
                    }
                }
                KeyCode::Down | KeyCode::Tab => selected = (selected + 1).min(found.len().saturating_sub(1)),
                KeyCode::Up | KeyCode::BackTab => selected = selected.saturating_sub(1),
                KeyCode::PageDown => selected = (selected + PAGE).min(found.len().saturating_sub(1)),
                KeyCode::PageUp => selected = selected.saturating_sub(PAGE),
                _ => {
                    if let Some(request) = filter::request(key)
                        && input.handle(request).is_some_and(|change| change.value)
                    {
                        selected = 0;
                    }
                }
            }
            Some(Dialog::Trigger { input, selected })
        }
        Dialog::Edited { draft, stored } => {
            let id = stored.delivery.id;
            let sign = match key.code {
                KeyCode::Enter | KeyCode::Char('s') => true,
                KeyCode::Char('u') => false,
                KeyCode::Char('e') => {
                    effects.push(Effect::Edit(id, draft));
                    return;
                }
                _ => {
                    m.dialog = Some(Dialog::Edited { draft, stored });
                    return;
                }
            };
            match draft.read(&stored, None, sign) {
                Ok(edited) => {
                    m.busy = Some("sending the changed copy …".into());
                    effects.push(Effect::Send(id, Box::new(edited)));
                    None
                }
                Err(why) => {
                    m.complain(format!("{why}; e edits it again"));
                    Some(Dialog::Edited { draft, stored })
                }
            }
        }
    };
}

fn help(m: &Model, key: KeyEvent, top: usize) -> Option<Dialog> {
    // A key of the map means the same here as outside, as far as it scrolls.
    let top = match m.keys.action(key) {
        Some(Action::Down) => top + 1,
        Some(Action::Up) => top.saturating_sub(1),
        Some(Action::PageDown) => top + PAGE,
        Some(Action::PageUp) => top.saturating_sub(PAGE),
        Some(Action::First) => 0,
        Some(Action::Last) => usize::MAX / 2,
        Some(Action::Help | Action::Quit | Action::Back) => return None,
        _ if key.code == KeyCode::Char(' ') => top + PAGE,
        _ => top,
    };
    let most = super::super::view::help_rows(m).len().saturating_sub(usize::from(m.size.1.saturating_sub(2)));
    Some(Dialog::Help { top: top.min(most) })
}

pub(super) fn paste(m: &mut Model, text: &str) {
    if let Some(Dialog::Prompt(prompt)) = &mut m.dialog {
        filter::insert(&mut prompt.input, text);
        prompt.problem = None;
    } else if let Some(Dialog::Trigger { input, selected }) = &mut m.dialog {
        filter::insert(input, text);
        *selected = 0;
    }
}

/// The events whose names have all of these words.
pub(crate) fn events(text: &str) -> Vec<&'static EventType> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    tunnel_catalogue::all().iter().filter(|e| words.iter().all(|w| e.name.contains(w))).collect()
}

fn answered(m: &mut Model, what: Asking, text: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    match what {
        Asking::Target(id) => {
            let to: TargetUrl = text.parse().map_err(|e| format!("{e}"))?;
            let send = Effect::Replay(id, Some(to.clone()));
            if leaves_with_patients_data(m, id, &to.peer.host) {
                m.dialog = Some(Dialog::Confirm {
                    question: format!(
                        "This delivery is from production and {} is not this machine. It may be about patients. Send it there?",
                        to.peer.host
                    ),
                    yes: vec![send],
                });
            } else {
                m.busy = Some(format!("sending to {to} …"));
                effects.push(send);
            }
        }
        Asking::Note(id) => {
            effects.push(Effect::Mark(Marking { id, pinned: None, note: Some(text.to_owned()) }));
        }
        Asking::File => {
            if text.is_empty() {
                return Err("name a file".into());
            }
            let shown = m.list.selected().and_then(|s| stored(m, s.id));
            let Some(stored) = shown else { return Err("the delivery is not shown any more".into()) };
            let path = PathBuf::from(text);
            if let Some(folder) = path.parent() {
                m.folder = folder.display().to_string();
            }
            effects.push(Effect::Save(path, edit::fixture(&stored)));
        }
    }
    Ok(())
}

fn copied(m: &mut Model, choice: char, effects: &mut Vec<Effect>) {
    let Some(stored) = m.list.selected().and_then(|s| stored(m, s.id)) else { return };
    match copy::text(choice, &stored, m.standing.target.as_deref()) {
        Ok(text) => {
            m.say(format!("{} bytes given to the terminal's clipboard (OSC 52)", text.len()));
            effects.push(Effect::Copy(text));
        }
        Err(why) => m.complain(why),
    }
}
