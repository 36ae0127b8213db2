//! What the keys of the two panes do.

use super::super::keys::Action;
use super::super::message::{Again, Effect};
use super::super::model::{Asking, Before, Dialog, Focus, Marked, Model, Prompt, Tab, Told};
use super::super::replaying::KNOWN;
use super::super::text::Tone;
use super::super::{edit::Draft, layout};
use super::{details, filter, stored};
use crate::control::Marking;
use crate::dial::is_loopback;
use tui_input::Input;
use tunnel_delivery::Environment;
use tunnel_fixture::FixtureName;
use tunnel_protocol::AnswerMode;

pub(super) fn act(m: &mut Model, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Up => vertical(m, false, 1, effects),
        Action::Down => vertical(m, true, 1, effects),
        Action::PageUp => vertical(m, false, page(m), effects),
        Action::PageDown => vertical(m, true, page(m), effects),
        Action::First | Action::Last => ends(m, action == Action::First, effects),
        Action::NextFailure | Action::PreviousFailure => {
            let down = action == Action::NextFailure;
            let (found, ask) = m.list.failure(down);
            effects.extend(ask.map(Effect::Page));
            if !found {
                m.say(if down { "no failure further down" } else { "no failure further up" });
            }
        }
        Action::Open => {
            m.focus = Focus::Detail;
            m.list.hold();
        }
        Action::Back => back(m, effects),
        Action::OtherPane => {
            m.focus = if m.focus == Focus::List && !m.zoomed { Focus::Detail } else { Focus::List };
            m.zoomed &= m.focus == Focus::Detail;
            m.list.hold();
        }
        Action::NextTab => details::open_tab(m, m.tab.step(1)),
        Action::PreviousTab => details::open_tab(m, m.tab.step(-1)),
        Action::Tab(n) => details::open_tab(m, Tab::ALL[usize::from(n) % Tab::ALL.len()]),
        Action::Zoom => {
            m.zoomed = !m.zoomed;
            m.focus = if m.zoomed { Focus::Detail } else { m.focus };
        }
        Action::Filter => filter::open(m),
        Action::ClearFilter => filter::set(m, "", effects),
        Action::Filters => {
            if m.saved.is_empty() {
                m.say(format!("no filter is saved yet; {} saves the one that holds", keys(m, Action::SaveFilter)));
            } else {
                m.dialog = Some(Dialog::Filters { selected: 0 });
            }
        }
        Action::SaveFilter => {
            if m.filter.text.is_empty() {
                m.say(format!("there is no filter to save; {} writes one", keys(m, Action::Filter)));
            } else {
                prompt(m, Asking::FilterName, "");
            }
        }
        Action::Timeline => timeline(m, effects),
        Action::Form => {
            details::open_tab(m, Tab::Body);
            if let Some(detail) = &mut m.detail {
                // The first press on another tab only shows the body.
                if detail.built.is_some_and(|(tab, ..)| tab == Tab::Body) {
                    detail.form = detail.form.next();
                    (detail.cursor, detail.top, detail.doc) = (0, 0, None);
                    detail.folded.clear();
                }
            }
        }
        Action::Fold => details::fold(m),
        Action::FoldAll => details::fold_all(m),
        Action::PreviousAttempt => details::choose_attempt(m, false),
        Action::NextAttempt => details::choose_attempt(m, true),
        Action::MarkForDiff => match selected(m) {
            Some(stored) => mark(m, stored),
            None => not_read(m, action),
        },
        Action::Replay => {
            if let Some(id) = m.list.selected().map(|s| s.id) {
                m.list.hold();
                m.busy = Some("sending again …".into());
                effects.push(Effect::Replay(id, Again::default()));
            }
        }
        Action::ReplayTo => {
            if let Some(id) = m.list.selected().map(|s| s.id) {
                m.list.hold();
                prompt(m, Asking::Target(id), "");
            }
        }
        Action::EditAndReplay => match selected(m) {
            Some(stored) => {
                m.list.hold();
                effects.push(Effect::Edit(stored.delivery.id, Draft::of(&stored)));
            }
            None => not_read(m, action),
        },
        Action::ReplayAll => replay_all(m),
        Action::Pin => {
            if let Some((id, pinned)) = m.list.selected().map(|s| (s.id, s.pinned)) {
                effects.push(Effect::Mark(Marking { id, pinned: Some(!pinned), note: None }));
            }
        }
        Action::Note => match selected(m) {
            Some(stored) => {
                m.list.hold();
                prompt(m, Asking::Note(stored.delivery.id), stored.note.as_deref().unwrap_or(""));
            }
            None => not_read(m, action),
        },
        Action::Copy => match selected(m) {
            Some(_) => {
                m.list.hold();
                m.dialog = Some(Dialog::Copy);
            }
            None => not_read(m, action),
        },
        Action::Save => match selected(m) {
            Some(stored) => {
                m.list.hold();
                let event = stored.event.as_ref().map_or("delivery", |e| e.event_type.as_str());
                let id = stored.delivery.id.to_string();
                // A name of a stranger's choosing names no other folder.
                let name = FixtureName::made_of(&format!("{event}-{}", id.get(24..).unwrap_or(&id)));
                let path = format!("{}/{name}", m.folder);
                prompt(m, Asking::File, &path);
            }
            None => not_read(m, action),
        },
        Action::Trigger => m.dialog = Some(Dialog::Trigger { input: Input::default(), selected: 0 }),
        Action::Pause => effects.push(Effect::Pause(!m.standing.paused)),
        Action::AnswerMode => answer_mode(m),
        Action::Stop => {
            if m.batch.is_some() {
                effects.push(Effect::StopReplay);
            } else if m.list.searched.is_some() {
                m.list.stop();
                m.told = Some(Told { tone: Tone::Doubtful, text: "the search is stopped".into(), ticks: Some(40) });
            }
        }
        Action::Help => m.dialog = Some(Dialog::Help { top: 0 }),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Quit => effects.push(Effect::Quit),
    }
}

