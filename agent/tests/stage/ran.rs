//! What came of a run of the program.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a program may take that should end by itself.
const DEADLINE: Duration = Duration::from_secs(180);

/// What it printed and how it ended, and the arguments it had.
pub struct Ran(pub Output, pub String);

impl Ran {
    /// Runs a program to its end. One that has none is ended and shown: what should have been refused may be a command that runs on.
    #[track_caller]
    pub fn of(command: &mut Command, asked: &str) -> Ran {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = piped.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
        let in_time = ended.recv_timeout(DEADLINE);
        let is_late = in_time.is_err();
        if is_late {
            // It may have ended in this very moment.
            let _ = kill_process(pid, Signal::KILL);
        }
        let ran = Ran(in_time.or_else(|_| ended.recv_timeout(DEADLINE)).unwrap(), asked.to_owned());
        assert!(!is_late, "{asked}: it still ran after {DEADLINE:?}: {}{}", ran.out(), ran.err());
        ran
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.0.status.code(), Some(code), "{}: {}{}", self.1, self.out(), self.err());
        self
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    /// What it printed, a JSON value a line.
    pub fn lines(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.err().contains(text), "{}: not {text:?} but {}", self.1, self.err());
        self
    }

    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}
