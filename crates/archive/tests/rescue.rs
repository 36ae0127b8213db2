//! What a damaged store still has is saved: whatever was hit, nothing else is lost, nothing is made up, what was removed stays removed.

#[path = "sample/damage.rs"]
mod damage;
mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use damage::{copy, hit};
use tunnel_archive::{Archive, ArchiveError, Query, check, repair, rescue};
use tunnel_delivery::{AnswerClass, DeliveryId, Stored};

/// An archive with some of everything, as it is after a close. Returns what is in it.
async fn fill(dir: &Path, count: u64) -> BTreeMap<DeliveryId, (Stored, AnswerClass)> {
    let archive = Archive::open(dir, sample::small()).unwrap();
    for n in 0..count {
        let mut intake = sample::intake(n);
        intake.queued = n % 3 == 0;
        archive.insert(intake).await.unwrap();
        for t in 0..n % 3 {
            archive.record(sample::id_of(n), sample::attempt(n + t)).await.unwrap();
        }
        if n % 7 == 0 {
            archive.set_note(sample::id_of(n), Some("a note ".repeat(n as usize * 9))).await.unwrap();
            archive.set_pinned(sample::id_of(n), true).await.unwrap();
        }
        if n % 5 == 0 {
            let mut repeat = sample::intake(n);
            Arc::make_mut(&mut repeat.delivery).id = sample::id_of(n + 10_000);
            archive.insert(repeat).await.unwrap();
        }
    }
    archive.remove((0..count).step_by(6).map(sample::id_of).collect()).await.unwrap();
    let all = everything(&archive);
    archive.close().await.unwrap();
    all
}

fn everything(archive: &Archive) -> BTreeMap<DeliveryId, (Stored, AnswerClass)> {
    let page = archive.list(&Query { limit: 100_000, ..Query::default() }).unwrap();
    let items = page.items.into_iter();
    items.map(|s| (s.id, (archive.get(s.id).unwrap().unwrap(), s.answer.class))).collect()
}

#[tokio::test]
async fn a_sound_store_is_rescued_and_repaired_whole() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = fill(dir.path(), 150).await;
    let report = check(dir.path(), None, |_| ()).unwrap();
    assert!(report.is_sound() && report.deliveries == wanted.len() as u64, "{report:?}");
    let mut saved = BTreeMap::new();
    let salvage = rescue(
        dir.path(),
        None,
        |_| (),
        |r| {
            assert!(r.attempts_lost == 0 && !r.note_lost);
            saved.insert(r.stored.delivery.id, (r.stored, r.class));
        },
    )
    .unwrap();
    assert_eq!((salvage.deliveries, salvage.lost.count, salvage.incomplete.count), (wanted.len() as u64, 0, 0));
    // Which later ones repeat it is known from those.
    let mut plain = wanted.clone();
    plain.values_mut().for_each(|(stored, _)| stored.repeats.clear());
    assert!(saved == plain);
    let repaired = repair(dir.path(), None, |_| ()).unwrap();
    assert_eq!(repaired.salvage, salvage);
    assert_eq!(repaired.aside, [dir.path().join("damaged-1")]);
    assert!(repaired.aside[0].join("db").exists());
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    assert!(everything(&archive) == wanted);
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
    // A second repair puts its own aside, and what is there already stays.
    drop(archive);
    assert_eq!(repair(dir.path(), None, |_| ()).unwrap().aside, [dir.path().join("damaged-2")]);
    assert!(repaired.aside[0].join("db").exists());
    assert!(everything(&Archive::open(dir.path(), sample::small()).unwrap()) == wanted);
}

#[tokio::test]
async fn whatever_is_hit_the_rest_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let wanted = fill(&whole, 200).await;
    let mut told = 0;
    for case in 0..12 {
        let damaged = dir.path().join(format!("damaged{case}"));
        copy(&whole, &damaged);
        hit(&damaged, case);
        let report = check(&damaged, None, |_| ()).unwrap();
        told += usize::from(!report.is_sound());
        let fresh = dir.path().join(format!("fresh{case}"));
        copy(&whole, &fresh);
        hit(&fresh, case);
        let mut saved = BTreeMap::new();
        let salvage = rescue(
            &fresh,
            None,
            |_| (),
            |r| {
                // A hit on the mark of a removal may bring back what was removed.
                let Some((expected, class)) = wanted.get(&r.stored.delivery.id) else { return };
                assert!(r.stored.delivery == expected.delivery, "case {case}: something else than was stored");
                assert!(r.stored.attempts.iter().all(|a| expected.attempts.contains(a)), "case {case}");
                if r.attempts_lost == 0 && !r.note_lost && r.stored.attempts.len() == expected.attempts.len() {
                    assert_eq!(&r.class, class);
                }
                saved.insert(r.stored.delivery.id, r.stored);
            },
        )
        .unwrap();
        // Cutting off may take anything; a hit takes what lies there.
        if !case.is_multiple_of(4) {
            assert!(saved.len() + 60 > wanted.len(), "case {case}: only {} of {}", saved.len(), wanted.len());
        }
        let repaired = repair(&fresh, None, |_| ()).unwrap();
        assert_eq!(repaired.salvage, salvage, "case {case}");
        let archive = Archive::open(&fresh, sample::small()).unwrap();
        let report = archive.check(|_| ()).unwrap();
        assert!(report.is_sound(), "case {case}: {:?}", report.findings());
        assert!(saved.keys().all(|id| archive.get(*id).unwrap().is_some()));
        archive.insert(sample::intake(77_777)).await.unwrap();
    }
    assert!(told >= 4, "only {told} of 12 were told: does the test damage anything?");
}

