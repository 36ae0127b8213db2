//! Does what the model wants done in the store and at the agent, and tells what came of it. Each effect runs beside the others; a later page
//! of the list ends the look for an earlier one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tunnel_delivery::Stored;
use tunnel_fixture::{NotJson, Overwrite, Phi, Set, lint_set};

use super::doc::Doc;
use super::message::{Again, Batch, Effect, FixtureTo, Message, Scrub};
use super::replaying::Replaying;
use crate::control::{Control, ControlError, Kind, Remote, Replay, Trigger, Verify};
use crate::fixtures;
use crate::replay::{self, Copy, Plan, Selection, Summary, Told};

/// How often a replay of many says how far it is.
const PROGRESS: Duration = Duration::from_millis(100);

/// Performs effects until there are no more. An agent in another process that went away is looked for anew by its `data` folder, so that an
/// inspector stays open while the agent is started again.
pub(crate) async fn run(
    control: Arc<Control>,
    data: PathBuf,
    mut effects: mpsc::Receiver<Effect>,
    tell: mpsc::Sender<Message>,
) {
    let current = Arc::new(Mutex::new(control));
    let mut page: Option<JoinHandle<()>> = None;
    let mut batch: Option<Arc<Notify>> = None;
    if tell.send(Message::Ready).await.is_err() {
        return;
    }
    while let Some(effect) = effects.recv().await {
        let control = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
        let tell = tell.clone();
        match effect {
            Effect::Status => {
                let (current, data) = (Arc::clone(&current), data.clone());
                tokio::spawn(async move {
                    let mut status = control.status().await;
                    if let (Control::Remote(_), Err(e)) = (&*control, &status)
                        && e.kind == Kind::Unreachable
                        && let Some(agent) = Remote::find(&data).await
                    {
                        let control = Arc::new(Control::Remote(agent));
                        *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&control);
                        status = control.status().await;
                    }
                    drop(tell.send(Message::Status(status.map(Box::new))).await);
                });
            }
            Effect::StopReplay => {
                if let Some(stop) = &batch {
                    stop.notify_one();
                }
            }
            Effect::ReplayAll(query, how) => {
                let stop = Arc::new(Notify::new());
                batch = Some(Arc::clone(&stop));
                tokio::spawn(async move {
                    let done = replay_all(&control, query, *how, &stop, &tell).await;
                    drop(tell.send(Message::BatchOver(done)).await);
                });
            }
            Effect::Page(ask) => {
                if let Some(before) = page.take() {
                    before.abort();
                }
                page = Some(tokio::spawn(async move {
                    let found = control.page(&ask.question()).await;
                    drop(tell.send(Message::Page(ask, found)).await);
                }));
            }
            effect => {
                tokio::spawn(async move {
                    if let Some(message) = one(&control, effect).await {
                        // The inspector may have been closed meanwhile.
                        drop(tell.send(message).await);
                    }
                });
            }
        }
    }
}

async fn one(control: &Control, effect: Effect) -> Option<Message> {
    Some(match effect {
        Effect::Load(id) => Message::Loaded(id, control.get(&id.to_string()).await.map(Box::new)),
        Effect::SetOut(id, body, form, width) => {
            let set_out = tokio::task::spawn_blocking(move || Arc::new(Doc::new(body, form, width)));
            Message::SetOut(id, form, width, set_out.await.ok()?)
        }
        Effect::Explain(id) => {
            let verify = Verify { id: id.to_string(), ..Verify::default() };
            Message::Explained(id, control.verify(&verify).await.map(Box::new))
        }
        Effect::Replay(id, again) => {
            let Again { to, allow_production } = again;
            let replay = Replay { id: id.to_string(), to, allow_production, ..Replay::default() };
            Message::Replayed(id, control.replay(&replay).await.map(Box::new))
        }
        Effect::Send(id, edited) => Message::Replayed(id, control.edited(&edited).await.map(Box::new)),
        Effect::Mark(marking) => {
            let done = control.mark(&marking).await;
            Message::Marked(marking, done)
        }
        Effect::Pause(paused) => Message::Paused(paused, control.pause(paused).await),
        Effect::Answer(mode) => Message::Answers(mode, control.answer(mode).await),
        Effect::Save(path, bytes) => {
            let saved = tokio::task::spawn_blocking(move || save(&path, &bytes)).await;
            Message::Saved(saved.unwrap_or_else(|e| Err(e.to_string())))
        }
        Effect::Fixture(stored, scrub, to) => {
            if let (Scrub::AsItIs, FixtureTo::File(path)) = (scrub, &to)
                && let Err(e) = fixtures::note_unscrubbed(&control.audit(), std::slice::from_ref(&stored), path).await
            {
                return Some(Message::Saved(Err(e.message)));
            }
            let made = tokio::task::spawn_blocking(move || match to {
                FixtureTo::Clipboard => Message::FixtureText(fixture(&stored, scrub).map(|(_, text)| text)),
                FixtureTo::File(path) => Message::Saved(save_fixture(&stored, scrub, &path)),
            });
            made.await.unwrap_or_else(|e| Message::Warned(e.to_string()))
        }
        Effect::Trigger(event, path) => {
            let trigger = Trigger {
                event,
                reading: "guide".into(),
                set: Vec::new(),
                direct: None,
                url: None,
                path,
                secrets: Vec::new(),
                seed: getrandom::u64().unwrap_or(0),
                payload: None,
                tamper: None,
                unsigned: false,
            };
            Message::Triggered(control.trigger(&trigger).await.map(Box::new))
        }
        // These are the runner's own, or handled above.
        Effect::Page(_)
        | Effect::Status
        | Effect::ReplayAll(..)
        | Effect::StopReplay
        | Effect::Edit(..)
        | Effect::Copy(_)
        | Effect::SaveFilter(..)
        | Effect::Suspend
        | Effect::Redraw
        | Effect::Quit => return None,
    })
}

