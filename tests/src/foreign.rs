//! Senders and handlers in Python and Node, which share no code with what they test. The scripts are in senders/ and handlers/.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use tunnel_testkit::Process;

use crate::{HOST, SECRET};

/// A command that runs one of the scripts below this package's folder.
fn script(name: &str) -> Command {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let interpreter = match file.extension().and_then(|e| e.to_str()) {
        Some("py") => "python3",
        Some("mjs") => "node",
        other => panic!("nothing runs a script of kind {other:?}"),
    };
    let there = Command::new(interpreter).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(
        there.is_ok_and(|status| status.success()),
        "{interpreter} does not run here, and the stories need it: it signs or verifies without this project's code. \
         `.ci/run` installs it"
    );
    let mut command = Command::new(interpreter);
    command.arg(file);
    command
}

/// A program that signs and sends, in another language.
pub struct Sender {
    process: Process,
    jobs: ChildStdin,
    answered: usize,
}

impl Sender {
    /// senders/sender.py.
    pub fn python() -> Sender {
        Sender::start("senders/sender.py")
    }

    /// senders/sender.mjs.
    pub fn node() -> Sender {
        Sender::start("senders/sender.mjs")
    }

    fn start(name: &str) -> Sender {
        let mut process = Process::spawn(name, script(name).stdin(Stdio::piped()));
        let jobs = process.take_input().expect("the command gave it a pipe");
        Sender { process, jobs, answered: 0 }
    }

    /// Sends one delivery and gives the answer: status, headers, body.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn send(&mut self, job: &Value) -> Value {
        let answer = self.try_send(job);
        assert!(answer["status"].is_u64(), "no answer to {job}: {answer}");
        answer
    }

    /// Sends one delivery; without an answer, `error` says why.
    ///
    /// # Panics
    /// If the program itself fails.
    #[track_caller]
    pub fn try_send(&mut self, job: &Value) -> Value {
        writeln!(self.jobs, "{job}").expect("the sender reads jobs");
        let at = self.answered;
        self.answered += 1;
        let line = self.process.lines().wait("the sender's answer", |lines| lines.get(at).cloned());
        serde_json::from_str(&line).expect("the sender answers in JSON")
    }
}

/// A delivery for [`Sender::send`], signed for the path it is sent to, with the usual secret and host.
pub fn signed(to: SocketAddr, profile: &str, target: &str, body: &str) -> Value {
    json!({ "to": to, "host": HOST, "target": target, "profile": profile, "secret": SECRET, "body": body })
}

/// A handler in another language that verifies as one of Healthie's samples does.
pub struct ForeignHandler {
    process: Process,
    port: u16,
}

impl ForeignHandler {
    /// Starts one of the scripts in handlers/, by its file's name, with the usual secret.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(name: &str) -> ForeignHandler {
        ForeignHandler::start_with(name, &[])
    }

    /// The same with arguments.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(name: &str, arguments: &[&str]) -> ForeignHandler {
        let name = format!("handlers/{name}");
        let mut command = script(&name);
        command.args(arguments).env("HEALTHIE_WEBHOOK_SECRET", SECRET).stdin(Stdio::null());
        let process = Process::spawn(&name, &mut command);
        let first = process.lines().wait("the handler's port", |lines| lines.first().cloned());
        let said: Value = serde_json::from_str(&first).expect("the handler says its port in JSON");
        let port = said["port"].as_u64().and_then(|p| p.try_into().ok()).expect("a port");
        ForeignHandler { process, port }
    }

    /// Its address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits for the request of that number, counted from 0, and gives what it did with it: status, target, why.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn judged(&self, number: usize) -> Value {
        let what = format!("the handler's judgement number {number}");
        let line = self.process.lines().wait(&what, |lines| lines.get(number + 1).cloned());
        serde_json::from_str(&line).expect("the handler says what it did in JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each sender against each handler directly: if they disagreed, no story could tell who is wrong.
    #[test]
    fn senders_and_handlers_agree_without_us() {
        for mut sender in [Sender::python(), Sender::node()] {
            for name in ["guide.py", "guide.mjs", "scribe.py", "scribe.mjs"] {
                let handler = ForeignHandler::start(name);
                let to = SocketAddr::from(([127, 0, 0, 1], handler.port));
                let profile = name.split('.').next().unwrap_or_default();
                let body = r#"{"event_type":"task.created","resource_id":1}"#;
                let mut status = |job: &Value| sender.send(job)["status"].clone();
                for target in ["/hook", "/hook?a=%20b&c=d?e", "/"] {
                    assert_eq!(status(&signed(to, profile, target, body)), 200, "{name} {target}");
                }
                for (what, value) in [
                    ("sent_body", json!(body.replace('1', "2"))),
                    ("signed_target", json!("/other")),
                    ("secret", json!("whsec_other")),
                    ("profile", json!("rfc9421")),
                ] {
                    let mut job = signed(to, profile, "/hook", body);
                    job[what] = value;
                    assert_eq!(status(&job), 401, "{name} with another {what}");
                }
            }
        }
    }
}
