//! The operator's program that sets and clears DNS records: `PROGRAM set|clear NAME VALUE`, without a shell, within a time limit. NAME is the full
//! name of a TXT record; several values can stand under one name at once, and `set` must leave the others. Its environment is the relay's, where
//! the credentials for the DNS service can be. It is a process group of its own: what a script has started ends with it when its time is over.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::AcmeError;

/// How much of what it says on standard error is told, in bytes.
const SAID: usize = 2000;
/// How long is listened to what it has left behind, once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Set,
    Clear,
}

/// Calls it and waits for its end.
pub(crate) async fn call(
    program: &Path,
    action: Action,
    name: &str,
    value: &str,
    within: Duration,
) -> Result<(), AcmeError> {
    let failed = |problem: String| AcmeError::Hook { program: program.to_owned(), problem };
    let action = match action {
        Action::Set => "set",
        Action::Clear => "clear",
    };
    let mut command = Command::new(program);
    command.args([action, name, value]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be started: {e}")))?;
    let mut group = Group::of(&child);
    let mut stderr = child.stderr.take();
    let mut said = Vec::new();
    let ending = async {
        let mut reading = std::pin::pin!(async {
            if let Some(stderr) = &mut stderr {
                // What cannot be read of it is missing from the message, and no more.
                let _ = stderr.take(SAID as u64).read_to_end(&mut said).await;
                let _ = tokio::io::copy(stderr, &mut tokio::io::sink()).await;
            }
        });
        let mut read = false;
        // Its end counts and not that of its standard error, which what it leaves running may hold open.
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = &mut reading, if !read => read = true,
            }
        };
        if !read {
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        status
    };
    let ended = tokio::time::timeout(within, ending).await;
    if ended.is_ok() {
        group.leave();
    }
    match ended {
        Err(_) => Err(failed(format!("`{action} {name}` did not end within {} s", within.as_secs_f32()))),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let said = String::from_utf8_lossy(&said);
            Err(failed(format!("`{action} {name}` failed ({status}): {}", said.trim().escape_debug())))
        }
    }
}

/// The process and all that it has started; killed when this is dropped, unless it is left to itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Group {
        Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }

    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn script(text: &str, within: Duration) -> (Result<(), AcmeError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let (program, out) = (dir.path().join("hook"), dir.path().join("out"));
        let text = format!("#!/bin/sh\nout={}\n{text}\n", out.display());
        // A program that some process has open for writing cannot be run, and a child that another test starts in this very moment has, for a moment,
        // all that this process has. So a process of its own writes it.
        let written = std::process::Command::new("sh")
            .args(["-c", r#"umask 077; printf %s "$1" > "$0"; chmod 700 "$0""#])
            .args([program.as_os_str(), text.as_ref()])
            .status();
        assert!(written.unwrap().success());
        let done = call(&program, Action::Set, "_acme-challenge.relay.test", "a b;$c", within).await;
        (done, std::fs::read_to_string(out).unwrap_or_default())
    }

    #[tokio::test]
    async fn it_is_given_action_name_and_value_as_they_are() {
        let (done, out) = script(r#"printf '%s|' "$@" > $out"#, Duration::from_secs(60)).await;
        done.unwrap();
        assert_eq!(out, "set|_acme-challenge.relay.test|a b;$c|");
    }

    #[tokio::test]
    async fn a_failure_is_told_in_its_own_words_and_one_that_hangs_is_ended() {
        let (done, _) = script("echo no such zone >&2; exit 3", Duration::from_secs(60)).await;
        let said = done.unwrap_err().to_string();
        assert!(said.contains("no such zone") && said.contains("exit status: 3"), "{said}");
        let (done, _) = script("exec sleep 600", Duration::from_millis(100)).await;
        assert!(done.unwrap_err().to_string().contains("did not end within"));
        let missing = call(Path::new("/nowhere/hook"), Action::Clear, "a", "b", Duration::from_secs(1)).await;
        assert!(missing.unwrap_err().to_string().contains("cannot be started"));
    }
    #[tokio::test]
    async fn what_it_has_started_ends_with_it_when_it_is_not_waited_for_any_more() {
        // The script's child has the other end, which is closed when it is gone.
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let held = fifo.clone();
        let open = tokio::task::spawn_blocking(move || std::fs::File::open(held).unwrap());
        let text = format!("sleep 60 > {}; true", fifo.display());
        let calling = tokio::spawn(async move { script(&text, Duration::from_secs(600)).await.0 });
        let mut file = open.await.unwrap();
        calling.abort();
        let ended = tokio::task::spawn_blocking(move || std::io::Read::read(&mut file, &mut [0]).unwrap());
        let ended = tokio::time::timeout(tunnel_testkit::DEADLINE, ended).await;
        assert_eq!(ended.expect("nobody holds it open any more").unwrap(), 0);
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_not_waited_for() {
        // It runs until somebody opens the other end of this, which is after the script is over.
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let text = format!("cat {} & echo gone >&2; exit 4", fifo.display());
        let (done, _) = script(&text, 2 * tunnel_testkit::DEADLINE).await;
        let (open, is_open) = std::sync::mpsc::channel();
        std::thread::spawn(move || open.send(std::fs::File::create(fifo).is_ok()));
        assert_eq!(is_open.recv_timeout(tunnel_testkit::DEADLINE), Ok(true), "it still runs");
        let said = done.unwrap_err().to_string();
        assert!(said.contains("gone") && said.contains("exit status: 4"), "{said}");
    }
}
