//! A power cut: everything acknowledged is there afterwards. The archive lies in an ext4 file system within a file. While a process
//! writes, it is stopped and the file is copied: what the inner file system still had in memory is not in the copy, as if the power
//! had gone. The copy is mounted (its journal is replayed), opened and checked. `HEALTHIE_TUNNEL_IMAGES` says how many copies.
//!
//! Needs root, mkfs.ext4 and loop devices. Where they are missing the test says so and passes.

#[path = "sample/child.rs"]
mod child;
mod sample;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use child::{SPAN, Writer, check, seed, setting};
use sample::Dice;

/// Not a test: what the processes of this one do.
#[test]
fn writer() {
    child::run();
}

/// Runs a program; `Err` has what it said.
fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A mounted file system image.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Result<Mount, String> {
        std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        run("mount", &["-o", "loop", text(image), text(&at)])?;
        Ok(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if run("umount", &[text(&self.0)]).is_err() {
            let _ = run("umount", &["-l", text(&self.0)]);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn image(at: &Path) -> Result<(), String> {
    let file = std::fs::File::create(at).map_err(|e| e.to_string())?;
    file.set_len(768 << 20).map_err(|e| e.to_string())?;
    run("mkfs.ext4", &["-q", "-F", text(at)])
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original.img");
    let mounted = image(&original).and_then(|()| Mount::new(&original, dir.path().join("original")));
    let mount = match mounted {
        Ok(mount) => mount,
        Err(reason) => {
            writeln!(std::io::stderr(), "skipped: no file system to cut the power of: {reason}").unwrap();
            return;
        }
    };
    let archive = mount.0.join("deep/archive");
    let seed = seed();
    let mut dice = Dice(seed);
    let mut all = child::Acks::new();
    for cut in 0..setting("HEALTHIE_TUNNEL_IMAGES", 2) {
        let writer = Writer::start(&archive, cut * SPAN);
        // Every other cut comes early: then the store's own files are new as well.
        let deliveries = if cut % 2 == 0 { 100 + dice.below(500) } else { 1 + dice.below(20) };
        writer.wait_for(usize::try_from(deliveries).unwrap(), usize::try_from(dice.below(3)).unwrap());
        writer.freeze();
        let copy = dir.path().join("copy.img");
        run("cp", &["--sparse=always", text(&original), text(&copy)]).unwrap();
        // It stood still: whatever it said, it had said before. The original goes on after kill -9.
        all.extend(writer.kill());
        let there = {
            let copied = Mount::new(&copy, dir.path().join("copy")).unwrap();
            check(&copied.0.join("deep/archive"), &all)
        };
        assert!(there > 0, "nothing is left of {} after cut {cut} (seed {seed})", all.len());
    }
}
