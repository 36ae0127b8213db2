//! The terminal, taken and given back: on the way out, at a panic, before another program has it. And what would be written to stderr while
//! the screen is taken.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::ThreadId;

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

/// Whether the screen is taken. A process has one terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The thread that draws.
static DRAWS: Mutex<Option<ThreadId>> = Mutex::new(None);
/// Lines for stderr that wait until they are shown or the screen is given back.
static ASIDE: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// More lines than these are not kept.
const MOST_ASIDE: usize = 100;

/// Has the terminal, and gives it back when it goes.
pub(crate) struct Guard(());

impl Guard {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or it is gone.
    pub(crate) fn take() -> io::Result<Guard> {
        hook();
        *DRAWS.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current().id());
        let guard = Guard(());
        guard.again()?;
        Ok(guard)
    }

    /// Takes it again after another program had it.
    pub(crate) fn again(&self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
    }

    /// Gives it to another program for a while.
    pub(crate) fn lend(&self) {
        restore();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
        for line in aside_lines() {
            // Nobody is left to tell if stderr is closed.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Gives the terminal back. Does what can be done: it may be gone.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic of the drawing thread gives the terminal back before it is printed; one of another thread is shown without disturbing the screen.
fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let draws = *DRAWS.lock().unwrap_or_else(PoisonError::into_inner);
            if TAKEN.load(Ordering::SeqCst) && draws != Some(std::thread::current().id()) {
                push_aside(info.to_string());
                return;
            }
            restore();
            before(info);
        }));
    });
}

fn push_aside(line: String) {
    let mut lines = ASIDE.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() < MOST_ASIDE {
        lines.push_back(line);
    }
}

/// What would have been written to stderr since this was asked last.
pub(crate) fn aside_lines() -> Vec<String> {
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}

/// stderr, but for the time while the screen is taken: then lines are kept for whoever draws.
#[derive(Debug, Default)]
pub(crate) struct Aside;

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !TAKEN.load(Ordering::SeqCst) {
            return io::stderr().write(bytes);
        }
        push_aside(String::from_utf8_lossy(bytes).trim_end().to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
