//! A signed request, and the ways to make it wrong: what `trigger --tamper` sends and what the cases of `check` are made of.
//!
//! Owns which header or byte is changed. Signing itself is `tunnel_signature`'s; sending is `forward`'s. Pure.

use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tunnel_delivery::Headers;
use tunnel_signature::{Error, Reading, Request, Secret};

use crate::forward::Outgoing;

/// The headers that a signature is made of.
pub const OF_THE_SIGNATURE: [&str; 3] = ["Content-Digest", "Signature-Input", "Signature"];

/// What every delivery is (facts of all of Healthie's documents).
const JSON: &str = "application/json";

/// A secret that is not the developer's: what an attacker who knows everything else would use.
const NOT_THE_SECRET: &str = "whsec_not_the_secret_of_this_webhook";

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// How it is signed.
    pub reading: Reading,
    /// With what.
    pub secret: &'a Secret,
    /// The method.
    pub method: &'a str,
    /// The Host line.
    pub host: &'a str,
    /// The request target that is signed: that of the URL registered with Healthie.
    pub signed: &'a str,
    /// The request target that is sent.
    pub sent: &'a str,
    /// The body.
    pub body: Bytes,
}

impl Draft<'_> {
    /// The request, signed as the draft says.
    ///
    /// # Errors
    /// It has parts that the reading cannot sign.
    pub fn sign(&self) -> Result<Outgoing, Error> {
        let request = Request { method: self.method, target: self.signed, content_type: JSON, body: &self.body };
        let mut headers = Headers::default();
        headers.push("Host", self.host.to_owned());
        for (name, value) in tunnel_signature::sign(self.reading, self.secret, &request)?.lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        Ok(Outgoing {
            method: self.method.to_owned(),
            target: self.sent.to_owned(),
            headers,
            body: self.body.clone(),
            resigned: false,
            marks: None,
        })
    }

    /// The request with one thing changed after it was signed.
    ///
    /// # Errors
    /// As [`Draft::sign`].
    pub fn tampered(&self, how: Tamper) -> Result<Outgoing, Error> {
        let mut out = match how {
            Tamper::Path => {
                let elsewhere = format!("/elsewhere{}", self.signed);
                return Draft { signed: &elsewhere, ..self.clone() }.sign();
            }
            _ => self.sign()?,
        };
        match how {
            Tamper::Path => {}
            Tamper::Body => set_body(&mut out, one_byte_changed(&self.body)),
            Tamper::Digest => {
                let other = Draft { body: one_byte_changed(&self.body), ..self.clone() }.sign()?;
                copy(&mut out, &other, "Content-Digest");
            }
            Tamper::Signature => {
                if let Some(line) = out.headers.0.iter_mut().find(|l| l.is("signature")) {
                    line.value = Bytes::from(signature_changed(&line.value));
                }
            }
            Tamper::Headers => set(&mut out, "Content-Type", "application/json; tampered=yes"),
        }
        Ok(out)
    }

    /// Body and digest changed together: what is refused only by whoever checks the signature itself.
    ///
    /// # Errors
    /// As [`Draft::sign`].
    pub fn sealed_again(&self) -> Result<Outgoing, Error> {
        let mut out = Draft { body: one_byte_changed(&self.body), ..self.clone() }.sign()?;
        copy(&mut out, &self.sign()?, "Signature");
        Ok(out)
    }

    /// Signed with a secret that is nobody's.
    ///
    /// # Errors
    /// As [`Draft::sign`].
    pub fn with_wrong_secret(&self) -> Result<Outgoing, Error> {
        Draft { secret: &Secret::new(NOT_THE_SECRET)?, ..self.clone() }.sign()
    }
}

/// What is changed after signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tamper {
    /// One byte of the body.
    Body,
    /// Content-Digest, which becomes another body's.
    Digest,
    /// One character of the MAC.
    Signature,
    /// The path: it is signed for another than it is sent to.
    Path,
    /// Content-Type, which all readings sign.
    Headers,
}

impl FromStr for Tamper {
    type Err = String;

    fn from_str(s: &str) -> Result<Tamper, String> {
        match s {
            "body" => Ok(Tamper::Body),
            "digest" => Ok(Tamper::Digest),
            "signature" => Ok(Tamper::Signature),
            "path" => Ok(Tamper::Path),
            "headers" => Ok(Tamper::Headers),
            _ => Err("write body, digest, signature, path or headers".into()),
        }
    }
}

/// Gives the request another body; its Content-Length is that body's, so that only the signature can tell.
pub fn set_body(out: &mut Outgoing, body: Bytes) {
    set(out, "Content-Length", &body.len().to_string());
    out.body = body;
}

/// Gives a header another value; one that is not there stays away.
pub fn set(out: &mut Outgoing, name: &str, value: &str) {
    for line in out.headers.0.iter_mut().filter(|l| l.is(name)) {
        line.value = Bytes::from(value.to_owned());
    }
}

