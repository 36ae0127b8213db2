//! A door for fuzzing: the headers' readings, which are otherwise this crate's own. Nothing but the package in fuzz/ goes through it, and it
//! promises nothing to anybody.

use crate::{input, signature_field};

/// What Signature-Input says: each label and its member as RFC 9651 writes it; `None` where it is refused.
pub fn inputs(field: &[u8]) -> Option<Vec<(String, String, Vec<String>)>> {
    let read = input::inputs(field).ok()?;
    Some(read.into_iter().map(|input| (input.label, input.serialized, input.params.components)).collect())
}

/// What Signature says: each label and its MAC where it is one; `None` where it is refused.
pub fn signatures(field: &[u8]) -> Option<Vec<(String, Option<[u8; 32]>)>> {
    let read = signature_field::members(field).ok()?;
    Some(read.into_iter().map(|member| (member.label.to_owned(), member.mac.map(|(mac, _)| mac))).collect())
}
