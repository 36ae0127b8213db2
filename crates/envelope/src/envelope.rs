//! Sealing a delivery and opening it again.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use bytes::Bytes;
use tunnel_delivery::{Delivery, DeviceKey, Headers, HttpVersion, address_bytes};
use zeroize::Zeroizing;

use crate::content;
use crate::keys::{KeyRing, wrap};

/// The most recipients of one envelope: as many devices as a tunnel may have.
pub const MAX_RECIPIENTS: usize = 64;

const MAGIC: [u8; 4] = *b"HTE\x01";
const ID: usize = 8;
const ENC: usize = 32;
const TAG: usize = 16;
const KEY: usize = 32;
const STANZA: usize = ID + ENC + KEY + TAG;
/// Magic, version and count.
const FIXED: usize = MAGIC.len() + 1;

/// Why a delivery was not sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is nobody to seal to.
    #[error("there is no key to seal to")]
    NoRecipient,
    /// There are too many to seal to.
    #[error("there are {0} keys to seal to; at most {MAX_RECIPIENTS} are possible")]
    TooManyRecipients(usize),
    /// A recipient's public key is not one.
    #[error("the key {0} cannot be sealed to")]
    BadKey(DeviceKey),
    /// It is sealed already.
    #[error("it is sealed already")]
    Sealed,
    /// The request is over the caps.
    #[error("the request is longer than can be sealed")]
    TooLarge,
    /// The library failed, which it does only without random bytes.
    #[error("sealing failed: {0}")]
    Failed(&'static str),
}

/// Why a delivery was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not sealed.
    #[error("it is not sealed")]
    NotSealed,
    /// Its body is not an envelope.
    #[error("its envelope is damaged: {0}")]
    Malformed(&'static str),
    /// It is of a newer version.
    #[error("its envelope is of version {0}, which this program does not know; update it")]
    TooNew(u8),
    /// None of the keys is a recipient's.
    #[error("it is sealed to other keys ({0}) and to none of this device's")]
    NotForUs(usize),
    /// It, or what stands around it, was changed after it was sealed.
    #[error("it was changed after it was sealed, or sealed for another delivery")]
    Changed,
    /// It opens, and what is inside is not a request.
    #[error("what is sealed in it is not a request: {0}")]
    Content(String),
}

/// The first bytes of SHA-256 of a public key.
fn id_of(key: &DeviceKey) -> [u8; ID] {
    let hash = digest(&SHA256, key.as_bytes());
    let mut id = [0; ID];
    id.copy_from_slice(&hash.as_ref()[..ID]);
    id
}