/// Marks what is looked at, or takes the mark away.
fn mark(m: &mut Model, stored: std::sync::Arc<tunnel_delivery::Stored>) {
    let on_an_attempt = m.tab == Tab::Attempts && m.focus == Focus::Detail && !stored.attempts.is_empty();
    let attempt = on_an_attempt.then(|| m.detail.as_ref().map_or(0, |d| d.attempt));
    let same =
        m.marked.as_ref().is_some_and(|was| was.stored.delivery.id == stored.delivery.id && was.attempt == attempt);
    let what = if on_an_attempt { "the attempt is" } else { "the delivery is" };
    let other = if on_an_attempt { "other attempts" } else { "other deliveries" };
    let compares = m.keys.first(Action::Tab(6)).map_or_else(String::new, |k| format!(" ({k})"));
    m.say(if same {
        format!("{what} not marked any more")
    } else {
        format!("{what} marked; the diff tab{compares} compares {other} with it")
    });
    m.marked = (!same).then_some(Marked { stored, attempt });
    if let Some(detail) = &mut m.detail {
        detail.built = None;
    }
}

/// Asks before the tunnel answers otherwise: it does so for everybody, and for good.
fn answer_mode(m: &mut Model) {
    let (to, what) = match m.standing.answer {
        None => {
            m.say("how the tunnel answers is not known without a connection to the relay");
            return;
        }
        Some("passthrough") => {
            (AnswerMode::Ack, "200 as soon as a delivery is stored at the relay, whatever the handler makes of it")
        }
        Some(_) => (
            AnswerMode::Passthrough,
            "the handler's own answer; what is not 2xx makes Healthie send again, and in the end disable the webhook",
        ),
    };
    m.dialog = Some(Dialog::Confirm {
        question: format!(
            "Switch the tunnel to {}? Senders get {what}. It holds for all agents of the tunnel, until it is switched again.",
            to.as_str()
        ),
        yes: vec![Effect::Answer(to)],
    });
}

/// The first key of an action, in words.
fn keys(m: &Model, action: Action) -> String {
    m.keys.first(action).map_or_else(|| "no key".to_owned(), |key| key.to_string())
}