/// Takes headers away.
pub fn without(out: &mut Outgoing, names: &[&str]) {
    out.headers.0.retain(|line| !names.iter().any(|name| line.is(name)));
}

/// Puts another request's value of a header in the place of this one's.
pub fn copy(out: &mut Outgoing, from: &Outgoing, name: &str) {
    if let (Some(line), Some(value)) = (out.headers.0.iter_mut().find(|l| l.is(name)), from.headers.get(name)) {
        line.value = Bytes::copy_from_slice(value);
    }
}

/// The body with one byte changed. The last digit becomes another, so that JSON stays JSON with the same length; where there is none, the
/// last byte is changed, and an empty body gets one.
pub fn one_byte_changed(body: &[u8]) -> Bytes {
    let mut changed = body.to_vec();
    match changed.iter_mut().rev().find(|b| b.is_ascii_digit()) {
        Some(digit) => *digit = if *digit == b'9' { b'8' } else { *digit + 1 },
        None => match changed.last_mut() {
            Some(last) => *last ^= 1,
            None => changed.push(b' '),
        },
    }
    changed.into()
}

/// The Signature header with the first character of its MAC changed, in the same alphabet.
fn signature_changed(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let begin = value.iter().position(|b| *b == b'=').map_or(0, |at| at + 1);
    if let Some(first) = value[begin..].iter_mut().find(|b| b.is_ascii_alphanumeric()) {
        *first = if *first == b'a' { b'b' } else { b'a' };
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tunnel_signature::{Message, Verifier};

    fn draft(reading: Reading, secret: &Secret) -> Draft<'_> {
        let body = Bytes::from_static(br#"{"resource_id":"19","event_type":"task.created"}"#);
        Draft { reading, secret, method: "POST", host: "h", signed: "/a?b=1", sent: "/a?b=1", body }
    }

    fn valid(out: &Outgoing, secret: &Secret) -> bool {
        let lines: Vec<(&[u8], &[u8])> = out.headers.iter().map(|l| (&*l.name, &*l.value)).collect();
        let message = Message { method: &out.method, target: &out.target, headers: &lines, body: &out.body };
        Verifier::new(std::slice::from_ref(secret)).verify(&message).is_valid()
    }

    #[test]
    fn what_is_signed_holds_and_nothing_that_was_tampered_with_does() {
        let secret = Secret::new("whsec_x").unwrap();
        for reading in Reading::all() {
            let draft = draft(reading, &secret);
            assert!(valid(&draft.sign().unwrap(), &secret), "{reading}");
            for how in [Tamper::Body, Tamper::Digest, Tamper::Signature, Tamper::Path, Tamper::Headers] {
                let out = draft.tampered(how).unwrap();
                assert!(!valid(&out, &secret), "{reading} {how:?}");
                assert_eq!(out.headers.get("content-length"), Some(out.body.len().to_string().as_bytes()));
            }
            for out in [draft.sealed_again().unwrap(), draft.with_wrong_secret().unwrap()] {
                assert!(!valid(&out, &secret), "{reading}");
            }
        }
    }

    #[test]
    fn one_thing_is_changed_and_the_rest_is_as_it_was() {
        let secret = Secret::new("whsec_x").unwrap();
        let draft = draft(Reading::plain(tunnel_signature::Profile::Guide), &secret);
        let whole = draft.sign().unwrap();
        let differing = |other: &Outgoing| -> Vec<String> {
            let lines = whole.headers.iter().zip(other.headers.iter()).filter(|(a, b)| a != b);
            lines.map(|(a, _)| String::from_utf8_lossy(&a.name).into_owned()).collect()
        };
        let body = draft.tampered(Tamper::Body).unwrap();
        assert!(differing(&body).is_empty() && body.body.len() == whole.body.len() && body.body != whole.body);
        assert_eq!(differing(&draft.tampered(Tamper::Digest).unwrap()), ["Content-Digest"]);
        assert_eq!(differing(&draft.tampered(Tamper::Signature).unwrap()), ["Signature"]);
        assert_eq!(differing(&draft.tampered(Tamper::Headers).unwrap()), ["Content-Type"]);
        assert_eq!(differing(&draft.sealed_again().unwrap()), ["Content-Digest"]);
        let mut bare = whole.clone();
        without(&mut bare, &OF_THE_SIGNATURE);
        assert_eq!(bare.headers.0.len(), 3);
    }

    proptest! {
        #[test]
        fn a_byte_is_always_changed(body: Vec<u8>) {
            let changed = one_byte_changed(&body);
            prop_assert_ne!(&changed[..], &body[..]);
            prop_assert!(body.is_empty() || changed.len() == body.len());
        }
    }
}
