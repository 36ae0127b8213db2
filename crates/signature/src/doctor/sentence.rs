//! Causes, certainties and notes in words: what is wrong and what to do about it, one plain sentence each. Owns no logic.

use std::fmt;

use crate::doctor::cause::{
    BodyForm, Cause, Counted, DigestText, Percent, QueryText, SecretForm, SignatureForm, Signed, TypeText,
};
use crate::doctor::json::{Escapes, Layout, Style};
use crate::doctor::{Certainty, Diagnosis, Finding, MAX_REWRITTEN, Note};
use crate::reason::{Quoted, list};
use crate::{Reason, Verdict};

impl fmt::Display for Cause {
    /// What is wrong and what to do, without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::HeadersMissing(names) => {
                f.write_str("these headers are missing: ")?;
                list(f, names)?;
                f.write_str("; send them, or find the proxy or test client that drops them")
            }
            Cause::HeaderTwice(name) => {
                write!(f, "the header {name} came more than once; send it once, or stop the proxy that adds its own")
            }
            Cause::LabelMismatch { signature, input } => {
                f.write_str("Signature has the label ")?;
                list(f, signature)?;
                f.write_str(" and Signature-Input has ")?;
                list(f, input)?;
                f.write_str("; use one label in both")
            }
            Cause::UnknownComponent(name) => write!(
                f,
                "Signature-Input covers {}, which cannot be rebuilt from a request as it arrives; sign without it",
                Quoted(name)
            ),
            Cause::Algorithm(name) => {
                write!(f, "Signature-Input names the algorithm {}; sign with hmac-sha256 and say so", Quoted(name))
            }
            Cause::DigestNotCovered => f.write_str(
                "the signature does not cover content-digest, so anyone could change the body; sign content-digest too",
            ),
            Cause::Refused(reason) => refused(f, reason),
            Cause::BodyChanged => f.write_str(
                "the body is not the one that was hashed, and no usual way of writing it again gives it back; verify the raw bytes \
                 before anything parses or changes them, and look for what edits the body on the way",
            ),
            Cause::BodyForm(form) => body_form(f, *form),
            Cause::DigestHeader(form) => write!(
                f,
                "Content-Digest has the body's hash, but {}; write it as SHA-256=<base64> or sha-256=:<base64>:",
                digest_text(*form)
            ),
            Cause::DigestUnreadable => f.write_str(
                "Content-Digest holds no hash that can be read; write the body's SHA-256 as SHA-256=<base64> or sha-256=:<base64>:",
            ),
            Cause::LengthHeader { sent, counted: Some(counted) } => write!(
                f,
                "Content-Length is {} because it counts {}; count the bytes of the body as it is sent",
                Quoted(sent),
                counts(*counted)
            ),
            Cause::LengthHeader { sent, counted: None } => write!(
                f,
                "Content-Length is {}, which is not the body's length; send the length in bytes, and look for what cut or extended the body",
                Quoted(sent)
            ),
            Cause::PathPrefix { prefix, signed: Signed::Without } => write!(
                f,
                "the path was signed without the relay's {}; sign the path of the whole public URL, or use the address that has the \
                 tunnel in its host name",
                Quoted(prefix)
            ),
            Cause::PathPrefix { prefix, signed: Signed::With } => write!(
                f,
                "the path was signed with the relay's {} before it; verify with that path, not with the one the handler sees",
                Quoted(prefix)
            ),
            Cause::LeadingSegments(dropped) => write!(
                f,
                "the path was signed without {} before it; sign and verify the path of the URL that is registered with Healthie, not \
                 the one below a mount point",
                Quoted(dropped)
            ),
            Cause::TrailingSlash(Signed::With) => f.write_str(
                "the path was signed with a slash at its end and arrived without one; register the URL exactly as it is served, and \
                 stop whatever drops the slash",
            ),
            Cause::TrailingSlash(Signed::Without) => f.write_str(
                "the path was signed without the slash at its end that it arrived with; register the URL exactly as it is served, and \
                 stop whatever adds the slash",
            ),
            Cause::OtherTarget(target) => write!(
                f,
                "it was signed for {}, the target of another delivery; send it there, or sign it for this one",
                Quoted(target)
            ),
            Cause::AbsoluteUrl(Signed::With) => {
                f.write_str("a whole URL was signed in the place of the path; sign only what follows the host")
            }
            Cause::AbsoluteUrl(Signed::Without) => {
                f.write_str("a whole URL was taken for the target; verify with only what follows the host")
            }
            Cause::Query(form) => f.write_str(match form {
                QueryText::Dropped => {
                    "the query was not signed; sign it as it is sent, or find what adds a query to the URL on the way"
                }
                QueryText::NoMark => "the query was signed without a ? before it; put the ? there as the document has it",
                QueryText::OneMark => "the query was signed with one ? before it; write it as the document has it",
                QueryText::TwoMarks => "the query was signed with two ? before it; put only one there",
                QueryText::PlaceOmitted => {
                    "the place of the empty query was left out of the signed string; keep its place, empty"
                }
                QueryText::InPath => "the query was signed as part of the path; split the target at its first ?",
            }),
            Cause::Percent(Percent::Decoded) => f.write_str(
                "the target was signed with its %-escapes decoded; sign and verify it as it stands in the request line",
            ),
            Cause::Percent(Percent::Encoded) => f.write_str(
                "the target was signed with %-escapes that it arrived without; sign and verify it as it stands in the request line",
            ),
            Cause::DigestPart(form) => write!(
                f,
                "in the signed string the digest is not as the document has it: {}; copy it from Content-Digest as described there",
                digest_text(*form)
            ),
            Cause::LengthPart(Counted::Missing) => {
                f.write_str("the signed string has no content length; put the body's length in bytes there")
            }
            Cause::LengthPart(counted) => write!(
                f,
                "the content length in the signed string counts {}; use the number of bytes of the raw body",
                counts(*counted)
            ),
            Cause::ContentType(TypeText::WithoutCharset) => f.write_str(
                "Content-Type was signed without the parameters it arrived with; sign the header as it is sent, and stop whatever adds \
                 a charset",
            ),
            Cause::ContentType(TypeText::WithCharset(charset)) => write!(
                f,
                "Content-Type was signed with {} at its end and arrived without; sign the header as it is sent, and stop whatever \
                 drops the charset",
                Quoted(charset)
            ),
            Cause::ContentType(TypeText::LowerCase) => {
                f.write_str("Content-Type was signed in lower case; sign the header as it is sent")
            }
            Cause::ContentType(TypeText::Missing) => {
                f.write_str("the signed string has no content type; send the header, and sign it")
            }
            Cause::MethodCase => f.write_str(
                "the method was signed in the other letter case; the developer guide has it in lower case, the others in capitals",
            ),
            Cause::OtherMethod(method) => {
                write!(f, "it was signed for the method {}; send it with that, or sign the one it is sent with", Quoted(method))
            }
            Cause::Host(host) => write!(
                f,
                "the host was signed as {}; make Host the public name and port, or have the proxy pass it on",
                Quoted(host)
            ),
            Cause::ParametersDropped => f.write_str(
                "the last line was signed without the parameters that Signature-Input has (created and so on); sign them too",
            ),
            Cause::ParametersLineMissing => {
                f.write_str("the last line, \"@signature-params\", was not signed; add it as RFC 9421 has it")
            }
            Cause::TrailingNewline => {
                f.write_str("a newline was signed after the last part; join the parts, without one at the end")
            }
            Cause::OtherSecret { label } => write!(
                f,
                "it is signed with the secret {}, not with one that belongs here; take the secret of this webhook and environment",
                Quoted(label)
            ),
            Cause::SecretForm { label, form } => write!(
                f,
                "it is signed with the secret {} {}; {}",
                Quoted(label),
                secret_form(*form),
                match form {
                    SecretForm::Trimmed => "remove the blank or line end around the secret in your settings",
                    SecretForm::WithoutQuotes => "remove the quotes around the secret in your settings",
                    SecretForm::WithPrefix => "copy the secret whole, with the whsec_ at its beginning",
                    SecretForm::Empty => "look whether the signer's setting is unset",
                    _ => "sign with the secret whole, as the text that Healthie shows",
                }
            ),
            Cause::SignatureForm(form) => write!(
                f,
                "the signature is right but {}; write it as sig1=<hex>, sig1=:<hex>: or sig1=:<base64>:",
                match form {
                    SignatureForm::BareBase64 => "its base64 has no colons around it",
                    SignatureForm::Base64Url => "its base64 has - and _ instead of + and /",
                    SignatureForm::HexInBase64 => "its hex text is in base64",
                    SignatureForm::Quoted => "it stands in quotes",
                    SignatureForm::NoLabel => "it has no proper label before it",
                }
            ),
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, reason: &Reason) -> fmt::Result {
    write!(f, "{reason}; ")?;
    f.write_str(match reason {
        Reason::MalformedRequest { .. } => "send the target percent-encoded, as a path and a query",
        Reason::MalformedSignatureInput(_) => "write it as RFC 9421 has it",
        Reason::MalformedSignature(_) => "write it as sig1=<hex>, sig1=:<hex>: or sig1=:<base64>:",
        _ => "send it as the documents describe it",
    })
}

