//! What an ACME server looks for on our doors while it checks that a name is ours: a text under a path (HTTP-01, RFC 8555 section 8.3) and a
//! certificate in a handshake of its own (TLS-ALPN-01, RFC 8737). Each is there only while it is being looked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Where HTTP-01 is looked for.
const PATH: &str = "/.well-known/acme-challenge/";

/// What is there now.
#[derive(Default)]
pub(crate) struct Challenges(Mutex<Standing>);

#[derive(Default)]
struct Standing {
    /// The text by host name and token.
    texts: HashMap<(String, String), String>,
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

/// Something that is there until this is dropped.
pub(crate) struct Shown {
    of: Arc<Challenges>,
    what: What,
}

enum What {
    Text((String, String)),
    Certificate(String),
}

impl Challenges {
    /// The text for this host and target, if it is looked for now.
    pub(crate) fn text(&self, host: Option<&[u8]>, target: &str) -> Option<String> {
        // Nearly every request ends here.
        let token = target.strip_prefix(PATH)?;
        let host = std::str::from_utf8(host?).ok()?;
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.lock().texts.get(&(name.to_ascii_lowercase(), token.to_owned())).cloned()
    }

    /// The certificate for a check of this name.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().certificates.get(&name.to_ascii_lowercase()).cloned()
    }

    /// Shows a text.
    pub(crate) fn show_text(self: &Arc<Self>, name: &str, token: &str, text: &str) -> Shown {
        let key = (name.to_ascii_lowercase(), token.to_owned());
        self.lock().texts.insert(key.clone(), text.to_owned());
        Shown { of: Arc::clone(self), what: What::Text(key) }
    }

    /// Shows a certificate that holds this digest.
    pub(crate) fn show_certificate(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<Shown, rcgen::Error> {
        let name = name.to_ascii_lowercase();
        let mut params = rcgen::CertificateParams::new(vec![name.clone()])?;
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der)
            .map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        self.lock().certificates.insert(name.clone(), Arc::new(certified));
        Ok(Shown { of: Arc::clone(self), what: What::Certificate(name) })
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut standing = self.of.lock();
        match &self.what {
            What::Text(key) => drop(standing.texts.remove(key)),
            What::Certificate(name) => drop(standing.certificates.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_for_its_name_and_token_and_only_while_it_is_shown() {
        let challenges = Arc::new(Challenges::default());
        let target = "/.well-known/acme-challenge/abc";
        let shown = challenges.show_text("Relay.test", "abc", "abc.thumb");
        let at = |host: &str, target: &str| challenges.text(Some(host.as_bytes()), target);
        assert_eq!(at("relay.test", target).as_deref(), Some("abc.thumb"));
        assert_eq!(at("RELAY.test:80", target).as_deref(), Some("abc.thumb"));
        assert_eq!(at("team.relay.test", target), None);
        assert_eq!(at("relay.test", "/.well-known/acme-challenge/ab"), None);
        assert_eq!(at("relay.test", "/.well-known/acme-challenge/abc/"), None);
        assert_eq!(challenges.text(None, target), None);
        drop(shown);
        assert_eq!(challenges.text(Some(b"relay.test"), target), None);
    }

    #[test]
    fn so_is_a_certificate() {
        let challenges = Arc::new(Challenges::default());
        let shown = challenges.show_certificate("relay.test", &[7; 32]).unwrap();
        assert!(challenges.certificate("RELAY.test").is_some());
        assert!(challenges.certificate("other.test").is_none());
        drop(shown);
        assert!(challenges.certificate("relay.test").is_none());
    }
}
