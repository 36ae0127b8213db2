//! TLS of the public listener: rustls with AWS-LC, TLS 1.2 and 1.3, post-quantum key exchange first, HTTP/2 and HTTP/1.1.
//!
//! `pair` reads a certificate and its key, `certificates` chooses among those in force and says how they stand, `files` follows the files they came
//! from. Certificates that the relay gets by itself are `acme`'s. A change of certificates touches no connection: the handshake asks for one, and
//! what is established has its own keys.

pub(crate) mod certificates;
pub(crate) mod files;
pub(crate) mod pair;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::config::Https;
use crate::ground::{Clock, Offload};
use certificates::{Certificates, Standing};
use files::Watched;

/// The protocol by which an ACME server checks that a name is ours (RFC 8737). Nothing else is ever spoken over it.
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no such thing.
    #[error("cannot use {what} {}: {problem}", path.display())]
    File {
        /// "certificate" or "key".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The two do not go together, or cannot be used.
    #[error("certificate {} and key {} cannot be used together: {problem}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The library refuses our settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(#[from] rustls::Error),
}

/// What a relay with an HTTPS listener has of TLS.
pub(crate) struct Tls {
    pub(crate) certificates: Arc<Certificates>,
    files: Arc<Mutex<Vec<Watched>>>,
    look_every: Duration,
    /// Somebody wants a new certificate now; heard where there is ACME.
    pub(crate) renew: Notify,
    pub(crate) acme: bool,
}

impl Tls {
    /// Reads the certificates of the settings. Blocks for as long as it reads.
    ///
    /// # Errors
    /// One of the pairs cannot be used.
    pub(crate) fn open(https: &Https) -> Result<Tls, TlsError> {
        let certificates = Arc::new(Certificates::new(https.pairs.len(), https.acme.is_some()));
        let mut files = Vec::new();
        for (slot, pair) in https.pairs.iter().enumerate() {
            let mut watched = Watched::new(slot, pair.clone());
            watched.first(&certificates)?;
            files.push(watched);
        }
        Ok(Tls {
            certificates,
            files: Arc::new(Mutex::new(files)),
            look_every: https.look_every,
            renew: Notify::new(),
            acme: https.acme.is_some(),
        })
    }

    /// What turns a connection into a TLS one.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.certificates) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.acme {
            // Last, so that it is chosen only by who offers nothing else.
            config.alpn_protocols.push(ACME_TLS.to_vec());
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files now, and says what of them cannot be used.
    pub(crate) async fn look(&self, offload: Offload) -> Vec<String> {
        self.look_with(offload, Watched::look_now).await
    }

    /// How all certificates stand.
    pub(crate) fn standing(&self, clock: &Clock) -> Vec<Standing> {
        self.certificates.standing(clock.now())
    }

    /// Follows the files, and tells of certificates that come to their end, until it is dropped.
    pub(crate) async fn keep(&self, clock: Clock, offload: Offload) {
        let mut tick = tokio::time::interval(self.look_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look_with(offload, Watched::look).await;
            self.certificates.tell_ends(clock.now());
        }
    }

    async fn look_with(
        &self,
        offload: Offload,
        look: fn(&mut Watched, &Certificates) -> Result<(), TlsError>,
    ) -> Vec<String> {
        let (files, certificates) = (Arc::clone(&self.files), Arc::clone(&self.certificates));
        let looking = offload.run(move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.iter_mut().filter_map(|f| look(f, &certificates).err()).map(|e| e.to_string()).collect()
        });
        // Only a runtime that ends gives no answer.
        looking.await.unwrap_or_default()
    }
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
