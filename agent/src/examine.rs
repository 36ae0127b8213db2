//! A signature examined: what the doctor says of a request, in the form in which it is printed and travels between processes. Pure.

use serde::{Deserialize, Serialize};
use tunnel_delivery::{DeliveryId, SignatureStatus};
use tunnel_signature::doctor::{
    self, Certainty, Compared, Diagnosis, DigestState, KnownSecret, Note, SignedString, visible,
};
use tunnel_signature::{Message, Reading, Verdict};

use crate::habit::{Habit, holding};
use crate::request_text::{Form, Written};
use crate::safe_text::bytes_as_text;

/// What is known around a request.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What the relay puts before the path, such as `/t/NAME`.
    pub prefix: Option<String>,
    /// Targets of other deliveries, likeliest first.
    pub other_targets: Vec<String>,
    /// How the deliveries before it were signed.
    pub habit: Habit,
}

/// A checked signature with everything that can be said about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// Which delivery, where it is one.
    pub id: Option<DeliveryId>,
    /// What it was read from.
    pub source: Form,
    /// `valid`, `invalid`, `unsigned`, `no-secret`.
    pub status: SignatureStatus,
    /// The profile that matched.
    pub profile: Option<String>,
    /// Which variant of it.
    pub variant: Option<String>,
    /// The label in Signature-Input.
    pub label: Option<String>,
    /// What the secret is called with which it is signed.
    pub secret: Option<String>,
    /// Why it is not valid.
    pub reason: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// `missing`, `right`, `wrong` or `unreadable`: Content-Digest beside the body.
    pub digest: String,
    /// The exact string that was signed.
    pub signed: Option<Signed>,
    /// What would make it valid, likeliest first.
    pub findings: Vec<Finding>,
    /// Where what arrived first differs from what was signed: the first finding's.
    pub difference: Option<Difference>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The readings that this one and the earlier ones of the tunnel cannot tell apart, plainest first; none where it is not valid.
    pub readings: Vec<String>,
    /// What was stored when the delivery came.
    pub stored: Option<SignatureStatus>,
}

/// A string that was signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// The string; what is not UTF-8 in it stands as `\xff`.
    pub text: String,
    /// Its length in bytes.
    pub len: usize,
    /// Its lines with blanks made visible.
    pub lines: Vec<String>,
    /// Its parts.
    pub parts: Vec<SignedPart>,
}

/// A part of a signed string.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedPart {
    /// What it is: `@method`, `content-digest`, …
    pub component: String,
    /// Its value, with blanks made visible.
    pub value: String,
}

/// One explanation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// One sentence: what is wrong and what to do.
    pub sentence: String,
    /// The causes' short names.
    pub causes: Vec<String>,
    /// `proven`, `digest-only` or `observed`.
    pub certainty: String,
    /// The same in words.
    pub certainty_means: String,
    /// The reading in which it holds with that change.
    pub reading: Option<String>,
    /// The secret with which it does.
    pub secret: Option<String>,
    /// Where the two sides first differ.
    pub difference: Option<Difference>,
}

/// Where two strings first differ; blanks and controls in it are visible.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// `signed-string` or `body`.
    pub of: String,
    /// How many bytes before it are the same.
    pub at: usize,
    /// The last of those.
    pub before: String,
    /// What arrived there.
    pub arrived: String,
    /// What was signed, or hashed, there.
    pub signed: String,
}

