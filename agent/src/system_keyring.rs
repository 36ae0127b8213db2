//! The system's keyring as a place for the key of the store: macOS's Keychain, and elsewhere the Secret Service over D-Bus (GNOME Keyring, KWallet,
//! KeePassXC). An entry of ours has the service `healthie-tunnel` and a name that its user chooses.
//!
//! A keyring that is locked asks its user, and one that nobody answers for would keep a command for ever: everything here ends within [`WITHIN`], and every
//! failure names the other ways to give a key. Without the feature `keyring` it says that it is not there.

use std::time::Duration;

use tunnel_vault::KeyPlace;
use zeroize::Zeroizing;

use crate::control::shell_word;

/// The name that a key has there where none is given.
pub(crate) const STANDARD: &str = "store";

/// How long the keyring may take, its user's typing of a password with it.
const WITHIN: Duration = Duration::from_secs(60);

/// What it is called in messages.
const CALLED: &str = "the system's keyring";

const OTHERWISE: &str = "a file (--store-key-file), the environment (HEALTHIE_TUNNEL_STORE_KEY) or a command (--store-key-command) can give the key instead";

/// The key of that name, for whoever opens the store.
pub(crate) fn place(name: String) -> KeyPlace {
    KeyPlace { name, called: CALLED, get }
}

/// Why a key was not put there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PutError {
    /// There is one of that name: replaced, it would be lost, and what it opens with it.
    #[error("there is a key {0:?} in the system's keyring already")]
    There(String),
    /// The keyring cannot be used.
    #[error("the system's keyring took no key: {0}")]
    Not(String),
}

/// A name can be had.
///
/// # Errors
/// It is empty, or longer than a keyring's own tools would show.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
        return Err("a key's name in the keyring has 1 to 200 characters".to_owned());
    }
    Ok(text.to_owned())
}

fn get(name: &str) -> Result<Zeroizing<String>, String> {
    let asked = name.to_owned();
    match within(WITHIN, move || system::get(&asked)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!(
            "it has no key {name:?} (`healthie-tunnel store new-key --keyring={}` makes one for a new store); {OTHERWISE}",
            shell_word(name)
        )),
        Err(why) => Err(format!("{why}; {OTHERWISE}")),
    }
}

/// Puts a key there under a name that nothing has.
///
/// # Errors
/// [`PutError`].
pub(crate) fn put(name: &str, text: Zeroizing<String>) -> Result<(), PutError> {
    let asked = name.to_owned();
    let put = within(WITHIN, move || {
        // Two that ask at the same time may both find none; a keyring has no other way.
        if system::get(&asked)?.is_some() {
            return Ok(false);
        }
        system::put(&asked, &text)?;
        // What cannot be read back is worth nothing, and is better known now.
        match system::get(&asked)? {
            Some(there) if *there == *text => Ok(true),
            _ => Err("it did not keep what it was given".to_owned()),
        }
    });
    match put {
        Ok(true) => Ok(()),
        Ok(false) => Err(PutError::There(name.to_owned())),
        Err(why) => Err(PutError::Not(format!("{why}; {OTHERWISE}"))),
    }
}

/// Does it on a thread of its own, which is left behind where it does not end in time: there is no way to call it back.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, wait) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("keyring".to_owned()).spawn(move || drop(done.send(work())));
    thread.map_err(|e| format!("it cannot be asked: {e}"))?;
    wait.recv_timeout(limit).unwrap_or_else(|_| {
        Err(format!(
            "it did not answer within {} seconds: is it locked, and its question for the password nowhere to be seen?",
            limit.as_secs()
        ))
    })
}

#[cfg(feature = "keyring")]
mod system {
    //! By the crate `keyring`.

    use keyring::{Entry, Error};
    use zeroize::{Zeroize as _, Zeroizing};

    const SERVICE: &str = "healthie-tunnel";

    fn entry(name: &str) -> Result<Entry, String> {
        Entry::store_status().as_ref().map_err(|e| format!("there is none that can be reached ({})", said(e)))?;
        Entry::new(SERVICE, name).map_err(|e| said(&e))
    }

    pub(super) fn get(name: &str) -> Result<Option<Zeroizing<String>>, String> {
        match entry(name)?.get_password() {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(Error::NoEntry) => Ok(None),
            Err(Error::BadEncoding(mut bytes)) => {
                bytes.zeroize();
                Err(format!("what it has under the name {name:?} is no text"))
            }
            Err(Error::Ambiguous(found)) => Err(format!(
                "it has {} entries of the name {name:?}: remove all but one of them with its own program",
                found.len()
            )),
            Err(e) => Err(said(&e)),
        }
    }

    pub(super) fn put(name: &str, text: &str) -> Result<(), String> {
        entry(name)?.set_password(text).map_err(|e| said(&e))
    }

    /// What it said, and why: its own sentences end before the reason.
    fn said(e: &Error) -> String {
        let mut text = e.to_string();
        let mut cause = std::error::Error::source(e);
        while let Some(why) = cause {
            let why_text = why.to_string();
            if !text.contains(&why_text) {
                text = format!("{text}: {why_text}");
            }
            cause = why.source();
        }
        text
    }
}

#[cfg(not(feature = "keyring"))]
mod system {
    //! There is none.

    use zeroize::Zeroizing;

    pub(super) fn get(_: &str) -> Result<Option<Zeroizing<String>>, String> {
        Err("this program was built without it".to_owned())
    }

    pub(super) fn put(_: &str, _: &str) -> Result<(), String> {
        Err("this program was built without it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_does_not_answer_keeps_nobody() {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let work = move || {
            let _ = held.recv();
            Ok(())
        };
        let why = within(Duration::from_millis(10), work).unwrap_err();
        assert!(why.contains("did not answer"), "{why}");
        drop(let_go);
        assert_eq!(within(WITHIN, || Ok(7)), Ok(7));
        // One that ends otherwise has not answered either.
        assert!(within(WITHIN, || -> Result<(), String> { panic!("as a library may") }).is_err());
    }

    #[test]
    fn names_have_bounds() {
        assert_eq!(name("team 2027").as_deref(), Ok("team 2027"));
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert!(name(bad).is_err());
        }
    }
}
