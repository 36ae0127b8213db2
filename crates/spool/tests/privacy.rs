//! What lies on the disk: nothing of a body where there is a key, and nothing at all of what was purged.

mod sample;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};
use tunnel_spool::{Gap, Limits, ReadLimit, RedbSpool, Seq, Spool as _, SpoolError, Start, Why, encrypt, rekey};
use tunnel_vault::{UserKey, VaultError};

const ALL: ReadLimit = ReadLimit { count: usize::MAX, bytes: usize::MAX };
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const MARK: &[u8] = b"{\"patient\":\"Maria Musterfrau\"}";

fn key(n: u8) -> UserKey {
    let hex: String = (0..32).map(|i| format!("{:02x}", n.wrapping_mul(41).wrapping_add(i))).collect();
    UserKey::parse(&hex, "a test").unwrap()
}

fn open(dir: &Path, key: Option<&UserKey>) -> Result<RedbSpool, SpoolError> {
    RedbSpool::open_with(dir, Limits { min_free_bytes: 0, ..Limits::default() }, key)
}

fn team() -> TunnelName {
    "team".parse().unwrap()
}

fn delivery(n: u64) -> Arc<Delivery> {
    let plain = sample::delivery(&team(), n, NOW.as_micros() + n as i64, 100);
    let body = [MARK, n.to_string().as_bytes()].concat().into();
    Arc::new(Delivery { body, ..Delivery::clone(&plain) })
}

async fn append(spool: &RedbSpool, n: u64) {
    spool.append(delivery(n)).await.unwrap();
}

/// How often the mark stands in any file of the folder.
fn marks(dir: &Path) -> usize {
    let count = |bytes: Vec<u8>| bytes.windows(MARK.len()).filter(|w| *w == MARK).count();
    std::fs::read_dir(dir).unwrap().map(|e| count(std::fs::read(e.unwrap().path()).unwrap())).sum()
}

/// Everything that the spool holds is what was put in.
fn check(spool: &RedbSpool, expected: impl Iterator<Item = u64>) {
    let read = spool.read(&team(), Seq(0), ALL).unwrap();
    let expected: Vec<_> = expected.map(|n| (Seq(n), delivery(n))).collect();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn with_a_key_nothing_of_a_body_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), Some(&key(1))).unwrap();
    for n in 1..=20 {
        append(&spool, n).await;
    }
    drop(spool);
    assert_eq!(marks(dir.path()), 0);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    check(&open(dir.path(), Some(&key(1))).unwrap(), 1..=20);

    assert!(matches!(open(dir.path(), None), Err(SpoolError::Key(VaultError::Missing { .. }))));
    let wrong = open(dir.path(), Some(&key(2))).unwrap_err().to_string();
    assert!(wrong.contains(&key(1).id().to_string()) && wrong.contains(&key(2).id().to_string()), "{wrong}");
    std::fs::remove_file(dir.path().join("keys.json")).unwrap();
    assert!(matches!(open(dir.path(), Some(&key(1))), Err(SpoolError::Key(VaultError::Lost { .. }))));
}

#[tokio::test]
async fn a_key_that_comes_later_counts_from_then_on_and_so_does_one_that_goes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), None).unwrap();
    append(&spool, 1).await;
    drop(spool);
    let plain = marks(dir.path());
    assert!(plain > 0, "the mark is found where it is");
    let spool = open(dir.path(), Some(&key(1))).unwrap();
    append(&spool, 2).await;
    check(&spool, 1..=2);
    assert!(matches!(rekey(dir.path(), Some(&key(1)), &key(2)), Err(SpoolError::Held { .. })));
    drop(spool);
    assert!(marks(dir.path()) <= plain);

    rekey(dir.path(), Some(&key(1)), &key(2)).unwrap();
    let spool = open(dir.path(), Some(&key(2))).unwrap();
    append(&spool, 3).await;
    check(&spool, 1..=3);
    drop(spool);

    encrypt(dir.path(), Some(&key(2)), false).unwrap();
    let spool = open(dir.path(), Some(&key(2))).unwrap();
    append(&spool, 4).await;
    check(&spool, 1..=4);
    // What is encrypted is taken: no key is needed from the next look on.
    let device: DeviceName = "laptop".parse().unwrap();
    spool.join(&team(), &device, Start::Beginning, NOW).await.unwrap();
    spool.taken(&team(), &device, Seq(3));
    spool.flush().await.unwrap();
    drop(spool);
    assert!(open(dir.path(), None).is_err());
    encrypt(dir.path(), Some(&key(2)), false).unwrap();
    let spool = open(dir.path(), None).unwrap();
    assert_eq!(spool.read(&team(), Seq(3), ALL).unwrap(), [(Seq(4), delivery(4))]);
}

