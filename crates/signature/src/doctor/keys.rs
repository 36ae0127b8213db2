//! The keys that a signature may have been made with: the secrets at hand, and each of the right ones used in another way. Owns the
//! wiping of what it derives.

use base64::Engine as _;
use secrecy::zeroize::Zeroizing;

use crate::Secret;
use crate::digest::BASE64;
use crate::doctor::cause::{Cause, SecretForm};
use crate::doctor::loose::{self, BASE64_URL};
use crate::mac::Key;

/// A secret at hand.
#[derive(Clone, Copy, Debug)]
pub struct KnownSecret<'a> {
    /// What to call it in an explanation, such as `tunnel` or `production`. Never the secret itself.
    pub label: &'a str,
    /// The secret.
    pub secret: &'a Secret,
    /// Whether this delivery should be signed with it. The others serve to say "that is the other environment's secret".
    pub expected: bool,
}

/// The most secrets that are looked at.
pub(crate) const MAX_SECRETS: usize = 8;
/// The most keys that are made of one expected secret.
const FORMS: usize = 16;
/// The most keys.
pub(crate) const MAX_KEYS: usize = MAX_SECRETS * (1 + FORMS);

const PREFIX: &str = "whsec_";

/// A key, and what is wrong if it is the right one.
pub(crate) struct Candidate {
    pub(crate) key: Key,
    pub(crate) label: String,
    /// `None` for an expected secret as it is.
    pub(crate) cause: Option<Cause>,
}

/// Expected secrets as they are, then other secrets as they are, then the expected ones in other forms.
pub(crate) fn candidates(secrets: &[KnownSecret<'_>]) -> Vec<Candidate> {
    let secrets = &secrets[..secrets.len().min(MAX_SECRETS)];
    let mut out: Vec<Candidate> = Vec::with_capacity(MAX_KEYS);
    for expected in [true, false] {
        for known in secrets.iter().filter(|known| known.expected == expected) {
            let label = known.label.to_owned();
            let cause = (!expected).then(|| Cause::OtherSecret { label: label.clone() });
            out.push(Candidate { key: Key::new(known.secret.bytes()), label, cause });
        }
    }
    let mut empty = true;
    for known in secrets.iter().filter(|known| known.expected) {
        for (form, bytes) in forms(known.secret) {
            // The key of nothing is the same whatever the secret.
            if form != SecretForm::Empty || std::mem::take(&mut empty) {
                let label = known.label.to_owned();
                let cause = Some(Cause::SecretForm { label: label.clone(), form });
                out.push(Candidate { key: Key::new(&bytes), label, cause });
            }
        }
    }
    out
}

fn forms(secret: &Secret) -> Vec<(SecretForm, Zeroizing<Vec<u8>>)> {
    let Ok(text) = std::str::from_utf8(secret.bytes()) else { return Vec::new() };
    let trimmed = text.trim();
    let bare = trimmed.strip_prefix(PREFIX).unwrap_or(trimmed);
    let unquoted = trimmed.trim_matches(['"', '\'']);
    let mut out: Vec<(SecretForm, Zeroizing<Vec<u8>>)> = Vec::new();
    let mut push = |form, bytes: Zeroizing<Vec<u8>>| {
        if *bytes != text.as_bytes() && out.iter().all(|(_, other)| *other != bytes) && out.len() < FORMS {
            out.push((form, bytes));
        }
    };
    let joined = |parts: &[&str]| Zeroizing::new(parts.concat().into_bytes());
    push(SecretForm::Trimmed, joined(&[trimmed]));
    push(SecretForm::WithoutQuotes, joined(&[unquoted]));
    if bare.len() < trimmed.len() {
        push(SecretForm::WithoutPrefix, joined(&[bare]));
    } else {
        push(SecretForm::WithPrefix, joined(&[PREFIX, trimmed]));
    }
    for text in [bare, trimmed] {
        let decoded = BASE64.decode(text).or_else(|_| BASE64_URL.decode(text));
        if let Some(bytes) = decoded.ok().filter(|bytes| !bytes.is_empty()) {
            push(SecretForm::Base64Decoded, Zeroizing::new(bytes));
        }
        if let Some(bytes) = loose::hex(text) {
            push(SecretForm::HexDecoded, Zeroizing::new(bytes));
        }
    }
    push(SecretForm::WithNewline, joined(&[text, "\n"]));
    push(SecretForm::WithNewline, joined(&[text, "\r\n"]));
    push(SecretForm::WithQuotes, joined(&["\"", text, "\""]));
    push(SecretForm::WithQuotes, joined(&["'", text, "'"]));
    push(SecretForm::Empty, Zeroizing::new(Vec::new()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_once_and_never_the_secret_itself() {
        for text in ["whsec_YWJjZA==", "6162", "\"whsec_x\"\n", "whsec_", " ", "\u{e4}"] {
            let secret = Secret::new(text).unwrap();
            let forms = forms(&secret);
            assert!(forms.iter().all(|(_, bytes)| **bytes != text.as_bytes()), "{text:?}");
            let known = KnownSecret { label: "a", secret: &secret, expected: true };
            assert!(candidates(&[known; 20]).len() <= MAX_KEYS);
        }
        let forms = forms(&Secret::new("whsec_YWJjZA==").unwrap());
        assert!(forms.iter().any(|(form, bytes)| *form == SecretForm::Base64Decoded && ***bytes == b"abcd"[..]));
    }
}
