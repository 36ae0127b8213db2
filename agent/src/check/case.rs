//! What a case of the battery is, and how its requests are made. Pure.

use bytes::Bytes;
use tunnel_signature::{Error, Reading, Secret};

use super::report::Mark;
use crate::forward::Outgoing;
use crate::trigger::forge::{self, Draft, Tamper};

/// Where cases go and what they are signed with.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The reading that the handler claims.
    pub(super) reading: Reading,
    /// The secret that the handler knows.
    pub(super) secret: Secret,
    /// The Host line.
    pub(super) host: String,
    /// The path that is signed: that of the URL registered with Healthie.
    pub(super) signed: String,
    /// The path that the handler sees.
    pub(super) sent: String,
}

/// What is right for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// 2xx.
    Accepted,
    /// 4xx. A 2xx is given this mark.
    Refused(Mark),
}

/// How a case's requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Each after the answer to the one before.
    InTurn,
    /// All at once.
    AtOnce,
    /// The body in pieces, with pauses.
    InPieces,
}

/// One thing that is found out about a handler.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Its name, for `--only`, `--skip` and reports.
    pub(super) name: &'static str,
    /// What it sends.
    pub(super) sends: &'static str,
    /// What is right.
    pub(super) wants: Wants,
    /// What a wrong answer means and what to do about it.
    pub(super) advice: &'static str,
    /// How it is sent.
    pub(super) how: How,
    /// The requests.
    pub(super) steps: Vec<Step>,
}

/// One request of a case.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Tells it from the others of its case; empty where there is one.
    pub(super) label: String,
    /// The body that is signed.
    pub(super) body: Bytes,
    /// What is done beside or after signing.
    pub(super) change: Change,
}

/// What makes a request other than a plain valid delivery.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// Signed and sent with this query.
    Query(&'static str),
    /// Sent with this query, signed without.
    AddedQuery(&'static str),
    /// Header names in lower case.
    LowerCaseNames,
    /// Signed in another reading.
    As(Reading),
    /// Signed for another target.
    SignedFor(String),
    /// Signed with a secret that is not the handler's.
    WrongSecret,
    /// Changed after signing.
    Tampered(Tamper),
    /// Body and digest changed after signing.
    SealedAgain,
    /// These headers taken away.
    Without(&'static [&'static str]),
    /// The Signature header of a delivery with this body.
    SignatureOf(Bytes),
    /// The MAC cut to so many characters.
    CutTo(usize),
    /// The body taken away.
    Emptied,
    /// Sent with another method than was signed.
    Method(&'static str),
}

impl Step {
    pub(super) fn plain(body: Bytes) -> Step {
        Step { label: String::new(), body, change: Change::Nothing }
    }

    /// The request.
    pub(super) fn request(&self, place: &Place) -> Result<Outgoing, Error> {
        let with = |path: &str, query: &str| format!("{path}?{query}");
        let draft = Draft {
            reading: place.reading,
            secret: &place.secret,
            method: "POST",
            host: &place.host,
            signed: &place.signed,
            sent: &place.sent,
            body: self.body.clone(),
        };
        let mut out = match &self.change {
            Change::Query(query) => {
                let (signed, sent) = (with(draft.signed, query), with(draft.sent, query));
                return Draft { signed: &signed, sent: &sent, ..draft }.sign();
            }
            Change::AddedQuery(query) => return Draft { sent: &with(draft.sent, query), ..draft }.sign(),
            Change::As(reading) => return Draft { reading: *reading, ..draft }.sign(),
            Change::SignedFor(target) => return Draft { signed: target, ..draft }.sign(),
            Change::WrongSecret => return draft.with_wrong_secret(),
            Change::Tampered(how) => return draft.tampered(*how),
            Change::SealedAgain => return draft.sealed_again(),
            _ => draft.sign()?,
        };
        match &self.change {
            Change::LowerCaseNames => {
                for line in &mut out.headers.0 {
                    line.name = line.name.to_ascii_lowercase().into();
                }
            }
            Change::Without(names) => forge::without(&mut out, names),
            Change::SignatureOf(body) => {
                let other = Draft { body: body.clone(), ..draft }.sign()?;
                forge::copy(&mut out, &other, "Signature");
            }
            Change::CutTo(length) => {
                let value = String::from_utf8_lossy(out.headers.get("signature").unwrap_or_default()).into_owned();
                forge::set(&mut out, "Signature", &cut(&value, *length));
            }
            Change::Emptied => forge::set_body(&mut out, Bytes::new()),
            Change::Method(method) => out.method = (*method).to_owned(),
            _ => {}
        }
        Ok(out)
    }
}

/// `sig1=:abcd:` with `abcd` cut; colons stay.
fn cut(signature: &str, length: usize) -> String {
    let (label, value) = signature.split_once('=').unwrap_or(("sig1", signature));
    let colon = if value.starts_with(':') { ":" } else { "" };
    let mac: String = value.trim_matches(':').chars().take(length).collect();
    format!("{label}={colon}{mac}{colon}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_cut_within_its_colons() {
        assert_eq!(cut("sig1=:abcd:", 2), "sig1=:ab:");
        assert_eq!(cut("sig1=abcd", 2), "sig1=ab");
        assert_eq!(cut("sig1=abcd", 0), "sig1=");
    }
}
