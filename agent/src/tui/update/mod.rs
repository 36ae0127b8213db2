//! The next state: what happened goes in, what is to be done comes out. Pure, so that every key can be tested without a terminal.

mod action;
mod details;
pub(super) mod dialog;
mod filter;
mod mouse;

use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};
use tunnel_delivery::{DeliveryId, Stored};

use super::keys::Action;
use super::message::{Effect, Message};
use super::model::{Dialog, Model};
use super::standing::Whose;
use crate::control::{ControlError, Kind};
use crate::notice::Notice;
use crate::replay::Summary;

/// How the agent is is asked every so many ticks.
const STATUS: u32 = 10;
/// A list that nobody tells about what comes is read again every so many ticks.
const LOOK: u32 = 5;

/// Takes in what happened.
pub(crate) fn update(m: &mut Model, message: Message) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut ticked = false;
    match message {
        Message::Key(key) if key.kind != KeyEventKind::Release => {
            m.eager = true;
            m.pending = None;
            on_key(m, key, &mut effects);
        }
        Message::Key(_) => return effects,
        Message::Mouse(event) => {
            m.eager = true;
            mouse::on(m, event, &mut effects);
        }
        Message::Paste(text) => paste(m, &text, &mut effects),
        Message::Resized(columns, rows) => m.size = (columns, rows),
        Message::Tick(now) => {
            m.now = now;
            ticked = true;
            tick(m, &mut effects);
        }
        Message::Notice(notice) => on_notice(m, &notice),
        Message::LeftOut(n) => {
            m.standing.left_out += n;
            // Those that came and were not told of are in the store.
            effects.extend(m.list.missed().map(Effect::Page));
        }
        Message::Warned(text) => m.warn(text),
        Message::Ready => {
            m.ready = true;
            let query = m.filter.written_out.clone();
            effects.push(Effect::Page(m.list.look_for(&query)));
            effects.push(Effect::Status);
        }
        Message::Page(ask, Ok(found)) => {
            let before = m.list.selected().cloned();
            effects.extend(m.list.page(&ask, found).map(Effect::Page));
            // Where nobody tells what happens, a line that changed says that its details did.
            m.outdated |= matches!((&before, m.list.selected()), (Some(a), Some(b)) if a.id == b.id && a != b);
            if m.standing.whose != Whose::Ours && m.filter.text.is_empty() && m.list.follow {
                m.standing.judge(m.list.shown().0);
            }
            if m.list.took_no_failure() {
                m.say("no further failure");
            }
        }
        Message::Page(ask, Err(e)) => {
            if m.list.failed(&ask) {
                match e.kind {
                    // The line above says it, at every moment; the list is asked for again and again.
                    Kind::Unreachable if m.standing.whose == Whose::Others => m.standing.silent = Some(sentence(&e)),
                    _ => m.complain(sentence(&e)),
                }
            }
        }
        Message::Loaded(id, Err(e)) if e.kind == Kind::Negative => {
            m.loading = None;
            m.list.gone(id);
            m.detail.take_if(|d| d.id == id);
            m.complain("a delivery of the list is not stored any more; it was removed meanwhile");
            m.eager = true;
        }
        Message::Loaded(id, result) => {
            details::loaded(m, id, result);
            let there = stored(m, id).is_some() && m.list.selected().is_some_and(|s| s.id == id);
            if let Some((_, action)) = m.pending.take_if(|(wanted, _)| *wanted == id && there) {
                action::act(m, action, &mut effects);
            }
        }
        Message::SetOut(id, form, width, doc) => details::set_out(m, id, form, width, doc),
        Message::Explained(id, result) => details::explained(m, id, result),
        Message::Status(result) => {
            m.asked = false;
            match result {
                Ok(status) => m.standing.take(&status, m.now),
                // The line above says it, at every moment.
                Err(e) => m.standing.silent = Some(sentence(&e)),
            }
        }
        Message::Replayed(id, Ok(done)) => {
            m.busy = None;
            let a = &done.attempt;
            let took = super::text::took(u64::try_from(a.duration.as_micros()).unwrap_or(u64::MAX));
            match (&a.error, a.status) {
                (Some(e), _) => m.complain(format!("sent again: {}", e.message)),
                (None, Some(status)) if a.succeeded() => m.say(format!("sent again: {status} in {took}")),
                (None, None) if a.succeeded() => m.say(format!("given again, ended well after {took}")),
                (None, status) => m.complain(format!("sent again: {} answered {}", a.target, status.unwrap_or(0))),
            }
            // An agent in this process tells of the attempt by itself.
            if m.standing.whose != Whose::Ours {
                m.list.change(id, |line| *line = crate::summary::after(line.clone(), &done.attempt));
            }
            m.show_last_attempt = Some(id);
            m.outdated = true;
            m.eager = true;
            m.tab = super::model::Tab::Attempts;
        }
        Message::Replayed(_, Err(mut e)) => {
            m.busy = None;
            // What a command is given as an option is a key here.
            if e.hint.as_ref().is_some_and(|hint| hint.contains("--to"))
                && let Some(key) = m.keys.first(Action::ReplayTo)
            {
                e.hint = Some(format!("{key} sends it to a target that you name"));
            }
            m.complain(sentence(&e));
        }
        Message::Batch(batch) => m.batch = Some(batch),
        Message::BatchOver(result) => {
            m.batch = None;
            m.outdated = true;
            match result {
                Ok(summary) => batch_over(m, &summary),
                Err(e) => m.complain(sentence(&e)),
            }
        }
        Message::Marked(marking, Ok(())) => {
            if let Some(pinned) = marking.pinned {
                m.list.change(marking.id, |line| line.pinned = pinned);
                m.say(if pinned { "pinned: kept whatever its age" } else { "not pinned any more" });
            }
            if let Some(note) = &marking.note {
                m.say(if note.is_empty() { "the note is removed" } else { "noted" });
            }
            m.outdated = true;
        }
        Message::Marked(_, Err(e)) => m.complain(sentence(&e)),
        Message::EditorClosed(id, result) => edited(m, id, result),
        Message::Triggered(result) => {
            m.busy = None;
            match result {
                Ok(done) if done.succeeded() => m.say(format!("{} sent to {}", done.event_type, done.url)),
                Ok(done) => {
                    let why = done.error.clone().or_else(|| done.status.map(|s| format!("answered {s}")));
                    m.complain(format!("{} to {}: {}", done.event_type, done.url, why.unwrap_or_default()));
                }
                Err(e) => m.complain(sentence(&e)),
            }
        }
        Message::Paused(paused, Ok(_)) => {
            m.standing.paused = paused;
            m.say(if paused {
                "forwarding is paused: what comes is stored and waits"
            } else {
                "forwarding goes on, with what waited first"
            });
        }
        Message::Answers(mode, Ok(())) => {
            m.standing.answer = Some(mode.as_str());
            m.say(format!("the tunnel answers its senders by {mode} now", mode = mode.as_str()));
        }
        Message::Paused(_, Err(e)) | Message::Answers(_, Err(e)) => m.complain(sentence(&e)),
        Message::Saved(Ok((path, known))) => m.say(format!("saved as {}{known}", path.display())),
        Message::Saved(Err(why)) | Message::FixtureText(Err(why)) | Message::FiltersSaved(Err(why)) => m.complain(why),
        Message::FixtureText(Ok(text)) => dialog::give(m, text, &mut effects),
        // It was said when it was done.
        Message::FiltersSaved(Ok(())) => {}
    }
    m.fit();
    details::keep_up(m, ticked, &mut effects);
    effects
}