/// Sends all that match and are stored now.
async fn replay_all(
    control: &Control,
    query: String,
    how: Replaying,
    stop: &Notify,
    tell: &mpsc::Sender<Message>,
) -> Result<Box<Summary>, ControlError> {
    let mut plan = Plan::new(Selection::Query(query));
    plan.copy = Copy { to: how.to, allow_production: how.allow_production, ..Copy::default() };
    (plan.manner, plan.pace) = (how.manner, how.pace);
    if plan.manner.chaos.any() && !how.seeded {
        plan.manner.seed = getrandom::u32().map_or(0, u64::from);
    }
    let mut batch = Batch::default();
    let mut told = Instant::now();
    let hear = |what: Told<'_>| {
        match what {
            Told::Counted(all) => batch.all = Some(all),
            Told::Tried(tried) if tried.again => {}
            Told::Tried(tried) if tried.done.is_ok_and(|done| done.attempt.succeeded()) => batch.ok += 1,
            Told::Tried(_) => batch.failed += 1,
            Told::Stopping(_) => {}
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            // Where there is no room the next one says it.
            let _ = tell.try_send(Message::Batch(batch));
        }
        if tell.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    replay::run(control, &plan, hear, stop.notified()).await.map(Box::new)
}

/// A delivery as a fixture: the set that has nothing else, and its text.
fn fixture(stored: &Stored, scrub: Scrub) -> Result<(Set, String), String> {
    let sentence = |e: ControlError| match e.hint {
        Some(hint) => format!("{}; {hint}", e.message),
        None => e.message,
    };
    let key = match scrub {
        Scrub::Scrubbed => Some(fixtures::throwaway().map_err(sentence)?),
        Scrub::AsItIs => None,
    };
    // What is not JSON cannot be looked through, so it goes wholly.
    let save = fixtures::Save { scrub: key.as_ref().map(|key| (key, NotJson::Replace)), expect: None, beside: None };
    let set = fixtures::set_of(std::slice::from_ref(stored), &save).map_err(sentence)?;
    let text = set.iter().next().map(|(_, fixture)| fixture.to_text()).unwrap_or_default();
    Ok((set, text))
}

/// Writes a fixture that is not there yet. Gives what is to be known about it.
fn save_fixture(stored: &Stored, scrub: Scrub, path: &Path) -> Result<(PathBuf, String), String> {
    let (set, _) = fixture(stored, scrub)?;
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
    }
    if path.symlink_metadata().is_ok() {
        return Err(format!("{} is there already; choose another name", path.display()));
    }
    // The user was asked where it matters.
    fixtures::write(&set, path, None, Phi::Allow, Overwrite::Refuse).map_err(|e| e.message)?;
    let doubts = lint_set(&set).len();
    let known = match (scrub, doubts) {
        (Scrub::AsItIs, _) => String::new(),
        (Scrub::Scrubbed, 0) => ", scrubbed".to_owned(),
        (Scrub::Scrubbed, n) => format!(", scrubbed; {n} places may need a look: `fixtures lint` names them"),
    };
    Ok((path.to_owned(), known))
}

/// Writes a file that is not there yet, readable by its user only: it may be about patients.
fn save(path: &Path, bytes: &Bytes) -> Result<(PathBuf, String), String> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{} is there already; choose another name", path.display()),
        _ => format!("{} cannot be written: {e}", path.display()),
    };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = private_file(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    Ok((path.to_owned(), String::new()))
}

/// A new file that only its user can read.
pub(crate) fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
