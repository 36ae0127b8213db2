//! Damage to a store's file, for tests: each case is another one.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::sample::Dice;

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// One case in four cuts the file of this archive's first store off; the others write over 8 KiB of it.
pub(crate) fn hit(archive: &Path, case: u64) {
    let db = std::fs::File::options().write(true).open(archive.join("store/db")).unwrap();
    let len = db.metadata().unwrap().len();
    let mut dice = Dice(case + 7);
    if case.is_multiple_of(4) {
        db.set_len(dice.below(len)).unwrap();
    } else {
        let at = dice.below(len.saturating_sub(8192).max(1));
        db.write_all_at(&dice.bytes(8192), at).unwrap();
    }
}
