//! Checking a message's signature against every reading and every secret at hand.

use std::cell::OnceCell;

use crate::base::{self, Fields};
use crate::input::{self, Input};
use crate::mac::{Key, MAC_LEN};
use crate::message::Field;
use crate::signature_field::{self, Encoding, Member};
use crate::{Match, Message, Profile, Reading, Reason, Secret, Verdict, digest};

/// Checks signatures with a set of secrets; cheap to call, and the same for the same input whatever was checked before.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Vec<Key>,
    /// The readings that differ in the signed string, plainest first. How the MAC is written is seen from the header.
    guide: Vec<Reading>,
    scribe: Vec<Reading>,
}

/// What stood in the way, while a match is looked for.
#[derive(Default)]
struct Failures {
    tried: Vec<Reading>,
    blocked: Vec<(Profile, Reason)>,
    uncovered: Option<Reason>,
}

impl Verifier {
    /// A verifier for these secrets, in the order in which they are tried; during a rotation there are two.
    pub fn new(secrets: &[Secret]) -> Verifier {
        Verifier::with_keys(secrets.iter().map(|secret| Key::new(secret.bytes())).collect())
    }

    fn with_keys(keys: Vec<Key>) -> Verifier {
        let strings = |profile: Profile| {
            Reading::all_of(profile).filter(|r| *r == r.encoded_as(Reading::plain(profile).encoding())).collect()
        };
        Verifier { keys, guide: strings(Profile::Guide), scribe: strings(Profile::Scribe) }
    }

