//! A spool is copied while it is at work: what was acknowledged before is in the copy, and what happens meanwhile harms neither.

mod sample;

use std::io;
use std::path::Path;

use tunnel_delivery::{DeviceName, Timestamp, TunnelName};
use tunnel_spool::{
    Copied, CopyError, CopySink, Limits, MAX_COPY_PART, ReadLimit, RedbSpool, Restoring, Seq, Spool as _, SpoolError,
    Start, copy_closed, count_part,
};
use tunnel_testkit::{DEADLINE, eventually};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const ALL: ReadLimit = ReadLimit { count: usize::MAX, bytes: usize::MAX };

fn open(dir: &Path) -> RedbSpool {
    RedbSpool::open(dir, Limits { min_free_bytes: 0, ..Limits::default() }).unwrap()
}

fn team() -> TunnelName {
    "team".parse().unwrap()
}

async fn append(spool: &RedbSpool, n: u64, len: usize) {
    spool.append(sample::delivery(&team(), n, NOW.as_micros() + n as i64, len)).await.unwrap();
}

/// Keeps the parts, and does something after the first.
struct Parts<F>(Vec<Vec<u8>>, F);

impl<F: FnMut(usize) -> io::Result<()>> CopySink for Parts<F> {
    fn begun(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn part(&mut self, part: &[u8]) -> io::Result<()> {
        assert!(part.len() <= MAX_COPY_PART);
        self.0.push(part.to_vec());
        (self.1)(self.0.len())
    }
}

fn restore(dir: &Path, parts: &[Vec<u8>]) -> Result<Copied, CopyError> {
    let mut restoring = Restoring::begin(dir)?;
    for part in parts {
        restoring.part(part)?;
    }
    restoring.end(dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_copy_and_work_goes_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir.path().join("one"));
    let laptop: DeviceName = "laptop".parse().unwrap();
    spool.join(&team(), &laptop, Start::Now, NOW).await.unwrap();
    // More than one part.
    for n in 1..=12 {
        append(&spool, n, 1 << 20).await;
    }
    spool.taken(&team(), &laptop, Seq(2));
    spool.flush().await.unwrap();
    let (copying, handle) = (spool.clone(), tokio::runtime::Handle::current());
    let meanwhile = spool.clone();
    let (copied, parts) = tokio::task::spawn_blocking(move || {
        let mut sink = Parts(Vec::new(), |part| {
            if part == 1 {
                // All is taken and deleted, so that the writer would compact; and more comes.
                meanwhile.taken(&team(), &laptop, Seq(12));
                handle.block_on(async {
                    meanwhile.flush().await.unwrap();
                    tokio::time::timeout(DEADLINE, append(&meanwhile, 13, 100)).await.expect("a copy stops nobody");
                });
            }
            Ok(())
        });
        let copied = copying.copy(&mut sink).unwrap();
        (copied, sink.0)
    })
    .await
    .unwrap();
    assert_eq!(copied, Copied { deliveries: 10, tunnels: 1 });
    assert!(parts.len() > 1);
    let counted: u64 = parts.iter().map(|part| count_part(part).unwrap().deliveries).sum();
    assert_eq!(counted, 10);

    let two = dir.path().join("two");
    assert_eq!(restore(&two, &parts).unwrap(), copied);
    let again = open(&two);
    let read = again.read(&team(), Seq(0), ALL).unwrap();
    assert_eq!(read.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), (3..=12).collect::<Vec<_>>());
    for (seq, delivery) in read {
        assert_eq!(delivery, sample::delivery(&team(), seq.0, NOW.as_micros() + seq.0 as i64, 1 << 20));
    }
    assert_eq!(again.devices(&team()).unwrap()[0].after, Seq(2));
    append(&again, 99, 10).await;
    assert_eq!(again.last(&team()), Seq(13), "numbers go on where they were");
    assert_eq!(spool.last(&team()), Seq(13));
}

/// A backup reads the file, which cannot be made shorter meanwhile: what is purged is gone from what can be read at once, the spool goes on, and the
/// bytes leave the file when the backup has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_during_a_copy_harms_nothing_and_is_made_whole_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 1..=6 {
        append(&spool, n, 1 << 20).await;
    }
    let before = std::fs::metadata(spool.file()).unwrap().len();
    let (copying, handle, meanwhile) = (spool.clone(), tokio::runtime::Handle::current(), spool.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let mut sink = Parts(Vec::new(), |part| {
            if part == 1 {
                handle.block_on(async {
                    let purged = tokio::time::timeout(DEADLINE, meanwhile.purge(&team())).await;
                    let dropped = purged.expect("a copy stops nobody").unwrap();
                    assert_eq!(dropped.iter().map(|run| run.count()).sum::<u64>(), 6);
                    assert_eq!(meanwhile.read(&team(), Seq(0), ALL).unwrap(), []);
                    assert!(!meanwhile.tidied().await.unwrap(), "nobody waits for a copy's end");
                    append(&meanwhile, 7, 100).await;
                });
            }
            Ok(())
        });
        copying.copy(&mut sink).unwrap()
    });
    assert_eq!(copied.await.unwrap().deliveries, 6, "the copy is of its moment");
    eventually("a shorter file", || (std::fs::metadata(spool.file()).unwrap().len() <= before / 4).then_some(()));
    assert!(spool.tidied().await.unwrap());
    append(&spool, 8, 100).await;
}

#[tokio::test]
async fn a_closed_spool_is_copied_and_an_open_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 1, 10).await;
    let mut sink = Parts(Vec::new(), |_| Ok(()));
    assert!(matches!(copy_closed(dir.path(), &mut sink), Err(CopyError::Spool(SpoolError::Held { .. }))));
    drop(spool);
    assert_eq!(copy_closed(dir.path(), &mut sink).unwrap(), Copied { deliveries: 1, tunnels: 1 });
}

#[tokio::test]
async fn a_copy_that_is_not_whole_makes_no_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir.path().join("one"));
    for n in 1..=9 {
        append(&spool, n, 1 << 20).await;
    }
    let mut sink = Parts(Vec::new(), |_| Ok(()));
    spool.copy(&mut sink).unwrap();
    let last = sink.0.pop().unwrap();
    let refused = restore(&dir.path().join("two"), &sink.0).unwrap_err();
    assert!(matches!(refused, CopyError::Spool(SpoolError::Damaged { .. })), "{refused}");
    let cut = restore(&dir.path().join("three"), &[last[..last.len() - 1].to_vec()]).unwrap_err();
    assert!(matches!(cut, CopyError::NotACopy(_)), "{cut}");
    assert!(Restoring::begin(&dir.path().join("one")).is_err(), "never over another");

    let mut full = Parts(Vec::new(), |_| Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(spool.copy(&mut full), Err(CopyError::Taker(_))));
    append(&spool, 10, 10).await;
}
