//! The keys of one store, open: encrypts, decrypts, and hides what indexes are looked up by.
//!
//! | bytes of what was encrypted | what |
//! | --- | --- |
//! | 4 | id of the data key |
//! | 24 | nonce, at random |
//! | … | as long as what was given |
//! | 16 | tag |
//!
//! Associated data is the store's name and whatever the caller binds it to.

use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::keyfile::{KeyFile, Wrapped};
use crate::lock::{self, cipher};
use crate::{Entropy, KeyId, UserKey, VaultError};

const ID: usize = 4;
pub(crate) const NONCE: usize = 24;
pub(crate) const TAG: usize = 16;
const FRONT: usize = ID + NONCE;

/// How many bytes encrypting adds.
pub const OVERHEAD: usize = FRONT + TAG;

/// The keys of one store.
pub struct Vault {
    dir: PathBuf,
    file: KeyFile,
    store: [u8; 16],
    user: XChaCha20Poly1305,
    user_id: KeyId,
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
    /// Where new records are encrypted: which of `keys`.
    writes_with: Option<usize>,
    index_key: Zeroizing<[u8; 32]>,
    entropy: Entropy,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).field("user", &self.user_id).finish_non_exhaustive()
    }
}

/// What a store does with the user's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which key it takes.
    pub key: KeyId,
    /// Whether what is written is encrypted.
    pub encrypts: bool,
    /// Whether it does not open without the key: something in it may be encrypted.
    pub needs: bool,
}

impl Vault {
    /// The keys of the store in this folder, which must be held; they are made where a key is given and there are none yet. Nothing where the
    /// store has no use for any: it is not encrypted, or encrypting was turned off and nothing encrypted is left; then another key than the one that
    /// it was turned off with is the first key of a new set. `encrypted` says whether the store has records that need them.
    ///
    /// # Errors
    /// [`VaultError::Missing`], [`VaultError::Wrong`], [`VaultError::Lost`]; [`VaultError::Damaged`], [`VaultError::Newer`],
    /// [`VaultError::Io`], [`VaultError::NoEntropy`].
    pub fn open(
        dir: &Path,
        user: Option<&UserKey>,
        encrypted: bool,
        entropy: Entropy,
    ) -> Result<Option<Vault>, VaultError> {
        match (KeyFile::read(dir)?, user) {
            (None, _) if encrypted => Err(VaultError::Lost { dir: dir.to_owned() }),
            (None, None) => Ok(None),
            (None, Some(user)) => Vault::create(dir, user, entropy).map(Some),
            // Turned off, and nothing is left that was encrypted.
            (Some(file), None) if file.is_idle() => Ok(None),
            (Some(file), Some(user)) if file.is_idle() && id(&file.key, dir)? != user.id() => {
                Vault::create(dir, user, entropy).map(Some)
            }
            (Some(file), None) => Err(VaultError::Missing { dir: dir.to_owned(), needs: id(&file.key, dir)? }),
            (Some(file), Some(user)) => {
                let vault = Vault::unwrap(dir, file, user, entropy)?;
                Ok((vault.is_encrypting() || !vault.keys.is_empty()).then_some(vault))
            }
        }
    }

    /// Whether [`Vault::open`] would take this key, or go without one, for the store in this folder, which need not be held. Makes and changes nothing. Whether the
    /// store has records that need keys of which there are none is not seen.
    ///
    /// # Errors
    /// [`VaultError::Missing`], [`VaultError::Wrong`]; [`VaultError::Damaged`], [`VaultError::Newer`], [`VaultError::Io`].
    pub fn check(dir: &Path, user: Option<&UserKey>) -> Result<(), VaultError> {
        match (KeyFile::read(dir)?, user) {
            (None, _) => Ok(()),
            (Some(file), None) if file.is_idle() => Ok(()),
            (Some(file), Some(user)) if file.is_idle() && id(&file.key, dir)? != user.id() => Ok(()),
            (Some(file), None) => Err(VaultError::Missing { dir: dir.to_owned(), needs: id(&file.key, dir)? }),
            (Some(file), Some(user)) => Vault::unwrap(dir, file, user, Entropy::system()).map(drop),
        }
    }

