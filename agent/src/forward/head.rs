//! The head of a forwarded request, exactly as it will be on the wire: the lines as the sender wrote them, less those that belong to one
//! connection.

use bytes::{BufMut as _, Bytes, BytesMut};
use tunnel_delivery::{HeaderLine, Headers};

use super::marks::Marks;

/// What goes to a target: a request with nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The method as sent.
    pub method: String,
    /// The request target for the handler.
    pub target: String,
    /// The lines as sent or signed again; those of the connection are still among them.
    pub headers: Headers,
    /// The body's bytes.
    pub body: Bytes,
    /// Whether `headers` carry a new signature.
    pub resigned: bool,
    /// What is told to the handler in lines of our own, at the end of the head.
    pub marks: Option<Marks>,
}

/// What the Host line of a forwarded request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// What the sender wrote.
    #[default]
    Sent,
    /// The target's own name, for servers that refuse names that they do not know.
    Target,
}

impl std::str::FromStr for HostHeader {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "sent" => Ok(HostHeader::Sent),
            "target" => Ok(HostHeader::Target),
            _ => Err(format!("{s:?} is neither `sent` nor `target`")),
        }
    }
}

/// The fields that are about one connection (RFC 9110, section 7.6.1), and `Expect`, which asks for an answer that was already given.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
];

/// The lines without those of the connection and those that a `Connection` line names. What the signature is made of stays whatever a
/// `Connection` line says, and so do Host and Content-Length: a sender must not be able to take them away.
pub fn end_to_end(headers: &Headers) -> impl Iterator<Item = &HeaderLine> {
    const KEPT: [&str; 6] =
        ["host", "content-length", "content-type", "content-digest", "signature", "signature-input"];
    let named: Vec<&[u8]> = headers
        .get_all("connection")
        .flat_map(|value| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !KEPT.iter().any(|k| name.eq_ignore_ascii_case(k.as_bytes())))
        .collect();
    headers.iter().filter(move |line| {
        !OF_THE_CONNECTION.iter().any(|name| line.is(name)) && !named.iter().any(|n| n.eq_ignore_ascii_case(&line.name))
    })
}

impl Outgoing {
    /// The same with these marks, and with no such lines of the sender's either way.
    #[must_use]
    pub fn marked(mut self, marks: Option<Marks>) -> Outgoing {
        Marks::strip(&mut self.headers);
        self.marks = marks;
        self
    }

    /// The head's bytes, with the empty line at its end.
    pub fn head(&self, authority: &str, host: HostHeader) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.headers.0.len() * 64);
        out.put_slice(self.method.as_bytes());
        out.put_u8(b' ');
        out.put_slice(self.target.as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        let length = self.body.len().to_string();
        let (mut has_host, mut has_length) = (false, false);
        for line in end_to_end(&self.headers) {
            let mut value: &[u8] = &line.value;
            if line.is("content-length") {
                // One right length is enough, a wrong one would break the framing.
                if has_length || value != length.as_bytes() {
                    continue;
                }
                has_length = true;
            } else if line.is("host") {
                if has_host {
                    continue;
                }
                has_host = true;
                if host == HostHeader::Target {
                    value = authority.as_bytes();
                }
            }
            put_line(&mut out, &line.name, value);
        }
        if !has_host {
            put_line(&mut out, b"Host", authority.as_bytes());
        }
        if !has_length && (!self.body.is_empty() || self.headers.get("transfer-encoding").is_some()) {
            put_line(&mut out, b"Content-Length", length.as_bytes());
        }
        if let Some(marks) = &self.marks {
            marks.put(&mut out);
        }
        out.put_slice(b"\r\n");
        out.freeze()
    }
}

fn put_line(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(lines: &[(&str, &str)], body: &'static str) -> Outgoing {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push(name.as_bytes().to_vec(), value.as_bytes().to_vec());
        }
        Outgoing {
            method: "POST".into(),
            target: "/a?b".into(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
            resigned: false,
            marks: None,
        }
    }

    fn head(o: &Outgoing, host: HostHeader) -> String {
        String::from_utf8(o.head("localhost:3000", host).to_vec()).unwrap()
    }

    #[test]
    fn lines_keep_order_case_and_number() {
        let o = outgoing(&[("hOST", "relay"), ("X-b", "1"), ("x-A", ""), ("X-b", "2"), ("content-Length", "2")], "{}");
        assert_eq!(
            head(&o, HostHeader::Sent),
            "POST /a?b HTTP/1.1\r\nhOST: relay\r\nX-b: 1\r\nx-A: \r\nX-b: 2\r\ncontent-Length: 2\r\n\r\n"
        );
        assert!(head(&o, HostHeader::Target).contains("\r\nhOST: localhost:3000\r\n"));
    }

    #[test]
    fn marks_are_ours_alone() {
        let sent = [
            ("Host", "r"),
            ("healthie-tunnel-REPLAY", "true"),
            ("Healthie-Tunnel-Attempt", "99"),
            ("Healthie-Tunnel-Delivery", "forged"),
            ("HEALTHIE_TUNNEL_REPLAY", "true"),
            ("Healthie-Tunnel_attempt", "98"),
            ("Healthie-Tunnel-Other", "stays"),
            // Ours are no lines that a sender can have taken away.
            ("Connection", "Healthie-Tunnel-Attempt"),
        ];
        let delivery = tunnel_delivery::DeliveryId::from_bytes([7; 16]);
        let marks = |replay| Some(Marks { delivery, attempt: 3, replay });
        let rest = "POST /a?b HTTP/1.1\r\nHost: r\r\nHealthie-Tunnel-Other: stays\r\n";
        let ours = format!("Healthie-Tunnel-Delivery: {delivery}\r\nHealthie-Tunnel-Attempt: 3\r\n");
        for (marks, expected) in [
            (None, format!("{rest}\r\n")),
            (marks(false), format!("{rest}{ours}\r\n")),
            (marks(true), format!("{rest}{ours}Healthie-Tunnel-Replay: true\r\n\r\n")),
        ] {
            assert_eq!(head(&outgoing(&sent, "").marked(marks), HostHeader::Sent), expected);
        }
    }

    #[test]
    fn lines_of_the_connection_stay_behind() {
        let o = outgoing(
            &[
                ("Host", "relay"),
                ("Connection", "close, X-Hop ,signature,"),
                ("X-Hop", "1"),
                ("Signature", "sig1=x"),
                ("Transfer-Encoding", "chunked"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("Expect", "100-continue"),
                ("X-Stays", "1"),
            ],
            "abc",
        );
        assert_eq!(
            head(&o, HostHeader::Sent),
            "POST /a?b HTTP/1.1\r\nHost: relay\r\nSignature: sig1=x\r\nX-Stays: 1\r\nContent-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn a_wrong_or_second_length_never_goes_out() {
        let o = outgoing(
            &[("Host", "r"), ("Content-Length", "7"), ("Content-Length", "3"), ("Content-Length", "3")],
            "abc",
        );
        assert_eq!(head(&o, HostHeader::Sent), "POST /a?b HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\n");
        let none = outgoing(&[], "");
        assert_eq!(head(&none, HostHeader::Sent), "POST /a?b HTTP/1.1\r\nHost: localhost:3000\r\n\r\n");
    }
}
