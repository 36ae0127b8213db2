//! Lines of a list, made from what the agent has in hand instead of read back from the archive.

use tunnel_delivery::{Answer, AnswerClass, Attempt, Cause, Delivery, DeliveryId, Event, Stored, Summary, Verdict};

/// The characters of a text that a summary has; the archive's summaries have as many.
const MOST: usize = 200;

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => text[..end].to_owned(),
    }
}

/// A delivery that has just been stored.
pub(crate) fn of_new(
    d: &Delivery,
    event: Option<&Event>,
    verdict: &Verdict,
    duplicate_of: Option<DeliveryId>,
    due: bool,
) -> Summary {
    Summary {
        id: d.id,
        received_at: d.received_at,
        tunnel: d.tunnel.clone(),
        environment: d.environment,
        method: d.method.as_str().to_owned(),
        target: cut(d.target.as_str()),
        event_type: event.map(|e| cut(&e.event_type)),
        resource_id_type: event.and_then(|e| e.resource_id_type.as_deref()).map(cut),
        resource_id: event.and_then(|e| e.resource_id.as_deref()).map(cut),
        signature: verdict.status,
        profile: verdict.profile.clone(),
        body_len: d.body.len() as u64,
        duplicate_of,
        repeats: 0,
        pinned: false,
        attempts: 0,
        answer: Answer {
            class: if due { AnswerClass::Queued } else { AnswerClass::None },
            status: None,
            duration_us: 0,
        },
    }
}

/// The summary after one more attempt, by the archive's rule: what waits to be forwarded waits on, whatever was tried elsewhere meanwhile.
pub(crate) fn after(mut summary: Summary, attempt: &Attempt) -> Summary {
    summary.attempts += 1;
    summary.answer = Answer {
        class: match (summary.answer.class, attempt.cause) {
            (AnswerClass::Queued, Cause::Replay) => AnswerClass::Queued,
            _ => AnswerClass::of(attempt),
        },
        status: attempt.status,
        duration_us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
    };
    summary
}

/// The summary of a delivery that was read from the archive.
pub(crate) fn of_stored(s: &Stored) -> Summary {
    let new = of_new(&s.delivery, s.event.as_ref(), &s.signature, s.duplicate_of.as_ref().map(|d| d.id), false);
    s.attempts
        .iter()
        .fold(Summary { pinned: s.pinned, repeats: u32::try_from(s.repeats.len()).unwrap_or(u32::MAX), ..new }, after)
}

/// What looks like a repeat of an earlier delivery, and what came several times, in at most two characters.
pub(crate) fn repeat_mark(s: &Summary) -> String {
    match (s.duplicate_of, s.repeats) {
        (Some(_), _) => "↻".to_owned(),
        (None, 0) => String::new(),
        (None, n @ 1..=8) => format!("×{}", n + 1),
        (None, _) => "×…".to_owned(),
    }
}
