//! From a delivery to its diagnosis: the verdict, what is plainly wrong, then the search for the rest.

use std::ops::{ControlFlow, RangeInclusive};

use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;

use crate::base::Fields;
use crate::doctor::cause::{BodyForm, Cause, DigestText};
use crate::doctor::changes::{Source, lengths};
use crate::doctor::draft::{self, BodyFacts, Draft};
use crate::doctor::keys::{Candidate, KnownSecret, candidates};
use crate::doctor::loose::{self, Mac};
use crate::doctor::search::{Budget, Found, MAX_MACS, Space};
use crate::doctor::{
    Certainty, Compared, Context, Diagnosis, Difference, DigestState, Finding, MAX_REWRITTEN, Note, SignedPart,
    SignedString, Work, bodies,
};
use crate::input::{self, Input};
use crate::signature_field::{self, Encoding};
use crate::{Match, Message, Profile, Reason, Secret, Verdict, Verifier, digest, verify};

/// The headers of every signature, by the names to show.
const SIGNATURE_HEADERS: [&str; 3] = ["Signature", "Signature-Input", "Content-Digest"];

/// How many bytes longer or shorter than the body that arrived the one that was signed is taken to have been at most.
const NEAR: usize = 256;

/// Explains a delivery: which reading it was signed in, or the smallest change that would make its signature hold.
///
/// Costs as much as [`Verifier::verify`] for a valid delivery, and for any other at most [`MAX_MACS`] MACs and
/// [`super::MAX_BODIES`] digests of the body.
pub fn diagnose(message: &Message<'_>, secrets: &[KnownSecret<'_>], context: &Context<'_>) -> Diagnosis {
    let sha256 = digest::sha256(message.body);
    let expected: Vec<_> = secrets.iter().filter(|known| known.expected).collect();
    let own: Vec<Secret> = expected.iter().map(|known| known.secret.clone()).collect();
    let verdict = Verifier::new(&own).verify_with_digest(message, &sha256);
    let fields = Fields::of(message);
    let inputs = fields.signature_input.as_ref().map(|field| input::inputs(&field.value));
    let inputs = inputs.and_then(Result::ok).unwrap_or_default();
    let mut diagnosis = Diagnosis {
        signed: None,
        digest: digest_state(&fields, message.body, &sha256),
        findings: Vec::new(),
        notes: times(&fields, &inputs, context.received_at),
        work: Work::default(),
        verdict,
    };
    match &diagnosis.verdict {
        Verdict::Valid(matched) => {
            let label = expected.get(matched.secret_index).map(|known| known.label.to_owned()).unwrap_or_default();
            diagnosis.signed = Some(signed_string(&fields, &inputs, &sha256, matched, label));
            if let Some(before) = context.matched_before.filter(|before| *before != matched.reading) {
                diagnosis.notes.insert(0, Note::OtherReading { before, now: matched.reading });
            }
        }
        _ => Patient { fields: &fields, inputs: &inputs, sha256, secrets, context }.examine(&mut diagnosis),
    }
    diagnosis
}

fn digest_state(fields: &Fields<'_>, body: &[u8], sha256: &[u8; 32]) -> DigestState {
    match fields.content_digest.as_ref().map(|field| digest::check(&field.value, body, sha256)) {
        None => DigestState::Missing,
        Some(Ok(())) => DigestState::Right,
        Some(Err(Reason::DigestMismatch { .. })) => DigestState::Wrong,
        Some(Err(_)) => DigestState::Unreadable,
    }
}

fn times(fields: &Fields<'_>, inputs: &[Input], received_at: Option<i64>) -> Vec<Note> {
    let Some(received_at) = received_at else { return Vec::new() };
    let macs = fields.signature.as_ref().map(|field| loose::macs(&field.value)).unwrap_or_default();
    let Some(input) = inputs.iter().find(|input| macs.iter().any(|mac| mac.label.as_deref() == Some(&input.label)))
    else {
        return Vec::new();
    };
    let after = |later: i64, earlier: i64| (later > earlier).then(|| later.abs_diff(earlier));
    let expired = input.params.expires.and_then(|expires| after(received_at, expires)).map(Note::Expired);
    let ahead = input.params.created.and_then(|created| after(created, received_at)).map(Note::CreatedAhead);
    expired.into_iter().chain(ahead).collect()
}

