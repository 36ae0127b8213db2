//! What can have made a signature invalid: one closed list. Owns no searching, and no sentences: those are in sentence.rs.

use crate::Reason;
use crate::doctor::json::Style;

/// One thing that is not as it was signed, or not as any of the documents has it.
///
/// Text from the delivery and labels of secrets are kept as they came; the sentences quote, escape and cut them. No secret is ever in
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Headers that the signature needs are not there.
    HeadersMissing(Vec<String>),
    /// A header came more than once.
    HeaderTwice(&'static str),
    /// No signature has a label that Signature-Input has.
    LabelMismatch {
        /// The labels of Signature.
        signature: Vec<String>,
        /// The labels of Signature-Input.
        input: Vec<String>,
    },
    /// Signature-Input names a component that no request as received has.
    UnknownComponent(String),
    /// Signature-Input names another algorithm than `hmac-sha256`.
    Algorithm(String),
    /// The signature holds and does not cover the digest.
    DigestNotCovered,
    /// Something else that the verifier refuses before it computes anything.
    Refused(Reason),

    /// The body is not the one whose digest was sent.
    BodyChanged,
    /// The body is the one whose digest was sent, written differently.
    BodyForm(BodyForm),
    /// Content-Digest is right, but written as no document has it.
    DigestHeader(DigestText),
    /// Content-Digest cannot be read at all.
    DigestUnreadable,
    /// Content-Length is not the body's.
    LengthHeader {
        /// As it came.
        sent: String,
        /// What it counts, if it counts something of the body.
        counted: Option<Counted>,
    },

    /// The path was signed with, or without, what the relay puts before it.
    PathPrefix {
        /// The prefix, such as `/t/NAME`.
        prefix: String,
        /// How it was signed.
        signed: Signed,
    },
    /// The path was signed without its first segments: a handler behind a mount point.
    LeadingSegments(String),
    /// The path was signed with, or without, a slash at its end.
    TrailingSlash(Signed),
    /// What was signed is the target of another stored delivery.
    OtherTarget(String),
    /// The target arrived, or was signed, as a whole URL.
    AbsoluteUrl(Signed),
    /// The query stands in the signed string in another way.
    Query(QueryText),
    /// Path and query were signed percent-decoded, or percent-encoded.
    Percent(Percent),
    /// The digest stands in the signed string in another way.
    DigestPart(DigestText),
    /// The content length in the signed string counts something else.
    LengthPart(Counted),
    /// The content type in the signed string is another.
    ContentType(TypeText),
    /// The method was signed in capitals, or in lower case, unlike the document.
    MethodCase,
    /// Another method was signed.
    OtherMethod(String),
    /// `@authority` was signed as another text than Host says.
    Host(String),
    /// The last line of RFC 9421 was signed without its parameters (`created` and so on).
    ParametersDropped,
    /// The last line of RFC 9421 was left out.
    ParametersLineMissing,
    /// The signed string ends in a newline.
    TrailingNewline,

    /// It is signed with a secret at hand that is another one's.
    OtherSecret {
        /// That secret's label.
        label: String,
    },
    /// It is signed with one of the right secrets, used in another way.
    SecretForm {
        /// That secret's label.
        label: String,
        /// How it was used.
        form: SecretForm,
    },
    /// The signature is right, but written as no document has it.
    SignatureForm(SignatureForm),
}

/// Whether what was signed had something or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It was signed with it and arrived without.
    With,
    /// It was signed without it and arrived with it.
    Without,
}

/// How the body that was digested differs from the one that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// The same JSON, written in that way; with a newline after it if so.
    Json(Style, Newline),
    /// With, or without, a newline at its end.
    TrailingNewline(Signed),
    /// With, or without, a byte order mark.
    ByteOrderMark(Signed),
    /// With line ends of two bytes (`\r\n`), or without.
    CarriageReturns(Signed),
    /// Without the blanks around it.
    Trimmed,
    /// Without what follows the number of bytes that Content-Length says.
    CutToContentLength,
    /// No body at all: it was read before it was digested.
    Empty,
}

/// Whether a newline follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newline {
    /// None.
    No,
    /// One.
    Yes,
}

