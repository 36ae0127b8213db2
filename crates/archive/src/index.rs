//! Which index entries a delivery has: the one list that storing, removing and checking go by. The fingerprint is not among them, because it
//! needs the request and not only the summary (`ledger`).

use tunnel_delivery::{AnswerClass, DeliveryId, SignatureStatus, Summary};

use crate::keys;

/// An index entry: the postings it belongs to, and itself.
pub(crate) type Posting = (Vec<u8>, Vec<u8>);

/// All entries of a delivery.
pub(crate) fn of(s: &Summary) -> Vec<Posting> {
    let id = s.id.as_bytes().to_vec();
    let mut all = Vec::with_capacity(8);
    let mut add = |prefix: Vec<u8>| all.push((prefix, id.clone()));
    if let Some(event) = &s.event_type {
        add(keys::event(event));
    }
    if let Some(resource_type) = &s.resource_id_type {
        add(keys::resource_type(resource_type));
    }
    add(signature(s.signature));
    add(answer(s.answer.class));
    if let Some(resource_id) = &s.resource_id {
        let entry = [&keys::hash(&[resource_id.as_bytes()])[..], &id].concat();
        all.push((keys::RESOURCE_ID.to_vec(), entry));
    }
    all.extend(since_format_2(s));
    all
}

/// Those that format 1 did not have.
pub(crate) fn since_format_2(s: &Summary) -> Vec<Posting> {
    let id = s.id.as_bytes().to_vec();
    let mut all = vec![(keys::tunnel(s.tunnel.as_str()), id.clone())];
    if let Some(first) = s.duplicate_of {
        all.push((keys::REPEATS.to_vec(), repeat(first, s.id)));
        all.push((keys::DUPLICATES.to_vec(), id));
    }
    all
}

/// The entry of a repeat among [`keys::REPEATS`].
pub(crate) fn repeat(first: DeliveryId, id: DeliveryId) -> Vec<u8> {
    [&first.as_bytes()[..], id.as_bytes()].concat()
}

/// Postings of a signature status.
pub(crate) fn signature(status: SignatureStatus) -> Vec<u8> {
    // Codes are small numbers of our own.
    keys::signature(u8::try_from(crate::codes::signature::code(status)).unwrap_or(u8::MAX))
}

/// Postings of an answer class.
pub(crate) fn answer(class: AnswerClass) -> Vec<u8> {
    keys::answer(u8::try_from(crate::codes::class::code(class)).unwrap_or(u8::MAX))
}
