//! What is read back from the disk, which may be damaged, or somebody else's: the spool's records, the archive's records, and its seals.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;
use tunnel_delivery::{DeliveryId, DeviceName, Timestamp, TunnelName};

use crate::cut::Cut;

/// What decodes encodes to what decodes the same.
pub(crate) fn spool_delivery(value: &[u8]) {
    let tunnel: TunnelName = "team".parse().expect("it is a name");
    let Ok(first) = tunnel_spool::fuzzing::decode(&tunnel, value) else { return };
    let again = tunnel_spool::fuzzing::decode(&tunnel, &tunnel_spool::fuzzing::encode(&first));
    assert_eq!(again.as_ref(), Ok(&first));
    assert!(first.handler_target().starts_with('/'));
}

/// A tunnel's record makes sense whatever happens to it. The first eight bytes steer.
pub(crate) fn spool_tunnel(input: &[u8]) {
    let mut input = Cut(input);
    let to = input.bytes(8).iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let device: DeviceName = "laptop".parse().expect("it is a name");
    tunnel_spool::fuzzing::tunnel(input.0, &device, to, Timestamp::from_micros(1));
}

/// A line of a delivery, two bytes before it that say how long it is, and the rest.
pub(crate) fn archive_record(input: &[u8]) {
    let mut input = Cut(input);
    let len = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let line = input.bytes(len);
    tunnel_archive::fuzzing::records(DeliveryId::first_at(Timestamp::from_micros(0)), line, input.0);
}

thread_local! {
    /// A folder as an archive's, to put stores into.
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Seals are found apart from each other and are what they say; a rescue over the same bytes ends, and what it saves can be told.
pub(crate) fn archive_seals(input: &[u8]) {
    let mut bytes = input.to_vec();
    tunnel_archive::fuzzing::reseal(&mut bytes);
    let mut end = 0;
    for (at, len) in tunnel_archive::fuzzing::seals(&bytes) {
        assert!(at >= end, "two seals lie in each other");
        end = at + len;
    }
    if end == 0 {
        return; // nothing to save
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(empty_archive);
        std::fs::write(folder.path().join("store/db"), &bytes).expect("the store's file is written");
        rescue(folder.path());
    });
}

fn empty_archive() -> TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    std::fs::write(folder.path().join("format"), "healthie-tunnel archive 3\n").expect("the format is written");
    std::fs::create_dir(folder.path().join("store")).expect("the store's folder is made");
    folder
}

fn rescue(folder: &Path) {
    let (mut ids, mut attempts) = (BTreeSet::new(), 0);
    let salvage = tunnel_archive::rescue(
        folder,
        None,
        |_| (),
        |rescued| {
            let stored = rescued.stored;
            assert!(ids.insert(stored.delivery.id), "one delivery was saved twice");
            attempts += stored.attempts.len() as u64;
            let text = serde_json::to_string(&stored).expect("it is JSON");
            assert_eq!(serde_json::from_str(&text).ok(), Some(stored), "{text}");
        },
    );
    let salvage = salvage.expect("a damaged store is no error");
    assert_eq!((salvage.deliveries, salvage.attempts), (ids.len() as u64, attempts));
}