fn on_key(m: &mut Model, key: KeyEvent, effects: &mut Vec<Effect>) {
    if m.dialog.is_some() {
        dialog::on_key(m, key, effects);
    } else if m.filter.input.is_some() {
        filter::on_key(m, key, effects);
    } else if let Some(action) = m.keys.action(key) {
        action::act(m, action, effects);
    }
}

fn paste(m: &mut Model, text: &str, effects: &mut Vec<Effect>) {
    if m.dialog.is_some() {
        dialog::paste(m, text);
    } else {
        filter::paste(m, text, effects);
    }
}

fn tick(m: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(told) = &mut m.told
        && let Some(left) = &mut told.ticks
    {
        *left = left.saturating_sub(1);
        if *left == 0 {
            m.told = None;
        }
    }
    m.ticks = m.ticks.wrapping_add(1);
    if !m.ready {
        return;
    }
    if m.ticks.is_multiple_of(STATUS) && !m.asked {
        m.asked = true;
        effects.push(Effect::Status);
    }
    // An agent in another process tells nothing by itself, and text can only be looked for in the store.
    let told_of_nothing = m.standing.whose == Whose::Others || m.filter.query.texts().next().is_some();
    if told_of_nothing && m.ticks.is_multiple_of(LOOK) {
        effects.extend(m.list.first_again().map(Effect::Page));
    }
}

