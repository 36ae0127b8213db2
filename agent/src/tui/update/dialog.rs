//! The keys while something stands above the panes: help, a line that is asked for, a question, a menu.

use std::path::PathBuf;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tunnel_catalogue::EventType;
use tunnel_delivery::{Environment, SignatureStatus, Stored};

use super::super::copy::{self, Choice};
use super::super::edit;
use super::super::keys::Action;
use super::super::message::{Again, Batch, Effect, FixtureTo, Scrub};
use super::super::model::{Asking, Dialog, Model};
use super::super::replaying::Replaying;
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
        Dialog::Copy => match copy::CHOICES.iter().find(|(c, ..)| key.code == KeyCode::Char(*c)) {
            Some((_, choice, _)) => {
                copied(m, *choice, effects);
                // A fixture of what came from production is asked about.
                m.dialog.take()
            }
            None => Some(Dialog::Copy),
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
            let (words, path) = wanted(m, input.value());
            let found = events(&words);
            match key.code {
                KeyCode::Enter => {
                    if let Some(event) = found.get(selected) {
                        m.busy = Some(format!("sending {} …", event.name));
                        effects.push(Effect::Trigger(event.name.to_owned(), path.clone()));
                        m.path = Some(path);
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
        Dialog::Filters { selected } => filters(m, key, selected, effects),
        Dialog::Fixture { stored, to } => {
            let scrub = match key.code {
                KeyCode::Enter | KeyCode::Char('s') => Scrub::Scrubbed,
                KeyCode::Char('a') => Scrub::AsItIs,
                _ => {
                    m.dialog = Some(Dialog::Fixture { stored, to });
                    return;
                }
            };
            effects.push(Effect::Fixture(stored, scrub, to));
            None
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

/// The list of saved filters.
fn filters(m: &mut Model, key: KeyEvent, selected: usize, effects: &mut Vec<Effect>) -> Option<Dialog> {
    let last = m.saved.len().saturating_sub(1);
    let named = |m: &Model| m.saved.iter().nth(selected).map(|(name, _)| name.to_owned());
    let selected = match (key.code, m.keys.action(key)) {
        (KeyCode::Enter, _) => {
            if let Some(name) = named(m) {
                filter::set(m, &format!("@{name}"), effects);
            }
            return None;
        }
        (KeyCode::Delete | KeyCode::Char('x'), _) => {
            let name = named(m)?;
            if m.own_filters.remove(&name) {
                m.saved.remove(&name);
                m.say(format!("the filter {name} is removed"));
                effects.push(Effect::SaveFilter(name, None));
            } else {
                m.complain(format!("the filter {name} stands in a settings file; remove it there"));
            }
            return (!m.saved.is_empty())
                .then_some(Dialog::Filters { selected: selected.min(m.saved.len().max(1) - 1) });
        }
        (KeyCode::Char('q'), _) => return None,
        (_, Some(Action::Down)) => (selected + 1).min(last),
        (_, Some(Action::Up)) => selected.saturating_sub(1),
        (_, Some(Action::PageDown)) => (selected + PAGE).min(last),
        (_, Some(Action::PageUp)) => selected.saturating_sub(PAGE),
        (_, Some(Action::First)) => 0,
        (_, Some(Action::Last)) => last,
        _ => selected,
    };
    Some(Dialog::Filters { selected })
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

/// The words that an event's name is to have, and the path that it is sent to: the last word that begins with a slash, or else the path of the
/// event before, or else that of the delivery that is shown if its signature is valid: nobody else is to choose where signed requests go.
pub(crate) fn wanted(m: &Model, text: &str) -> (String, String) {
    let (paths, words): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|word| word.starts_with('/'));
    let shown = || {
        let shown = m.detail.as_ref()?.stored.as_ref()?;
        let target = shown.delivery.handler_target().to_string();
        let path = target.split('?').next().filter(|path| path.starts_with('/'))?.to_owned();
        (shown.signature.status == SignatureStatus::Valid).then_some(path)
    };
    let path = paths.last().map(|path| (*path).to_owned());
    (words.join(" "), path.or_else(|| m.path.clone()).or_else(shown).unwrap_or_else(|| "/".to_owned()))
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
            let leaves = leaves_with_patients_data(m, id, &to.peer.host);
            let send = Effect::Replay(id, Again { to: Some(to.clone()), allow_production: leaves });
            if leaves {
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
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
            if ending != "fixture" && ending != "http" {
                return Err("end the name in .fixture, or in .http for the request alone, as it was sent".into());
            }
            if let Some(folder) = path.parent() {
                m.folder = folder.display().to_string();
            }
            if ending == "http" {
                let save = Effect::Save(path, edit::fixture(&stored));
                if stored.delivery.environment == Environment::Production {
                    m.dialog = Some(Dialog::Confirm {
                        question: "This delivery is from production and may be about patients. Save it as it is? \
                            (A .fixture can be scrubbed.)"
                            .into(),
                        yes: vec![save],
                    });
                } else {
                    effects.push(save);
                }
            } else {
                fixture(m, stored, FixtureTo::File(path), effects);
            }
        }
        Asking::ReplayAll => {
            let how = Replaying::read(text)?;
            m.batch = Some(Batch::default());
            effects.push(Effect::ReplayAll(m.filter.written_out.clone(), Box::new(how)));
        }
        Asking::FilterName => {
            let query = m.filter.written_out.clone();
            m.saved.insert(text, &query)?;
            m.own_filters.insert(text, &query)?;
            m.say(format!("saved: @{text} stands for {query}"));
            effects.push(Effect::SaveFilter(text.to_owned(), Some(query)));
        }
    }
    Ok(())
}

/// Makes a fixture; of what came from production the user says how.
fn fixture(m: &mut Model, stored: Arc<Stored>, to: FixtureTo, effects: &mut Vec<Effect>) {
    if stored.delivery.environment == Environment::Production {
        m.dialog = Some(Dialog::Fixture { stored, to });
    } else {
        effects.push(Effect::Fixture(stored, Scrub::AsItIs, to));
    }
}

fn copied(m: &mut Model, choice: Choice, effects: &mut Vec<Effect>) {
    let Some(stored) = m.list.selected().and_then(|s| stored(m, s.id)) else { return };
    if choice == Choice::Fixture {
        return fixture(m, stored, FixtureTo::Clipboard, effects);
    }
    let attempt = m.detail.as_ref().map_or(0, |d| d.attempt);
    match copy::text(choice, &stored, attempt, m.standing.target.as_deref()) {
        Ok(text) => give(m, text, effects),
        Err(why) => m.complain(why),
    }
}

/// Gives text to the clipboard.
pub(super) fn give(m: &mut Model, text: String, effects: &mut Vec<Effect>) {
    if text.len() > copy::MOST {
        m.complain(format!(
            "{} bytes are more than terminals take ({}); save it as a file instead",
            text.len(),
            copy::MOST
        ));
        return;
    }
    let size = super::super::text::size(text.len() as u64);
    // The terminal does not say whether it took the text.
    m.say(match m.clipboard.as_ref().and_then(|tool| tool.first()) {
        Some(tool) => format!("{size} copied by {tool}, and handed to the terminal (OSC 52)"),
        None => format!(
            "{size} handed to the terminal (OSC 52); if nothing arrives there, its settings keep programs from the clipboard"
        ),
    });
    effects.push(Effect::Copy(text));
}
