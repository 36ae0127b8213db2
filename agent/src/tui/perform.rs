//! Does what the model wants done in the store and at the agent, and tells what came of it. Each effect runs beside the others; a later page
//! of the list ends the look for an earlier one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tunnel_delivery::{DeliveryId, Timestamp};

use super::doc::Doc;
use super::message::{Batch, Effect, Message};
use crate::control::{Control, ControlError, PageAsk, Replay, Trigger, Verify};
use crate::forward::TargetUrl;

/// How often a replay of many says how far it is.
const PROGRESS: Duration = Duration::from_millis(100);
/// Lines of a page while many are replayed.
const PAGE: usize = 200;

/// Performs effects until there are no more.
pub(crate) async fn run(control: Arc<Control>, mut effects: mpsc::Receiver<Effect>, tell: mpsc::Sender<Message>) {
    let mut page: Option<JoinHandle<()>> = None;
    let mut batch: Option<Arc<AtomicBool>> = None;
    if tell.send(Message::Ready).await.is_err() {
        return;
    }
    while let Some(effect) = effects.recv().await {
        let (control, tell) = (Arc::clone(&control), tell.clone());
        match effect {
            Effect::StopReplay => {
                if let Some(stop) = &batch {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            Effect::ReplayAll(query) => {
                let stop = Arc::new(AtomicBool::new(false));
                batch = Some(Arc::clone(&stop));
                tokio::spawn(async move { replay_all(&control, query, &stop, &tell).await });
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
        // A failure shows where something is asked for by the user.
        Effect::Totals => Message::Totals(control.totals().await.ok()?),
        Effect::Replay(id, to) => Message::Replayed(id, replay(control, id, to).await.map(Box::new)),
        Effect::Send(id, edited) => Message::Replayed(id, control.edited(&edited).await.map(Box::new)),
        Effect::Mark(marking) => {
            let done = control.mark(&marking).await;
            Message::Marked(marking, done)
        }
        Effect::Save(path, bytes) => {
            let saved = tokio::task::spawn_blocking(move || save(&path, &bytes)).await;
            Message::Saved(saved.unwrap_or_else(|e| Err(e.to_string())))
        }
        Effect::Trigger(event) => {
            let trigger = Trigger {
                event,
                reading: "guide".into(),
                set: Vec::new(),
                direct: None,
                url: None,
                path: "/".into(),
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
        | Effect::ReplayAll(_)
        | Effect::StopReplay
        | Effect::Edit(..)
        | Effect::Copy(_)
        | Effect::Suspend
        | Effect::Redraw
        | Effect::Quit => return None,
    })
}

async fn replay(
    control: &Control,
    id: DeliveryId,
    to: Option<TargetUrl>,
) -> Result<crate::control::Replayed, ControlError> {
    control.replay(&Replay { id: id.to_string(), to, ..Replay::default() }).await
}

/// Sends all that match and are stored now, oldest first, one after the other.
async fn replay_all(control: &Control, query: String, stop: &AtomicBool, tell: &mpsc::Sender<Message>) {
    let until = Timestamp::from_system(std::time::SystemTime::now());
    let mut batch = Batch::default();
    let mut told = Instant::now();
    let mut cursor = None;
    drop(tell.send(Message::Batch(batch)).await);
    'all: loop {
        let ask = PageAsk { query: query.clone(), oldest_first: true, cursor, limit: PAGE };
        let found = match control.page(&ask).await {
            Ok(found) => found,
            Err(e) => {
                drop(tell.send(Message::Warned(e.message)).await);
                batch.stopped = true;
                break;
            }
        };
        for line in found.items {
            if line.received_at > until {
                break 'all;
            }
            if stop.load(Ordering::Relaxed) || tell.is_closed() {
                batch.stopped = true;
                break 'all;
            }
            match replay(control, line.id, None).await {
                Ok(done) if done.attempt.succeeded() => batch.ok += 1,
                Ok(_) => batch.failed += 1,
                // There is no target, or the agent went away: the next would fail in the same way.
                Err(e) => {
                    drop(tell.send(Message::Warned(e.message)).await);
                    batch.stopped = true;
                    break 'all;
                }
            }
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                drop(tell.send(Message::Batch(batch)).await);
            }
        }
        cursor = found.next;
        if cursor.is_none() {
            break;
        }
    }
    drop(tell.send(Message::Batch(Batch { ended: true, ..batch })).await);
}

/// Writes a file that is not there yet, readable by its user only: it may be about patients.
fn save(path: &Path, bytes: &Bytes) -> Result<PathBuf, String> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{} is there already; choose another name", path.display()),
        _ => format!("{} cannot be written: {e}", path.display()),
    };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = private_file(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    Ok(path.to_owned())
}

/// A new file that only its user can read.
pub(crate) fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
