//! Where the two programs are, and one of them running. It knows their names and nothing of their command lines.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_testkit::{Binary, Stage};

use crate::error::{self, BenchError};

/// How long a program may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a program's last words is told, in bytes.
const LAST_WORDS: usize = 2000;

/// The folder with both programs.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Those in the folder given; else those beside this program, built anew in its profile if they are older than their source.
    pub(crate) fn find(given: Option<&Path>) -> Result<Programs, BenchError> {
        let folder = match given {
            Some(folder) => std::path::absolute(folder).map_err(error::io("find the folder of the programs"))?,
            None => {
                let own = std::env::current_exe().map_err(error::io("find this program"))?;
                let folder = own.parent().unwrap_or(Path::new("/")).to_owned();
                build(&folder)?;
                folder
            }
        };
        for binary in [Binary::Relay, Binary::Tunnel] {
            if !folder.join(binary.name()).is_file() {
                let what = format!("is not in {}; name its folder with --programs", folder.display());
                return Err(BenchError::Program { name: binary.name().to_owned(), what });
            }
        }
        Ok(Programs(folder))
    }

    /// One of them, on a stage of its own.
    pub(crate) fn command(&self, stage: &Stage, binary: Binary) -> Command {
        stage.command(self.0.join(binary.name()))
    }
}

/// Builds both into the folder that cargo built this one into. Away from cargo and the source nothing is built: what is there is used.
fn build(folder: &Path) -> Result<(), BenchError> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (Some(profile), Some(target)) = (folder.file_name().and_then(|name| name.to_str()), folder.parent()) else {
        return Ok(());
    };
    let profile = if profile == "debug" { "dev" } else { profile };
    if !workspace.join("Cargo.toml").is_file() || !folder.join("deps").is_dir() {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--profile", profile, "--bins", "--target-dir"]).arg(target);
    command.args(["-p", Binary::Relay.name(), "-p", Binary::Tunnel.name()]).current_dir(workspace);
    match command.output() {
        Ok(built) if built.status.success() => Ok(()),
        Ok(failed) => {
            let what = format!("cannot build the programs:\n{}", String::from_utf8_lossy(&failed.stderr));
            Err(BenchError::Program { name: "cargo".to_owned(), what })
        }
        Err(_) => Ok(()),
    }
}

/// A program that runs; it is killed when dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
    words: PathBuf,
    lines: Receiver<String>,
    told: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it. What it says on standard error goes to a file on the stage, lines on standard output are looked at by
    /// [`Running::wait_line`] and then thrown away.
    pub(crate) fn start(name: &str, stage: &Stage, mut command: Command) -> Result<Running, BenchError> {
        let words = stage.folder().join(format!("{name}.stderr"));
        let file = File::create(&words).map_err(error::io("make a file in the temporary folder"))?;
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().map_err(error::io("start a program"))?;
        let (to, lines) = sync_channel(64);
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        let reader = child.stdout.take().map(|out| {
            std::thread::spawn(move || {
                let mut out = BufReader::new(out);
                let mut line = Vec::new();
                while out.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                    count.fetch_add(deliveries(&line), Ordering::Relaxed);
                    // Full, or nobody looks any more: the program must not wait for that.
                    let _ = to.try_send(String::from_utf8_lossy(&line).into_owned());
                    line.clear();
                }
            })
        });
        Ok(Running { name: name.to_owned(), child, words, lines, told, reader })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as kill -9 does, and waits for its end.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, as a service manager does, and waits for its end.
    pub(crate) fn terminate(&mut self) -> Result<(), BenchError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let sent = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            sent.map_err(|e| error::io("ask a program to end")(e.into()))?;
        }
        self.child.wait().map(drop).map_err(error::io("wait for a program's end"))
    }

    /// How many deliveries an agent has told of, or left out because it was faster than we read. What else it leaves out counts too: it must tell of
    /// nothing else.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Waits for a line of standard output for which `wanted` holds.
    pub(crate) fn wait_line(&mut self, wanted: impl Fn(&str) -> bool) -> Result<(), BenchError> {
        self.wait(|running| running.lines.try_iter().find(|line| wanted(line)).map(drop))
    }

    /// Waits until `look` finds something; an error if the program ends before, or after half a minute.
    pub(crate) fn wait<T>(&mut self, look: impl Fn(&Running) -> Option<T>) -> Result<T, BenchError> {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            let ended = self.child.try_wait().map_err(error::io("look after a program"))?;
            if let Some(reader) = self.reader.take_if(|_| ended.is_some()) {
                // Its last lines may still be in the pipe; one more look. The reader does not panic.
                let _ = reader.join();
                continue;
            }
            let what = match ended {
                Some(status) => format!("ended with {status}"),
                None if start.elapsed() > PATIENCE => format!("was not ready after {PATIENCE:?}"),
                None => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            };
            let said = std::fs::read(&self.words).unwrap_or_default();
            let said = String::from_utf8_lossy(&said[said.len().saturating_sub(LAST_WORDS)..]).into_owned();
            return Err(BenchError::Program { name: self.name.clone(), what: format!("{what}\n{said}") });
        }
    }
}

/// How many deliveries a line of an agent tells of.
fn deliveries(line: &[u8]) -> u64 {
    if line.starts_with(br#"{"type":"delivery""#) {
        return 1;
    }
    let left_out = || -> Option<u64> {
        let said: Value = serde_json::from_slice(line).ok()?;
        (said["type"] == "left-out").then(|| said["count"].as_u64()).flatten()
    };
    left_out().unwrap_or(0)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_waited_for_and_an_early_end_is_told_with_the_last_words() {
        let stage = Stage::new();
        let mut command = stage.command("sh");
        command.args(["-c", "echo here; echo because >&2; exit 3"]);
        let mut running = Running::start("sh", &stage, command).unwrap();
        running.wait_line(|line| line == "here\n").unwrap();
        let error = running.wait_line(|line| line == "never\n").unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("because"), "{error}");
    }

    #[test]
    fn deliveries_are_counted_by_their_lines() {
        let lines = [
            br#"{"type":"delivery","id":"x"}"#.as_slice(),
            br#"{"type":"left-out","count":41}"#,
            br#"{"type":"connection","state":"connected"}"#,
            b"delivery",
        ];
        assert_eq!(lines.map(deliveries), [1, 41, 0, 0]);
    }

    #[test]
    fn a_folder_without_the_programs_is_named() {
        let stage = Stage::new();
        let error = Programs::find(Some(stage.folder())).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("healthie-relay") && error.contains(&stage.folder().display().to_string()), "{error}");
    }
}
