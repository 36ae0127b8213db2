//! Power loss: a copy of the disk, taken while the writer stands still, has everything that was acknowledged and not taken.
//!
//! The spool lives on ext4 on a loop device. What it wrote but did not sync is in the page cache above the file system and not in the
//! backing file, so a copy of that file is the disk after the power went. This needs root, mkfs.ext4 and loop devices; without them
//! the test says so and passes. `HEALTHIE_TUNNEL_IMAGES` is the number of images (2 unless set).

#![cfg(target_os = "linux")]

mod sample;
mod writer;

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use writer::{Ledger, Writer};

fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// A mounted image. Dropping it unmounts it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: PathBuf) -> Result<Mounted, String> {
        std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        run("mount", &["-o", "loop", text(image), text(&at)])?;
        Ok(Mounted(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if run("umount", &[text(&self.0)]).is_err() {
            let _ = run("umount", &["-l", text(&self.0)]);
        }
    }
}

/// Stops all threads of the process and waits until they stand still.
fn stop(pid: u32) {
    let id = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(id, Signal::STOP).expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(30);
    let stands = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|task| task.is_ok_and(stands)) {
        assert!(Instant::now() < deadline, "the writer does not stop");
        std::thread::yield_now();
    }
}

#[test]
fn acknowledged_deliveries_survive_power_loss() {
    writer::be_the_writer_if_asked();
    let images: u64 = std::env::var("HEALTHIE_TUNNEL_IMAGES").map_or(2, |n| n.parse().expect("a number of images"));
    let dir = tempfile::tempdir().unwrap();
    let (image, copy) = (dir.path().join("disk"), dir.path().join("copy"));
    let mut looked_for = 0;
    for round in 1..=images {
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(384 << 20).unwrap();
        drop(file);
        let mounted = run("mkfs.ext4", &["-q", "-F", text(&image)])
            .and_then(|()| Mounted::new(&image, dir.path().join("mounted")));
        let mounted = match mounted {
            Ok(mounted) => mounted,
            Err(why) if round == 1 => return say(&format!("skipped: no loop device with ext4 here ({why})")),
            Err(why) => panic!("{why}"),
        };
        let mut ledger = Ledger::default();
        let writer = Writer::start("acknowledged_deliveries_survive_power_loss", &mounted.0.join("spool"), round);
        writer.wait(&mut ledger, 1 + RandomState::new().hash_one(round) % 4000);
        stop(writer.pid());
        run("cp", &["--sparse=always", text(&image), text(&copy)]).unwrap();
        writer.kill(&mut ledger);
        drop(mounted);
        let mounted = Mounted::new(&copy, dir.path().join("after")).unwrap();
        looked_for += ledger.check(&mounted.0.join("spool"));
    }
    say(&format!("{images} images, {looked_for} acknowledged deliveries looked for, none lost"));
}