    fn create(dir: &Path, user: &UserKey, entropy: Entropy) -> Result<Vault, VaultError> {
        let mut store = [0; 16];
        entropy.fill(&mut store)?;
        let mut vault =
            Vault::bare(dir, KeyFile::new(KeyFile::text(&store), user.id().to_string()), store, user, entropy);
        entropy.fill(&mut vault.index_key[..])?;
        vault.file.index_key = vault.wrap(&*vault.index_key, INDEX_KEY)?;
        vault.add_data_key()?;
        vault.save()?;
        Ok(vault)
    }

    fn bare(dir: &Path, file: KeyFile, store: [u8; 16], user: &UserKey, entropy: Entropy) -> Vault {
        Vault {
            dir: dir.to_owned(),
            file,
            store,
            user: cipher(user.bytes()),
            user_id: user.id(),
            keys: Vec::new(),
            writes_with: None,
            index_key: Zeroizing::new([0; 32]),
            entropy,
        }
    }

    fn unwrap(dir: &Path, file: KeyFile, user: &UserKey, entropy: Entropy) -> Result<Vault, VaultError> {
        let damaged = |reason: &str| VaultError::Damaged { path: KeyFile::path(dir), reason: reason.to_owned() };
        let needs = id(&file.key, dir)?;
        if needs != user.id() {
            return Err(VaultError::Wrong { dir: dir.to_owned(), needs, given: user.id() });
        }
        let store = KeyFile::bytes(&file.store).and_then(|bytes| bytes.try_into().ok());
        let store = store.ok_or_else(|| damaged("the store's name"))?;
        let mut vault = Vault::bare(dir, file, store, user, entropy);
        let sealed = vault.file.sealed_part();
        vault
            .unwrap_one(&vault.file.seal, &[SEAL, &sealed].concat())
            .ok_or_else(|| damaged("its seal does not fit"))?;
        let index_key = vault.unwrap_one(&vault.file.index_key, INDEX_KEY).ok_or_else(|| damaged("the index key"))?;
        vault.index_key.copy_from_slice(index_key.get(..32).ok_or_else(|| damaged("the index key"))?);
        for wrapped in &vault.file.data_keys {
            let key = vault.unwrap_one(&wrapped.wrapped, &data_key(&wrapped.id)).filter(|key| key.len() == 32);
            let key = key.ok_or_else(|| damaged("a data key"))?;
            vault.keys.push((id(&wrapped.id, dir)?, XChaCha20Poly1305::new(Key::from_slice(&key))));
        }
        if let Some(current) = &vault.file.writes_with {
            let at = vault.file.data_keys.iter().position(|wrapped| wrapped.id == *current);
            vault.writes_with = Some(at.ok_or_else(|| damaged("the data key that it writes with is not there"))?);
        }
        Ok(vault)
    }

    /// What the store in this folder does with a key, as its file says without one; nothing where it has no keys. Nothing is made.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::Newer`], [`VaultError::Io`].
    pub fn standing(dir: &Path) -> Result<Option<Standing>, VaultError> {
        let Some(file) = KeyFile::read(dir)? else { return Ok(None) };
        let encrypts = file.writes_with.is_some();
        Ok(Some(Standing { key: id(&file.key, dir)?, encrypts, needs: encrypts || !file.data_keys.is_empty() }))
    }

    /// Replaces the user's key, of a store that nobody has open: everything is wrapped with the new one, and new records get a new data
    /// key. The old user's key opens nothing from then on, but copies of the file from before.
    ///
    /// # Errors
    /// Those of [`Vault::open`]; [`VaultError::NotEncrypted`].
    pub fn rekey(dir: &Path, old: Option<&UserKey>, new: &UserKey, entropy: Entropy) -> Result<(), VaultError> {
        let mut vault = Vault::existing(dir, old, entropy)?;
        let mut keys = Vec::new();
        for wrapped in &vault.file.data_keys {
            let key = vault.unwrap_one(&wrapped.wrapped, &data_key(&wrapped.id));
            keys.push((wrapped.id.clone(), key.ok_or(VaultError::Forged)?));
        }
        vault.user = cipher(new.bytes());
        vault.user_id = new.id();
        vault.file.key = new.id().to_string();
        vault.file.index_key = vault.wrap(&*vault.index_key, INDEX_KEY)?;
        vault.file.data_keys.clear();
        for (id, key) in keys {
            let wrapped = vault.wrap(&key, &data_key(&id))?;
            vault.file.data_keys.push(Wrapped { id, wrapped });
        }
        if vault.writes_with.is_some() {
            vault.add_data_key()?;
        }
        vault.save()
    }