/// What stays outside, bound to the envelope.
fn context(d: &Delivery) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(b"healthie-tunnel sealed delivery 1\0");
    out.extend_from_slice(d.id.as_bytes());
    out.extend_from_slice(&d.received_at.as_micros().to_be_bytes());
    out.push(d.environment.number());
    let address = address_bytes(d.source_ip);
    // Four or sixteen.
    out.push(u8::try_from(address.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&address);
    let tunnel = d.tunnel.as_str();
    // A name has at most 63 bytes.
    out.push(u8::try_from(tunnel.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(tunnel.as_bytes());
    out
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

/// Zero: a content key encrypts one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// How long the envelope of a delivery is, in bytes, with so many recipients.
pub fn sealed_len(delivery: &Delivery, recipients: usize) -> usize {
    FIXED + recipients * STANZA + content::plain_len(delivery) + TAG
}

/// The delivery with all that is to be inside in an envelope that each of `recipients` can open. A key that is there twice counts once.
///
/// # Errors
/// Any [`SealError`].
pub fn seal(delivery: &Delivery, recipients: &[DeviceKey]) -> Result<Delivery, SealError> {
    if delivery.http_version == HttpVersion::Sealed {
        return Err(SealError::Sealed);
    }
    let mut to = recipients.to_vec();
    to.sort_unstable();
    to.dedup();
    if to.is_empty() {
        return Err(SealError::NoRecipient);
    }
    if to.len() > MAX_RECIPIENTS {
        return Err(SealError::TooManyRecipients(to.len()));
    }
    if !content::fits(delivery) {
        return Err(SealError::TooLarge);
    }
    let mut key = Zeroizing::new([0; KEY]);
    SystemRandom::new().fill(&mut *key).map_err(|_| SealError::Failed("there are no random bytes"))?;
    let context = context(delivery);
    let mut out = Vec::with_capacity(sealed_len(delivery, to.len()));
    out.extend_from_slice(&MAGIC);
    out.push(u8::try_from(to.len()).map_err(|_| SealError::TooManyRecipients(to.len()))?);
    for recipient in &to {
        let id = id_of(recipient);
        let (enc, wrapped) = wrap(recipient, &context, &id, &*key).map_err(|_| SealError::BadKey(*recipient))?;
        if enc.len() != ENC || wrapped.len() != KEY + TAG {
            return Err(SealError::Failed("a wrapped key has an unexpected length"));
        }
        out.extend_from_slice(&id);
        out.extend_from_slice(&enc);
        out.extend_from_slice(&wrapped);
    }
    let begin = out.len();
    let associated = [&context, &out[..]].concat();
    content::write(delivery, &mut out);
    let cipher = cipher(&*key).ok_or(SealError::Failed("a key has an unexpected length"))?;
    // In place: the plain text is overwritten, not copied.
    let tag = cipher
        .seal_in_place_separate_tag(nonce(), Aad::from(associated), &mut out[begin..])
        .map_err(|_| SealError::Failed("the cipher refused it"))?;
    out.extend_from_slice(tag.as_ref());
    Ok(Delivery {
        id: delivery.id,
        received_at: delivery.received_at,
        tunnel: delivery.tunnel.clone(),
        source_ip: delivery.source_ip,
        environment: delivery.environment,
        method: constant("SEALED"),
        target: constant("/"),
        prefix_len: 0,
        http_version: HttpVersion::Sealed,
        headers: Headers::default(),
        body: Bytes::from(out),
        lost: Vec::new(),
    })
}

fn constant<T: std::str::FromStr>(text: &'static str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("{text:?} is a legal constant"))
}

/// The delivery as it was before it was sealed.
///
/// # Errors
/// Any [`OpenError`]; the sealed delivery is untouched.
pub fn open(sealed: &Delivery, keys: &KeyRing) -> Result<Delivery, OpenError> {
    if sealed.http_version != HttpVersion::Sealed {
        return Err(OpenError::NotSealed);
    }
    let envelope = &*sealed.body;
    let (fixed, _) = envelope.split_first_chunk::<FIXED>().ok_or(OpenError::Malformed("it is too short"))?;
    let [m0, m1, m2, version, count] = *fixed;
    if [m0, m1, m2] != MAGIC[..3] {
        return Err(OpenError::Malformed("it does not begin as one"));
    }
    if version != MAGIC[3] {
        return Err(OpenError::TooNew(version));
    }
    let count = usize::from(count);
    if count == 0 || count > MAX_RECIPIENTS {
        return Err(OpenError::Malformed("its number of recipients is not possible"));
    }
    let begin = FIXED + count * STANZA;
    let (before, text) = envelope.split_at_checked(begin).ok_or(OpenError::Malformed("it ends within its keys"))?;
    if text.len() < TAG {
        return Err(OpenError::Malformed("it ends before its content"));
    }
    let context = context(sealed);
    let mut ours = false;
    for pair in keys.pairs() {
        let id = id_of(&pair.public());
        for stanza in before[FIXED..].chunks_exact(STANZA).filter(|stanza| stanza[..ID] == id) {
            ours = true;
            let Some(key) = pair.unwrap(&stanza[ID..ID + ENC], &context, &id, &stanza[ID + ENC..]) else { continue };
            let Some(cipher) = cipher(&key) else { continue };
            let associated = [&context, before].concat();
            let mut text = Zeroizing::new(text.to_vec());
            let Ok(plain) = cipher.open_in_place(nonce(), Aad::from(associated), &mut text) else { continue };
            return content::read(plain, sealed.clone()).map_err(OpenError::Content);
        }
    }
    Err(if ours { OpenError::Changed } else { OpenError::NotForUs(count) })
}

#[cfg(test)]
mod tests;
