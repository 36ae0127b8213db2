//! The inspector in the terminal.
//!
//! `model` is the state, `message` what can happen to it and what it can want done, `update` the pure step from one to the other, `view` the
//! screen made of it, `keys` the key map as data. `screen` is the loop around them with the terminal that `guard` takes and gives back, and
//! `perform` does what is wanted through `control`, which is the only way to deliveries from here. `window` is the list, `doc` and `sheet` are
//! what the details show, `text` is the only way from foreign bytes to the screen.
//!
//! `listen` does not know this room. Nothing here knows the archive or the network.

mod copy;
pub(crate) mod doc;
mod guard;
mod keys;
mod layout;
mod message;
mod mistake;
mod model;
mod perform;
mod replaying;
mod screen;
mod sheet;
mod standing;
mod text;
mod theme;
mod update;
mod view;
mod window;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tunnel_delivery::Timestamp;

use crate::control::Control;
use crate::notice::{Notice, Sink};
use crate::query::Saved;
use crate::replay::draft as edit;

pub(crate) use copy::tool as clipboard;
pub(crate) use guard::Aside;
pub(crate) use keys::KeyMap;
pub(crate) use standing::Whose;

/// How many notices may wait to be shown; what is more is read from the store.
const WAITING: usize = 4096;
/// How many effects and results may wait.
const EFFECTS: usize = 256;
/// How long the end waits for the screen to be given back.
const LAST_DRAW: Duration = Duration::from_secs(1);

/// What the inspector needs to know before it opens.
pub(crate) struct Setup {
    /// Whether colour is used.
    pub(crate) colour: bool,
    /// Which key does what.
    pub(crate) keys: KeyMap,
    /// Whose deliveries are shown.
    pub(crate) whose: Whose,
    /// Where deliveries are forwarded to, as far as that is known.
    pub(crate) target: Option<String>,
    /// The tunnel and where senders reach it, likewise.
    pub(crate) tunnel: Option<String>,
    /// Best first.
    pub(crate) urls: Vec<String>,
    /// The filter to begin with.
    pub(crate) filter: String,
    /// Filters that have a name, and those of them that were saved in the inspector.
    pub(crate) saved: Saved,
    pub(crate) own_filters: Saved,
    /// The program that has this machine's clipboard, with its arguments.
    pub(crate) clipboard: Option<Vec<String>>,
    /// The user's editor.
    pub(crate) editor: String,
    /// A folder that only the user can read.
    pub(crate) folder: PathBuf,
    /// What the user is told to begin with.
    pub(crate) notes: Vec<String>,
}

/// An open inspector.
pub(crate) struct Tui {
    thread: JoinHandle<std::io::Result<()>>,
    end: Arc<AtomicBool>,
    notices: mpsc::Sender<Arc<Notice>>,
    left_out: Arc<AtomicU64>,
    control: Option<oneshot::Sender<Arc<Control>>>,
}

/// Where the agent in this process tells what happens.
struct Telling {
    notices: mpsc::Sender<Arc<Notice>>,
    left_out: Arc<AtomicU64>,
}

impl Sink for Telling {
    fn notice(&self, notice: Arc<Notice>) {
        if self.notices.try_send(notice).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tui {
    /// Opens it. The future is ready when the user quits, or the terminal is gone. Must be called within a runtime.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn open(setup: Setup) -> std::io::Result<(Tui, impl Future<Output = ()> + Send + 'static)> {
        let (notices, told) = mpsc::channel(WAITING);
        let (tell, results) = mpsc::channel(EFFECTS);
        let (effects, wanted) = mpsc::channel(EFFECTS);
        let (control, controlled) = oneshot::channel();
        let (closing, closed) = oneshot::channel::<()>();
        let (end, left_out) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let resumed = Arc::new(AtomicBool::new(false));
        let ends = screen::Ends {
            results,
            notices: told,
            left_out: Arc::clone(&left_out),
            effects,
            end: Arc::clone(&end),
            resumed: Arc::clone(&resumed),
            editor: setup.editor.clone(),
            folder: setup.folder.clone(),
        };
        let data = setup.folder.clone();
        tokio::spawn(async move {
            if let Ok(control) = controlled.await {
                perform::run(control, data, wanted, tell).await;
            }
        });
        #[cfg(unix)]
        tokio::spawn(continued(resumed));
        let thread = std::thread::Builder::new().name("inspector".into()).spawn(move || {
            // Dropped at the end, also at a panic.
            let _closing = closing;
            let now = Timestamp::from_system(std::time::SystemTime::now());
            let mut m = model::Model::new((80, 24), now, theme::Theme { colour: setup.colour }, setup.keys);
            m.standing.whose = setup.whose;
            (m.standing.target, m.standing.tunnel, m.standing.urls) = (setup.target, setup.tunnel, setup.urls);
            (m.saved, m.own_filters, m.clipboard) = (setup.saved, setup.own_filters, setup.clipboard);
            m.begin_with(&setup.filter);
            setup.notes.into_iter().for_each(|note| m.warn(note));
            screen::run(m, ends)
        })?;
        let tui = Tui { thread, end, notices, left_out, control: Some(control) };
        Ok((tui, async move { drop(closed.await) }))
    }

    /// Where the agent in this process tells what happens.
    pub(crate) fn sink(&self) -> impl Sink + 'static {
        Telling { notices: self.notices.clone(), left_out: Arc::clone(&self.left_out) }
    }

    /// From now on the store can be asked.
    pub(crate) fn connect(&mut self, control: Arc<Control>) {
        if let Some(connect) = self.control.take() {
            // Refused where the runtime ends.
            drop(connect.send(control));
        }
    }

    /// The end of it that whoever finds the store is given.
    pub(crate) fn connector(&mut self) -> Option<oneshot::Sender<Arc<Control>>> {
        self.control.take()
    }

    /// Gives the terminal back, and says what was wrong with it.
    ///
    /// # Errors
    /// The terminal was gone, or drawing panicked; that was printed.
    pub(crate) fn finish(self) -> std::io::Result<()> {
        self.end.store(true, Ordering::SeqCst);
        // An editor that is open, or a terminal that does not read any more, must not keep the process.
        let deadline = Instant::now() + LAST_DRAW;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !self.thread.is_finished() {
            return Ok(());
        }
        self.thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the inspector panicked")))
    }
}

/// Notes that the process was stopped and goes on: a shell may have changed the terminal meanwhile.
#[cfg(unix)]
async fn continued(resumed: Arc<AtomicBool>) {
    let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
    if let Ok(mut signal) = tokio::signal::unix::signal(kind) {
        while signal.recv().await.is_some() {
            resumed.store(true, Ordering::SeqCst);
        }
    }
}
