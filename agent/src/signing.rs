//! Between deliveries and signatures: checks a delivery as the archive keeps it, and makes the copy that goes to a handler, signed again
//! where the handler sees another path than the one that Healthie signed.
//!
//! Holds the secrets. Pure: no clock, no network, no disk.

use tunnel_delivery::{Delivery, SignatureStatus, Verdict};
use tunnel_signature::{Match, Message, Secret, Verifier};

use crate::forward::{Outgoing, TargetUrl};

/// Which signature a forwarded copy carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardAs {
    /// The one that was sent, whatever path the handler sees.
    Sent,
    /// One made for the path that the handler sees, where it is another.
    Resigned,
}

impl std::str::FromStr for ForwardAs {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "sent" => Ok(ForwardAs::Sent),
            "resigned" => Ok(ForwardAs::Resigned),
            _ => Err(format!("{s:?} is neither `sent` nor `resigned`")),
        }
    }
}

/// A delivery whose signature was checked.
#[derive(Debug)]
pub struct Checked {
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// What is stored and shown.
    pub verdict: Verdict,
    /// What signing again needs; only where the signature is valid.
    pub matched: Option<Match>,
}

/// The secrets, and what is done with them.
pub struct Signing {
    verifier: Verifier,
    secrets: Vec<Secret>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({} secrets)", self.secrets.len())
    }
}

impl Signing {
    /// With these secrets, tried in this order.
    pub fn new(secrets: Vec<Secret>) -> Signing {
        Signing { verifier: Verifier::new(&secrets), secrets }
    }

    /// With the same secrets and `more` after them, each once.
    pub fn with(&self, more: &[Secret]) -> Signing {
        let mut all = self.secrets.clone();
        for secret in more {
            if !all.iter().any(|known| known.is(secret)) {
                all.push(secret.clone());
            }
        }
        Signing::new(all)
    }

    /// The secret that new deliveries are signed with.
    pub fn first(&self) -> Option<&Secret> {
        self.secrets.first()
    }

    /// All of them, in the order in which they are tried.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// One of the secrets, as a [`Match`] counts them.
    pub fn secret(&self, index: usize) -> Option<&Secret> {
        self.secrets.get(index)
    }

    /// Checks a delivery.
    pub fn check(&self, delivery: &Delivery) -> Checked {
        let body_sha256 = tunnel_signature::sha256(&delivery.body);
        self.check_with_digest(delivery, body_sha256)
    }

    /// Checks a delivery whose body's SHA-256 is known.
    pub fn check_with_digest(&self, delivery: &Delivery, body_sha256: [u8; 32]) -> Checked {
        let lines = lines(delivery);
        let verdict = self.verifier.verify_with_digest(&message(delivery, &lines), &body_sha256);
        let status = match &verdict {
            tunnel_signature::Verdict::Valid(_) => SignatureStatus::Valid,
            tunnel_signature::Verdict::Invalid(_) => SignatureStatus::Invalid,
            tunnel_signature::Verdict::Unsigned => SignatureStatus::Unsigned,
            tunnel_signature::Verdict::NoSecret { .. } => SignatureStatus::NoSecret,
        };
        let mut stored = Verdict::bare(status);
        stored.reason = verdict.reason().map(ToString::to_string);
        if status == SignatureStatus::NoSecret {
            stored.hint = Some("give the webhook's secret with --secret or HEALTHIE_WEBHOOK_SECRET".into());
        }
        let matched = match verdict {
            tunnel_signature::Verdict::Valid(matched) => Some(matched),
            _ => None,
        };
        if let Some(m) = &matched {
            stored.profile = Some(m.reading.profile().as_str().to_owned());
            stored.variant = m.reading.variant().name();
        }
        Checked { body_sha256, verdict: stored, matched }
    }

    /// The copy of a delivery that goes to `to`.
    ///
    /// It is signed again where its signature is valid (`matched`), the handler sees another target than the one that was signed, and that
    /// is wanted: by default only where the relay's prefix was taken off, because there the handler could not know what was signed.
    pub fn outgoing(
        &self,
        delivery: &Delivery,
        matched: Option<&Match>,
        to: &TargetUrl,
        forward_as: Option<ForwardAs>,
    ) -> Outgoing {
        let target = to.map(&delivery.handler_target());
        let mut out = Outgoing {
            method: delivery.method.as_str().to_owned(),
            headers: delivery.headers.clone(),
            body: delivery.body.clone(),
            resigned: false,
            marks: None,
            target,
        };
        let wanted = match forward_as {
            Some(ForwardAs::Sent) => false,
            Some(ForwardAs::Resigned) => true,
            None => delivery.prefix_len > 0,
        };
        if let (true, Some(matched)) = (wanted && out.target != delivery.target.as_str(), matched) {
            let lines = lines(delivery);
            // What cannot be signed for the new target goes out as it came, and the attempt does not say resigned.
            if let Ok(new) = self.verifier.resign(&message(delivery, &lines), matched, &out.target)
                && let Some(line) = out.headers.0.get_mut(new.line)
            {
                line.value = new.value.into();
                out.resigned = true;
            }
        }
        out
    }
}

