//! A full disk: nothing hangs, nothing acknowledged is lost, and work goes on once there is room.
//!
//! The disk is a small tmpfs, which needs root; without it the tests say so and pass.

#![cfg(target_os = "linux")]

mod sample;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_spool::{Limits, ReadLimit, RedbSpool, Seq, Spool as _, SpoolError, Start};

const MIB: u64 = 1 << 20;
const ALL: ReadLimit = ReadLimit { count: usize::MAX, bytes: usize::MAX };

/// A folder on a tmpfs of its own. Dropping it unmounts it.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: u64) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        if let Err(why) = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], dir.path()) {
            std::io::stderr().write_all(format!("skipped: no tmpfs here ({why})\n").as_bytes()).unwrap();
            return None;
        }
        Some(Tmpfs(dir))
    }

    fn grow(&self, size: u64) {
        mount(&["-o", &format!("remount,size={size}")], self.0.path()).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

fn mount(args: &[&str], at: &Path) -> Result<(), String> {
    let done = Command::new("mount").args(args).arg(at).output().map_err(|e| e.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

fn team() -> TunnelName {
    "team".parse().unwrap()
}

/// Appends until it is refused. How many were acknowledged, and why it ended.
async fn fill(spool: &RedbSpool) -> (u64, SpoolError) {
    fill_tunnel(spool, &team()).await
}

async fn fill_tunnel(spool: &RedbSpool, tunnel: &TunnelName) -> (u64, SpoolError) {
    for n in 1.. {
        if let Err(refused) = spool.append(sample::delivery(tunnel, n, n as i64, 60_000)).await {
            return (n - 1, refused);
        }
    }
    unreachable!("the disk is endless")
}

fn check(spool: &RedbSpool, acknowledged: u64) {
    let there = spool.read(&team(), Seq::ZERO, ALL).unwrap();
    assert!(there.len() as u64 >= acknowledged, "{} of {acknowledged}", there.len());
    for (seq, delivery) in there {
        assert_eq!(delivery, sample::delivery(&team(), seq.0, seq.0 as i64, 60_000));
    }
}

#[tokio::test]
async fn the_reserve_refuses_in_time_and_work_goes_on_when_there_is_room() {
    let Some(disk) = Tmpfs::new(64 * MIB) else { return };
    let limits = Limits { min_free_bytes: 24 * MIB, ..Limits::default() };
    let spool = RedbSpool::open(disk.0.path(), limits).unwrap();
    let device = "a".parse().unwrap();
    spool.join(&team(), &device, Start::Now, Timestamp::default()).await.unwrap();
    let (acknowledged, mut refused) = fill(&spool).await;
    assert!(acknowledged > 100, "{acknowledged}");
    // No tunnel takes all of the disk; and then somebody else comes and does.
    let mut foreign = std::fs::File::create(disk.0.path().join("foreign")).unwrap();
    for n in 0.. {
        if matches!(refused, SpoolError::DiskFull { .. }) {
            break;
        }
        assert!(matches!(refused, SpoolError::DiskLow { .. }) && refused.is_temporary() && n < 40, "{n}: {refused}");
        foreign.write_all(&vec![1; MIB as usize]).unwrap();
        // The look at the disk belongs to a commit.
        let tiny = sample::delivery(&"other".parse().unwrap(), n, n as i64, 1);
        refused = spool.append(tiny).await.err().unwrap_or(refused);
    }
    check(&spool, acknowledged);
    assert!(spool.usable().is_ok() && matches!(spool.accepts(), Err(SpoolError::DiskFull { .. })));
    // The agents take what waits: that alone must make room, although the file system is as full as before.
    spool.taken(&team(), &device, Seq(acknowledged));
    let deadline = Instant::now() + Duration::from_secs(60);
    let next = loop {
        match spool.append(sample::delivery(&team(), 1, 1, 60_000)).await {
            Ok(next) => break next,
            Err(SpoolError::DiskFull { .. } | SpoolError::DiskLow { .. }) if Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(next, Seq(acknowledged + 1));
    spool.accepts().unwrap();
}

/// Whoever fills its own tunnel must not keep the others' deliveries out.
#[tokio::test]
async fn one_tunnel_leaves_the_others_room() {
    let Some(disk) = Tmpfs::new(96 * MIB) else { return };
    let limits = Limits { min_free_bytes: 16 * MIB, ..Limits::default() };
    let spool = RedbSpool::open(disk.0.path(), limits).unwrap();
    let (greedy, refused) = fill(&spool).await;
    assert!(matches!(&refused, SpoolError::DiskLow { tunnel, .. } if *tunnel == team()), "{refused}");
    for name in ["second", "third"] {
        let (got_in, refused) = fill_tunnel(&spool, &name.parse().unwrap()).await;
        assert!(got_in > 20 && got_in < greedy, "{name}: {got_in} beside {greedy}, {refused}");
        let again = spool.append(sample::delivery(&team(), 1, 1, 60_000)).await;
        assert!(again.is_err(), "the greedy one must not have what is left for others");
    }
    check(&spool, greedy);
}

/// A disk that somebody else fills is no reason to take from a laptop that was put away all that waits for it.
#[tokio::test]
async fn want_of_room_takes_no_more_from_who_is_behind_than_it_needs() {
    let Some(disk) = Tmpfs::new(96 * MIB) else { return };
    let limits = Limits { min_free_bytes: 16 * MIB, ..Limits::default() };
    let spool = RedbSpool::open(disk.0.path(), limits).unwrap();
    let (desk, laptop) = ("desk".parse().unwrap(), "laptop".parse().unwrap());
    for device in [&desk, &laptop] {
        spool.join(&team(), device, Start::Now, Timestamp::default()).await.unwrap();
    }
    for n in 1..=200 {
        let seq = spool.append(sample::delivery(&team(), n, n as i64, 60_000)).await.unwrap();
        spool.taken(&team(), &desk, seq);
    }
    let free = || {
        let disk = rustix::fs::statvfs(disk.0.path()).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    let mut foreign = std::fs::File::create(disk.0.path().join("foreign")).unwrap();
    while free() > 18 * MIB {
        foreign.write_all(&vec![1; MIB as usize / 2]).unwrap();
    }
    // The look at the disk belongs to a commit.
    spool.append(sample::delivery(&"other".parse().unwrap(), 1, 1, 1)).await.unwrap();
    for n in 201..=205 {
        spool.append(sample::delivery(&team(), n, n as i64, 60_000)).await.expect("it goes in exchange for others");
    }
    let places = spool.devices(&team()).unwrap();
    let waiting = places.iter().find(|place| place.device == laptop).unwrap().waiting;
    assert!((180..205).contains(&waiting), "{waiting} of 205 are left to the laptop");
}

#[tokio::test]
async fn a_write_that_fails_stops_the_spool_and_it_opens_again_with_everything() {
    let Some(disk) = Tmpfs::new(24 * MIB) else { return };
    let limits = Limits { min_free_bytes: 0, ..Limits::default() };
    let spool = RedbSpool::open(disk.0.path(), limits).unwrap();
    let (acknowledged, refused) = fill(&spool).await;
    assert!(matches!(refused, SpoolError::Failed { .. }) && !refused.is_temporary(), "{refused}");
    let again = spool.append(sample::delivery(&team(), 1, 1, 10)).await.unwrap_err();
    assert_eq!(again.to_string(), refused.to_string(), "the reason stays");
    assert!(matches!(spool.read(&team(), Seq::ZERO, ALL), Err(SpoolError::Failed { .. })));
    assert!(matches!(spool.flush().await, Err(SpoolError::Failed { .. })));
    drop(spool);
    disk.grow(96 * MIB);
    let spool = RedbSpool::open(disk.0.path(), limits).unwrap();
    check(&spool, acknowledged);
    spool.append(sample::delivery(&team(), 1, 1, 60_000)).await.unwrap();
}