    /// Whether there is a secret at all.
    pub fn has_secrets(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn key(&self, index: usize) -> Option<&Key> {
        self.keys.get(index)
    }

    /// Checks a message.
    pub fn verify(&self, message: &Message<'_>) -> Verdict {
        self.verify_with_digest(message, &digest::sha256(message.body))
    }

    /// Checks a message whose body's SHA-256 is already known. It must be the body's: see [`crate::sha256`].
    pub fn verify_with_digest(&self, message: &Message<'_>, body_sha256: &[u8; 32]) -> Verdict {
        let fields = Fields::of(message);
        let (signature, signature_input, content_digest) =
            match (&fields.signature, &fields.signature_input, &fields.content_digest) {
                (None, None, None) => return Verdict::Unsigned,
                (Some(s), Some(i), Some(d)) => (s, i, d),
                (None, ..) => return missing("Signature"),
                (_, None, _) => return missing("Signature-Input"),
                (.., None) => return missing("Content-Digest"),
            };
        let body = digest::check(&content_digest.value, message.body, body_sha256)
            .and_then(|()| check_length(fields.content_length.as_ref(), message.body.len()));
        if self.keys.is_empty() {
            return Verdict::NoSecret { note: body.err() };
        }
        // With a digest that is not the body's the rest only serves the explanation: nothing that follows can make it valid.
        match (body, self.find(&fields, &signature.value, &signature_input.value)) {
            (Ok(()), Ok(matched)) => Verdict::Valid(matched),
            (Ok(()), Err(reason)) => Verdict::Invalid(reason),
            (Err(Reason::DigestMismatch { algorithm, sent, computed, .. }), found) => {
                let signature_holds = found.ok().map(|matched| matched.reading);
                Verdict::Invalid(Reason::DigestMismatch { algorithm, sent, computed, signature_holds })
            }
            (Err(reason), _) => Verdict::Invalid(reason),
        }
    }

    /// Looks for the label, reading and secret that give a signature that was sent.
    fn find(&self, fields: &Fields<'_>, signature: &[u8], signature_input: &[u8]) -> Result<Match, Reason> {
        fields.message.check_request_line()?;
        let members = signature_field::members(signature)?;
        let inputs = OnceCell::new();
        let inputs = || inputs.get_or_init(|| input::inputs(signature_input));
        let mut failures = Failures::default();
        let mut likely = None;
        let mut well_formed = false;
        for member in &members {
            let Some((mac, encoding)) = member.mac else { continue };
            well_formed = true;
            if !has_label(signature_input, member.label, inputs) {
                continue;
            }
            let order = Profile::in_order_for(encoding);
            likely.get_or_insert(order[0]);
            for profile in order {
                let found = match profile {
                    Profile::Guide => self.among(&self.guide, fields, member, (&mac, encoding), &mut failures),
                    Profile::Scribe => self.among(&self.scribe, fields, member, (&mac, encoding), &mut failures),
                    Profile::Rfc9421 => self.rfc9421(inputs(), fields, member, (&mac, encoding), &mut failures),
                };
                if let Some(found) = found {
                    return Ok(found);
                }
            }
        }
        if !well_formed {
            return Err(Reason::MalformedSignature("no signature has 32 bytes in hex or base64"));
        }
        let Some(likely) = likely else {
            return Err(match inputs() {
                Err(reason) => reason.clone(),
                Ok(inputs) => Reason::LabelMismatch {
                    signature: members.iter().map(|member| member.label.to_owned()).collect(),
                    input: inputs.iter().map(|input| input.label.clone()).collect(),
                },
            });
        };
        if let Some(reason) = failures.uncovered {
            return Err(reason);
        }
        // What kept the likely profile from being computed says more than that the others do not match.
        match failures.blocked.iter().position(|(profile, _)| *profile == likely) {
            Some(at) => Err(failures.blocked.swap_remove(at).1),
            None => Err(Reason::SignatureMismatch {
                tried: failures.tried,
                secrets: self.keys.len(),
                blocked: failures.blocked,
            }),
        }
    }

    fn among(
        &self,
        readings: &[Reading],
        fields: &Fields<'_>,
        member: &Member<'_>,
        (mac, encoding): (&[u8; MAC_LEN], Encoding),
        failures: &mut Failures,
    ) -> Option<Match> {
        for (name, field) in [("Signature", &fields.signature), ("Signature-Input", &fields.signature_input)] {
            if field.as_ref().is_some_and(|field| field.lines > 1) {
                failures.blocked.push((readings[0].profile(), Reason::DuplicateHeader(name)));
                return None;
            }
        }
        for &reading in readings.iter().filter(|reading| !base::adds_nothing(**reading, fields)) {
            let reading = reading.encoded_as(encoding);
            match base::labelled(reading, fields, None) {
                Ok(signed) => match self.secret_for(&signed, mac) {
                    Some(secret_index) => {
                        let label = member.label.to_owned();
                        return Some(Match { reading, secret_index, label, signed, params: None });
                    }
                    None => failures.tried.push(reading),
                },
                Err(reason) => {
                    failures.blocked.push((reading.profile(), reason));
                    return None; // what is missing for one is missing for its variants
                }
            }
        }
        None
    }

    fn rfc9421(
        &self,
        inputs: &Result<Vec<Input>, Reason>,
        fields: &Fields<'_>,
        member: &Member<'_>,
        (mac, encoding): (&[u8; MAC_LEN], Encoding),
        failures: &mut Failures,
    ) -> Option<Match> {
        let reading = Reading::plain(Profile::Rfc9421).encoded_as(encoding);
        let built = inputs.as_ref().map_err(Clone::clone).and_then(|inputs| {
            let absent = Reason::MalformedSignatureInput("it has not the signature's label");
            let input = inputs.iter().find(|input| input.label == member.label).ok_or(absent)?;
            match &input.params.alg {
                Some(alg) if alg != "hmac-sha256" => Err(Reason::UnsupportedAlgorithm(alg.clone())),
                _ => Ok((input, base::rfc9421(fields, input)?)),
            }
        });
        let (input, signed) = match built {
            Ok(built) => built,
            Err(reason) => {
                failures.blocked.push((Profile::Rfc9421, reason));
                return None;
            }
        };
        let Some(secret_index) = self.secret_for(&signed, mac) else {
            failures.tried.push(reading);
            return None;
        };
        if !input.covers("content-digest") {
            let covered = input.params.components.clone();
            failures.uncovered = Some(Reason::UncoveredContentDigest { covered });
            return None;
        }
        let label = member.label.to_owned();
        Some(Match { reading, secret_index, label, signed, params: Some(input.params.clone()) })
    }

    fn secret_for(&self, signed: &[u8], mac: &[u8; MAC_LEN]) -> Option<usize> {
        self.keys.iter().position(|key| key.mac_is(signed, mac))
    }
}

fn missing(name: &str) -> Verdict {
    Verdict::Invalid(Reason::MissingHeader(name.to_owned()))
}

/// Whether Signature-Input has the label. The usual one, `label=…` with nothing before it, is seen without reading the rest: in
/// `guide` and `scribe` nothing but the label of Signature-Input is used, so the rest may be what it likes.
pub(crate) fn has_label<'i>(field: &[u8], label: &str, inputs: impl Fn() -> &'i Result<Vec<Input>, Reason>) -> bool {
    let at_start = field.strip_prefix(label.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    at_start || inputs().as_ref().is_ok_and(|inputs| inputs.iter().any(|input| input.label == label))
}

/// A Content-Length, where there is one, is the body's length: otherwise the delivery is not what was on the wire.
pub(crate) fn check_length(field: Option<&Field<'_>>, body: usize) -> Result<(), Reason> {
    let Some(field) = field else { return Ok(()) };
    let same = |text: &[u8]| {
        let digits = text.trim_ascii();
        digits.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) == Some(body)
    };
    if field.value.split(|b| *b == b',').all(same) {
        Ok(())
    } else {
        let shown = &field.value[..field.value.len().min(100)];
        Err(Reason::LengthMismatch { sent: String::from_utf8_lossy(shown).into_owned(), body })
    }
}
