//! A certificate chain and its key, from PEM: read, matched with each other, and what the certificate says of itself. It knows no listener.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tunnel_delivery::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{TlsError, provider};
use crate::config::PairFiles;

/// The longest file that is read, in bytes; a chain of three certificates has some 5,000.
const FILE_MAX: u64 = 1 << 20;

/// A certificate with its key, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names and addresses it is for, as text and in lower case; a wildcard begins with `*.`.
    pub(crate) names: Vec<String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// The bytes of both files.
pub(crate) struct Texts {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl Texts {
    pub(crate) fn read(files: &PairFiles) -> Result<Texts, TlsError> {
        Ok(Texts { chain: read("certificate", &files.cert)?, key: read("key", &files.key)?.into() })
    }

    /// Warns where others than its owner and group can read the key: then it is not only the certificate's owner who can stand for these names.
    pub(crate) fn warn_of_others(files: &PairFiles) {
        use std::os::unix::fs::MetadataExt as _;
        let mode = std::fs::metadata(&files.key).map_or(0, |meta| meta.mode() & 0o777);
        if mode & 0o007 != 0 {
            tracing::warn!(key = %files.key.display(), mode = %format_args!("{mode:03o}"), "everybody on this machine can read the certificate's key: `chmod 600` it, or 640 for a group, and think of getting another");
        }
    }

    /// What they hold.
    pub(crate) fn pair(&self, files: &PairFiles) -> Result<Pair, TlsError> {
        let file = |what, path: &Path, problem: String| TlsError::File { what, path: path.to_owned(), problem };
        let chain = chain(&self.chain).map_err(|problem| file("certificate", &files.cert, problem))?;
        let key = key(&self.key).map_err(|problem| file("key", &files.key, problem))?;
        Pair::new(chain, key).map_err(|problem| TlsError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            problem,
        })
    }
}

impl Pair {
    /// From PEM text that holds both, as `acme` keeps them.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Pair, String> {
        Pair::new(chain(text)?, key(text)?)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Pair, String> {
        let leaf = chain.first().ok_or("there is no certificate")?;
        let (names, not_before, not_after) = facts(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
            other => other.to_string(),
        })?;
        Ok(Pair { key: Arc::new(key), names, not_before, not_after })
    }

    /// The certificate itself.
    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.key.cert.first()
    }

    /// Whether each of these names is on it, as it stands.
    pub(crate) fn is_for(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let error = |problem: String| TlsError::File { what, path: path.to_owned(), problem };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| error(e.to_string()))?;
    file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(|e| error(e.to_string()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(error(format!("it is longer than {FILE_MAX} bytes")));
    }
    Ok(text)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|e| format!("it is not PEM: {e}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(chain)
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| format!("there is no private key in it: {e}"))
}

fn facts(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, Timestamp, Timestamp), String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|e| format!("the certificate is not one: {e}"))?;
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    if names.is_empty() {
        return Err("the certificate is for no name: it has no subject alternative name".into());
    }
    let at = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
    let validity = certificate.validity();
    Ok((names, at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Texts {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Texts { chain: made.cert.pem().into_bytes(), key: made.signing_key.serialize_pem().into_bytes().into() }
    }

    fn files() -> PairFiles {
        PairFiles { cert: "a.pem".into(), key: "a.key".into() }
    }

    #[test]
    fn a_pair_says_its_names_and_its_time() {
        let pair = texts(&["Relay.test", "*.relay.test", "127.0.0.1"]).pair(&files()).unwrap();
        assert_eq!(pair.names, ["relay.test", "*.relay.test", "127.0.0.1"]);
        assert!(pair.not_before < pair.not_after);
        assert!(pair.is_for(&["*.relay.test".to_owned()]) && !pair.is_for(&["a.relay.test".to_owned()]));
    }

    #[test]
    fn whatever_is_wrong_is_said_with_the_file() {
        let (one, other) = (texts(&["a.test"]), texts(&["a.test"]));
        let said = |chain: &[u8], key: &[u8]| {
            Texts { chain: chain.to_vec(), key: key.to_vec().into() }.pair(&files()).unwrap_err().to_string()
        };
        assert!(said(&one.chain, &other.key).contains("the key is not the certificate's"), "mismatch");
        assert!(said(&one.chain, b"nothing").contains("key a.key: there is no private key"), "no key");
        assert!(said(&one.key, &one.key).contains("certificate a.pem: there is no certificate"), "no certificate");
        let half = &one.chain[..one.chain.len() / 2];
        assert!(said(half, &one.key).contains("a.pem"), "half a file");
    }
}