fn signed_string(
    fields: &Fields<'_>,
    inputs: &[Input],
    sha256: &[u8; 32],
    matched: &Match,
    secret: String,
) -> SignedString {
    let body = BodyFacts { bytes: fields.message.body, sha256: *sha256, length: None };
    let drafts = draft::drafts(fields, &body, inputs, Profile::ALL);
    let of_it = |draft: &&Draft| draft.render(&[]) == matched.signed;
    let parts = drafts.iter().find(of_it).map(|draft| draft.slots.as_slice()).unwrap_or_default();
    let parts = parts.iter().map(|slot| SignedPart { component: slot.name.clone(), value: slot.value.clone() });
    SignedString { reading: matched.reading, secret, bytes: matched.signed.clone(), parts: parts.collect() }
}

/// A delivery that is not valid, with what is at hand.
struct Patient<'a> {
    fields: &'a Fields<'a>,
    inputs: &'a [Input],
    sha256: [u8; 32],
    secrets: &'a [KnownSecret<'a>],
    context: &'a Context<'a>,
}

/// A body whose digest is the one that was sent.
struct Restored {
    form: BodyForm,
    bytes: Vec<u8>,
}

impl Patient<'_> {
    fn examine(&self, diagnosis: &mut Diagnosis) {
        let mut plain = self.missing();
        let restored = match diagnosis.digest {
            DigestState::Right | DigestState::Missing => None,
            _ => self.digest(diagnosis, &mut plain),
        };
        self.length(&mut plain);
        self.labels(&mut plain);
        let macs = self.fields.signature.as_ref().map(|field| loose::macs(&field.value)).unwrap_or_default();
        if let Some(reason) = diagnosis.verdict.reason() {
            refused(reason, &mut plain);
        }
        let keys = candidates(self.secrets);
        let mut budget = Budget::default();
        // Where something is wrong already, one change more is searched for; two would be a guess.
        let most = if plain.iter().all(|cause| needed(cause, Profile::Guide).is_none()) { 2 } else { 1 };
        let bytes = self.fields.message.body.len();
        let unknown_length = plain.contains(&Cause::BodyChanged).then(|| bytes.saturating_sub(NEAR)..=bytes + NEAR);
        let signs = (&*keys, &*macs);
        let found = self.search(restored.as_ref(), signs, unknown_length, most, &mut budget);
        diagnosis.work.macs = MAX_MACS - budget.macs;
        let difference = |found: Option<&Found>| match (&restored, found) {
            (Some(body), _) => Difference::between(Compared::Body, self.fields.message.body, &body.bytes),
            (None, Some(found)) => Difference::between(Compared::SignedString, &found.arrived, &found.signed),
            (None, None) => None,
        };
        let difference = difference(found.as_ref());
        if let Some(found) = found {
            let profile = found.reading.profile();
            let mut causes: Vec<_> = plain.iter().filter_map(|cause| needed(cause, profile)).collect();
            // The profile in which it holds may be one that the verifier could not compute.
            if let Some(Reason::SignatureMismatch { blocked, .. }) = diagnosis.verdict.reason() {
                blocked.iter().filter(|(of, _)| *of == profile).for_each(|(_, reason)| refused(reason, &mut causes));
            }
            for cause in found.causes {
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
            if causes.is_empty() {
                causes.extend(diagnosis.verdict.reason().cloned().map(Cause::Refused));
            }
            let (reading, secret) = (Some(found.reading), Some(found.secret));
            diagnosis.findings.push(Finding { causes, certainty: Certainty::Proven, reading, secret, difference });
            return;
        }
        let certainty = if restored.is_some() { Certainty::DigestOnly } else { Certainty::Observed };
        if !plain.is_empty() {
            diagnosis.findings.push(Finding { causes: plain, certainty, reading: None, secret: None, difference });
        }
        let checked = !macs.is_empty() && !keys.is_empty();
        if checked && matches!(diagnosis.verdict, Verdict::Invalid(_)) {
            diagnosis.notes.push(Note::Unexplained);
        }
        if budget.exhausted {
            diagnosis.notes.push(Note::SearchCut);
        }
    }

    fn missing(&self) -> Vec<Cause> {
        let fields = self.fields;
        let there = [&fields.signature, &fields.signature_input, &fields.content_digest].map(Option::is_some);
        let mut names: Vec<_> = SIGNATURE_HEADERS
            .into_iter()
            .zip(there)
            .filter(|(_, there)| !there)
            .map(|(name, _)| name.to_owned())
            .collect();
        if fields.content_type.is_none() && self.inputs.is_empty() {
            names.push("Content-Type".to_owned());
        }
        let covered =
            self.inputs.iter().flat_map(|input| &input.params.components).filter(|name| !name.starts_with('@'));
        for name in covered {
            let there = fields.message.lines(name).next().is_some();
            if !there && !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        // A long list says no more than a short one.
        names.truncate(10);
        if names.is_empty() { Vec::new() } else { vec![Cause::HeadersMissing(names)] }
    }

    /// What is wrong with the digest or the body, and the body that has the digest.
    fn digest(&self, diagnosis: &mut Diagnosis, plain: &mut Vec<Cause>) -> Option<Restored> {
        let body = self.fields.message.body;
        let same = |made: &[u8], sent: &[u8]| match sent.len() {
            64 => bool::from(Sha512::digest(made).ct_eq(sent)),
            _ => bool::from(digest::sha256(made).ct_eq(sent)),
        };
        let sent = self.sent_digests(diagnosis);
        // The body is hashed once, however many digests a header has.
        let sha512 = std::cell::OnceCell::new();
        let is_the_body_s = |sent: &[u8]| match sent.len() {
            64 => bool::from(sha512.get_or_init(|| Sha512::digest(body)).ct_eq(sent)),
            _ => bool::from(self.sha256.ct_eq(sent)),
        };
        if let Some((_, form)) = sent.iter().find(|(bytes, _)| is_the_body_s(bytes)) {
            plain.push(Cause::DigestHeader(*form));
            return None;
        }
        let Some((sent, _)) = sent.first() else {
            plain.push(Cause::DigestUnreadable);
            return None;
        };
        let mut restored = None;
        let _ = bodies::each(body, self.content_length(), |form, made| {
            diagnosis.work.bodies += 1;
            if same(made, sent) {
                restored = Some(Restored { form, bytes: made.to_vec() });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if restored.is_none() && body.len() > MAX_REWRITTEN {
            diagnosis.notes.push(Note::BodyTooLong(body.len()));
        }
        plain.push(restored.as_ref().map_or(Cause::BodyChanged, |restored| Cause::BodyForm(restored.form)));
        restored
    }

    /// The digests that the header may mean; if the header is well written, the one that is not the body's.
    fn sent_digests(&self, diagnosis: &Diagnosis) -> Vec<(Vec<u8>, DigestText)> {
        let Some(field) = &self.fields.content_digest else { return Vec::new() };
        match (digest::check(&field.value, self.fields.message.body, &self.sha256), diagnosis.digest) {
            (Err(Reason::DigestMismatch { sent, .. }), DigestState::Wrong) => vec![(sent, DigestText::Base64)],
            _ => loose::digests(&field.value).into_iter().map(|digest| (digest.bytes, digest.form)).collect(),
        }
    }

    fn content_length(&self) -> Option<usize> {
        let field = self.fields.content_length.as_ref()?;
        std::str::from_utf8(&field.value).ok()?.parse().ok()
    }

    fn length(&self, plain: &mut Vec<Cause>) {
        let body = self.fields.message.body;
        let Err(Reason::LengthMismatch { sent, .. }) =
            verify::check_length(self.fields.content_length.as_ref(), body.len())
        else {
            return;
        };
        // With a body that is not the one that was sent, its length says nothing new.
        if plain.iter().any(|cause| matches!(cause, Cause::BodyChanged | Cause::BodyForm(_))) {
            return;
        }
        let counted = lengths(body, None).into_iter().find(|(_, length)| self.content_length() == Some(*length));
        plain.push(Cause::LengthHeader { sent, counted: counted.map(|(counted, _)| counted) });
    }

    fn labels(&self, plain: &mut Vec<Cause>) {
        let (Some(signature), Some(field)) = (&self.fields.signature, &self.fields.signature_input) else { return };
        let Ok(members) = signature_field::members(&signature.value) else { return };
        let read = Ok(self.inputs.to_vec());
        if !self.inputs.is_empty()
            && !members.iter().any(|member| verify::has_label(&field.value, member.label, || &read))
        {
            plain.push(Cause::LabelMismatch {
                signature: members.iter().map(|member| member.label.to_owned()).collect(),
                input: self.inputs.iter().map(|input| input.label.clone()).collect(),
            });
        }
    }

    fn search(
        &self,
        restored: Option<&Restored>,
        (keys, macs): (&[Candidate], &[Mac]),
        unknown_length: Option<RangeInclusive<usize>>,
        most: usize,
        budget: &mut Budget,
    ) -> Option<Found> {
        let bytes = restored.map_or(self.fields.message.body, |restored| &restored.bytes);
        let sha256 = if restored.is_some() { digest::sha256(bytes) } else { self.sha256 };
        let body = BodyFacts { bytes, sha256, length: None };
        let sent =
            self.fields.content_digest.as_ref().and_then(|field| loose::digests(&field.value).into_iter().next());
        let digest = sent.map_or_else(|| sha256.to_vec(), |sent| sent.bytes);
        let first = self.context.matched_before.map(crate::Reading::profile);
        let mut order = Profile::in_order_for(self.encoding());
        // Stable: the one that matched before comes first, the others stay as they are.
        order.sort_by_key(|profile| first != Some(*profile));
        let mut drafts = draft::drafts(self.fields, &body, self.inputs, order);
        // Where header and body disagree about the length, either may be what was signed, and that is no change of its own.
        let header = self.content_length().filter(|length| *length != bytes.len());
        if header.is_some() {
            for length in [Some(bytes.len()), header] {
                let body = BodyFacts { length, ..body };
                for draft in draft::drafts(self.fields, &body, self.inputs, order) {
                    if !drafts.iter().any(|other| other.label == draft.label && other.render(&[]) == draft.render(&[]))
                    {
                        drafts.push(draft);
                    }
                }
            }
        }
        let source = Source {
            fields: self.fields,
            prefix: self.context.prefix,
            other_targets: self.context.other_targets,
            // What a body that was not signed counts explains nothing.
            lengths: &if unknown_length.is_some() { Vec::new() } else { lengths(bytes, self.content_length()) },
            digest: &digest,
        };
        let before = self.context.matched_before;
        Space { drafts: &drafts, keys, macs, source: &source, unknown_length, before }.search(most, budget)
    }

    fn encoding(&self) -> Encoding {
        let members = self.fields.signature.as_ref().and_then(|field| signature_field::members(&field.value).ok());
        let written = members.and_then(|members| members.iter().find_map(|member| Some(member.mac?.1)));
        written.unwrap_or(Encoding::BareHex)
    }
}

/// What of a cause matters in that profile: neither a missing header that it does not sign, nor Signature-Input where only its label
/// counts.
fn needed(cause: &Cause, profile: Profile) -> Option<Cause> {
    let names = match cause {
        Cause::HeadersMissing(names) => names,
        Cause::UnknownComponent(_) | Cause::Algorithm(_) if profile != Profile::Rfc9421 => return None,
        _ => return Some(cause.clone()),
    };
    let signed: &[&str] = match profile {
        Profile::Guide => &["content-type"],
        Profile::Scribe => &["content-type", "content-length"],
        Profile::Rfc9421 => return Some(cause.clone()),
    };
    let of_profile =
        |name: &&String| SIGNATURE_HEADERS.iter().chain(signed).any(|needed| name.eq_ignore_ascii_case(needed));
    let names: Vec<_> = names.iter().filter(of_profile).cloned().collect();
    (!names.is_empty()).then_some(Cause::HeadersMissing(names))
}

/// What the verifier refuses and nothing before has put into a cause.
fn refused(reason: &Reason, plain: &mut Vec<Cause>) {
    match reason {
        Reason::DuplicateHeader(name) => plain.push(Cause::HeaderTwice(name)),
        Reason::UnknownComponent { name, .. } => plain.push(Cause::UnknownComponent(name.clone())),
        Reason::UnsupportedAlgorithm(name) => plain.push(Cause::Algorithm(name.clone())),
        Reason::UncoveredContentDigest { .. } => plain.push(Cause::DigestNotCovered),
        // What the search explains better, or says itself if it finds nothing wrong.
        Reason::MalformedSignature(_) | Reason::MalformedRequest { .. } => {}
        Reason::MissingHeader(_)
        | Reason::MalformedDigest(_)
        | Reason::UnsupportedDigest(_)
        | Reason::DigestMismatch { .. }
        | Reason::LengthMismatch { .. }
        | Reason::LabelMismatch { .. }
        | Reason::SignatureMismatch { .. } => {}
        Reason::MalformedHeader { .. } | Reason::MalformedSignatureInput(_) => {
            plain.push(Cause::Refused(reason.clone()));
        }
    }
}
