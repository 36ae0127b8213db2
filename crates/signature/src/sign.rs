//! Making signatures: the five headers of a new request, and a signature made again for another target.

use base64::Engine as _;

use crate::base::{self, Fields};
use crate::mac::Key;
use crate::signature_field::{encode, members};
use crate::{Error, Match, Message, Profile, Reading, Secret, Verifier, digest};

/// A request to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, usually `POST`.
    pub method: &'a str,
    /// The request target as it will be sent, `/path` or `/path?query`.
    pub target: &'a str,
    /// The body's type, usually `application/json`.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The headers that make a request a signed delivery; [`SignedHeaders::lines`] has them with their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    /// Content-Type, as given.
    pub content_type: String,
    /// Content-Length, the body's in bytes.
    pub content_length: String,
    /// Content-Digest, as the profile writes it.
    pub content_digest: String,
    /// Signature-Input; the same in all profiles.
    pub signature_input: String,
    /// Signature, as the reading writes it.
    pub signature: String,
}

impl SignedHeaders {
    /// Names and values in the order in which they are to be sent.
    pub fn lines(&self) -> [(&'static str, &str); 5] {
        [
            ("Content-Type", &self.content_type),
            ("Content-Length", &self.content_length),
            ("Content-Digest", &self.content_digest),
            ("Signature-Input", &self.signature_input),
            ("Signature", &self.signature),
        ]
    }
}

/// The value of Signature-Input, with the components that Healthie's documents name.
const SIGNATURE_INPUT: &str = r#"sig1=("@method" "@path" "@query" "content-digest" "content-type" "content-length")"#;

/// Signs a request in that reading.
///
/// # Errors
/// [`Error::CannotSign`] if the request has parts that the reading cannot sign, such as a target with blanks.
pub fn sign(reading: Reading, secret: &Secret, request: &Request<'_>) -> Result<SignedHeaders, Error> {
    let sha256 = digest::BASE64.encode(digest::sha256(request.body));
    let mut headers = SignedHeaders {
        content_type: request.content_type.to_owned(),
        content_length: request.body.len().to_string(),
        content_digest: match reading.profile() {
            Profile::Guide => format!("SHA-256={sha256}"),
            Profile::Scribe | Profile::Rfc9421 => format!("sha-256=:{sha256}:"),
        },
        signature_input: SIGNATURE_INPUT.to_owned(),
        signature: String::new(),
    };
    let lines = headers.lines().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let message = Message { method: request.method, target: request.target, headers: &lines, body: request.body };
    let signed = base::base_string(reading, &message).map_err(Error::CannotSign)?;
    headers.signature = encode("sig1", &Key::new(secret.bytes()).mac(&signed), reading.encoding());
    Ok(headers)
}

/// A Signature header line to put in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSignature {
    /// The index of the line in the message's headers.
    pub line: usize,
    /// The line's new value. Other signatures on the same line are as they were.
    pub value: String,
}

impl Verifier {
    /// Makes the signature that was matched again, in the same reading, with the same secret and in the same form, as if the message
    /// had been sent to another target. All other headers, Signature-Input included, stay as they are.
    ///
    /// # Errors
    /// [`Error::ForeignMatch`] if the match is not of this verifier and message; [`Error::CannotSign`] if the new target cannot be
    /// signed.
    pub fn resign(&self, message: &Message<'_>, matched: &Match, target: &str) -> Result<NewSignature, Error> {
        let key = self.key(matched.secret_index).ok_or(Error::ForeignMatch)?;
        let moved = Message { target, ..*message };
        let signed = base::labelled(matched.reading, &Fields::of(&moved), Some(&matched.label));
        let mac = key.mac(&signed.map_err(Error::CannotSign)?);
        let lines = message.headers.iter().enumerate().filter(|(_, (name, _))| name.eq_ignore_ascii_case(b"signature"));
        for (line, (_, value)) in lines {
            let members = members(value.trim_ascii()).map_err(Error::CannotSign)?;
            if members.iter().any(|member| member.label == matched.label) {
                let texts = members.iter().map(|member| match member.label == matched.label {
                    true => encode(member.label, &mac, matched.reading.encoding()),
                    false => member.text.to_owned(),
                });
                return Ok(NewSignature { line, value: texts.collect::<Vec<_>>().join(", ") });
            }
        }
        Err(Error::ForeignMatch)
    }
}
