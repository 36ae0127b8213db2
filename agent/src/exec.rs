//! A delivery given to a command of the developer's: `listen --exec`.
//!
//! The command is a line for `sh`, the same for every delivery: what a sender chose reaches it on standard input and in environment variables only,
//! never as a part of the line. Its exit code is recorded as an attempt; what it prints is kept as the answer's body, the end of it where it is long.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tunnel_delivery::{Attempt, AttemptError, COMMAND, Cause, ErrorKind, Headers, Stored, Timestamp};

use crate::forward::Interrupt;
use crate::settings::KEYS;

/// The most bytes of what a command prints that are kept: the last ones, where a failure says why.
const KEPT: usize = 16 * 1024;
/// The most bytes of a value in the environment; the whole is on standard input.
const MOST_VALUE: usize = 1024;
/// The most bytes of the command that an attempt names.
const MOST_NAMED: usize = 500;
/// How long what is printed is waited for when the command has ended: a process that it left behind may keep its output open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A command, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The line for `sh`.
    pub command: Arc<str>,
    /// After this it is killed, with all that it started.
    pub limit: Duration,
}

impl Exec {
    /// Runs it once; every outcome is an attempt.
    pub(crate) async fn run(&self, stored: &Stored, number: u32, cause: Cause, interrupt: &Interrupt) -> Attempt {
        let at = Timestamp::from_system(std::time::SystemTime::now());
        let began = Instant::now();
        let mut printed = Tail::default();
        let failed = |kind, message| Some(AttemptError { kind, message });
        let error = match self.start(stored, number, cause) {
            Err(e) => failed(ErrorKind::Exit, format!("the command could not be started: {e}")),
            Ok(mut group) => {
                let input = serde_json::to_vec(stored).unwrap_or_default();
                tokio::select! {
                    biased;
                    ended = tokio::time::timeout(self.limit, group.end(input, &mut printed)) => match ended {
                        Ok(error) => error.map(|message| AttemptError { kind: ErrorKind::Exit, message }),
                        Err(_) => failed(ErrorKind::Timeout, format!("the command did not end within {} s and was killed", self.limit.as_secs_f64())),
                    },
                    () = interrupt.pulled() => failed(ErrorKind::Interrupted, "the agent stopped before the command had ended".into()),
                }
            }
        };
        Attempt {
            at,
            target: format!("{COMMAND}{}", cut(&self.command, MOST_NAMED)),
            cause,
            resigned: false,
            edited: false,
            status: None,
            error,
            duration: began.elapsed(),
            response_headers: Headers::default(),
            response_truncated: printed.cut,
            response_body: Bytes::from(printed.bytes),
        }
    }

    fn start(&self, stored: &Stored, number: u32, cause: Cause) -> std::io::Result<Group> {
        let event = stored.event.as_ref();
        let mut command = shell(&self.command);
        command.env("HEALTHIE_TUNNEL_DELIVERY", stored.delivery.id.to_string());
        command.env("HEALTHIE_TUNNEL_ATTEMPT", number.to_string());
        command.env("HEALTHIE_TUNNEL_REPLAY", if cause == Cause::Replay { "true" } else { "" });
        command.env("HEALTHIE_TUNNEL_EVENT", event.map_or_else(String::new, |e| value(&e.event_type)));
        for (name, text) in [
            ("HEALTHIE_TUNNEL_RESOURCE_ID", event.and_then(|e| e.resource_id.as_deref())),
            ("HEALTHIE_TUNNEL_RESOURCE_TYPE", event.and_then(|e| e.resource_id_type.as_deref())),
        ] {
            command.env(name, text.map_or_else(String::new, value));
        }
        command.env("HEALTHIE_TUNNEL_SIGNATURE", stored.signature.status.as_str());
        // A group of its own, so that all that it starts can be ended together.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Group { child, leader })
    }
}

/// The line, to be run without the settings that must never be shown: what a command prints is stored and shown.
fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    for key in KEYS.iter().filter(|key| key.private) {
        command.env_remove(key.variable);
    }
    command
}

/// A running command with all that it started; killed where it is dropped before its end.
struct Group {
    child: Child,
    /// Taken when it has ended: the number may be another's then.
    leader: Option<Pid>,
}

impl Group {
    /// Feeds it and reads what it prints until it ends; what is wrong with the end, if anything.
    async fn end(&mut self, input: Vec<u8>, printed: &mut Tail) -> Option<String> {
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is given.
                let _ = stdin.write_all(&input).await;
            }
            std::future::pending::<()>().await;
        };
        let ended = {
            let read = read(stdout, stderr, printed);
            tokio::pin!(read);
            let waiting = async {
                let wait = self.child.wait();
                tokio::pin!(wait);
                tokio::select! {
                    biased;
                    ended = &mut wait => (ended, false),
                    () = &mut read => ((&mut wait).await, true),
                }
            };
            let (ended, all_read) = tokio::select! {
                biased;
                ended = waiting => ended,
                () = feed => unreachable!("feeding never ends by itself"),
            };
            if !all_read {
                let _ = tokio::time::timeout(LAST_WORDS, read).await;
            }
            ended
        };
        self.leader = None;
        use std::os::unix::process::ExitStatusExt as _;
        match ended {
            Ok(status) if status.success() => None,
            Ok(status) => Some(match (status.code(), status.signal()) {
                (Some(code), _) => format!("the command ended with exit code {code}"),
                (None, Some(signal)) => format!("the command was ended by signal {signal}"),
                (None, None) => "the command ended without an exit code".to_owned(),
            }),
            Err(e) => Some(format!("how the command ended is not known: {e}")),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // All of them may have gone by themselves.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn read(
    mut stdout: Option<impl AsyncRead + Unpin>,
    mut stderr: Option<impl AsyncRead + Unpin>,
    printed: &mut Tail,
) {
    let (mut out, mut err) = ([0; 4096], [0; 4096]);
    while stdout.is_some() || stderr.is_some() {
        tokio::select! {
            biased;
            n = some(&mut stdout, &mut out) => match n {
                Some(n) => printed.add(&out[..n]),
                None => stdout = None,
            },
            n = some(&mut stderr, &mut err) => match n {
                Some(n) => printed.add(&err[..n]),
                None => stderr = None,
            },
        }
    }
}

/// How many bytes came; `None` at the end. Waits for ever where the end was seen.
async fn some(from: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> Option<usize> {
    match from {
        Some(from) => from.read(into).await.ok().filter(|n| *n > 0),
        None => std::future::pending().await,
    }
}

/// The end of what was printed.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Whether there was more before it.
    cut: bool,
}

impl Tail {
    fn add(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        let over = self.bytes.len().saturating_sub(KEPT);
        if over > 0 {
            self.bytes.drain(..over);
            self.cut = true;
        }
    }
}

/// A text from a delivery as a value in the environment, which can hold no NUL.
fn value(text: &str) -> String {
    cut(text, MOST_VALUE).replace('\0', "\u{fffd}")
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_not_given_the_secret_and_the_token() {
        let command = shell("env");
        let taken: Vec<_> =
            command.as_std().get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(
            ["HEALTHIE_TUNNEL_TOKEN", "HEALTHIE_WEBHOOK_SECRET"].iter().all(|name| taken.contains(&name.as_ref())),
            "{taken:?}"
        );
    }
}
