//! What came of a run of the program.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a program may take that should end by itself.
const DEADLINE: Duration = Duration::from_secs(60);

/// What it printed and how it ended, and the arguments it had.
pub struct Ran(pub Output, pub String);

impl Ran {
    /// Runs a program to its end. One that has none is ended and shown: what should have been refused may be a command that runs on.
    #[track_caller]
    pub fn of(command: &mut Command, asked: &str) -> Ran {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if began.elapsed() > DEADLINE {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
        let Some(status) = status else {
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            panic!("{asked}: it still ran after {DEADLINE:?}: {}{}", said(&stdout), said(&stderr));
        };
        Ran(Output { status, stdout, stderr }, asked.to_owned())
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

/// Reads on a thread of its own: a program whose pipe is full does not end.
fn reading(from: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    })
}
