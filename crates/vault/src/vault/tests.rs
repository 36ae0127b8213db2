//! Vaults in folders of their own: what opens where, what a wrong key is told, what rotation keeps and what it takes.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use proptest::prelude::*;

fn key(n: u8) -> UserKey {
    UserKey::parse(
        &(0..32).map(|i| format!("{:02x}", n.wrapping_mul(37).wrapping_add(i))).collect::<String>(),
        "a test",
    )
    .unwrap()
}

fn open(dir: &Path, user: Option<&UserKey>) -> Result<Option<Vault>, VaultError> {
    Vault::open(dir, user, false, Entropy::system())
}

fn vault_of(dir: &Path) -> Vault {
    open(dir, Some(&key(1))).unwrap().unwrap()
}

/// The vectors of draft-irtf-cfrg-xchacha-03, A.3.1: the library does what its name says.
#[test]
fn the_algorithm_is_the_one_it_is_said_to_be() {
    let hex = |text: &str| -> Vec<u8> {
        text.as_bytes().chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap()).collect()
    };
    let key: Vec<u8> = (0x80..0xa0).collect();
    let nonce: Vec<u8> = (0x40..0x58).collect();
    let bound = hex("50515253c0c1c2c3c4c5c6c7");
    let mut content = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.".to_vec();
    let cipher = XChaCha20Poly1305::new(Key::from_slice(&key));
    let tag = cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), &bound, &mut content).unwrap();
    let expected = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e";
    assert_eq!(content, hex(expected));
    assert_eq!(tag.to_vec(), hex("c0875924c1c7987947deafd8780acf49"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_encrypted_opens_where_it_belongs_and_nowhere_else(
        content in proptest::collection::vec(any::<u8>(), 0..300), bound: Vec<u8>, other: Vec<u8>, bit: prop::sample::Index,
        cut: prop::sample::Index,
    ) {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let vault = vault_of(dir.path());
        let encrypted = vault.encrypt(&bound, &content).unwrap();
        prop_assert_eq!(encrypted.len(), content.len() + OVERHEAD);
        prop_assert_eq!(vault.decrypt(&bound, &encrypted), Ok(content.clone()));
        prop_assert!(content.len() < 8 || !encrypted.windows(content.len()).any(|w| w == content));
        if other != bound {
            prop_assert_eq!(vault.decrypt(&other, &encrypted), Err(VaultError::Forged));
        }
        prop_assert!(vault.decrypt(&bound, &encrypted[..cut.index(encrypted.len())]).is_err());
        let mut changed = encrypted.clone();
        let bit = bit.index(changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(vault.decrypt(&bound, &changed).is_err());
        prop_assert!(vault_of(elsewhere.path()).decrypt(&bound, &encrypted).is_err(), "another store");
        prop_assert_ne!(vault.encrypt(&bound, &content).unwrap(), encrypted, "the same nonce twice");
    }

    #[test]
    fn any_bytes_may_be_decrypted(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault_of(dir.path());
        prop_assert!(vault.decrypt(b"", &bytes).is_err());
        let known = [&vault.keys[0].0.0[..], &bytes].concat();
        prop_assert!(vault.decrypt(b"", &known).is_err());
    }

    /// No change of the file goes by unnoticed, and none makes it panic.
    #[test]
    fn a_changed_key_file_is_refused(at: prop::sample::Index, to: u8) {
        let dir = tempfile::tempdir().unwrap();
        drop(vault_of(dir.path()));
        let path = KeyFile::path(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to && !bytes[at].is_ascii_whitespace() && !to.is_ascii_whitespace());
        bytes[at] = to;
        std::fs::write(&path, &bytes).unwrap();
        match open(dir.path(), Some(&key(1))) {
            Err(_) => {}
            Ok(opened) => {
                // Only what means the same: the case of an escape, the last bits of base64.
                prop_assert!(opened.is_some_and(|v| v.is_encrypting()), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}

#[test]
fn a_wrong_or_missing_key_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path(), None).unwrap().is_none());
    let text = Vault::open(dir.path(), Some(&key(1)), true, Entropy::system()).unwrap_err().to_string();
    assert!(text.contains("keys.json"), "records need keys that are not there: {text}");
    assert!(!KeyFile::path(dir.path()).exists(), "new keys would open nothing");

    drop(vault_of(dir.path()));
    let mode = std::fs::metadata(KeyFile::path(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let missing = open(dir.path(), None).unwrap_err();
    assert_eq!(missing, VaultError::Missing { dir: dir.path().to_owned(), needs: key(1).id() });
    let wrong = open(dir.path(), Some(&key(2))).unwrap_err().to_string();
    assert!(wrong.contains(&key(1).id().to_string()) && wrong.contains(&key(2).id().to_string()), "{wrong}");
}

#[test]
fn after_a_rotation_the_old_key_opens_nothing_and_old_records_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let first = vault_of(dir.path());
    let (old, blind) = (first.encrypt(b"r1", b"old").unwrap(), first.blind(b"person"));
    drop(first);
    assert!(matches!(
        Vault::rekey(dir.path(), Some(&key(2)), &key(3), Entropy::system()),
        Err(VaultError::Wrong { .. })
    ));
    Vault::rekey(dir.path(), Some(&key(1)), &key(2), Entropy::system()).unwrap();
    assert!(matches!(open(dir.path(), Some(&key(1))), Err(VaultError::Wrong { .. })));
    let second = open(dir.path(), Some(&key(2))).unwrap().unwrap();
    assert_eq!(second.decrypt(b"r1", &old).unwrap(), b"old");
    assert_eq!(second.blind(b"person"), blind, "indexes are found as before");
    let new = second.encrypt(b"r2", b"new").unwrap();
    assert!(second.is_current(&new) && !second.is_current(&old));
    assert_eq!(second.retire(&[Vault::key_of(&old).unwrap()]).unwrap(), 0, "it is still needed");
    assert_eq!(second.retire(&[]).unwrap(), 1);
    let third = open(dir.path(), Some(&key(2))).unwrap().unwrap();
    assert_eq!(third.decrypt(b"r2", &new).unwrap(), b"new");
    assert!(matches!(third.decrypt(b"r1", &old), Err(VaultError::UnknownKey(_))));
}

#[test]
fn turned_off_it_still_reads_until_nothing_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let record = vault_of(dir.path()).encrypt(b"r1", b"old").unwrap();
    Vault::set_encrypting(dir.path(), Some(&key(1)), false, Entropy::system()).unwrap();
    let off = vault_of(dir.path());
    assert!(!off.is_encrypting() && off.encrypt(b"r2", b"x").is_err());
    assert_eq!(off.decrypt(b"r1", &record).unwrap(), b"old");
    assert!(matches!(open(dir.path(), None), Err(VaultError::Missing { .. })));
    off.retire(&[]).unwrap();
    assert!(open(dir.path(), None).unwrap().is_none() && open(dir.path(), Some(&key(1))).unwrap().is_none());
    // Another key has nothing to do with the one that it had, and none is needed.
    assert_eq!((Vault::check(dir.path(), None), Vault::check(dir.path(), Some(&key(9)))), (Ok(()), Ok(())));
    for user in [None, Some(&key(9))] {
        let refused = Vault::set_encrypting(dir.path(), user, true, Entropy::system());
        assert!(matches!(refused, Err(VaultError::NotEncrypted { .. })), "{refused:?}");
    }
    Vault::set_encrypting(dir.path(), Some(&key(1)), true, Entropy::system()).unwrap();
    let on = vault_of(dir.path());
    assert!(on.is_encrypting());
    assert!(matches!(open(dir.path(), Some(&key(9))), Err(VaultError::Wrong { .. })));
    Vault::set_encrypting(dir.path(), Some(&key(1)), false, Entropy::system()).unwrap();
    vault_of(dir.path()).retire(&[]).unwrap();
    let anew = open(dir.path(), Some(&key(9))).unwrap().unwrap();
    assert!(anew.is_encrypting() && anew.user_key() == key(9).id());
    assert!(matches!(open(dir.path(), Some(&key(1))), Err(VaultError::Wrong { .. })));
}

#[test]
fn looking_whether_a_key_fits_says_what_opening_would_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!((Vault::check(dir.path(), None), Vault::check(dir.path(), Some(&key(1)))), (Ok(()), Ok(())));
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    drop(vault_of(dir.path()));
    assert_eq!(Vault::check(dir.path(), Some(&key(1))), Ok(()));
    for user in [None, Some(&key(2))] {
        assert_eq!(Vault::check(dir.path(), user), open(dir.path(), user).map(drop));
        assert!(Vault::check(dir.path(), user).is_err());
    }
}

/// Whoever can write to the disk and has no key must not turn encrypting off, or take a key away.
#[test]
fn a_key_file_in_which_every_part_is_genuine_and_something_is_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(vault_of(dir.path()));
    Vault::rekey(dir.path(), Some(&key(1)), &key(1), Entropy::system()).unwrap();
    let file = KeyFile::read(dir.path()).unwrap().unwrap();
    assert_eq!(file.data_keys.len(), 2);
    let older = file.data_keys[0].id.clone();
    let forgeries: [fn(&mut KeyFile, String); 3] = [
        |file, _| file.writes_with = None,
        |file, older| file.writes_with = Some(older),
        |file, older| file.data_keys.retain(|wrapped| wrapped.id != older),
    ];
    for forge in forgeries {
        let mut forged = file.clone();
        forge(&mut forged, older.clone());
        forged.write(dir.path()).unwrap();
        let refused = open(dir.path(), Some(&key(1)));
        assert!(matches!(refused, Err(VaultError::Damaged { .. })), "{refused:?}");
    }
    file.write(dir.path()).unwrap();
    assert!(vault_of(dir.path()).is_encrypting());
}

#[test]
fn a_store_s_records_and_blind_words_are_its_own_even_with_the_same_keys() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (vault, mut other) = (vault_of(dir.path()), vault_of(elsewhere.path()));
    assert_ne!(vault.blind(b"person"), other.blind(b"person"), "who has one store learns nothing of another");
    assert_ne!(vault.blind(b"person"), vault.blind(b"people"));
    let encrypted = vault.encrypt(b"r1", b"x").unwrap();
    other.keys.clone_from(&vault.keys);
    assert_eq!(other.decrypt(b"r1", &encrypted), Err(VaultError::Forged));
}