fn body_form(f: &mut fmt::Formatter<'_>, form: BodyForm) -> fmt::Result {
    match form {
        BodyForm::Json(style, newline) => {
            f.write_str("the body is the same JSON that was hashed, written differently: the hashed one ")?;
            json(f, style)?;
            if newline == super::Newline::Yes {
                f.write_str(", with a newline after it")?;
            }
            f.write_str("; hash and pass on the raw bytes instead of parsing and writing them again")
        }
        BodyForm::TrailingNewline(Signed::With) => {
            f.write_str("the hashed body ends in a newline that is gone; pass the raw bytes on")
        }
        BodyForm::TrailingNewline(Signed::Without) => {
            f.write_str("the body has a newline at its end that was not hashed; remove it (an editor or echo adds one)")
        }
        BodyForm::ByteOrderMark(Signed::With) => {
            f.write_str("the hashed body begins with a byte order mark that is gone; pass the raw bytes on")
        }
        BodyForm::ByteOrderMark(Signed::Without) => {
            f.write_str("the body begins with a byte order mark that was not hashed; save it as UTF-8 without one")
        }
        BodyForm::CarriageReturns(Signed::With) => f.write_str(
            "the hashed body has \\r\\n at its line ends; pass the raw bytes on and keep git and editors from changing line ends",
        ),
        BodyForm::CarriageReturns(Signed::Without) => f.write_str(
            "the hashed body has \\n at its line ends, not \\r\\n; pass the raw bytes on and keep git and editors from changing line ends",
        ),
        BodyForm::Trimmed => f.write_str("the body has blanks around it that were not hashed; pass the raw bytes on"),
        BodyForm::CutToContentLength => {
            f.write_str("what was hashed ends where Content-Length says; remove what follows it in the body")
        }
        BodyForm::Empty => f.write_str(
            "the hash is that of an empty body: the signer hashed before it had the body, or after it was read; hash the bytes that are sent",
        ),
    }
}

