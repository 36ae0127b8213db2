//! Whom to trust: the platform's roots, and the certificates in the file that the user named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

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
        Ok(Trust { inner: Arc::new(Inner { extra, config: OnceLock::new() }) })
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
