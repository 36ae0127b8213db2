//! The operator's program that sets and clears DNS records: `PROGRAM set|clear NAME VALUE`, without a shell, within a time limit. NAME is the full
//! name of a TXT record; several values can stand under one name at once, and `set` must leave the others. Its environment is the relay's, where
//! the credentials for the DNS service can be.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::AcmeError;

/// How much of what it says on standard error is told, in bytes.
const SAID: usize = 2000;

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
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| failed(format!("cannot be started: {e}")))?;
    let mut stderr = child.stderr.take();
    let mut said = Vec::new();
    let ending = async {
        if let Some(stderr) = &mut stderr {
            // What cannot be read of it is missing from the message, and no more.
            let _ = stderr.take(SAID as u64).read_to_end(&mut said).await;
            let _ = tokio::io::copy(stderr, &mut tokio::io::sink()).await;
        }
        child.wait().await
    };
    match tokio::time::timeout(within, ending).await {
        Err(_) => Err(failed(format!("`{action} {name}` did not end within {} s", within.as_secs_f32()))),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let said = String::from_utf8_lossy(&said);
            Err(failed(format!("`{action} {name}` failed ({status}): {}", said.trim().escape_debug())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    async fn script(text: &str, within: Duration) -> (Result<(), AcmeError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let (program, out) = (dir.path().join("hook"), dir.path().join("out"));
        std::fs::write(&program, format!("#!/bin/sh\nout={}\n{text}\n", out.display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
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
}
