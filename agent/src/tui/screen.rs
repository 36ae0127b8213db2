//! The loop around the model: reads keys, takes in what is told, draws, and does the few effects that need the terminal itself. A thread of
//! its own, so that neither a slow terminal nor an editor holds the agent up.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType};
use tokio::sync::mpsc::{Receiver, Sender};
use tunnel_delivery::{DeliveryId, Timestamp};

use super::copy;
use super::edit::Draft;
use super::guard::{Guard, aside_lines};
use super::message::{Effect, Message};
use super::model::Model;
use super::perform::private_file;
use super::update::update;
use super::view::view;
use crate::notice::Notice;

/// How long keys are waited for where nothing else is to be done. What is told by others is seen so late at most.
const WAIT: Duration = Duration::from_millis(20);
/// Two drawings that no key asked for are this far apart at least.
const FRAME: Duration = Duration::from_millis(33);
/// How often time goes on.
const TICK: Duration = Duration::from_millis(100);
/// At most so many notices and results are taken in before keys are looked at again.
const AT_ONCE: usize = 512;
/// At most so many events of the terminal are taken in before it is drawn.
const KEYS_AT_ONCE: usize = 64;

/// What the loop has to do with the rest of the program.
pub(crate) struct Ends {
    /// What effects came to.
    pub(crate) results: Receiver<Message>,
    /// What the agent tells, where it is in this process.
    pub(crate) notices: Receiver<Arc<Notice>>,
    /// How many of those there was no room for.
    pub(crate) left_out: Arc<AtomicU64>,
    /// Where effects go.
    pub(crate) effects: Sender<Effect>,
    /// Whether it is to end.
    pub(crate) end: Arc<AtomicBool>,
    /// Whether the process was stopped and goes on.
    pub(crate) resumed: Arc<AtomicBool>,
    /// The user's editor.
    pub(crate) editor: String,
    /// A folder that only the user can read, for what is edited.
    pub(crate) folder: PathBuf,
}

/// What an effect means for the loop.
enum After {
    GoOn,
    DrawAnew,
    End,
}

struct Running {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
    guard: Guard,
    model: Model,
    ends: Ends,
    changed: bool,
}

/// Runs until the user quits or the program ends.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn run(model: Model, ends: Ends) -> io::Result<()> {
    let guard = Guard::take()?;
    let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut running = Running { terminal, guard, model, ends, changed: true };
    let size = running.terminal.size()?;
    running.take(Message::Resized(size.width, size.height))?;
    running.turn()
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

impl Running {
    fn turn(&mut self) -> io::Result<()> {
        let (mut drawn, mut ticked) = (Instant::now().checked_sub(FRAME), Instant::now());
        loop {
            if self.ends.end.load(Ordering::SeqCst) {
                return Ok(());
            }
            // Keys first: however much comes, they are answered at once.
            let due = drawn.map_or(Duration::ZERO, |at: Instant| FRAME.saturating_sub(at.elapsed()));
            let mut wait = if self.changed { due.min(WAIT) } else { WAIT };
            let mut key = false;
            for _ in 0..KEYS_AT_ONCE {
                if !event::poll(wait)? {
                    break;
                }
                wait = Duration::ZERO;
                let message = match event::read()? {
                    Event::Key(k) => Message::Key(k),
                    Event::Mouse(mouse) => Message::Mouse(mouse),
                    Event::Paste(text) => Message::Paste(text),
                    Event::Resize(columns, rows) => Message::Resized(columns, rows),
                    Event::FocusGained | Event::FocusLost => continue,
                };
                key = true;
                if !self.take(message)? {
                    return Ok(());
                }
            }
            if !self.told()? {
                return Ok(());
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                if !self.take(Message::Tick(now()))? {
                    return Ok(());
                }
            }
            if self.ends.resumed.swap(false, Ordering::SeqCst) {
                self.guard.again()?;
                self.draw_anew()?;
            }
            if key || (self.changed && drawn.is_none_or(|at| at.elapsed() >= FRAME)) {
                self.draw()?;
                drawn = Some(Instant::now());
            }
        }
    }

