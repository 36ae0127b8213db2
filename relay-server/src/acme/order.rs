//! Gets one certificate: orders it, proves each name in the way that is set up for it, and clears away what the proof needed, however it ends.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tracing::{debug, warn};

use super::challenges::{Challenges, Shown};
use super::hook::{self, Action};
use super::{AcmeError, ONE_ORDER};
use crate::config::{Acme, AcmeChallenge};

/// The first wait before asking the server how far it is; each later one is longer by half.
const POLL: Duration = Duration::from_millis(250);

/// What stands somewhere so that the server finds it.
#[derive(Default)]
struct Proofs {
    /// Gone when dropped.
    shown: Vec<Shown>,
    /// Name and value of DNS records, which the hook must clear.
    records: Vec<(String, String)>,
}

/// A chain and its key as PEM.
pub(crate) async fn obtain(
    settings: &Acme,
    account: &Account,
    challenges: &Arc<Challenges>,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<String, AcmeError> {
    let identifiers: Vec<_> = settings.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order = place(account, &identifiers, replaces).await?;
    let mut proofs = Proofs::default();
    let proved = prove(settings, challenges, &mut order, &mut proofs).await;
    clear(settings, proofs).await;
    proved?;
    let mut params = CertificateParams::new(settings.names.clone()).map_err(other)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().map_err(other)?;
    let request = params.serialize_request(&key).map_err(other)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&patience()).await?;
    Ok(format!("{}{}", key.serialize_pem(), chain))
}

/// Whether the server said that it was asked too often.
pub(crate) fn is_limited(error: &AcmeError) -> bool {
    let AcmeError::Server(Error::Api(problem)) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:rateLimited")
}

/// Whether the server said that there is no such account: it was removed there, or the server has lost its own memory.
pub(crate) fn is_stranger(error: &AcmeError) -> bool {
    let AcmeError::Server(Error::Api(problem)) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// Whether this name was ordered. What the server says goes to the operator's program and into what is shown to visitors: it may only be what it was
/// asked for.
fn ordered(settings: &Acme, name: &str, wildcard: bool) -> bool {
    settings.names.iter().any(|ours| match ours.strip_prefix("*.") {
        Some(below) => wildcard && below == name,
        None => !wildcard && ours == name,
    })
}

fn other(e: rcgen::Error) -> AcmeError {
    AcmeError::Server(Error::Other(Box::new(e)))
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().initial_delay(POLL).backoff(1.5).timeout(ONE_ORDER)
}

async fn place(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, AcmeError> {
    if let Some(replaced) = replaces {
        match account.new_order(&NewOrder::new(identifiers).replaces(replaced)).await {
            Ok(order) => return Ok(order),
            // It knows no such thing, or takes the old one for replaced already. Only the new one matters.
            Err(e) => debug!(error = %e, "ordering without saying what is replaced"),
        }
    }
    Ok(account.new_order(&NewOrder::new(identifiers)).await?)
}

async fn prove(
    settings: &Acme,
    challenges: &Arc<Challenges>,
    order: &mut Order,
    proofs: &mut Proofs,
) -> Result<(), AcmeError> {
    show(settings, challenges, order, proofs).await?;
    if !proofs.records.is_empty() {
        // The zone's servers, and who asks them, need some time to see a new record.
        tokio::time::sleep(settings.dns_wait).await;
    }
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let (_, kind) = way(settings, authorization.identifier().wildcard);
        if let Some(mut challenge) = authorization.challenge(kind) {
            challenge.set_ready().await?;
        }
    }
    match order.poll_ready(&patience()).await? {
        OrderStatus::Ready => Ok(()),
        _ => Err(AcmeError::Refused(reasons(order).await)),
    }
}

/// How a name is proved.
fn way(settings: &Acme, wildcard: bool) -> (AcmeChallenge, ChallengeType) {
    // A wildcard can be proved by DNS only (RFC 8555, section 7.1.3 with the baseline requirements of authorities).
    let challenge = if wildcard { AcmeChallenge::Dns } else { settings.challenge };
    let kind = match challenge {
        AcmeChallenge::Http => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn => ChallengeType::TlsAlpn01,
        AcmeChallenge::Dns => ChallengeType::Dns01,
    };
    (challenge, kind)
}

/// Puts everything where the server will look for it.
async fn show(
    settings: &Acme,
    challenges: &Arc<Challenges>,
    order: &mut Order,
    proofs: &mut Proofs,
) -> Result<(), AcmeError> {
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(AcmeError::Refused(format!("{}: {status:?}", authorization.identifier()))),
        }
        let identifier = authorization.identifier();
        let (way, kind) = way(settings, identifier.wildcard);
        let Identifier::Dns(name) = identifier.identifier.clone() else { continue };
        if !ordered(settings, &name, identifier.wildcard) {
            return Err(AcmeError::Refused(format!("what was ordered, and asks about {name:?}")));
        }
        let none = AcmeError::NoChallenge { name: identifier.to_string(), challenge: way.as_str() };
        let challenge = authorization.challenge(kind).ok_or(none)?;
        let proof = challenge.key_authorization();
        match way {
            AcmeChallenge::Http => proofs.shown.push(challenges.show_text(&name, &challenge.token, proof.as_str())),
            AcmeChallenge::TlsAlpn => {
                let shown = challenges.show_certificate(&name, proof.digest().as_ref()).map_err(other)?;
                proofs.shown.push(shown);
            }
            AcmeChallenge::Dns => {
                let (record, value) = (format!("_acme-challenge.{name}"), proof.dns_value());
                // Noted first: one that fails half-way may have set it.
                proofs.records.push((record.clone(), value.clone()));
                run_hook(settings, Action::Set, &record, &value).await?;
            }
        }
    }
    Ok(())
}

async fn run_hook(settings: &Acme, action: Action, record: &str, value: &str) -> Result<(), AcmeError> {
    let Some(program) = &settings.dns_hook else {
        return Err(AcmeError::Refused(format!("{record}: there is no DNS hook to prove it with")));
    };
    hook::call(program, action, record, value, settings.dns_hook_time).await
}

async fn clear(settings: &Acme, proofs: Proofs) {
    for (record, value) in &proofs.records {
        if let Err(e) = run_hook(settings, Action::Clear, record, value).await {
            warn!(error = %e, "a DNS record that proved a name could not be cleared");
        }
    }
}

/// What the server says about the names that it does not take for ours.
async fn reasons(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let Ok(mut authorization) = authorization else { continue };
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        for problem in state.challenges.iter().filter_map(|c| c.error.as_ref()) {
            said.push(format!("{name}: {}", problem.to_string().escape_debug()));
        }
    }
    if said.is_empty() { "the order, and does not say why".to_owned() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_ordered_is_proved() {
        let settings = Acme {
            names: vec!["relay.test".into(), "*.relay.test".into(), "*.other.test".into()],
            directory: String::new(),
            contacts: vec![],
            agreed: true,
            challenge: AcmeChallenge::Dns,
            root: None,
            binding: None,
            dns_hook: None,
            dns_hook_time: Duration::ZERO,
            dns_wait: Duration::ZERO,
        };
        assert!(ordered(&settings, "relay.test", false) && ordered(&settings, "relay.test", true));
        assert!(ordered(&settings, "other.test", true) && !ordered(&settings, "other.test", false));
        for name in ["", "evil.test", "*.relay.test", "relay.test\nserver evil.test", "a.relay.test"] {
            assert!(!ordered(&settings, name, false) && !ordered(&settings, name, true), "{name:?}");
        }
    }
}
