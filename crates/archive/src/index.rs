//! Which index entries a delivery has: the one list that storing, removing and checking go by. The fingerprint is not among them, because it
//! needs the request and not only the summary (`ledger`). Two indexes begin with a hash; where the archive has a key, a MAC stands in its place (`veil`).

use tunnel_delivery::{AnswerClass, DeliveryId, SignatureStatus, Summary};

use crate::keys;
use crate::query::cut;
use crate::veil::{Hashed, Veil};

/// An index entry: the postings it belongs to, and itself.
pub(crate) type Posting = (Vec<u8>, Vec<u8>);

/// All entries of a delivery, as they are written now.
pub(crate) fn of(s: &Summary, veil: &Veil) -> Vec<Posting> {
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
        all.extend(hashed(veil, &keys::RESOURCE_ID, resource(resource_id), s.id).into_iter().next());
    }
    all.extend(since_format_2(s));
    all
}

/// The form that an entry of [`of`] had where it was written before a key came or went, if it can have another one.
pub(crate) fn other_form(s: &Summary, veil: &Veil) -> Option<Posting> {
    let hash = resource(s.resource_id.as_deref()?);
    hashed(veil, &keys::RESOURCE_ID, hash, s.id).into_iter().nth(1)
}

/// The entry of a delivery in an index that begins with a hash, in every form that it may have; the one that is written now first.
pub(crate) fn hashed(veil: &Veil, index: &Hashed, hash: [u8; 8], id: DeliveryId) -> Vec<Posting> {
    let entry = |(prefix, hash): (&[u8], [u8; 8])| (prefix.to_vec(), [&hash[..], id.as_bytes()].concat());
    veil.forms(index, hash).into_iter().map(entry).collect()
}

/// What a resource id is looked up by.
pub(crate) fn resource(resource_id: &str) -> [u8; 8] {
    keys::hash(&[cut(resource_id).as_bytes()])
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