fn json(f: &mut fmt::Formatter<'_>, style: Style) -> fmt::Result {
    f.write_str(match style.layout {
        Layout::Compact => "has no blanks between its parts",
        Layout::Spaced => "has a blank after each comma and colon, as Python writes it",
        Layout::Indent2 => "is indented by two blanks",
        Layout::Indent4 => "is indented by four blanks",
    })?;
    f.write_str(match style.escapes {
        Escapes::AsSent => "",
        Escapes::Bare => ", has no needless escapes, as JavaScript and Ruby write it",
        Escapes::NonAscii => ", has letters outside ASCII as \\u escapes, as Python writes them",
        Escapes::NonAsciiAndSlash => ", has slashes and letters outside ASCII escaped, as PHP writes them",
        Escapes::Slash => ", has slashes escaped, as PHP writes them",
        Escapes::Html => ", has <, > and & as \\u escapes, as Rails and Go write them",
    })?;
    f.write_str(if style.sorted { ", has its keys sorted" } else { "" })
}

fn digest_text(form: DigestText) -> &'static str {
    match form {
        DigestText::Base64 => "it is in base64 with its padding",
        DigestText::Unpadded => "it is in base64 without its = at the end",
        DigestText::Base64Url => "it is in base64 with - and _ instead of + and /",
        DigestText::Hex => "it is in hex",
        DigestText::HexInBase64 => "it is the hex text in base64",
        DigestText::InColons => "it stands between colons",
        DigestText::WholeHeader => "it is a whole header as another document writes it",
        DigestText::OtherLabel => "the name of its algorithm is written otherwise",
        DigestText::Empty => "it is left out",
    }
}

