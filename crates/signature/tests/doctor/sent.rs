//! A delivery to break: signed properly, then changed, or signed over what it should not be.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tunnel_signature::doctor::{Context, Diagnosis, KnownSecret, diagnose};
use tunnel_signature::{Message, Profile, Reading, Request, Secret, Twist, base_string, sha256, sign};

pub(crate) const SECRET: &str = "whsec_c2VjcmV0LW9mLXRoZS10dW5uZWw=";
pub(crate) const OTHER: &str = "whsec_of_production";
pub(crate) const TARGET: &str = "/hooks/in?a=b&c=%20d";
pub(crate) const BODY: &str = r#"{"event_type":"appointment.created","resource_id":"12","note":"Zoë 😀 a/b <b>"}"#;

/// A delivery as it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) reading: Reading,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    /// Signed properly.
    pub(crate) fn new(reading: Reading) -> Sent {
        Sent::signed(reading, TARGET, "application/json", BODY.as_bytes(), SECRET)
    }

    pub(crate) fn signed(reading: Reading, target: &str, content_type: &str, body: &[u8], secret: &str) -> Sent {
        let request = Request { method: "POST", target, content_type, body };
        let headers = sign(reading, &Secret::new(secret).unwrap(), &request).unwrap();
        let mut lines: Vec<_> = headers.lines().map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec())).to_vec();
        lines.push(("Host".to_owned(), b"Hooks.Example.com".to_vec()));
        Sent { reading, method: "POST".to_owned(), target: target.to_owned(), headers: lines, body: body.to_vec() }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
        look(&Message { method: &self.method, target: &self.target, headers: &headers, body: &self.body })
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let value = &self.headers.iter().find(|(n, _)| n == name).unwrap().1;
        String::from_utf8(value.clone()).unwrap()
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Sent {
        self.headers.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.as_bytes().to_vec();
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Sent {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub(crate) fn and(mut self, name: &str, value: &str) -> Sent {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub(crate) fn at(self, target: &str) -> Sent {
        Sent { target: target.to_owned(), ..self }
    }

    pub(crate) fn carrying(self, body: &str) -> Sent {
        Sent { body: body.as_bytes().to_vec(), ..self }
    }

    pub(crate) fn string(&self) -> String {
        String::from_utf8(self.with(|message| base_string(self.reading, message)).unwrap()).unwrap()
    }

    /// Signed again over a string, with a key.
    pub(crate) fn over(self, string: &str, key: &[u8]) -> Sent {
        let mac: [u8; 32] =
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(string).finalize().into_bytes().into();
        let text = written(self.reading, &mac);
        self.set("Signature", &text)
    }

    /// Signed over its own string, edited.
    pub(crate) fn edited(self, edit: impl FnOnce(&str) -> String) -> Sent {
        let string = edit(&self.string());
        self.over(&string, SECRET.as_bytes())
    }

    pub(crate) fn examined(&self) -> Diagnosis {
        let (own, other) = (Secret::new(SECRET).unwrap(), Secret::new(OTHER).unwrap());
        let secrets = [
            KnownSecret { label: "staging", secret: &own, expected: true },
            KnownSecret { label: "production", secret: &other, expected: false },
        ];
        let others = ["/", "/elsewhere?x=1"];
        let context = Context { prefix: Some("/t/dev"), other_targets: &others, ..Context::default() };
        self.with(|message| diagnose(message, &secrets, &context))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn written(reading: Reading, mac: &[u8]) -> String {
    let twist = |twist| reading.variant().has(twist);
    let profile = reading.profile();
    if twist(Twist::BareHex) || profile == Profile::Guide && !twist(Twist::ColonHex) && !twist(Twist::Base64) {
        format!("sig1={}", hex(mac))
    } else if twist(Twist::ColonHex) || profile == Profile::Scribe && !twist(Twist::Base64) {
        format!("sig1=:{}:", hex(mac))
    } else {
        format!("sig1=:{}:", STANDARD.encode(mac))
    }
}

/// The digest's base64 in a signed string.
pub(crate) fn digest_of(sent: &Sent) -> String {
    STANDARD.encode(sha256(&sent.body))
}

pub(crate) fn mac_of(sent: &Sent) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(sent.string());
    mac.finalize().into_bytes().to_vec()
}

impl Sent {
    /// The MAC in base64 with `-` and `_`, over a target for which it has some.
    pub(crate) fn url_safe(self) -> Sent {
        (0..)
            .map(|n| Sent::signed(self.reading, &format!("/hooks/{n}"), "application/json", BODY.as_bytes(), SECRET))
            .find_map(|sent| {
                let text = URL_SAFE.encode(mac_of(&sent));
                (text.contains(['-', '_'])).then(|| sent.set("Signature", &format!("sig1=:{text}:")))
            })
            .unwrap()
    }

    /// Signed over a target that cannot be signed properly.
    pub(crate) fn edited_at(self, target: &str) -> Sent {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let good = Sent { target: "/PATH?QUERY".to_owned(), ..self };
        let string = good.string().replace("??QUERY", "?QUERY").replace("?QUERY", &format!("?{query}"));
        let string = string.replace("/PATH", path).replace("QUERY", query);
        good.over(&string, SECRET.as_bytes()).at(target)
    }
}

pub(crate) fn python() -> String {
    BODY.replace("\":\"", "\": \"").replace("\",\"", "\", \"").replace('ë', "\\u00eb").replace('😀', "\\ud83d\\ude00")
}

pub(crate) fn php() -> String {
    BODY.replace('/', "\\/").replace('ë', "\\u00eb").replace('😀', "\\ud83d\\ude00")
}

/// Bytes, UTF-16 units, characters.
pub(crate) fn counts(body: &[u8]) -> (String, String, String) {
    let text = std::str::from_utf8(body).unwrap();
    (text.len().to_string(), text.encode_utf16().count().to_string(), text.chars().count().to_string())
}

/// The content length, the last number of the string (before the parameters in `rfc9421`), replaced.
pub(crate) fn last(string: &str, from: &[&str], to: &str) -> String {
    let (head, tail) = match string.find("\n\"@signature-params") {
        Some(at) => string.split_at(at),
        None => (string, ""),
    };
    let bare = from.iter().find_map(|from| head.strip_suffix(from)).unwrap_or(head);
    format!("{bare}{to}{tail}")
}
