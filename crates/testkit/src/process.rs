//! A program that runs: what it printed so far, signals to it, and its end. It knows nothing of what the program is.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use rustix::process::Signal;
use serde_json::Value;

use crate::{DEADLINE, Log, eventually};

/// How long an ended program's last words may take to come through the pipe: they are there, but on a busy machine whoever reads them may not have
/// had its turn. Spent in full only where something that the program started keeps the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// How much of what a program printed is shown when a story fails, in bytes.
const SHOWN: usize = 20_000;

/// A program that was started. It is killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    out: Stream,
    err: Stream,
}

/// What came through one pipe: lines as they came, and all bytes.
#[derive(Clone, Default)]
struct Stream {
    lines: Log<String>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Stream {
    fn read(&self, pipe: impl Read + Send + 'static) {
        let stream = self.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                stream.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&line);
                stream.lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            stream.lines.end();
        });
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Process {
    /// Starts a program with both outputs captured and an empty input unless the command says otherwise.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Process {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|e| panic!("{name} cannot be started: {e} ({command:?})"));
        let (out, err) = (Stream::default(), Stream::default());
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            out.read(stdout);
            err.read(stderr);
        }
        Process { name: name.to_owned(), child, ended: None, out, err }
    }

    /// The lines on standard output.
    pub fn lines(&self) -> &Log<String> {
        &self.out.lines
    }

    /// The lines on standard error.
    pub fn messages(&self) -> &Log<String> {
        &self.err.lines
    }

    /// The program's input, if the command gave it a pipe; once.
    pub fn take_input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Everything printed so far, both outputs.
    pub fn printed(&self) -> Vec<u8> {
        [self.out.bytes(), self.err.bytes()].concat()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the program has ended already.
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.has_ended(), "{} ended before it was sent {signal:?}", self.name);
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap_or_else(|e| panic!("{}: {signal:?}: {e}", self.name));
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            // An error means that it has ended meanwhile, which is what was wanted.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        self.out.lines.wait_end(LAST_WORDS);
        self.err.lines.wait_end(LAST_WORDS);
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Waits for its end and for its last words.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("the end of {name}"), || {
            self.has_ended();
            self.ended
        });
        self.out.lines.wait_end(LAST_WORDS);
        self.err.lines.wait_end(LAST_WORDS);
        status
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// If it cannot be started or has not ended after [`DEADLINE`].
    pub fn run(name: &str, command: &mut Command) -> Ran {
        let asked = command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut process = Process::spawn(name, command.stdin(Stdio::null()));
        let status = process.wait();
        Ran {
            asked: format!("{name} {asked}"),
            code: status.code(),
            out: process.out.bytes(),
            err: process.err.bytes(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            say(&self.name, "stdout", &self.out.bytes());
            say(&self.name, "stderr", &self.err.bytes());
        }
    }
}

/// Shows what a program printed beside the failed story.
#[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test, and only then")]
fn say(name: &str, which: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        let from = bytes.len().saturating_sub(SHOWN);
        eprintln!("---- {name}, {which}:\n{}", String::from_utf8_lossy(&bytes[from..]));
    }
}

/// A program that ran to its end.
pub struct Ran {
    asked: String,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Ran {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Expects an exit code.
    ///
    /// # Panics
    /// If it was another, with all that was printed.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.asked, self.out(), self.err());
        self
    }

    /// Expects exit 0.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.exits(0)
    }

    /// Standard output as the one JSON value that it must be.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.out) {
            Ok(value) => value,
            Err(e) => panic!("{}: not one JSON value ({e}): {}\nstderr: {}", self.asked, self.out(), self.err()),
        }
    }

    /// Standard output as JSON lines.
    ///
    /// # Panics
    /// If one is not JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.asked));
        self.out().lines().map(parse).collect()
    }
}

/// The limit is part of what [`Process::wait`] promises.
const _: () = assert!(LAST_WORDS.as_secs() < DEADLINE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_words_and_code_are_seen() {
        let ran = Process::run("sh", Command::new("sh").args(["-c", "echo '{\"a\":1}'; echo oh >&2; exit 3"])).exits(3);
        assert_eq!(ran.json()["a"], 1);
        assert_eq!(ran.err(), "oh\n");
    }

    #[test]
    fn a_signal_ends_it_and_lines_are_waited_for() {
        let mut cat =
            Process::spawn("sh", Command::new("sh").args(["-c", "echo here; exec cat"]).stdin(Stdio::piped()));
        cat.lines().wait("a line", |lines| lines.iter().find(|l| *l == "here").cloned());
        assert!(!cat.terminate().success());
        assert!(cat.has_ended());
    }
}
