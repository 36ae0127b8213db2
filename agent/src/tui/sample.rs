//! Deliveries for the inspector's tests, always the same.

use tunnel_delivery::{SignatureStatus, Stored, Summary, Timestamp};

/// When the first of them was received.
pub(crate) const BEGAN: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

/// What they are signed with.
pub(crate) const SECRET: &str = "whsec_sample";

const EVENTS: [(&str, &str); 5] = [
    ("appointment.created", "Appointment"),
    ("appointment.updated", "Appointment"),
    ("form_answer_group.created", "FormAnswerGroup"),
    ("billing_item.updated", "BillingItem"),
    ("goal.created", "Goal"),
];

fn at(n: u32) -> Timestamp {
    Timestamp::from_micros(BEGAN.as_micros() + i64::from(n) * 1_500_000)
}

/// The id of the `n`th.
pub(crate) fn id(n: u32) -> tunnel_delivery::DeliveryId {
    let mut random = [0x5a; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    tunnel_delivery::DeliveryId::build(at(n), random)
}

/// A line of the list. Every fifth fails, every seventh waits, and so on.
pub(crate) fn line(n: u32) -> Summary {
    let (event, kind) = EVENTS[n as usize % EVENTS.len()];
    let (class, status, attempts) = match n {
        n if n % 5 == 3 => ("5xx", Some(503), 1 + n % 3),
        n if n % 7 == 6 => ("queued", None, 0),
        n if n % 11 == 10 => ("error", None, 2),
        _ => ("2xx", Some(200), 1),
    };
    let json = serde_json::json!({
        "id": id(n), "received_at": at(n), "tunnel": "team",
        "environment": (["staging", "production", "unknown"][n as usize % 3]),
        "method": "POST", "target": "/hooks", "event_type": event, "resource_id_type": kind,
        "resource_id": (12_000 + n / 4).to_string(),
        "signature": (["valid", "valid", "valid", "invalid", "unsigned", "no-secret"][n as usize % 6]),
        "profile": null, "body_len": 120, "duplicate_of": (n % 9 == 8).then(|| id(n - 8)), "repeats": u32::from(n.is_multiple_of(9)), "pinned": n % 8 == 2,
        "attempts": attempts, "answer": {"class": class, "status": status, "duration_us": 4_200 + 997 * u64::from(n)},
    });
    serde_json::from_value(json).expect("a summary")
}

/// The whole of it, with a body of JSON.
pub(crate) fn stored(n: u32) -> Stored {
    let line = line(n);
    let body = format!(
        r#"{{"resource_id":"{}","resource_id_type":"{}","event_type":"{}","changed_fields":["start","location","contact_type"],"extra":{{"n":{n},"list":[1,2.50,null]}}}}"#,
        line.resource_id.as_deref().unwrap_or(""),
        line.resource_id_type.as_deref().unwrap_or(""),
        line.event_type.as_deref().unwrap_or(""),
    );
    with_body(n, body.as_bytes())
}

/// As [`stored`] with that body.
pub(crate) fn with_body(n: u32, body: &[u8]) -> Stored {
    use base64::Engine as _;
    let line = line(n);
    let attempt = |i: u32| {
        let ok = line.answer.status == Some(200);
        let text = if ok { "{\"ok\":true}" } else { "<h1>Service Unavailable</h1>\nplease try again" };
        serde_json::json!({
            "at": at(n + i), "target": "http://localhost:3000/hooks", "cause": if i == 0 { "forward" } else { "replay" },
            "resigned": i > 0, "edited": i == 1, "status": line.answer.status,
            "error": line.answer.status.is_none().then(|| serde_json::json!({
                "kind": "connect", "message": "nothing listens at localhost:3000" })),
            "duration_ms": 4.2 + f64::from(i), "response_headers": [["Content-Type", "text/plain"], ["X-Try", i.to_string()]],
            "response_body": {"text": text}, "response_truncated": false,
        })
    };
    // An invalid one was signed for another path, as behind a proxy that takes one off.
    let signed_for = match line.signature {
        SignatureStatus::Invalid => "/t/team/hooks/",
        _ => "/t/team/hooks",
    };
    let mut headers: Vec<(String, String)> = [
        ("Host", "relay.example.com"),
        ("User-Agent", "Ruby"),
        ("Content-Type", "application/json"),
        ("Content-Length", &*body.len().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    if line.signature != SignatureStatus::Unsigned {
        let request =
            tunnel_signature::Request { method: "POST", target: signed_for, content_type: "application/json", body };
        let secret = tunnel_signature::Secret::new(SECRET).expect("a secret");
        let reading = tunnel_signature::Reading::plain(tunnel_signature::Profile::Guide);
        let signed = tunnel_signature::sign(reading, &secret, &request).expect("a signature");
        let lines = signed.lines();
        let new = lines.iter().filter(|(name, _)| !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)));
        let new: Vec<_> = new.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.extend(new);
    }
    let json = serde_json::json!({
        "id": line.id, "received_at": line.received_at, "tunnel": "team", "source_ip": "18.206.70.225",
        "environment": line.environment, "method": "POST", "target": "/t/team/hooks", "prefix_len": 7,
        "http_version": "HTTP/1.1",
        "headers": headers,
        "body": {"base64": base64::engine::general_purpose::STANDARD.encode(body)},
        "body_sha256": super::text::hex(&tunnel_signature::sha256(body), ""),
        "event": tunnel_catalogue::read(body),
        "signature": {"status": line.signature, "profile": "guide", "variant": null,
            "reason": (line.signature == SignatureStatus::Invalid)
                .then_some("no known secret gives this signature in any reading"), "hint": null},
        "duplicate_of": line.duplicate_of, "duplicate_reason": "the same body came 12 s before",
        "repeats": if line.repeats > 0 { vec![id(n + 8)] } else { Vec::new() },
        "pinned": line.pinned, "note": (n % 8 == 2).then_some("ask Ana about this one"),
        "attempts": (0..line.attempts).map(attempt).collect::<Vec<_>>(),
    });
    serde_json::from_value(json).expect("a stored delivery")
}