#[tokio::test]
async fn what_is_purged_is_gone_from_the_disk_and_missed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), None).unwrap();
    let device: DeviceName = "laptop".parse().unwrap();
    spool.join(&team(), &device, Start::Now, NOW).await.unwrap();
    for n in 1..=200 {
        append(&spool, n).await;
    }
    let other: TunnelName = "other".parse().unwrap();
    let kept = spool.append(sample::delivery(&other, 9, NOW.as_micros(), 100)).await.unwrap();
    assert!(marks(dir.path()) >= 200);
    let dropped = spool.purge(&team()).await.unwrap();
    assert_eq!(dropped.iter().map(|run| run.count()).sum::<u64>(), 200);
    assert_eq!(spool.read(&team(), Seq(0), ALL).unwrap(), [], "it is answered when it cannot be read");
    assert!(spool.tidied().await.unwrap());
    assert_eq!(marks(dir.path()), 0);
    assert_eq!(spool.read(&team(), Seq(0), ALL).unwrap(), []);
    let place = spool.join(&team(), &device, Start::Now, NOW).await.unwrap();
    assert_eq!(place.gap, Some(Gap { from: Seq(1), upto: Seq(200), why: Why::Removed }));
    append(&spool, 201).await;
    assert_eq!(spool.read(&team(), Seq(200), ALL).unwrap()[0].0, Seq(201), "numbers go on");
    assert_eq!(spool.read(&other, Seq(0), ALL).unwrap()[0].0, kept, "others have what they had");
    assert_eq!(spool.purge(&"nobody".parse().unwrap()).await.unwrap(), []);
    spool.drop_tunnel(&team()).await.unwrap();
    spool.drop_tunnel(&other).await.unwrap();
    assert!(spool.tidied().await.unwrap());
    assert_eq!(marks(dir.path()), 0, "as with a purge");
}

/// Takes an image of the spool's file when the second part of a copy comes: the purge has met the copy, and its bytes are in the file.
struct Crashes<'a> {
    purge: Box<dyn FnMut() + 'a>,
    file: std::path::PathBuf,
    to: std::path::PathBuf,
    parts: usize,
}

impl tunnel_spool::CopySink for Crashes<'_> {
    fn begun(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn part(&mut self, _: &[u8]) -> std::io::Result<()> {
        self.parts += 1;
        if self.parts == 1 {
            (self.purge)();
            std::fs::copy(&self.file, &self.to)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_kept_in_the_file_leaves_it_after_the_next_start() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spool = open(dir.path(), None).unwrap();
    for n in 1..=200 {
        append(&spool, n).await;
    }
    let (copying, to, handle) = (spool.clone(), after.path().join("spool.redb"), tokio::runtime::Handle::current());
    let copied = tokio::task::spawn_blocking(move || {
        let purge = || drop(handle.block_on(copying.purge(&team())).unwrap());
        let mut sink = Crashes { purge: Box::new(purge), file: copying.file(), to, parts: 0 };
        copying.copy(&mut sink).unwrap()
    });
    assert_eq!(copied.await.unwrap().deliveries, 200);
    assert!(marks(after.path()) > 0, "it died before its file was compacted");
    // And while that was done.
    let half = after.path().join("spool.redb.new-anew");
    std::fs::write(&half, MARK).unwrap();
    let again = open(after.path(), None).unwrap();
    assert_eq!(again.read(&team(), Seq(0), ALL).unwrap(), []);
    assert!(again.tidied().await.unwrap());
    assert_eq!(marks(after.path()), 0);
}

/// Pages that stay free in the middle of the file, and those that are used again for less, would keep what was in them.
#[tokio::test]
async fn what_is_purged_is_gone_from_between_what_stays() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), None).unwrap();
    let other: TunnelName = "other".parse().unwrap();
    for n in 1..=100 {
        append(&spool, n).await;
        spool.append(sample::delivery(&other, 1000 + n, NOW.as_micros(), 200_000)).await.unwrap();
    }
    assert!(marks(dir.path()) >= 100);
    spool.purge(&team()).await.unwrap();
    assert!(spool.tidied().await.unwrap());
    assert_eq!(marks(dir.path()), 0);
    append(&spool, 101).await;
    let device: DeviceName = "laptop".parse().unwrap();
    spool.join(&other, &device, Start::Beginning, NOW).await.unwrap();
    assert_eq!(spool.read(&other, Seq(0), ALL).unwrap().len(), 100);
    drop(spool);
    // As it is on the disk, and in that file only.
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("new"))
            .count(),
        0
    );
    let spool = open(dir.path(), None).unwrap();
    assert_eq!(spool.read(&other, Seq(0), ALL).unwrap().len(), 100);
    assert_eq!(spool.read(&team(), Seq(0), ALL).unwrap().len(), 1);
}

/// Age is a promise too: what is too old is gone from what can be read at once, and from the file when it is compacted.
#[tokio::test]
async fn what_is_too_old_cannot_be_read_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), None).unwrap();
    for n in 1..=5 {
        append(&spool, n).await;
    }
    let later = Timestamp::from_micros(NOW.as_micros() + 73 * 3600 * 1_000_000);
    assert_eq!(spool.expire(later).await.unwrap()[0].count(), 5);
    assert_eq!(spool.read(&team(), Seq(0), ALL).unwrap(), []);
    spool.purge(&team()).await.unwrap();
    assert!(spool.tidied().await.unwrap());
    assert_eq!(marks(dir.path()), 0);
}
