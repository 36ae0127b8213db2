//! Certificates as files that somebody else renews: looked at from time to time, and taken over when they have changed and can be used. What
//! cannot be used changes nothing and is told loudly, once.

use sha2::{Digest as _, Sha256};
use tracing::{debug, error, info};

use super::TlsError;
use super::certificates::Certificates;
use super::pair::Texts;
use crate::config::PairFiles;

/// One pair of files.
pub(crate) struct Watched {
    slot: usize,
    files: PairFiles,
    /// What was seen when they were last looked at.
    seen: [u8; 32],
    /// What is wrong with it, once it is told.
    wrong: Option<Wrong>,
}

#[derive(PartialEq, Eq)]
enum Wrong {
    /// Seen once: somebody may just be writing, first one file and then the other.
    Once,
    Told,
}

/// What strangers are told of it; the log has the files' names.
const UNUSABLE: &str = "the files on disk cannot be used; what was read before stays in force";

impl Watched {
    pub(crate) fn new(slot: usize, files: PairFiles) -> Watched {
        Watched { slot, files, seen: [0; 32], wrong: None }
    }

    /// The first look: there is nothing yet that could stay in force.
    pub(crate) fn first(&mut self, certificates: &Certificates) -> Result<(), TlsError> {
        let texts = Texts::read(&self.files)?;
        Texts::warn_of_others(&self.files);
        certificates.put(self.slot, texts.pair(&self.files)?);
        self.seen = digest(Ok(&texts));
        Ok(())
    }

    /// A look in passing: what is wrong for the first time may be right the next time, and is not told yet.
    pub(crate) fn look(&mut self, certificates: &Certificates) -> Result<(), TlsError> {
        self.take(certificates, false)
    }

    /// A look because somebody asked.
    pub(crate) fn look_now(&mut self, certificates: &Certificates) -> Result<(), TlsError> {
        self.take(certificates, true)
    }

    // Contents are compared and not times: writing twice within a tick of the file system's clock, and links that are moved, look the same.
    fn take(&mut self, certificates: &Certificates, asked: bool) -> Result<(), TlsError> {
        let texts = Texts::read(&self.files);
        let now = digest(texts.as_ref());
        let settled = self.wrong.as_ref().is_none_or(|wrong| *wrong == Wrong::Told);
        if now == self.seen && settled && !asked {
            return Ok(());
        }
        let changed = now != self.seen || self.wrong.is_some();
        let again = now == self.seen;
        self.seen = now;
        match texts.and_then(|texts| texts.pair(&self.files)) {
            Ok(pair) => {
                self.wrong = None;
                if changed {
                    info!(cert = %self.files.cert.display(), names = %pair.names.join(" "), expires_at = %pair.not_after, "a new certificate is in force");
                    certificates.put(self.slot, pair);
                    Texts::warn_of_others(&self.files);
                }
                Ok(())
            }
            Err(problem) => {
                if again || asked {
                    error!(error = %problem, "the certificate files have changed and CANNOT BE USED; what was read before stays in force");
                    certificates.fail(self.slot, UNUSABLE);
                    self.wrong = Some(Wrong::Told);
                } else {
                    debug!(error = %problem, "certificate files that cannot be used; looking again");
                    self.wrong = Some(Wrong::Once);
                }
                Err(problem)
            }
        }
    }
}

fn digest(texts: Result<&Texts, &TlsError>) -> [u8; 32] {
    let mut hash = Sha256::new();
    match texts {
        Ok(texts) => {
            hash.update(texts.chain.len().to_be_bytes());
            hash.update(&texts.chain);
            hash.update(&texts.key);
        }
        Err(e) => hash.update(e.to_string()),
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::certificates::State;
    use super::*;
    use std::fs;
    use tunnel_delivery::Timestamp;

    fn write(files: &PairFiles, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let texts = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(&files.cert, &texts.0).unwrap();
        fs::write(&files.key, &texts.1).unwrap();
        texts
    }

    #[test]
    fn new_files_are_taken_over_and_bad_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = PairFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        let certificates = Certificates::new(1, false);
        let mut watched = Watched::new(0, files.clone());
        assert!(watched.first(&certificates).unwrap_err().to_string().contains("c.pem"));
        write(&files, "one.test");
        watched.first(&certificates).unwrap();
        let now = || certificates.standing(Timestamp::from_micros(1_800_000_000_000_000)).remove(0);
        assert_eq!(now().names, ["one.test"]);

        // Half of a change: the key is still the old one's. It is told when it is seen for the second time.
        let (_, old_key) = (fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());
        let (_, new_key) = write(&files, "two.test");
        fs::write(&files.key, &old_key).unwrap();
        assert!(watched.look(&certificates).is_err());
        assert_eq!((now().problem, now().names), (None, vec!["one.test".to_owned()]));
        assert!(watched.look(&certificates).is_err());
        assert_eq!((now().problem.as_deref(), now().state), (Some(UNUSABLE), State::Ok));
        assert!(watched.look(&certificates).is_ok(), "told once");
        assert!(watched.look_now(&certificates).is_err(), "whoever asks is told again");

        fs::write(&files.key, new_key).unwrap();
        watched.look(&certificates).unwrap();
        assert_eq!((now().problem, now().names), (None, vec!["two.test".to_owned()]));

        fs::remove_file(&files.cert).unwrap();
        assert!(watched.look_now(&certificates).is_err());
        assert_eq!((now().problem.as_deref(), now().names), (Some(UNUSABLE), vec!["two.test".to_owned()]));
    }
}
