//! Keys and encryption of what is kept on the disk, and who may look at its files.
//!
//! Two layers of keys. The *user's key* ([`UserKey`], 32 random bytes from a file, the environment or a command) encrypts nothing but other
//! keys. The *data keys* are made here, at random, lie in `keys.json` beside the store ([`Vault`]), each wrapped with the user's key, and
//! encrypt what is stored. So another user's key is a matter of a small file that is written anew, and a new data key counts from the next
//! write on; the older ones stay until the store holds nothing that needs them.
//!
//! The algorithm is XChaCha20-Poly1305 for both layers: its nonces of 24 bytes may be random however much is written, it is as fast and
//! as even in time without special instructions of the processor as with them, and a program here uses it already (age). AES-GCM-SIV
//! would forgive a repeated nonce too, but not on a processor without AES. What is bound to a ciphertext (its store, its record's key) is
//! associated data: one that is moved elsewhere does not open.
//!
//! What somebody who has the disk but not the key learns or can do: how much there is, how long each piece is, what the rooms that use
//! this leave legible (they say so); they can remove pieces and put back older ones of the same record, as with any file. They cannot
//! read or change a piece, or put one in another's place.
//!
//! This room knows nothing of deliveries and of storage engines. It wipes keys from memory when they go; what is decrypted is its
//! callers'. A passphrase is not taken: it would need a slow function at every start of every command, and a key in a file that only its
//! owner reads is what such a passphrase would be kept in.

mod entropy;
mod error;
mod key;
mod keyfile;
mod lock;
mod memory;
mod modes;
mod source;
mod vault;

pub use entropy::Entropy;
pub use error::VaultError;
pub use key::{KeyId, UserKey};
pub use memory::{Dumps, no_core_dumps};
pub use modes::{private_folder, tighten, tighten_all, write_private};
pub use source::{KeyPlace, KeySource};
pub use vault::{OVERHEAD, Standing, Vault};