/// Examines a request with the secrets at hand.
pub fn examine(request: &Written, secrets: &[KnownSecret<'_>], around: &Surroundings) -> Explained {
    let headers: Vec<(&[u8], &[u8])> = request.headers.iter().map(|l| (&*l.name, &*l.value)).collect();
    let message = Message { method: &request.method, target: &request.target, headers: &headers, body: &request.body };
    let other_targets: Vec<&str> = around.other_targets.iter().map(String::as_str).collect();
    let context = doctor::Context {
        prefix: around.prefix.as_deref(),
        other_targets: &other_targets,
        matched_before: around.habit.readings().first().copied(),
        received_at: request.origin.as_ref().map(|o| o.received_at.as_micros().div_euclid(1_000_000)),
    };
    let diagnosis = doctor::diagnose(&message, secrets, &context);
    let mut notes: Vec<String> = Vec::new();
    let mut readings = Vec::new();
    if let Some(matched) = diagnosis.verdict.matched() {
        let held = holding(&message, matched.reading);
        let mut habit = around.habit.clone();
        // What an ASCII body cannot tell apart is no change; the doctor knows one reading only.
        let before = habit.see(&held).map(|before| Note::OtherReading { before, now: matched.reading });
        notes.extend(before.map(|note| note.to_string()));
        readings = habit.readings().iter().map(Reading::to_string).collect();
    }
    let others = diagnosis.notes.iter().filter(|note| !matches!(note, Note::OtherReading { .. }));
    notes.extend(others.map(ToString::to_string));
    told(request, &diagnosis, notes, readings)
}

fn told(request: &Written, diagnosis: &Diagnosis, notes: Vec<String>, readings: Vec<String>) -> Explained {
    let verdict = &diagnosis.verdict;
    let matched = verdict.matched();
    let findings: Vec<Finding> = diagnosis.findings.iter().map(finding).collect();
    Explained {
        id: request.origin.as_ref().map(|o| o.id),
        source: request.form,
        status: match verdict {
            Verdict::Valid(_) => SignatureStatus::Valid,
            Verdict::Invalid(_) => SignatureStatus::Invalid,
            Verdict::Unsigned => SignatureStatus::Unsigned,
            Verdict::NoSecret { .. } => SignatureStatus::NoSecret,
        },
        profile: matched.map(|m| m.reading.profile().to_string()),
        variant: matched.and_then(|m| m.reading.variant().name()),
        label: matched.map(|m| m.label.clone()),
        secret: diagnosis.signed.as_ref().map(|s| s.secret.clone()),
        reason: verdict.reason().map(ToString::to_string),
        hint: matched.is_none().then(|| diagnosis.sentence()),
        digest: match diagnosis.digest {
            DigestState::Missing => "missing",
            DigestState::Right => "right",
            DigestState::Wrong => "wrong",
            DigestState::Unreadable => "unreadable",
        }
        .to_owned(),
        signed: diagnosis.signed.as_ref().map(signed),
        difference: findings.first().and_then(|f| f.difference.clone()),
        findings,
        notes,
        readings,
        stored: None,
    }
}

fn signed(signed: &SignedString) -> Signed {
    let parts = signed.parts.iter().map(|p| SignedPart { component: p.component.clone(), value: p.visible() });
    Signed {
        text: bytes_as_text(&signed.bytes),
        len: signed.bytes.len(),
        lines: signed.bytes.split(|b| *b == b'\n').map(visible).collect(),
        parts: parts.collect(),
    }
}

fn finding(finding: &doctor::Finding) -> Finding {
    let difference = finding.difference.as_ref().map(|d| Difference {
        of: match d.of {
            Compared::SignedString => "signed-string",
            Compared::Body => "body",
        }
        .to_owned(),
        at: d.at,
        before: d.before.clone(),
        arrived: d.arrived.clone(),
        signed: d.signed.clone(),
    });
    Finding {
        sentence: finding.to_string(),
        causes: finding.causes.iter().map(|c| c.code().to_owned()).collect(),
        certainty: match finding.certainty {
            Certainty::Proven => "proven",
            Certainty::DigestOnly => "digest-only",
            Certainty::Observed => "observed",
        }
        .to_owned(),
        certainty_means: finding.certainty.to_string(),
        reading: finding.reading.map(|r| r.to_string()),
        secret: finding.secret.clone(),
        difference,
    }
}