    /// Turns encrypting off or on again, of a store that nobody has open: new records are written so from then on, and what is there stays as it is.
    ///
    /// # Errors
    /// Those of [`Vault::open`]; [`VaultError::NotEncrypted`].
    pub fn set_encrypting(dir: &Path, user: Option<&UserKey>, on: bool, entropy: Entropy) -> Result<(), VaultError> {
        let mut vault = Vault::existing(dir, user, entropy)?;
        match on {
            true if vault.writes_with.is_none() => vault.add_data_key()?,
            true => {}
            false => (vault.writes_with, vault.file.writes_with) = (None, None),
        }
        vault.save()
    }

    fn existing(dir: &Path, user: Option<&UserKey>, entropy: Entropy) -> Result<Vault, VaultError> {
        let not = || VaultError::NotEncrypted { dir: dir.to_owned() };
        let file = KeyFile::read(dir)?.ok_or_else(not)?;
        match user {
            // Nothing is encrypted with the key that it had: none is needed, and another has nothing to do with it.
            user if file.is_idle() && user.map(UserKey::id) != Some(id(&file.key, dir)?) => Err(not()),
            Some(user) => Vault::unwrap(dir, file, user, entropy),
            None => Err(VaultError::Missing { dir: dir.to_owned(), needs: id(&file.key, dir)? }),
        }
    }

    /// Forgets the data keys that nothing needs any more: all but the one that is written with, and those that `needed` names. For
    /// the store's owner, which knows.
    ///
    /// # Errors
    /// [`VaultError::Io`]; the file is as it was then.
    pub fn retire(&self, needed: &[KeyId]) -> Result<usize, VaultError> {
        let mut file = self.file.clone();
        let stays = |id: &str| file.writes_with.as_deref() == Some(id) || needed.iter().any(|n| n.to_string() == id);
        let left: Vec<Wrapped> = file.data_keys.iter().filter(|wrapped| stays(&wrapped.id)).cloned().collect();
        let gone = file.data_keys.len() - left.len();
        if gone > 0 {
            file.data_keys = left;
            self.sealed(file)?.write(&self.dir)?;
        }
        Ok(gone)
    }

    /// The name of the user's key.
    pub fn user_key(&self) -> KeyId {
        self.user_id
    }

    /// Whether new records are to be encrypted.
    pub fn is_encrypting(&self) -> bool {
        self.writes_with.is_some()
    }

    /// The data key that something was encrypted with.
    pub fn key_of(encrypted: &[u8]) -> Option<KeyId> {
        encrypted.first_chunk().map(|id| KeyId(*id))
    }

    /// Whether it was encrypted with the key that new records get.
    pub fn is_current(&self, encrypted: &[u8]) -> bool {
        let current = self.writes_with.and_then(|at| self.keys.get(at)).map(|(id, _)| *id);
        current.is_some() && current == Vault::key_of(encrypted)
    }

    /// Encrypts where it lies: `buffer` has what is to be encrypted after its first 28 bytes and before its last 16. `bound` is what it
    /// must be given to decrypt it.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`]; [`VaultError::Forged`] where the buffer has no room, or nothing is to be encrypted at all.
    pub fn encrypt_in_place(&self, bound: &[u8], buffer: &mut [u8]) -> Result<(), VaultError> {
        let (id, cipher) = self.writes_with.and_then(|at| self.keys.get(at)).ok_or(VaultError::Forged)?;
        if buffer.len() < OVERHEAD {
            return Err(VaultError::Forged);
        }
        let (front, rest) = buffer.split_at_mut(FRONT);
        let (content, tag) = rest.split_at_mut(rest.len() - TAG);
        front[..ID].copy_from_slice(&id.0);
        self.entropy.fill(&mut front[ID..])?;
        let nonce = XNonce::from_slice(&front[ID..]);
        let made =
            cipher.encrypt_in_place_detached(nonce, &self.bound(bound), content).map_err(|_| VaultError::Forged)?;
        tag.copy_from_slice(&made);
        Ok(())
    }

