//! The only place that writes to stdout and stderr. A closed stdout ends the command quietly.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::failure::Failure;
use super::style::Style;
use crate::control::Watch;
use crate::safe_text::SafeText;
use crate::settings::Environment;

/// Where a command prints.
pub struct Output {
    stdout: BufWriter<Stdout>,
    /// How stdout is styled.
    pub(crate) style: Style,
    /// Characters in a line of the terminal; `None` where stdout is none.
    pub(crate) width: Option<usize>,
    /// Messages that wait for a screen that is to cover the terminal; `None` where they are printed.
    held: Option<Vec<String>>,
}

impl Output {
    /// The process's own; `environment` says whether colour is wanted.
    pub fn new(environment: &Environment) -> Output {
        let terminal = io::stdout().is_terminal();
        Output {
            stdout: BufWriter::new(io::stdout()),
            style: Style { colour: terminal && !environment.no_color() },
            width: terminal.then(|| width().unwrap_or(100)),
            held: None,
        }
    }

    /// One line to stdout. It must be safe to print.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{line}")?)
    }

    /// Bytes to stdout as they are: text of our own, or what the user gave.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stdout.write_all(bytes)?)
    }

    /// One JSON value to stdout, on one line.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
        Ok(writeln!(self.stdout)?)
    }

    /// Brings what was printed to whoever reads it.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// Whether whoever read stdout has gone, for a command that may not print for a long time.
    #[cfg(unix)]
    pub(crate) fn closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::ERR)
    }

    /// Not known here.
    #[cfg(not(unix))]
    pub(crate) fn closed(&self) -> bool {
        false
    }

    /// A message to stderr.
    pub fn message(&mut self, text: &str) {
        if let Some(held) = &mut self.held {
            held.push(text.to_owned());
            return;
        }
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(io::stderr(), "{}", SafeText::block(text));
    }

    /// From now on messages are kept, for a screen that would cover them.
    pub(crate) fn hold_messages(&mut self) {
        self.held.get_or_insert_default();
    }

    /// What was kept; from now on messages are printed again.
    pub(crate) fn held_messages(&mut self) -> Vec<String> {
        self.held.take().unwrap_or_default()
    }

    /// A question to stderr, on whose line the answer is typed.
    pub(crate) fn ask(&mut self, text: &str) {
        let _ = write!(io::stderr(), "{}", SafeText::new(text));
    }

    /// Asks on stderr and reads a line; whether it was yes. Only for a terminal on both.
    ///
    /// # Errors
    /// The question cannot be shown, or the answer cannot be read.
    pub(crate) fn sure(&mut self, question: &str) -> Result<bool, Failure> {
        let mut stderr = io::stderr();
        write!(stderr, "{} [y/N] ", SafeText::new(question))?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    /// Tells on one line of stderr how far something is, a few times a second; nothing where stderr is no terminal.
    pub(crate) fn progress(&self) -> Watch {
        if !io::stderr().is_terminal() {
            return Box::new(|_| ());
        }
        let mut told: Option<Instant> = None;
        Box::new(move |p| {
            if told.is_some_and(|at| at.elapsed() < Duration::from_millis(200)) {
                return;
            }
            told = Some(Instant::now());
            let share = p
                .done
                .saturating_mul(100)
                .checked_div(p.total)
                .map_or_else(String::new, |n| format!(" {}%", n.min(100)));
            let _ = write!(io::stderr(), "\r\x1b[K{}{share}", p.step);
        })
    }

    /// Takes that line away again.
    pub(crate) fn end_progress(&self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        let _ = self.stdout.flush();
        if !failure.message.is_empty() {
            self.message(&format!("error: {}", failure.message));
        }
        if let Some(hint) = &failure.hint {
            self.message(&format!("hint: {hint}"));
        }
    }
}

/// To stdout, as [`Output::bytes`].
impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

#[cfg(unix)]
fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|w| *w > 0)
}

#[cfg(not(unix))]
fn width() -> Option<usize> {
    None
}