    /// Takes in what others tell.
    fn told(&mut self) -> io::Result<bool> {
        for _ in 0..AT_ONCE {
            let Ok(message) = self.ends.results.try_recv() else { break };
            if !self.take(message)? {
                return Ok(false);
            }
        }
        for _ in 0..AT_ONCE {
            let Ok(notice) = self.ends.notices.try_recv() else { break };
            self.take(Message::Notice(notice))?;
        }
        let left_out = self.ends.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            self.take(Message::LeftOut(left_out))?;
        }
        for line in aside_lines() {
            self.take(Message::Warned(line))?;
        }
        Ok(true)
    }

    /// Takes one message in and does what it asks for; `false` where that is to end.
    fn take(&mut self, message: Message) -> io::Result<bool> {
        self.changed = true;
        let mut waiting = update(&mut self.model, message);
        while !waiting.is_empty() {
            for effect in std::mem::take(&mut waiting) {
                match self.perform(effect, &mut waiting)? {
                    After::GoOn => {}
                    After::DrawAnew => self.draw_anew()?,
                    After::End => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    fn perform(&mut self, effect: Effect, more: &mut Vec<Effect>) -> io::Result<After> {
        Ok(match effect {
            Effect::Quit => After::End,
            Effect::Redraw => After::DrawAnew,
            Effect::Copy(text) => {
                let mut out = io::stdout().lock();
                out.write_all(copy::osc52(&text).as_bytes())?;
                out.flush()?;
                drop(out);
                if let Some(tool) = &self.model.clipboard {
                    to_clipboard(tool.clone(), text);
                }
                After::GoOn
            }
            Effect::SaveFilter(name, query) => {
                let done = crate::saved_filters::change(&self.ends.folder, &name, query.as_deref());
                more.extend(update(&mut self.model, Message::FiltersSaved(done)));
                After::GoOn
            }
            Effect::Suspend => {
                self.guard.lend();
                stop_process();
                self.guard.again()?;
                After::DrawAnew
            }
            Effect::Edit(id, draft) => {
                self.guard.lend();
                let edited = edit(&self.ends.editor, &self.ends.folder, id, draft);
                self.guard.again()?;
                more.extend(update(&mut self.model, Message::EditorClosed(id, edited)));
                After::DrawAnew
            }
            effect => {
                // Where nobody performs effects any more, the program is ending.
                let _ = self.ends.effects.blocking_send(effect);
                After::GoOn
            }
        })
    }

    /// Forgets what is on the screen. `Terminal::clear` asks the terminal where its cursor is, and one that does not answer at once (a slow
    /// line, a script) would end the inspector.
    fn draw_anew(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        self.changed = true;
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        self.changed = false;
        let model = &self.model;
        self.terminal.draw(|frame| {
            if let Some(cursor) = view(model, frame.buffer_mut()) {
                frame.set_cursor_position(cursor);
            }
        })?;
        Ok(())
    }
}

/// Gives text to a clipboard's program, beside everything else: it may wait for somebody. What fails is not told; the terminal got the text too.
fn to_clipboard(words: Vec<String>, text: String) {
    let run = move || -> io::Result<()> {
        use std::process::{Command, Stdio};
        let [program, arguments @ ..] = &words[..] else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        child.wait().map(drop)
    };
    drop(std::thread::Builder::new().name("clipboard".into()).spawn(move || drop(run())));
}

/// Stops this job as the shell's suspend key does; returns when it goes on.
#[cfg(unix)]
fn stop_process() {
    // The stop comes within moments, perhaps on another thread; nothing must be drawn before it.
    if rustix::process::kill_current_process_group(rustix::process::Signal::TSTP).is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(not(unix))]
fn stop_process() {}

/// Lets the user change the text; `None` where nothing was changed.
fn edit(editor: &str, folder: &Path, id: DeliveryId, draft: Draft) -> Result<Option<Draft>, String> {
    let nonce = getrandom::u64().map_err(|e| format!("no name for the editor's file: {e}"))?;
    let path = folder.join(format!("edit-{id}-{nonce:016x}.http"));
    let failed = |e: io::Error| format!("{} cannot be written: {e}", path.display());
    let mut file = private_file(&path).map_err(failed)?;
    let _gone = Removed(&path);
    file.write_all(&draft.text).map_err(failed)?;
    drop(file);
    // By a shell, as every program does: the setting may have arguments.
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(&path)
        .status()
        .map_err(|e| format!("{editor} cannot be run: {e}; set EDITOR"))?;
    if !status.success() {
        return Err(format!("{editor} ended with {status}; nothing is sent"));
    }
    let text = std::fs::read(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    Ok((text != draft.text).then_some(Draft { text }))
}

/// Removes the file when it goes.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // An editor may have moved it away.
        let _ = std::fs::remove_file(self.0);
    }
}
