//! What is encrypted of what is stored, and how: the layer between `engine` and the keys (tunnel-vault).
//!
//! Encrypted are, where the archive has a key, all values that hold records: lines (with their event, resource, target, summary of the answer),
//! requests (headers, body), attempts (answers), notes, and sketches, which are made of bodies. Each is bound to its key and the number of its
//! commit, so that none can stand in another's place. In the indexes by resource id and by fingerprint (`keys`) a keyed MAC stands where the
//! hash would: they are only ever asked for equality.
//!
//! Legible stays what the keys of the store say: ids, which are times (to the millisecond) and random bits; the names of event types,
//! resource types and tunnels, and which deliveries belong to each; signature statuses, answer classes, which delivery repeats which;
//! the lengths of values, so about the lengths of bodies; numbers of commits; the totals. What a delivery says is nowhere among it.
//!
//! A value is written as things stand when it is written, and read as it was written: a store may hold plain values, ones of an older data key
//! and ones of the latest beside each other, until a compaction writes all of them anew ([`Veil::renew`]).
//!
//! An encrypted value is longer than a piece by what the vault adds; the sum in `engine` that keeps leaves within sled's log counts that.

use std::borrow::Cow;
use std::sync::Arc;

use tunnel_vault::{OVERHEAD, Vault, VaultError};

use crate::engine::Value;
use crate::keys;
use crate::piece::Piece;
use crate::seal::{self, Seal};

/// What is known of keys; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Veil(Option<Arc<Vault>>);

/// Why a stored value cannot be had.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// It is not what was stored.
    Torn,
    /// It is encrypted, and not so that it could be read.
    Locked(VaultError),
    /// It is encrypted, and the store has no keys.
    NoKey,
}

impl std::fmt::Display for Unopened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unopened::Torn => f.write_str("a record does not have the checksum that it was stored with"),
            Unopened::Locked(error) => write!(f, "a record cannot be decrypted: {error}"),
            Unopened::NoKey => f.write_str("a record is encrypted, and the store has no keys"),
        }
    }
}

/// Whether values of this key are encrypted where there is a key.
fn covers(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'l' | b'r' | b'a' | b'R' | b'A' | b'n' | &keys::SKETCH))
}

/// What an encrypted value is bound to.
fn bound(number: u64, key: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), key].concat()
}

impl Veil {
    pub(crate) fn new(vault: Option<Vault>) -> Veil {
        Veil(vault.map(Arc::new))
    }

    /// The keys, if there are any.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.0.as_deref()
    }

    /// The keys that new values are encrypted with, if they are.
    pub(crate) fn writing(&self) -> Option<&Vault> {
        self.vault().filter(|vault| vault.is_encrypting())
    }

    /// A value as it is to be stored by this commit.
    pub(crate) fn put_on(&self, key: &[u8], number: u64, value: &Value) -> Result<Value, VaultError> {
        let sealed = seal::covers(key);
        match self.writing().filter(|_| covers(key)) {
            Some(vault) if sealed => {
                let encrypted = vault.encrypt(&bound(number, key), value)?;
                Ok(Value::from(seal::seal(key, number, &encrypted, true)))
            }
            // Sketches have neither seal nor number: after a damage they are made anew.
            Some(vault) => Ok(Value::from(vault.encrypt(&bound(0, key), value)?)),
            None if sealed => Ok(Value::from(seal::seal(key, number, value, false))),
            None => Ok(value.clone()),
        }
    }

    /// A stored value as it was before.
    pub(crate) fn take_off(&self, key: &[u8], value: Value) -> Result<Value, Unopened> {
        if seal::covers(key) {
            let seal = seal::open(key, &value).ok_or(Unopened::Torn)?;
            if !seal.encrypted {
                let (at, len) = (seal.payload_at(), seal.payload.len());
                return Ok(value.subslice(at, len));
            }
            return self.payload(&seal).map(|payload| Value::from(&*payload));
        }
        match is_encrypted_sketch(key, &value) {
            true => self.decrypt(&bound(0, key), &value).map(Value::from),
            false => Ok(value),
        }
    }

    /// A stored value as it would be stored now, by the same commit.
    pub(crate) fn renew(&self, key: &[u8], value: Value) -> Result<Value, Unopened> {
        if self.0.is_none() || !covers(key) {
            return Ok(value);
        }
        let (number, encrypted) = match seal::covers(key) {
            true => {
                let seal = seal::open(key, &value).ok_or(Unopened::Torn)?;
                (seal.number, seal.encrypted.then_some(seal.payload))
            }
            false => (0, is_encrypted_sketch(key, &value).then_some(&value[..])),
        };
        let current = match (self.writing(), encrypted) {
            (None, None) => true,
            (Some(vault), Some(encrypted)) => vault.is_current(encrypted),
            _ => false,
        };
        if current {
            return Ok(value);
        }
        let plain = self.take_off(key, value)?;
        self.put_on(key, number, &plain).map_err(Unopened::Locked)
    }

    /// What a seal holds.
    pub(crate) fn payload<'a>(&self, seal: &Seal<'a>) -> Result<Cow<'a, [u8]>, Unopened> {
        match seal.encrypted {
            true => self.decrypt(&bound(seal.number, seal.key), seal.payload).map(Cow::Owned),
            false => Ok(Cow::Borrowed(seal.payload)),
        }
    }

    fn decrypt(&self, bound: &[u8], encrypted: &[u8]) -> Result<Vec<u8>, Unopened> {
        let vault = self.vault().ok_or(Unopened::NoKey)?;
        vault.decrypt(bound, encrypted).map_err(Unopened::Locked)
    }

    /// How an entry of an index whose entries begin with a hash may stand there, the form that is written now first: its prefix, and what stands
    /// for the hash.
    pub(crate) fn forms(&self, index: &Hashed, hash: [u8; 8]) -> Vec<(&'static [u8], [u8; 8])> {
        let plain = (index.plain, hash);
        match self.vault() {
            None => vec![plain],
            Some(vault) => {
                let blind = (index.blind, vault.blind(&hash));
                if vault.is_encrypting() { vec![blind, plain] } else { vec![plain, blind] }
            }
        }
    }
}