fn counts(counted: Counted) -> &'static str {
    match counted {
        Counted::Bytes => "the bytes of the body",
        Counted::Characters => "characters instead of bytes",
        Counted::Utf16 => "UTF-16 units instead of bytes, as JavaScript's length does",
        Counted::JsonBytes => "the bytes of the JSON after it was parsed and written again",
        Counted::JsonUtf16 => "the JSON after it was parsed and written again, as JSON.stringify(body).length does",
        Counted::Header => "what Content-Length says",
        Counted::Missing => "nothing",
    }
}

fn secret_form(form: SecretForm) -> &'static str {
    match form {
        SecretForm::WithoutPrefix => "without its whsec_",
        SecretForm::WithPrefix => "with whsec_ before it",
        SecretForm::Base64Decoded => "after decoding it as base64",
        SecretForm::HexDecoded => "after decoding it as hex",
        SecretForm::Trimmed => "without the blank or line end around it",
        SecretForm::WithNewline => "with a line end after it",
        SecretForm::WithoutQuotes => "without the quotes around it",
        SecretForm::WithQuotes => "with quotes around it",
        SecretForm::Empty => "left empty",
    }
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Certainty::Proven => "certain: with this the signature was computed and is the one that was sent",
            Certainty::DigestOnly => {
                "the digest was computed and is the one that was sent; the signature does not hold even so"
            }
            Certainty::Observed => {
                "plainly so, but the signature was not found to hold with it, so something else may be wrong too"
            }
        })
    }
}

impl fmt::Display for Finding {
    /// One sentence, with a capital letter and a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<_> = self.causes.iter().map(ToString::to_string).collect();
        let text = text.join(". Also, ");
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.map_or(Ok(()), |first| write!(f, "{first}{}.", letters.as_str()))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::OtherReading { before, now } => write!(
                f,
                "Earlier deliveries of this tunnel were signed as {before} and this one as {now}: either the sender changed, or it is \
                 not the same sender."
            ),
            Note::Expired(seconds) => {
                write!(f, "The signature had expired {seconds} seconds before the delivery came; nothing here depends on it.")
            }
            Note::CreatedAhead(seconds) => write!(
                f,
                "The signature says it was made {seconds} seconds after the delivery came: a clock is wrong; nothing here depends on it."
            ),
            Note::BodyTooLong(bytes) => write!(
                f,
                "The body has {bytes} bytes; whether it was parsed and written again is only tried up to {MAX_REWRITTEN}."
            ),
            Note::SearchCut => f.write_str("The search ended at its bound, so a small change may have been missed."),
            Note::Unexplained => f.write_str(
                "No small change makes the signature hold: most likely it was made with a secret that is not at hand, or more than \
                 two things differ.",
            ),
        }
    }
}

impl Diagnosis {
    /// The one sentence to show first.
    pub fn sentence(&self) -> String {
        if let Some(finding) = self.findings.first() {
            return finding.to_string();
        }
        match (&self.verdict, &self.signed) {
            (Verdict::Valid(_), Some(signed)) => {
                format!(
                    "The signature holds: it is signed as {} with the secret {}.",
                    signed.reading,
                    Quoted(&signed.secret)
                )
            }
            (Verdict::NoSecret { .. }, _) => {
                "There is no secret to check the signature with; give the webhook's signing secret.".to_owned()
            }
            _ => Note::Unexplained.to_string(),
        }
    }
}