fn on_notice(m: &mut Model, notice: &Arc<Notice>) {
    if let Some(text) = m.standing.hear(notice, m.now) {
        m.warn(text);
    }
    // Texts are not in the line; such a list is read again.
    let telling = m.filter.query.texts().next().is_none();
    match &**notice {
        Notice::Delivery(line) => {
            if let Some(first) = line.duplicate_of {
                m.list.change(first, |line| line.repeats += 1);
            }
            if telling && m.filter.query.fits(line) {
                m.list.put(line);
            }
        }
        Notice::Attempt(tried) => {
            let line = &tried.summary;
            // One that does not fit any more stays until the list is read again: it would be gone before one has seen why.
            if m.list.get(line.id).is_some() || (telling && m.filter.query.fits(line)) {
                m.list.put(line);
            }
            if m.detail.as_ref().is_some_and(|d| d.id == line.id) {
                m.outdated = true;
            }
        }
        _ => {}
    }
}

/// What a replay of many came to, with why it ended early or something was not sent.
fn batch_over(m: &mut Model, s: &Summary) {
    use super::text::{count, took};
    let how = if s.left.is_some() { "stopped" } else { "done" };
    let mut text = format!("replay {how}: {} answered 2xx, {} not", count(s.ok), count(s.failed));
    let micros = |ms: f64| (ms * 1000.0) as u64;
    if let (Some(p50), Some(p99)) = (s.p50_ms, s.p99_ms) {
        text.push_str(&format!("; half within {}, 99% within {}", took(micros(p50)), took(micros(p99))));
    }
    if s.dropped > 0 {
        text.push_str(&format!("; {} left out by chaos", count(s.dropped)));
    }
    if let Some(left) = &s.left {
        text.push_str(&format!("; {}{} left", count(left.requests), if left.or_more { " or more" } else { "" }));
    }
    if let Some(seed) = s.seed {
        text.push_str(&format!("; --seed {seed} does the same again"));
    }
    if let Some(e) = s.broke.as_ref().or(s.refused.as_ref()) {
        text.push_str(&format!("; {}", sentence(e)));
    }
    if s.failed > 0 || s.left.is_some() || s.broke.is_some() || s.refused.is_some() {
        m.complain(text);
    } else {
        m.say(text);
    }
}

fn edited(m: &mut Model, id: DeliveryId, result: Result<Option<super::edit::Draft>, String>) {
    match result {
        Ok(Some(draft)) => match stored(m, id) {
            Some(stored) => m.dialog = Some(Dialog::Edited { draft, stored }),
            None => m.complain("the delivery that was edited is not shown any more; nothing was sent"),
        },
        Ok(None) => m.say("nothing was changed, nothing is sent"),
        Err(why) => m.complain(why),
    }
}

/// A delivery, if it is the one whose details are at hand.
fn stored(m: &Model, id: DeliveryId) -> Option<Arc<Stored>> {
    m.detail.as_ref().filter(|d| d.id == id).and_then(|d| d.stored.clone())
}

/// What went wrong and what to do, in one line.
fn sentence(e: &ControlError) -> String {
    match &e.hint {
        Some(hint) => format!("{}; {hint}", e.message),
        None => e.message.clone(),
    }
}
