//! Whom to trust: the platform's roots, and the certificates in the file that the user named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// Why certificates could not be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustError {
    /// The file could not be read as PEM certificates.
    #[error("the certificates in {path} cannot be used: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The platform's roots could not be loaded.
    #[error("the platform's trusted certificates cannot be used: {0}")]
    Platform(String),
}

/// The roots that TLS connections are checked against. Loaded at the first use, because they take a megabyte that an agent without TLS
/// need not spend.
#[derive(Clone, Default)]
pub struct Trust {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The user's file.
    file: Option<PathBuf>,
    extra: Vec<CertificateDer<'static>>,
    config: OnceLock<Result<Arc<ClientConfig>, TrustError>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust(platform and {} more)", self.inner.extra.len())
    }
}

impl Trust {
    /// The platform's roots and those in the PEM file `path`.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn with_file(path: &Path) -> Result<Trust, TrustError> {
        let wrong = |why: String| TrustError::File { path: path.to_owned(), why };
        let extra = CertificateDer::pem_file_iter(path)
            .and_then(|found| found.collect::<Result<Vec<_>, _>>())
            .map_err(|e| wrong(e.to_string()))?;
        if extra.is_empty() {
            return Err(wrong("there is no PEM certificate in it".into()));
        }
        // What cannot be read as a certificate would be told at the first connection only, and as the platform's.
        let mut roots = rustls::RootCertStore::empty();
        for (at, certificate) in extra.iter().enumerate() {
            roots
                .add(certificate.clone())
                .map_err(|e| wrong(format!("certificate {} of {} in it: {e}", at + 1, extra.len())))?;
        }
        Ok(Trust { inner: Arc::new(Inner { file: Some(path.to_owned()), extra, config: OnceLock::new() }) })
    }

    /// Why the handshake failed, where it is about whom to trust, and what to give instead.
    pub(super) fn explain(&self, error: &rustls::Error) -> Option<String> {
        let rustls::Error::InvalidCertificate(invalid) = error else { return None };
        match invalid {
            // The second where the file has an authority of the same name that is another, such as one that was made anew.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let said = "its certificate is of an authority that is not trusted here";
                Some(match &self.inner.file {
                    None => format!("{said} (--ca names one that is)"),
                    Some(file) if self.inner.extra.iter().any(may_be_authority) => {
                        format!("{said}: that of {} did not sign it (--ca names one that did)", file.display())
                    }
                    Some(file) => format!(
                        "{said}: {} holds a server's own certificate and no authority's; give --ca the certificate of the authority that signed the server's",
                        file.display()
                    ),
                })
            }
            // Webpki's own error, which rustls passes on as one that it has no name for.
            CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => Some(
                "its certificate is marked as an authority's (CA:TRUE), and such a one is none for a server: have the server use a certificate that an \
                 authority signed, and give --ca the authority's"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.inner.config.get_or_init(|| self.build()).clone()
    }

    fn build(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let wrong = |e: rustls::Error| TrustError::Platform(e.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(
            self.inner.extra.iter().cloned(),
            Arc::clone(&provider),
        )
        .map_err(wrong)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .dangerous() // rustls' word for any verifier that is not its own; this one is the platform's.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// Whether others may be signed by it, as far as it says itself: those of the first version cannot say so.
fn may_be_authority(certificate: &CertificateDer<'static>) -> bool {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return true };
    read.version() == X509Version::V1 || read.is_ca()
}

#[cfg(test)]
mod tests {
    use std::io;

    use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::super::{Dialer, Peer};
    use super::*;

    fn params(name: &str, authority: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    #[test]
    fn what_is_pem_and_no_certificate_is_told_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("given.pem");
        let good = params("one", true).self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        std::fs::write(&file, format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).unwrap();
        let why = Trust::with_file(&file).unwrap_err().to_string();
        assert!(why.contains("given.pem") && why.contains("certificate 2 of 2"), "{why}");
    }

    /// What is said of a server with that certificate by whoever gives `--ca` a file with `given`.
    async fn told(certificate: &CertificateDer<'static>, key: &KeyPair, given: Option<String>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("given.pem");
        let trust = match given {
            None => Trust::default(),
            Some(pem) => {
                std::fs::write(&file, pem).unwrap();
                Trust::with_file(&file).unwrap()
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Peer { tls: true, host: "localhost".into(), port: listener.local_addr().unwrap().port() };
        let serve = async move {
            let (tcp, _) = listener.accept().await?;
            TlsAcceptor::from(Arc::new(config)).accept(tcp).await.map(drop)
        };
        let (dialled, _): (_, io::Result<()>) =
            tokio::join!(async { Dialer::new(trust).dial(&peer).await.map(drop) }, serve);
        dialled.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn whoever_gives_the_wrong_certificate_is_told_which_is_the_right_one() {
        let authority = |name| CertifiedIssuer::self_signed(params(name, true), KeyPair::generate().unwrap()).unwrap();
        let (anew, other, authority) = (authority("Local CA"), authority("Other CA"), authority("Local CA"));
        let key = KeyPair::generate().unwrap();
        let server: Certificate = params("server", false).signed_by(&key, &authority).unwrap();
        let said = async |given| told(server.der(), &key, given).await;
        assert_eq!(said(Some(authority.pem())).await, "");
        let nothing = said(None).await;
        assert!(nothing.contains("not trusted here (--ca names"), "{nothing}");
        let leaf = said(Some(server.pem())).await;
        assert!(leaf.contains("given.pem holds a server's own certificate") && leaf.contains("that signed"), "{leaf}");
        for another in [said(Some(other.pem())).await, said(Some(anew.pem())).await] {
            assert!(another.contains("given.pem did not sign it"), "{another}");
        }
        let both = said(Some(server.pem() + &other.pem())).await;
        assert!(both.contains("did not sign it"), "there is an authority's among them: {both}");

        // As `openssl req -x509` makes them.
        let own = params("server", true).self_signed(&key).unwrap();
        let marked = told(own.der(), &key, Some(own.pem())).await;
        assert!(marked.contains("CA:TRUE") && !marked.contains("OtherError"), "{marked}");
        // One that signed itself and is no authority's can be trusted as it is.
        let alone = params("server", false).self_signed(&key).unwrap();
        assert_eq!(told(alone.der(), &key, Some(alone.pem())).await, "");
    }
}