/// How a digest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestText {
    /// Base64 with padding and nothing else.
    Base64,
    /// Base64 without padding.
    Unpadded,
    /// Base64 with `-` and `_`.
    Base64Url,
    /// Hex.
    Hex,
    /// The hex text in base64.
    HexInBase64,
    /// Base64 between colons.
    InColons,
    /// The whole header, as it came or as one of the documents writes it.
    WholeHeader,
    /// With another name of the algorithm before it.
    OtherLabel,
    /// Nothing.
    Empty,
}

/// What a length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Bytes.
    Bytes,
    /// Characters.
    Characters,
    /// UTF-16 units: a JavaScript string's length.
    Utf16,
    /// The bytes of the JSON written again.
    JsonBytes,
    /// The UTF-16 units of the JSON written again: `JSON.stringify(body).length`.
    JsonUtf16,
    /// The header Content-Length as it came.
    Header,
    /// Nothing: it is left empty.
    Missing,
}

/// How a query was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryText {
    /// Not at all.
    Dropped,
    /// Without `?`.
    NoMark,
    /// With one `?`.
    OneMark,
    /// With two `?`.
    TwoMarks,
    /// Its place is left out, with the blank or the line it stands in.
    PlaceOmitted,
    /// Its `?` belongs to the path.
    InPath,
}

/// Whether the signed target is decoded or encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percent {
    /// `%20` and the like are decoded in what was signed.
    Decoded,
    /// They are encoded in what was signed and decoded in what arrived.
    Encoded,
}

/// How a content type was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeText {
    /// Without its parameters.
    WithoutCharset,
    /// With these parameters.
    WithCharset(String),
    /// In lower case.
    LowerCase,
    /// Not at all.
    Missing,
}

/// How a secret was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// Without `whsec_`.
    WithoutPrefix,
    /// With `whsec_` before it.
    WithPrefix,
    /// Base64-decoded.
    Base64Decoded,
    /// Hex-decoded.
    HexDecoded,
    /// Without the blanks and line ends around it.
    Trimmed,
    /// With a line end after it.
    WithNewline,
    /// Without the quotes around it.
    WithoutQuotes,
    /// With quotes around it.
    WithQuotes,
    /// Empty.
    Empty,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureForm {
    /// Base64 without colons.
    BareBase64,
    /// Base64 with `-` and `_`.
    Base64Url,
    /// The hex text in base64.
    HexInBase64,
    /// In quotes.
    Quoted,
    /// Without a label, or with one that is none.
    NoLabel,
}

impl Cause {
    /// A short name for programs, such as `trailing-slash`.
    pub fn code(&self) -> &'static str {
        match self {
            Cause::HeadersMissing(_) => "headers-missing",
            Cause::HeaderTwice(_) => "header-twice",
            Cause::LabelMismatch { .. } => "label-mismatch",
            Cause::UnknownComponent(_) => "unknown-component",
            Cause::Algorithm(_) => "algorithm",
            Cause::DigestNotCovered => "digest-not-covered",
            Cause::Refused(reason) => reason.code(),
            Cause::BodyChanged => "body-changed",
            Cause::BodyForm(BodyForm::Json(..)) => "body-serialised-again",
            Cause::BodyForm(_) => "body-form",
            Cause::DigestHeader(_) => "digest-header",
            Cause::DigestUnreadable => "digest-unreadable",
            Cause::LengthHeader { .. } => "length-header",
            Cause::PathPrefix { .. } => "path-prefix",
            Cause::LeadingSegments(_) => "leading-segments",
            Cause::TrailingSlash(_) => "trailing-slash",
            Cause::OtherTarget(_) => "other-target",
            Cause::AbsoluteUrl(_) => "absolute-url",
            Cause::Query(_) => "query",
            Cause::Percent(_) => "percent-encoding",
            Cause::DigestPart(_) => "digest-part",
            Cause::LengthPart(_) => "length-part",
            Cause::ContentType(_) => "content-type",
            Cause::MethodCase => "method-case",
            Cause::OtherMethod(_) => "other-method",
            Cause::Host(_) => "host",
            Cause::ParametersDropped => "parameters-dropped",
            Cause::ParametersLineMissing => "parameters-line-missing",
            Cause::TrailingNewline => "trailing-newline",
            Cause::OtherSecret { .. } => "other-secret",
            Cause::SecretForm { .. } => "secret-form",
            Cause::SignatureForm(_) => "signature-form",
        }
    }
}
