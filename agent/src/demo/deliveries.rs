//! What the demo sends, and what should come of each. Pure.

use std::collections::HashSet;

use bytes::Bytes;
use tunnel_catalogue::{IdStyle, synthetic, synthetic_unknown};
use tunnel_delivery::{Headers, SignatureStatus};
use tunnel_signature::{Error, Profile, Reading, Request, Secret};

use super::{DOMAIN, TUNNEL};

/// One delivery and what should come of it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// What it shows, in a word or two; empty for the ordinary ones.
    pub(super) case: &'static str,
    pub(super) event_type: String,
    pub(super) resource_type: String,
    pub(super) target: String,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    pub(super) signature: SignatureStatus,
    pub(super) profile: Option<&'static str>,
    /// The handler's answers, in order.
    pub(super) answers: Vec<u16>,
    /// Whether the copy is signed again for the path that the handler sees.
    pub(super) resigned: bool,
    /// Whether it repeats an earlier one.
    pub(super) repeats: bool,
    /// Whether it is sent again from the store.
    pub(super) replayed: bool,
}

/// Makes the handler fail the first time that it sees it.
pub(super) const FAILS_ONCE: &str = "/fails-once";

/// One delivery of each resource type, in turn in each profile, addressed by host and by path, and then the odd ones.
pub(super) fn plan(secret: &Secret) -> Result<Vec<Planned>, Error> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for event in tunnel_catalogue::all() {
        if !seen.insert(event.resource_type.name()) {
            continue;
        }
        let n = all.len();
        let ids = if n % 2 == 0 { IdStyle::Text } else { IdStyle::Integer };
        let body = synthetic(event, n as u64, ids).to_string();
        let by_path = n % 5 == 4;
        let mut one =
            signed(secret, Profile::ALL[n % 3], if by_path { "/t/demo/hook" } else { "/hook?from=demo" }, body)?;
        one.event_type = event.name.to_owned();
        one.resource_type = event.resource_type.name().to_owned();
        one.resigned = by_path;
        all.push(one);
    }
    let first = all.first().cloned();
    let body = |n| synthetic_unknown("appointment.created", n, IdStyle::Text).to_string();
    let odd = |case, one: Planned| Planned {
        case,
        event_type: "appointment.created".into(),
        resource_type: "Appointment".into(),
        ..one
    };

    let tampered = signed(secret, Profile::Guide, "/hook", body(1000))?;
    let mut bytes = tampered.body.to_vec();
    if let Some(digit) = bytes.iter_mut().find(|b| b.is_ascii_digit()) {
        *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
    }
    let refused = (SignatureStatus::Invalid, None, vec![401]);
    let (signature, profile, answers) = refused;
    all.push(odd("tampered", Planned { body: bytes.into(), signature, profile, answers, ..tampered }));

    let mut unsigned = signed(secret, Profile::Guide, "/hook", body(1001))?;
    unsigned.headers.0.retain(|l| l.is("host") || l.is("content-type") || l.is("content-length"));
    let signature = SignatureStatus::Unsigned;
    all.push(odd("unsigned", Planned { signature, profile: None, answers: vec![401], ..unsigned }));

    let failing = signed(secret, Profile::Guide, FAILS_ONCE, body(1002))?;
    all.push(odd("fails once, replayed", Planned { answers: vec![500, 200], replayed: true, ..failing }));

    let unknown = synthetic_unknown("starship.launched", 1003, IdStyle::Text).to_string();
    let unknown = signed(secret, Profile::Rfc9421, "/hook", unknown)?;
    let (event_type, resource_type) = ("starship.launched".into(), "Starship".into());
    all.push(Planned { case: "unknown event", event_type, resource_type, ..unknown });

    if let Some(first) = first {
        all.push(Planned { case: "sent twice", repeats: true, ..first });
    }
    Ok(all)
}

/// A delivery as Healthie would send it, which should be found valid and answered 200.
fn signed(secret: &Secret, profile: Profile, target: &str, body: String) -> Result<Planned, Error> {
    let request = Request { method: "POST", target, content_type: "application/json", body: body.as_bytes() };
    let mut headers = Headers::default();
    // The path form is for any name of the relay's.
    headers.push("Host", if target.starts_with("/t/") { DOMAIN.to_owned() } else { format!("{TUNNEL}.{DOMAIN}") });
    for (name, value) in tunnel_signature::sign(Reading::plain(profile), secret, &request)?.lines() {
        headers.push(name, value.as_bytes().to_vec());
    }
    Ok(Planned {
        case: "",
        event_type: String::new(),
        resource_type: String::new(),
        target: target.to_owned(),
        headers,
        body: body.into(),
        signature: SignatureStatus::Valid,
        profile: Some(profile.as_str()),
        answers: vec![200],
        resigned: false,
        repeats: false,
        replayed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_type_and_every_odd_case_is_in_it() {
        let planned = plan(&Secret::new("whsec_demo").unwrap()).unwrap();
        let types: HashSet<_> = tunnel_catalogue::all().iter().map(|e| e.resource_type.name()).collect();
        let sent: HashSet<_> = planned.iter().map(|p| p.resource_type.as_str()).collect();
        assert!(types.is_subset(&sent));
        for case in ["tampered", "unsigned", "fails once, replayed", "unknown event", "sent twice"] {
            assert_eq!(planned.iter().filter(|p| p.case == case).count(), 1, "{case}");
        }
        assert!(planned.iter().any(|p| p.resigned));
    }
}