/// An index whose entries begin with a hash of what may name a person: where its entries stand as they are, and where they stand behind a MAC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    pub(crate) plain: &'static [u8],
    pub(crate) blind: &'static [u8],
}

/// A sketch has one length, and an encrypted one another.
fn is_encrypted_sketch(key: &[u8], value: &[u8]) -> bool {
    key.first() == Some(&keys::SKETCH) && value.len() == Piece::MAX + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tunnel_vault::{Entropy, UserKey};

    /// A veil, and the same after a rotation and after it was turned off.
    fn veils() -> [Veil; 3] {
        let dir = tempfile::tempdir().unwrap();
        let key = UserKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "a test").unwrap();
        let open = || Veil::new(Vault::open(dir.path(), Some(&key), false, Entropy::system()).unwrap());
        let first = open();
        Vault::rekey(dir.path(), Some(&key), &key, Entropy::system()).unwrap();
        let second = open();
        Vault::set_encrypting(dir.path(), Some(&key), false, Entropy::system()).unwrap();
        [first, second, open()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_value_is_read_however_it_was_written(
            tag in prop::sample::select(b"lraRAnkxesmi".to_vec()), id: [u8; 16], other: [u8; 16], number in 0u64..1 << 60,
            value in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let key = [&[tag][..], &id].concat();
            // Sketches have one length.
            let value: Vec<u8> = if tag == keys::SKETCH { value.into_iter().chain(std::iter::repeat(7)).take(Piece::MAX).collect() } else { value };
            let value = Value::from(value);
            let [first, second, off] = veils();
            let plain = Veil::default().put_on(&key, number, &value).unwrap();
            let mut all = vec![plain.clone()];
            all.extend([&first, &second, &off].map(|veil| veil.put_on(&key, number, &value).unwrap()));
            prop_assert_eq!(&all[3], &plain);
            for stored in &all {
                prop_assert!(stored.len() <= seal::LONGEST);
                // The latest knows all keys.
                prop_assert_eq!(&off.take_off(&key, stored.clone()).unwrap(), &value);
                prop_assert_eq!(&off.renew(&key, stored.clone()).unwrap(), &plain);
                let renewed = second.renew(&key, stored.clone()).unwrap();
                prop_assert_eq!(&second.take_off(&key, renewed.clone()).unwrap(), &value);
                prop_assert_eq!(second.renew(&key, renewed.clone()).unwrap(), renewed, "once is enough");
            }
            if covers(&key) {
                prop_assert!(value.len() < 8 || !all[1].windows(value.len()).any(|w| w == &value[..]));
                prop_assert!(Veil::default().take_off(&key, all[1].clone()).is_err() || tag == keys::SKETCH);
                prop_assert!(first.take_off(&key, all[2].clone()).is_err(), "its data key came later");
                let elsewhere = [&[tag][..], &other].concat();
                prop_assume!(id != other);
                prop_assert!(off.take_off(&elsewhere, all[1].clone()).is_err());
                // Not even where somebody makes the seal anew.
                if let Some(seal) = seal::open(&key, &all[1]) {
                    for (key, number) in [(&elsewhere, number), (&key, number + 1)] {
                        let forged = Value::from(seal::seal(key, number, seal.payload, true));
                        prop_assert!(matches!(off.take_off(key, forged), Err(Unopened::Locked(_))));
                    }
                }
            } else {
                prop_assert_eq!(&all[1], &plain);
            }
        }
    }
}
