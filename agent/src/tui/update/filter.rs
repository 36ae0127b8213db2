//! The filter: each key that changes it looks anew, and a mistake is shown while what was found last stays.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};
use tunnel_delivery::Summary;

use super::super::message::Effect;
use super::super::model::{Asking, Model};
use crate::query::WORDS;

/// So many earlier filters are remembered.
const HISTORY: usize = 50;

/// Opens the line in which a filter is written.
pub(super) fn open(m: &mut Model) {
    m.filter.was.clone_from(&m.filter.text);
    m.filter.input = Some(Input::new(m.filter.text.clone()));
    m.filter.at = m.filter.history.len();
}

pub(super) fn on_key(m: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    match key.code {
        KeyCode::Enter => {
            if m.filter.error.is_some() {
                return;
            }
            let value = m.filter.input.as_ref().map_or("", |i| i.value()).to_owned();
            if let Err(e) = m.saved.read(&value, m.now) {
                m.filter.error = Some(e);
                return;
            }
            m.filter.input = None;
            set(m, &value, effects);
            let text = m.filter.text.clone();
            if !text.is_empty() {
                m.filter.history.retain(|h| *h != text);
                m.filter.history.push(text);
                let over = m.filter.history.len().saturating_sub(HISTORY);
                m.filter.history.drain(..over);
            }
        }
        KeyCode::Char('s') if key.modifiers.contains(KeyModifiers::CONTROL) => {
            let text = m.filter.input.as_ref().map_or("", |i| i.value()).trim().to_owned();
            if m.filter.error.is_none() && !text.is_empty() {
                m.filter.input = None;
                set(m, &text, effects);
                super::action::prompt(m, Asking::FilterName, "");
            }
        }
        KeyCode::Esc => {
            m.filter.input = None;
            let was = m.filter.was.clone();
            set(m, &was, effects);
        }
        KeyCode::Up | KeyCode::Down => {
            let at = match key.code {
                KeyCode::Up => m.filter.at.saturating_sub(1),
                _ => (m.filter.at + 1).min(m.filter.history.len()),
            };
            m.filter.at = at;
            let text = m.filter.history.get(at).cloned().unwrap_or_default();
            m.filter.input = Some(Input::new(text));
            changed(m, effects);
        }
        _ => {
            if let (Some(request), Some(input)) = (request(key), &mut m.filter.input)
                && input.handle(request).is_some_and(|change| change.value)
            {
                changed(m, effects);
            }
        }
    }
}

/// Pasted text goes into the filter that is being written, on one line.
pub(super) fn paste(m: &mut Model, text: &str, effects: &mut Vec<Effect>) {
    let Some(input) = &mut m.filter.input else { return };
    insert(input, text);
    changed(m, effects);
}

/// Puts text into a line, without what is no text.
pub(super) fn insert(input: &mut Input, text: &str) {
    for c in text.chars().take(crate::query::LONGEST).map(|c| if c.is_whitespace() { ' ' } else { c }) {
        if !c.is_control() {
            input.handle(InputRequest::InsertChar(c));
        }
    }
}

fn changed(m: &mut Model, effects: &mut Vec<Effect>) {
    let text = m.filter.input.as_ref().map(|i| i.value().to_owned()).unwrap_or_default();
    match m.saved.read(&text, m.now) {
        // `sta` will be `status:` more often than it is text to look for; Enter looks for it.
        Ok(_) if unfinished(&text) => m.filter.error = None,
        Ok(_) => set(m, &text, effects),
        Err(_) if names_begin(m, &text) => m.filter.error = None,
        Err(e) => m.filter.error = Some(e),
    }
}

/// Whether the text ends with the beginning of a saved filter's name.
fn names_begin(m: &Model, text: &str) -> bool {
    let word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    word.strip_prefix('@').is_some_and(|begun| m.saved.iter().any(|(name, _)| name.starts_with(begun)))
}

/// Whether the text ends with the beginning of a condition's name.
fn unfinished(text: &str) -> bool {
    let word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = word.strip_prefix('-').unwrap_or(word);
    !word.is_empty() && WORDS.iter().any(|w| w.name.starts_with(word))
}

/// Looks for that. A text with a mistake is not looked for. Another filter ends a timeline.
pub(super) fn set(m: &mut Model, text: &str, effects: &mut Vec<Effect>) {
    set_around(m, text, None, effects);
}

/// Shows what was shown before a timeline, with the same delivery selected as far as it is still there. Whether there was a timeline.
pub(super) fn leave_timeline(m: &mut Model, effects: &mut Vec<Effect>) -> bool {
    let Some(before) = m.filter.before.take() else { return false };
    // The timeline has it as it stands by now.
    let line = before.selected.and_then(|id| m.list.get(id).cloned());
    set_around(m, &before.text, line, effects);
    true
}

fn set_around(m: &mut Model, text: &str, line: Option<Summary>, effects: &mut Vec<Effect>) {
    m.filter.error = None;
    let Ok((query, written_out)) = m.saved.read(text, m.now) else { return };
    if m.filter.text != text {
        m.filter.before = None;
    }
    m.filter.query = query;
    text.clone_into(&mut m.filter.text);
    if m.filter.written_out == written_out && m.list.query() == written_out {
        return;
    }
    m.filter.written_out = written_out;
    if m.ready {
        let query = &m.filter.written_out;
        effects.push(Effect::Page(match line {
            Some(line) => m.list.look_around(query, line),
            None => m.list.look_for(query),
        }));
    }
}

/// What a key does to a line of text.
pub(super) fn request(key: KeyEvent) -> Option<InputRequest> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('a') if control => InputRequest::GoToStart,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if control => InputRequest::DeleteLine,
        KeyCode::Char('k') if control => InputRequest::DeleteTillEnd,
        KeyCode::Char(c) if !control && !c.is_control() => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left if control => InputRequest::GoToPrevWord,
        KeyCode::Right if control => InputRequest::GoToNextWord,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}
