//! Certificates that the relay gets by itself from an ACME server (RFC 8555), such as Let's Encrypt: one certificate for all names of the settings,
//! asked for when there is none, renewed when two thirds of its life are over or when the server suggests it (RFC 9773).
//!
//! `schedule` says when (pure), `order` gets one certificate, `client` speaks HTTP to the server, `challenges` is what the server looks for on our
//! doors, `hook` calls the operator's program for DNS, `folder` keeps account and certificate. Until a newer certificate is stored and in
//! force, the old one stays, whatever fails.

pub(crate) mod challenges;
mod client;
mod folder;
mod hook;
mod order;
mod schedule;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, ExternalAccountKey, NewAccount};
use tracing::{debug, error, info, warn};
use tunnel_delivery::Timestamp;

use crate::audit::{Audit, Entry, What, Who};
use crate::config::{Acme, AcmeBinding};
use crate::ground::{Clock, Offload};
use crate::tls::Tls;
use crate::tls::pair::Pair;
use client::Client;
use folder::Folder;
use schedule::Chance;

/// The longest that the server may take to look at the proofs, and then to issue. The hook and DNS have their own times, and each request has.
const ONE_ORDER: Duration = Duration::from_secs(600);
/// How often the server is asked when it suggests a renewal. Also the longest sleep, so that a clock that jumps is noticed.
const LOOK: Duration = Duration::from_secs(6 * 3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The server, or the way to it.
    #[error("the ACME server: {0}")]
    Server(#[from] instant_acme::Error),
    /// The system has nothing to know the server by, as a bare Debian has not.
    #[error(
        "the ACME server cannot be trusted, because this system has no certificate authorities: install them (Debian: apt install ca-certificates), or name a file with --acme-root ({0})"
    )]
    NoAuthorities(String),
    /// It looked for the proof that a name is ours and did not find it.
    #[error("the ACME server refuses {0}")]
    Refused(String),
    /// It offers no way of proof that is set up for the name.
    #[error("the ACME server offers no {challenge} challenge for {name}")]
    NoChallenge {
        /// The name.
        name: String,
        /// The way of proof.
        challenge: &'static str,
    },
    /// The operator's program for DNS failed.
    #[error("the DNS hook {}: {problem}", program.display())]
    Hook {
        /// The program.
        program: PathBuf,
        /// What happened.
        problem: String,
    },
    /// Account or certificate cannot be read or stored.
    #[error("cannot use {}: {problem}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What the server issued cannot be used.
    #[error("the certificate that was issued cannot be used: {0}")]
    Issued(String),
}

/// Why no ACME server could be trusted on this system, whichever it is.
pub(crate) fn trusts(acme: &Acme) -> Result<(), AcmeError> {
    Client::new(acme.root.as_deref()).map(drop)
}

/// Keeps a certificate from an ACME server in force.
pub(crate) struct Keeper {
    settings: Acme,
    folder: Folder,
    tls: Arc<Tls>,
    clock: Clock,
    offload: Offload,
    audit: Audit,
    account: Option<Account>,
    /// What is in force.
    current: Option<Pair>,
}

/// What strangers are told when no certificate could be had; the log has the reason.
const NONE: &str = "no certificate could be had from the ACME server yet; the relay tries again";

impl Keeper {
    /// Reads what is stored of an earlier run and puts it into force.
    pub(crate) fn open(
        settings: Acme,
        data: &Path,
        tls: Arc<Tls>,
        clock: Clock,
        offload: Offload,
        audit: Audit,
    ) -> Result<Keeper, AcmeError> {
        let folder = Folder::open(data, &settings.directory)?;
        let current = match folder.certificate() {
            Ok(Some(pair)) => {
                let names = pair.names.join(" ");
                info!(%names, expires_at = %pair.not_after, "the certificate from ACME is in force");
                if !pair.is_for(&settings.names) {
                    info!(%names, "it is not for all names of the settings; asking for one that is");
                }
                tls.certificates.put(tls.certificates.acme_slot(), pair.clone());
                Some(pair)
            }
            Ok(None) => None,
            Err(e) => {
                warn!(error = %e, "the stored certificate cannot be used; asking for a new one");
                None
            }
        };
        Ok(Keeper { settings, folder, tls, clock, offload, audit, account: None, current })
    }

