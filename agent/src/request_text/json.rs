//! The JSON of a stored delivery: what `events show --json` prints and `store export` writes, one delivery of it.

use tunnel_delivery::Stored;

use super::{Form, ReadError, Written};

/// Reads one delivery.
pub(super) fn read(text: &[u8]) -> Result<Written, ReadError> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Stored>();
    let stored = match values.next() {
        Some(Ok(stored)) => stored,
        Some(Err(e)) => {
            let what = format!("it is JSON, but not that of one delivery as `events show --json` prints it: {e}");
            return Err(ReadError { line: None, what });
        }
        None => return Err(ReadError { line: None, what: "it is empty".into() }),
    };
    if !text[values.byte_offset()..].trim_ascii().is_empty() {
        let what = "it has more than one delivery; give one of its lines: sed -n 2p FILE | healthie-tunnel verify -";
        return Err(ReadError { line: None, what: what.into() });
    }
    Ok(Written { form: Form::Json, ..Written::of(&stored.delivery) })
}

#[cfg(test)]
mod tests {
    use super::super::{read, tests::no_files};

    const ONE: &str = r#"{"id":"019a0000-0000-7000-8000-000000000000","received_at":"2026-11-21T09:30:00.120000Z","tunnel":"team",
        "source_ip":"127.0.0.1","environment":"unknown","method":"POST","target":"/t/team/hook?x","prefix_len":7,
        "http_version":"HTTP/1.1","headers":[["Host","h"],["X",{"base64":"/w=="}]],"body":{"base64":"/wA="},
        "body_sha256":"0000000000000000000000000000000000000000000000000000000000000000","event":null,
        "signature":{"status":"invalid","profile":null,"variant":null,"reason":null,"hint":null},
        "duplicate_of":null,"pinned":false,"note":null,"attempts":[]}"#;

    #[test]
    fn one_delivery_is_read_to_the_byte() {
        let read = read(ONE.as_bytes(), &no_files).unwrap();
        assert_eq!((&*read.method, &*read.target, &read.body[..]), ("POST", "/t/team/hook?x", &b"\xff\0"[..]));
        assert_eq!((read.headers.get("x"), read.origin.unwrap().prefix_len), (Some(&b"\xff"[..]), 7));
    }

    #[test]
    fn what_is_not_one_is_refused() {
        let error = |text: &str| read(text.as_bytes(), &no_files).unwrap_err().to_string();
        assert!(error(&format!("{ONE}\n{ONE}\n")).contains("more than one delivery"));
        assert!(error(&ONE.replace("\"method\":\"POST\",", "")).contains("missing field `method`"));
        assert!(error("[]").contains("not that of one delivery"));
        assert!(error(&"[".repeat(100_000)).contains("not that of one delivery"));
        assert!(error(&ONE[..80]).contains("line 1"));
    }
}
