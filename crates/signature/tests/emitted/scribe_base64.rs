//! Verifies the signature of a Healthie webhook, as scribe:base64:
//! - what is signed is six lines, from "@method" to "content-length"
//! - the signature is an HMAC-SHA256 in base64 between colons
//!
//! Cargo.toml: base64 = "0.23", hmac = "0.13", sha2 = "0.11"
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Whether the signature holds. Whatever is missing, repeated or malformed gives false; answer 401 then.
///
/// - `method`: the request's method, such as `POST`
/// - `target`: path and query of the public URL as they were sent, such as `/hooks/healthie?a=b`, not the shorter path that a nested
///   router or a proxy leaves over (axum: `OriginalUri`)
/// - `headers`: all header lines
/// - `body`: the raw body, before anything parses it
/// - `secret`: the webhook's signing secret, whole
pub fn verify_healthie_webhook(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8], secret: &str) -> bool {
    verified(method, target, headers, body, secret).is_some()
}

fn verified(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8], secret: &str) -> Option<()> {
    let graphic = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let ensure = |holds: bool| holds.then_some(());
    ensure(!secret.is_empty() && !method.is_empty() && graphic(method) && target.starts_with('/') && graphic(target))?;
    let header = |name: &str| {
        let mut lines = headers.iter().filter(|line| line.0.eq_ignore_ascii_case(name));
        let value = lines.next()?.1.trim_matches([' ', '\t']);
        let printable = value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'));
        (lines.next().is_none() && printable).then_some(value)
    };
    let (digest, input, signature) = (header("content-digest")?, header("signature-input")?, header("signature")?);
    let (content_type, length) = (header("content-type")?, header("content-length")?);
    ensure(length == body.len().to_string())?;

    // The digest is the raw body's.
    let (algorithm, value) = digest.split_once('=')?;
    let value = match value.strip_prefix(':') {
        Some(value) => value.strip_suffix(':')?,
        None => value,
    };
    let value = value.strip_suffix('=').unwrap_or(value);
    ensure(algorithm.eq_ignore_ascii_case("sha-256") && value == STANDARD_NO_PAD.encode(Sha256::digest(body)))?;

    // One signature, and Signature-Input has its label.
    let (label, value) = signature.split_once('=')?;
    ensure(!label.is_empty() && input.strip_prefix(label)?.starts_with('='))?;
    let value = value.strip_prefix(':')?.strip_suffix(':')?;
    let sent = STANDARD_NO_PAD.decode(value.strip_suffix('=').unwrap_or(value)).ok()?;

    // The string that was signed.
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mark = if query.is_empty() { "" } else { "?" };
    let signed = [
        format!("\"@method\": {method}"),
        format!("\"@path\": {path}"),
        format!("\"@query\": ?{mark}{query}"),
        format!("\"content-digest\": {digest}"),
        format!("\"content-type\": {content_type}"),
        format!("\"content-length\": {length}"),
    ]
    .join("\n");

    // Compared in constant time.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.chain_update(signed).verify_slice(&sent).ok()
}