    /// Renews in time until it is dropped.
    pub(crate) async fn keep(mut self) {
        let slot = self.tls.certificates.acme_slot();
        let mut failures = 0;
        let mut chance = Chance::draw();
        let mut soonest = self.clock.now();
        let mut next = self.plan(chance).await;
        loop {
            self.tls.certificates.plan(slot, next);
            let now = self.clock.now();
            let asked = tokio::select! {
                biased;
                () = self.tls.renew.notified() => true,
                () = tokio::time::sleep(next.since(now).min(LOOK)) => false,
            };
            if !asked && self.clock.now() < next {
                // While it fails, the plan is to try again and not what the server suggests.
                if failures == 0 {
                    next = self.plan(chance).await.max(soonest);
                }
                continue;
            }
            chance = Chance::draw();
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    soonest = later(self.clock.now(), self.rest());
                    next = self.plan(chance).await.max(soonest);
                }
                Err(e) => {
                    failures += 1;
                    let wait = schedule::again_after(failures, order::is_limited(&e), chance);
                    next = later(self.clock.now(), wait);
                    self.tls.certificates.fail(slot, NONE);
                    error!(error = %e, failures, next_try = %next, "NO CERTIFICATE could be had from the ACME server; what is in force stays so");
                    // Made anew the next time: it may be what is wrong.
                    self.account = None;
                }
            }
        }
    }

    /// When to renew what is in force; now, if nothing is.
    async fn plan(&mut self, chance: Chance) -> Timestamp {
        let Some(pair) = self.current.clone().filter(|pair| pair.is_for(&self.settings.names)) else {
            return self.clock.now();
        };
        let window = self.suggested(&pair).await;
        schedule::renew_at(pair.not_before, pair.not_after, window, chance)
    }

    /// How long what is in force is kept in any case.
    fn rest(&self) -> Duration {
        self.current.as_ref().map_or(Duration::ZERO, |pair| schedule::rest(pair.not_before, pair.not_after))
    }

    /// The time in which the server would have it renewed, if it says so.
    async fn suggested(&mut self, pair: &Pair) -> Option<(Timestamp, Timestamp)> {
        let id = identifier(pair)?;
        let account = self.account().await.inspect_err(|e| debug!(error = %e, "no account to ask with")).ok()?;
        let (info, _) = account.renewal_info(&id).await.inspect_err(|e| debug!(error = %e, "no suggestion")).ok()?;
        let at = |t: i128| Timestamp::from_micros(i64::try_from(t / 1000).unwrap_or(i64::MAX));
        let window = info.suggested_window;
        Some((at(window.start.unix_timestamp_nanos()), at(window.end.unix_timestamp_nanos())))
    }

    async fn renew(&mut self) -> Result<(), AcmeError> {
        info!(names = %self.settings.names.join(" "), "asking the ACME server for a certificate");
        let pem = match self.obtain().await {
            Err(e) if order::is_stranger(&e) => {
                warn!(error = %e, "the ACME server does not know the stored account, which is put aside; making a new one");
                self.folder.put_account_aside()?;
                self.account = None;
                self.obtain().await?
            }
            obtained => obtained?,
        };
        let pair = Pair::from_pem(pem.as_bytes()).map_err(AcmeError::Issued)?;
        if !pair.is_for(&self.settings.names) {
            return Err(AcmeError::Issued(format!("it is for {} only", pair.names.join(" "))));
        }
        // Stored first: what is in force must be there after a restart.
        let folder = self.folder.clone();
        let storing = self.offload.run(move || folder.store_certificate(&pem)).await;
        storing.map_err(|e| AcmeError::Issued(e.to_string()))??;
        info!(names = %pair.names.join(" "), expires_at = %pair.not_after, "a new certificate from the ACME server is in force");
        let entry = Entry::new(self.clock.now(), What::CertificateRenewed, Who::Relay);
        self.audit.note(entry.note(format!("for {} until {}", pair.names.join(" "), pair.not_after)));
        self.tls.certificates.put(self.tls.certificates.acme_slot(), pair.clone());
        self.current = Some(pair);
        Ok(())
    }

    async fn obtain(&mut self) -> Result<String, AcmeError> {
        let account = self.account().await?;
        let challenges = Arc::clone(&self.tls.certificates.challenges);
        let replaces = self.current.as_ref().and_then(identifier);
        // No time limit around it: whatever it has set, it must clear. Each of its steps has one.
        order::obtain(&self.settings, &account, &challenges, replaces).await
    }

    /// The account: the one that is stored, or a new one.
    async fn account(&mut self) -> Result<Account, AcmeError> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let builder = Account::builder_with_http(Box::new(Client::new(self.settings.root.as_deref())?));
        let account = if let Some(stored) = self.folder.account()? {
            builder.from_credentials(stored).await?
        } else {
            let contact: Vec<String> = self.settings.contacts.iter().map(|c| format!("mailto:{c}")).collect();
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            let new = NewAccount {
                contact: &contact,
                terms_of_service_agreed: self.settings.agreed,
                only_return_existing: false,
            };
            let binding = self.settings.binding.as_ref().map(bound);
            let (account, credentials) =
                builder.create(&new, self.settings.directory.clone(), binding.as_ref()).await?;
            self.folder.store_account(&credentials)?;
            info!(account = account.id(), "an account was made with the ACME server");
            account
        };
        self.account = Some(account.clone());
        Ok(account)
    }
}

fn bound(binding: &AcmeBinding) -> ExternalAccountKey {
    ExternalAccountKey::new(binding.id.clone(), &binding.key)
}

fn identifier(pair: &Pair) -> Option<CertificateIdentifier<'static>> {
    CertificateIdentifier::try_from(pair.leaf()?).ok().map(CertificateIdentifier::into_owned)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}
