//! What came of a run of the program.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::process::Output;

use serde_json::Value;

/// What it printed and how it ended, and the arguments it had.
pub struct Ran(pub Output, pub String);

impl Ran {
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
