//! Where account and certificate are kept: `DATA/acme/`, one folder for each ACME server, readable by the relay's user only. Chain and key are in
//! one file, which is replaced as a whole.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::AcmeError;
use crate::tls::pair::Pair;

/// The folder of one server.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens or makes it.
    pub(crate) fn open(data: &Path, directory: &str) -> Result<Folder, AcmeError> {
        // A digest, because accounts and certificates of a server for trials must not be taken for the real one's.
        let digest = Sha256::digest(directory);
        let name: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        let path = data.join("acme").join(name);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|e| problem(&path, &e))?;
        Ok(Folder(path))
    }

    /// The account; one that cannot be understood is put aside, so that a new one can be made.
    pub(crate) fn account(&self) -> Result<Option<AccountCredentials>, AcmeError> {
        let path = self.0.join("account.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        match serde_json::from_slice(&text) {
            Ok(account) => Ok(Some(account)),
            Err(e) => {
                warn!(error = %e, path = %path.display(), "the stored ACME account cannot be understood and is put aside; making a new one");
                self.put_account_aside().map(|()| None)
            }
        }
    }

    /// Puts an account aside that is of no use any more; somebody may want its key.
    pub(crate) fn put_account_aside(&self) -> Result<(), AcmeError> {
        let path = self.0.join("account.json");
        match fs::rename(&path, self.0.join("account.json.old")) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(problem(&path, &e)),
            _ => Ok(()),
        }
    }

    pub(crate) fn store_account(&self, account: &AccountCredentials) -> Result<(), AcmeError> {
        let path = self.0.join("account.json");
        let text = serde_json::to_vec(account).map_err(|e| problem(&path, &e))?;
        replace(&path, &text)
    }

    pub(crate) fn certificate(&self) -> Result<Option<Pair>, AcmeError> {
        let path = self.0.join("certificate.pem");
        let Some(text) = read(&path)? else { return Ok(None) };
        Pair::from_pem(&text).map(Some).map_err(|e| problem(&path, &e))
    }

    /// Stores the chain and its key.
    pub(crate) fn store_certificate(&self, pem: &str) -> Result<(), AcmeError> {
        replace(&self.0.join("certificate.pem"), pem.as_bytes())
    }
}

fn problem(path: &Path, problem: &dyn std::fmt::Display) -> AcmeError {
    AcmeError::Folder { path: path.to_owned(), problem: problem.to_string() }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, AcmeError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(problem(path, &e)),
    }
}

/// Writes the file durably beside the old one and puts it in its place.
fn replace(path: &Path, text: &[u8]) -> Result<(), AcmeError> {
    let new = path.with_extension("new");
    // Made anew each time: one that is left over may be for others to read, and would stay so.
    let gone = fs::remove_file(&new).or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) });
    let written = gone.and_then(|()| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        if let Some(folder) = path.parent() {
            crate::ownership::hand_over(&file, folder)?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    });
    written.map_err(|e| problem(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_certificate_is_kept_for_its_server_and_for_nobody_else_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "https://ca.test/directory").unwrap();
        assert!(folder.certificate().unwrap().is_none() && folder.account().unwrap().is_none());
        let made = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        // Left over from a write that broke off, with a mode that somebody has changed.
        fs::write(folder.0.join("certificate.new"), "old").unwrap();
        folder.store_certificate(&pem).unwrap();
        assert_eq!(folder.certificate().unwrap().unwrap().names, ["relay.test"]);
        assert_eq!(fs::metadata(folder.0.join("certificate.pem")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(dir.path().join("acme")).unwrap().mode() & 0o777, 0o700);
        let other = Folder::open(dir.path(), "https://staging.ca.test/directory").unwrap();
        assert!(other.certificate().unwrap().is_none());
        fs::write(folder.0.join("account.json"), "{\"id\":").unwrap();
        assert!(folder.account().unwrap().is_none());
        assert_eq!(fs::read(folder.0.join("account.json.old")).unwrap(), b"{\"id\":");
        fs::write(folder.0.join("certificate.pem"), &pem[..200]).unwrap();
        assert!(folder.certificate().unwrap_err().to_string().contains("certificate.pem"));
    }
}