#[tokio::test]
async fn lost_names_do_not_matter() {
    for lost in [&["format"][..], &["current"], &["format", "current"], &["store/conf"]] {
        for empty in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let wanted = fill(dir.path(), 40).await;
            for name in lost {
                let path = dir.path().join(name);
                if empty { std::fs::write(path, "").unwrap() } else { std::fs::remove_file(path).unwrap() }
            }
            if lost != ["store/conf"] {
                assert!(
                    matches!(Archive::open(dir.path(), sample::small()), Err(ArchiveError::Damaged { .. })),
                    "{lost:?}"
                );
                assert!(!check(dir.path(), None, |_| ()).unwrap().is_sound(), "{lost:?}");
            }
            let repaired = repair(dir.path(), None, |_| ()).unwrap();
            assert_eq!(repaired.salvage.deliveries, wanted.len() as u64, "{lost:?}");
            assert!(everything(&Archive::open(dir.path(), sample::small()).unwrap()) == wanted, "{lost:?}");
        }
    }
}

#[tokio::test]
async fn a_repair_that_ended_half_way_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = fill(dir.path(), 60).await;
    // A new store that is not complete; a name that was written, and the damaged store not put aside yet.
    std::fs::create_dir_all(dir.path().join("store-2/blobs")).unwrap();
    std::fs::write(dir.path().join("store-2/db"), b"not much").unwrap();
    assert_eq!(repair(dir.path(), None, |_| ()).unwrap().salvage.deliveries, wanted.len() as u64);
    let current = std::fs::read_to_string(dir.path().join("current")).unwrap();
    let name = current.trim();
    std::fs::rename(dir.path().join("damaged-1"), dir.path().join("store")).unwrap();
    std::fs::write(dir.path().join("current"), format!("{name}\naside store\n")).unwrap();
    assert!(everything(&Archive::open(dir.path(), sample::small()).unwrap()) == wanted);
    assert!(dir.path().join("damaged-1/db").exists() && !dir.path().join("store").exists());
    let now = std::fs::read_to_string(dir.path().join("current")).unwrap();
    assert_eq!(now, current);
}

#[tokio::test]
async fn a_folder_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    assert!(matches!(check(dir.path(), None, |_| ()), Err(ArchiveError::Held { .. })));
    assert!(matches!(rescue(dir.path(), None, |_| (), |_| ()), Err(ArchiveError::Held { .. })));
    assert!(matches!(repair(dir.path(), None, |_| ()), Err(ArchiveError::Held { .. })));
    drop(archive);
    std::fs::write(dir.path().join("format"), "healthie-tunnel archive 5\n").unwrap();
    assert!(matches!(repair(dir.path(), None, |_| ()), Err(ArchiveError::Newer { found: 5, known: 4, .. })));
}

/// A program that ended while it made its folder left names and no store.
#[tokio::test]
async fn looking_at_a_folder_without_a_store_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("current"), "store\n").unwrap();
    let report = check(dir.path(), None, |_| ()).unwrap();
    assert!(report.is_sound() && report.deliveries == 0, "{report:?}");
    assert!(!dir.path().join("store").exists());
    Archive::open(dir.path(), sample::small()).unwrap().insert(sample::intake(1)).await.unwrap();
    // Where there was something, its being gone is a finding.
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let report = check(dir.path(), None, |_| ()).unwrap();
    assert!(!report.is_sound() && report.totals.is_some(), "{report:?}");
}

/// What tells that a store lost its end must not go before there is another one.
#[tokio::test]
async fn a_repair_that_cannot_change_over_leaves_what_tells_of_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = fill(dir.path(), 30).await;
    let closed = std::fs::read(dir.path().join("closed")).unwrap();
    std::fs::create_dir(dir.path().join("current.new")).unwrap();
    let error = repair(dir.path(), None, |_| ()).unwrap_err();
    assert!(matches!(error, ArchiveError::Io { .. }), "{error}");
    assert_eq!(std::fs::read(dir.path().join("closed")).unwrap(), closed);
    std::fs::remove_dir(dir.path().join("current.new")).unwrap();
    repair(dir.path(), None, |_| ()).unwrap();
    assert!(everything(&Archive::open(dir.path(), sample::small()).unwrap()) == wanted);
}

/// A repeat changes the line of the first one; the totals must go with it whatever comes, or does not come, afterwards.
#[tokio::test]
async fn a_store_is_sound_after_each_insert() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..4 {
        let archive = Archive::open(dir.path(), sample::small()).unwrap();
        let mut repeat = sample::intake(1);
        Arc::make_mut(&mut repeat.delivery).id = sample::id_of(n);
        archive.insert(repeat).await.unwrap();
        archive.close().await.unwrap();
        let report = check(dir.path(), None, |_| ()).unwrap();
        assert!(report.is_sound(), "{n}: {:?}", report.findings());
    }
}
