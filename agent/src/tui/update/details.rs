//! The details: reading what is selected, and the rows of the tab that is open.

use std::collections::HashSet;
use std::sync::Arc;

use tunnel_delivery::{DeliveryId, Stored};

use super::super::doc::{Doc, Form};
use super::super::message::Effect;
use super::super::model::{Detail, Model, Tab};
use super::super::{layout, sheet};
use super::sentence;
use crate::control::{ControlError, Explained};

/// A body up to this long is set out at once, in a millisecond or so.
const AT_ONCE: usize = 128 * 1024;

/// Reads what is selected and not there, and makes the rows that are to be shown.
pub(super) fn keep_up(m: &mut Model, ticked: bool, effects: &mut Vec<Effect>) {
    let wanted = m.list.selected().map(|s| s.id);
    let there = m.detail.as_ref().map(|d| d.id);
    if m.list.len() == 0 && !m.list.waits() {
        m.detail = None;
    }
    // While many come and the newest is followed, the details are read a few times a second.
    let now = m.eager || ticked;
    if let Some(wanted) = wanted
        && m.ready
        && m.loading.is_none()
        && now
        && (there != Some(wanted) || m.outdated)
    {
        m.loading = Some(wanted);
        m.outdated = false;
        m.eager = false;
        effects.push(Effect::Load(wanted));
    }
    build(m, effects);
}

fn build(m: &mut Model, effects: &mut Vec<Effect>) {
    let area = layout::areas(m).detail_rows;
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let tab = m.tab;
    let Some(mut detail) = m.detail.take() else { return };
    let form = if tab == Tab::Body { detail.form } else { Form::Pretty };
    let key = (tab, form, width);
    if width > 0 && detail.built != Some(key) {
        detail.built = Some(key);
        match (&detail.stored, tab) {
            (Some(stored), Tab::Body) => {
                let body = stored.delivery.body.clone();
                if body.len() <= AT_ONCE {
                    detail.doc = Some(Arc::new(Doc::new(body, form, width)));
                } else {
                    effects.push(Effect::SetOut(detail.id, body, form, width));
                }
            }
            _ => detail.rows = sheet::rows(m, &detail, tab, width),
        }
        if tab == Tab::Signature && detail.explained.is_none() && detail.stored.is_some() {
            effects.push(Effect::Explain(detail.id));
        }
    }
    // Within what there is.
    match (&detail.doc, tab) {
        (Some(doc), Tab::Body) => {
            detail.cursor = doc.shown(detail.cursor, &detail.folded);
            let highest = doc.above(detail.cursor, height.saturating_sub(1), &detail.folded);
            detail.top = doc.shown(detail.top, &detail.folded).clamp(highest, detail.cursor);
        }
        _ => detail.top = detail.top.min(detail.rows.len().saturating_sub(height)),
    }
    m.detail = Some(detail);
}

/// A delivery was read.
pub(super) fn loaded(m: &mut Model, id: DeliveryId, result: Result<Box<Stored>, ControlError>) {
    m.loading = None;
    let last = m.show_last_attempt.take_if(|shown| *shown == id).is_some();
    let (stored, failed) = match result {
        Ok(stored) => (Some(Arc::new(*stored)), None),
        Err(e) => (None, Some(sentence(&e))),
    };
    let attempts = stored.as_ref().map_or(0, |s| s.attempts.len());
    match m.detail.as_mut().filter(|d| d.id == id) {
        // The same one, read again: it stays where it is scrolled to.
        Some(detail) => {
            let was_last = detail.stored.as_ref().is_none_or(|s| detail.attempt + 1 >= s.attempts.len());
            if last || was_last {
                detail.attempt = attempts.saturating_sub(1);
            }
            if last {
                detail.top = 0;
            }
            detail.stored = stored;
            detail.failed = failed;
            detail.built = None;
        }
        None => {
            let form = m.detail.as_ref().map_or(Form::Pretty, |d| d.form);
            m.detail = Some(Detail {
                id,
                stored,
                failed,
                explained: None,
                built: None,
                rows: Vec::new(),
                doc: None,
                form,
                folded: HashSet::new(),
                top: 0,
                cursor: 0,
                attempt: attempts.saturating_sub(1),
            });
        }
    }
    if let Some(marked) = m.marked.as_mut().filter(|marked| marked.stored.delivery.id == id)
        && let Some(stored) = m.detail.as_ref().and_then(|d| d.stored.clone())
    {
        marked.stored = stored;
    }
    // A key may have moved the selection meanwhile.
    m.eager |= !m.list.follow;
}

/// A large body was set out.
pub(super) fn set_out(m: &mut Model, id: DeliveryId, form: Form, width: usize, doc: Arc<Doc>) {
    if let Some(detail) = m.detail.as_mut().filter(|d| d.id == id && d.built == Some((Tab::Body, form, width))) {
        detail.doc = Some(doc);
    }
}

/// The signature was checked.
pub(super) fn explained(m: &mut Model, id: DeliveryId, result: Result<Box<Explained>, ControlError>) {
    if let Some(detail) = m.detail.as_mut().filter(|d| d.id == id) {
        detail.explained = Some(result.map_err(|e| sentence(&e)));
        detail.built = None;
    }
}

/// Another tab.
pub(super) fn open_tab(m: &mut Model, tab: Tab) {
    if m.tab != tab {
        m.tab = tab;
        if let Some(detail) = &mut m.detail {
            (detail.top, detail.built, detail.doc) = (0, None, None);
            (detail.cursor, detail.folded) = (0, HashSet::new());
        }
    }
}

/// Scrolls, or moves the body's cursor.
pub(super) fn scroll(m: &mut Model, down: bool, by: usize) {
    let body = m.tab == Tab::Body;
    let Some(detail) = &mut m.detail else { return };
    match &detail.doc {
        Some(doc) if body => {
            let step = if down { Doc::below } else { Doc::above };
            detail.cursor = step(doc, detail.cursor, by.min(doc.len()), &detail.folded);
        }
        _ if down => detail.top = detail.top.saturating_add(by),
        _ => detail.top = detail.top.saturating_sub(by),
    }
}

/// Folds or unfolds what the cursor is in.
pub(super) fn fold(m: &mut Model) {
    let Some(detail) = &mut m.detail else { return };
    let Some(doc) = detail.doc.as_ref().filter(|d| d.form == Form::Pretty) else { return };
    if let Some(row) = doc.foldable(detail.cursor) {
        if !detail.folded.remove(&row) {
            detail.folded.insert(row);
        }
        detail.cursor = row;
    }
}

/// Folds everything but the outermost, or unfolds everything.
pub(super) fn fold_all(m: &mut Model) {
    let Some(detail) = &mut m.detail else { return };
    let Some(doc) = detail.doc.as_ref().filter(|d| d.form == Form::Pretty) else { return };
    detail.folded = if detail.folded.is_empty() { doc.all_foldable() } else { HashSet::new() };
}

/// Another attempt.
pub(super) fn choose_attempt(m: &mut Model, next: bool) {
    let Some(detail) = &mut m.detail else { return };
    let last = detail.stored.as_ref().map_or(0, |s| s.attempts.len().saturating_sub(1));
    detail.attempt = if next { (detail.attempt + 1).min(last) } else { detail.attempt.saturating_sub(1) };
    detail.built = None;
}