fn lines(delivery: &Delivery) -> Vec<(&[u8], &[u8])> {
    delivery.headers.iter().map(|l| (&*l.name, &*l.value)).collect()
}

fn message<'a>(delivery: &'a Delivery, headers: &'a [(&'a [u8], &'a [u8])]) -> Message<'a> {
    Message { method: delivery.method.as_str(), target: delivery.target.as_str(), headers, body: &delivery.body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::{DeliveryId, Environment, Headers, HttpVersion, Timestamp};
    use tunnel_signature::{Profile, Reading, Request};

    fn signed(target: &str, prefix_len: usize, profile: Profile) -> Delivery {
        let body = br#"{"resource_id":"1","event_type":"appointment.created"}"#;
        let secret = Secret::new("whsec_test").unwrap();
        let request = Request { method: "POST", target, content_type: "application/json", body };
        let mut headers = Headers::default();
        headers.push("Host", "relay.test");
        for (name, value) in tunnel_signature::sign(Reading::plain(profile), &secret, &request).unwrap().lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        Delivery {
            id: DeliveryId::first_at(Timestamp::from_micros(1)),
            received_at: Timestamp::from_micros(1),
            tunnel: "t".parse().unwrap(),
            source_ip: "127.0.0.1".parse().unwrap(),
            environment: Environment::Unknown,
            method: "POST".parse().unwrap(),
            target: target.parse().unwrap(),
            prefix_len,
            http_version: HttpVersion::Http11,
            headers,
            body: bytes::Bytes::from_static(body),
            lost: Vec::new(),
        }
    }

    /// Whether a handler that verifies accepts what it sees.
    fn accepted(signing: &Signing, original: &Delivery, out: &Outgoing) -> bool {
        let mut seen = original.clone();
        seen.target = out.target.parse().unwrap();
        seen.headers = out.headers.clone();
        signing.check(&seen).verdict.status == SignatureStatus::Valid
    }

    #[test]
    fn a_copy_is_signed_again_only_where_the_prefix_went_or_it_was_asked_for() {
        let signing = Signing::new(vec![Secret::new("whsec_other").unwrap(), Secret::new("whsec_test").unwrap()]);
        let plain: TargetUrl = "3000".parse().unwrap();
        let mapped: TargetUrl = "localhost:3000/hooks".parse().unwrap();
        for profile in Profile::ALL {
            let host = signed("/a?x=1", 0, profile);
            let path = signed("/t/team/a?x=1", 7, profile);
            for (delivery, to, forward_as, resigned, accepts) in [
                (&host, &plain, None, false, true),
                (&host, &plain, Some(ForwardAs::Resigned), false, true),
                (&host, &mapped, None, false, false),
                (&host, &mapped, Some(ForwardAs::Resigned), true, true),
                (&path, &plain, None, true, true),
                (&path, &mapped, None, true, true),
                (&path, &plain, Some(ForwardAs::Sent), false, false),
            ] {
                let checked = signing.check(delivery);
                assert_eq!(checked.verdict.profile.as_deref(), Some(profile.as_str()));
                let out = signing.outgoing(delivery, checked.matched.as_ref(), to, forward_as);
                let case = format!("{profile} {} to {to} as {forward_as:?}", delivery.target);
                assert_eq!((out.resigned, accepted(&signing, delivery, &out)), (resigned, accepts), "{case}");
            }
        }
    }

    #[test]
    fn what_is_not_valid_is_never_signed() {
        let signing = Signing::new(vec![Secret::new("whsec_else").unwrap()]);
        let delivery = signed("/t/team/a", 7, Profile::Guide);
        let checked = signing.check(&delivery);
        assert_eq!(checked.verdict.status, SignatureStatus::Invalid);
        assert!(checked.verdict.reason.is_some());
        let out = signing.outgoing(&delivery, checked.matched.as_ref(), &"3000".parse().unwrap(), None);
        assert_eq!((out.resigned, out.headers == delivery.headers, out.target.as_str()), (false, true, "/a"));
        assert_eq!(Signing::new(Vec::new()).check(&delivery).verdict.status, SignatureStatus::NoSecret);
    }
}