fn page(m: &Model) -> usize {
    let areas = layout::areas(m);
    let rows = if m.focus == Focus::List { areas.list_rows.height } else { areas.detail_rows.height };
    usize::from(rows.saturating_sub(1).max(1))
}

fn vertical(m: &mut Model, down: bool, by: usize, effects: &mut Vec<Effect>) {
    match m.focus {
        Focus::List => {
            let ask = if down { m.list.down(by) } else { m.list.up(by) };
            effects.extend(ask.map(Effect::Page));
        }
        Focus::Detail => details::scroll(m, down, by),
    }
}

fn ends(m: &mut Model, first: bool, effects: &mut Vec<Effect>) {
    match m.focus {
        Focus::List => {
            let ask = if first { m.list.first() } else { m.list.last() };
            effects.extend(ask.map(Effect::Page));
        }
        Focus::Detail => details::scroll(m, !first, usize::MAX / 2),
    }
}

/// One step back: a message, then the details, then the filter.
fn back(m: &mut Model, effects: &mut Vec<Effect>) {
    if m.told.is_some() {
        m.told = None;
    } else if m.zoomed {
        m.zoomed = false;
    } else if m.focus == Focus::Detail {
        m.focus = Focus::List;
    } else if m.filter.before.is_some() {
        filter::leave_timeline(m, effects);
    } else if !m.filter.text.is_empty() {
        filter::set(m, "", effects);
    }
}

fn timeline(m: &mut Model, effects: &mut Vec<Effect>) {
    if filter::leave_timeline(m, effects) {
        return;
    }
    let Some(line) = m.list.selected() else { return };
    let Some(id) = &line.resource_id else {
        m.say("this delivery names no resource");
        return;
    };
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let plain = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !text.is_empty();
        if plain { text.to_owned() } else { quote(text) }
    };
    let kind = line.resource_id_type.as_deref().map_or_else(String::new, |kind| format!("type:{} ", plain(kind)));
    let text = format!("{kind}resource:{}", plain(id));
    let selected = (!m.list.follow).then_some(line.id);
    let before = Before { text: m.filter.text.clone(), selected };
    filter::set(m, &text, effects);
    m.filter.before = Some(before);
}

fn replay_all(m: &mut Model) {
    if m.batch.is_some() {
        m.say("a replay is going on");
        return;
    }
    let (shown, all) = (m.list.len(), m.list.ends() == (true, true) && !m.list.waits());
    if shown == 0 {
        m.say("nothing matches");
        return;
    }
    let many = if all { shown.to_string() } else { format!("more than {shown}") };
    let which = if m.filter.text.is_empty() {
        "everything that is stored".to_owned()
    } else {
        format!("all that match {}", m.filter.text)
    };
    prompt(m, Asking::ReplayAll, "");
    if let Some(Dialog::Prompt(prompt)) = &mut m.dialog {
        prompt.about = format!(
            "Send {which} again, {many} deliveries, oldest first. Options, such as {KNOWN}; none sends one \
            after the other to where each would be forwarded. Enter sends."
        );
    }
}

/// Opens a line for something, with what it begins as.
pub(super) fn prompt(m: &mut Model, what: Asking, value: &str) {
    let about = what.title().to_owned();
    m.dialog = Some(Dialog::Prompt(Prompt { what, about, input: Input::new(value.to_owned()), problem: None }));
}

/// The selected delivery, if it has been read.
fn selected(m: &Model) -> Option<std::sync::Arc<tunnel_delivery::Stored>> {
    stored(m, m.list.selected()?.id)
}

/// What is wanted of a delivery that is still being read is done once it is there: keys may be faster than the store.
fn not_read(m: &mut Model, action: Action) {
    match m.list.selected().map(|s| s.id) {
        Some(id) => m.pending = Some((id, action)),
        None => m.say("there is no delivery"),
    }
}

/// Whether sending this delivery there would take it off this machine although it is from production.
pub(super) fn leaves_with_patients_data(m: &Model, id: tunnel_delivery::DeliveryId, host: &str) -> bool {
    !is_loopback(host.trim_matches(['[', ']']))
        && m.list.get(id).is_some_and(|line| line.environment == Environment::Production)
}
