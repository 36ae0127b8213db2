//! Certificates for TLS stories: an authority of the story's own, and servers' certificates from it.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// A certificate authority that lives as long as its story.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server's certificate and key as files.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate in PEM.
    pub certificate: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with that common name.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names is a valid list");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("the system has randomness");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("the parameters are complete") }
    }

    /// The authority's certificate in DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Writes the authority's certificate in PEM.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, self.issuer.pem()).expect("the story's folder can be written");
    }

    /// A certificate for a server with these names (DNS names or addresses), written into `folder`.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn server(&self, folder: &Path, names: &[&str]) -> ServerCertificate {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the story gives DNS names and addresses");
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let files = ServerCertificate { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        std::fs::write(&files.certificate, certificate.pem()).expect("the story's folder can be written");
        std::fs::write(&files.key, key.serialize_pem()).expect("the story's folder can be written");
        files
    }
}