    /// As [`Vault::encrypt_in_place`], of something that lies elsewhere.
    ///
    /// # Errors
    /// Likewise.
    pub fn encrypt(&self, bound: &[u8], content: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut buffer = Vec::with_capacity(content.len() + OVERHEAD);
        buffer.extend_from_slice(&[0; FRONT]);
        buffer.extend_from_slice(content);
        buffer.extend_from_slice(&[0; TAG]);
        self.encrypt_in_place(bound, &mut buffer)?;
        Ok(buffer)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`]; [`VaultError::Forged`] where it was changed, cut, or bound to something else.
    pub fn decrypt(&self, bound: &[u8], encrypted: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (front, rest) = encrypted.split_at_checked(FRONT).ok_or(VaultError::Forged)?;
        let (content, tag) =
            rest.len().checked_sub(TAG).and_then(|at| rest.split_at_checked(at)).ok_or(VaultError::Forged)?;
        let id = Vault::key_of(front).ok_or(VaultError::Forged)?;
        let (_, cipher) = self.keys.iter().find(|(known, _)| *known == id).ok_or(VaultError::UnknownKey(id))?;
        let (nonce, tag) = (XNonce::from_slice(&front[ID..]), Tag::from_slice(tag));
        let mut content = content.to_vec();
        let opened = cipher.decrypt_in_place_detached(nonce, &self.bound(bound), &mut content, tag);
        opened.map(|()| content).map_err(|_| VaultError::Forged)
    }

    /// What stands in an index for `content`, which may name a person: the same for the same, and nothing to whoever has not the key. Eight
    /// bytes, so that different things fall together once in a long while.
    pub fn blind(&self, content: &[u8]) -> [u8; 8] {
        let mut blind = [0; 8];
        // HMAC takes keys of any length.
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.index_key[..]) {
            blind.copy_from_slice(&mac.chain_update(content).finalize().into_bytes()[..8]);
        }
        blind
    }

    fn bound(&self, bound: &[u8]) -> Vec<u8> {
        [&self.store[..], bound].concat()
    }

    fn add_data_key(&mut self) -> Result<(), VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        self.entropy.fill(&mut key[..])?;
        let mut id = KeyId([0; 4]);
        loop {
            self.entropy.fill(&mut id.0)?;
            if self.file.data_keys.iter().all(|wrapped| wrapped.id != id.to_string()) {
                break;
            }
        }
        let wrapped = Wrapped { id: id.to_string(), wrapped: self.wrap(&key[..], &data_key(&id.to_string()))? };
        self.file.writes_with = Some(wrapped.id.clone());
        self.file.data_keys.push(wrapped);
        self.keys.push((id, cipher(&key)));
        self.writes_with = Some(self.keys.len() - 1);
        Ok(())
    }

    /// Wrapped with the user's key: nonce, content, tag.
    fn wrap(&self, content: &[u8], purpose: &[u8]) -> Result<String, VaultError> {
        Ok(KeyFile::text(&lock::wrap(&self.user, &self.bound(purpose), content, self.entropy)?))
    }

    fn unwrap_one(&self, text: &str, purpose: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        lock::unwrap(&self.user, &self.bound(purpose), &KeyFile::bytes(text)?)
    }

    fn sealed(&self, mut file: KeyFile) -> Result<KeyFile, VaultError> {
        file.seal = self.wrap(&[], &[SEAL, &file.sealed_part()].concat())?;
        Ok(file)
    }

    fn save(&mut self) -> Result<(), VaultError> {
        self.file = self.sealed(self.file.clone())?;
        self.file.write(&self.dir)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // The ciphers wipe their keys themselves.
        self.index_key.zeroize();
    }
}

const INDEX_KEY: &[u8] = b"index key";
const SEAL: &[u8] = b"seal\0";

fn data_key(id: &str) -> Vec<u8> {
    [b"data key ", id.as_bytes()].concat()
}

fn id(text: &str, dir: &Path) -> Result<KeyId, VaultError> {
    text.parse().map_err(|()| VaultError::Damaged { path: KeyFile::path(dir), reason: "the id of a key".to_owned() })
}

#[cfg(test)]
mod tests;
