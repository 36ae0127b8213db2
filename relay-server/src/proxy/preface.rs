//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): what a proxy says first on a connection about who is at
//! its other end. The reading is strict and pure, and never takes a byte more than the preface has: what follows is TLS's or HTTP's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const PROXY: &[u8] = b"PROXY ";
/// The longest line of version 1 with its end, in bytes (section 2.1).
const LINE_MAX: usize = 107;
/// The shortest, `PROXY UNKNOWN` with its end.
const LINE_MIN: usize = 15;
/// The longest of version 2, in bytes. Addresses take 216 at most; the rest is for extensions, which are not looked at.
const MAX: usize = 4096;

/// Who is at the other end of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// This address.
    At(IpAddr),
    /// The proxy itself (its check whether we are there), or somebody it does not know: who connected is who sends.
    Peer,
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many more bytes belong to the preface for certain, and none is to be read beyond them.
    Read(usize),
    Done(Client),
    Bad(&'static str),
}

/// What to do after these bytes.
pub(crate) fn step(bytes: &[u8]) -> Step {
    let len = bytes.len().min(SIGNATURE.len());
    if bytes[..len] == SIGNATURE[..len] && len > 0 {
        return version2(bytes);
    }
    let len = bytes.len().min(PROXY.len());
    if bytes[..len] == PROXY[..len] { version1(bytes) } else { Step::Bad("it does not begin with a PROXY preface") }
}

fn version1(bytes: &[u8]) -> Step {
    if bytes.len() < LINE_MIN {
        // No line is shorter than this. The first bytes come alone, so that what is no preface at all is seen at once.
        return Step::Read(if bytes.is_empty() { PROXY.len() } else { LINE_MIN - bytes.len() });
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let ended = bytes.iter().position(|b| *b == b'\n').is_some();
        return match () {
            () if ended => Step::Bad("its line does not end in CR LF"),
            () if bytes.len() >= LINE_MAX => Step::Bad("its line is too long"),
            () => Step::Read(1),
        };
    };
    match line_of(line) {
        Some(client) => Step::Done(client),
        None => Step::Bad("its line is not well formed"),
    }
}

fn line_of(line: &[u8]) -> Option<Client> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|b| (b' '..=b'~').contains(&b)))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored (section 2.1).
        return Some(Client::Peer);
    }
    let (source, target) = (words.next()?, words.next()?);
    let source = match family {
        "TCP4" => {
            let _: Ipv4Addr = target.parse().ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            let _: Ipv6Addr = target.parse().ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    port(words.next()?)?;
    port(words.next()?)?;
    words.next().is_none().then_some(Client::At(source.to_canonical()))
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn version2(bytes: &[u8]) -> Step {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        return Step::Read(if bytes.len() < SIGNATURE.len() {
            SIGNATURE.len() - bytes.len()
        } else {
            16 - bytes.len()
        });
    };
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[12] >> 4 != 2 {
        return Step::Bad("its version is neither 1 nor 2");
    }
    if len + head.len() > MAX {
        return Step::Bad("it is too long");
    }
    let needed = match (head[12] & 15, head[13]) {
        (0, _) => 0,
        (1, 0x11) => 12,
        (1, 0x21) => 36,
        (1, 0x00) => 0,
        (1, _) => return Step::Bad("it is of neither TCP over IPv4 nor TCP over IPv6"),
        _ => return Step::Bad("its command is unknown"),
    };
    if len < needed {
        return Step::Bad("its addresses are cut off");
    }
    if rest.len() < len {
        return Step::Read(len - rest.len());
    }
    Step::Done(match needed {
        12 => Client::At(IpAddr::from([rest[0], rest[1], rest[2], rest[3]])),
        36 => match rest.first_chunk::<16>() {
            Some(source) => Client::At(IpAddr::from(*source).to_canonical()),
            None => Client::Peer,
        },
        _ => Client::Peer,
    })
}

/// Reads the preface of a connection, and nothing else of it.
///
/// # Errors
/// The connection breaks off, or there is no good preface; the text says what is wrong.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Client> {
    let mut bytes = Vec::with_capacity(64);
    loop {
        match step(&bytes) {
            Step::Done(client) => return Ok(client),
            Step::Bad(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            Step::Read(more) => {
                let at = bytes.len();
                bytes.resize(at + more, 0);
                let read = stream.read(&mut bytes[at..]).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes.truncate(at + read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds a stream to the reading, so many bytes at a time at most; what came of it and how much was taken.
    fn feed(stream: &[u8], at_a_time: usize) -> (Option<Result<Client, &'static str>>, usize) {
        let mut taken = 0;
        loop {
            match step(&stream[..taken]) {
                Step::Done(client) => return (Some(Ok(client)), taken),
                Step::Bad(why) => return (Some(Err(why)), taken),
                Step::Read(more) => {
                    assert!(more > 0 && more <= MAX);
                    let now = more.min(at_a_time).min(stream.len() - taken);
                    if now == 0 {
                        return (None, taken);
                    }
                    taken += now;
                }
            }
        }
    }

    fn whole(stream: &[u8]) -> Result<Client, &'static str> {
        feed(stream, usize::MAX).0.unwrap_or(Err("cut off"))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &len, addresses].concat()
    }

    fn at(address: &str) -> Result<Client, &'static str> {
        Ok(Client::At(address.parse().unwrap()))
    }

    #[test]
    fn lines_of_version_1() {
        assert_eq!(whole(b"PROXY TCP4 52.4.158.130 10.0.0.1 5 443\r\nGET"), at("52.4.158.130"));
        assert_eq!(whole(b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), at("2001:db8::1"));
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Ok(Client::Peer));
        assert_eq!(whole(b"PROXY UNKNOWN ffff:f...f:ffff 1 2 3\r\n"), Ok(Client::Peer));
        for bad in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 5 443\n",
            "PROXY  TCP4 52.4.158.130 10.0.0.1 5 443\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 5\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 5 443 \r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 5 65536\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 +5 443\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 05 443\r\n",
            "PROXY TCP4 ::1 ::1 5 443\r\n",
            "PROXY TCP6 1.1.1.1 ::1 5 443\r\n",
            "PROXY TCP4 052.4.158.130 10.0.0.1 5 443\r\n",
            "PROXY UDP4 52.4.158.130 10.0.0.1 5 443\r\n",
            "proxy TCP4 52.4.158.130 10.0.0.1 5 443\r\n",
            "PROXY TCP4 52.4.158.130 10.0.0.1 5 4\n43\r\n",
        ] {
            assert!(whole(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        assert_eq!(feed(long.as_bytes(), usize::MAX), (Some(Err("its line is too long")), LINE_MAX));
    }

    #[test]
    fn version_2() {
        let addresses = [52, 4, 158, 130, 10, 0, 0, 1, 0, 5, 1, 187];
        assert_eq!(whole(&v2(1, 0x11, &addresses)), at("52.4.158.130"));
        let with_extension = [&addresses[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(whole(&v2(1, 0x11, &with_extension)), at("52.4.158.130"));
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(whole(&v2(1, 0x21, &six)), at("2001:db8::1"));
        assert_eq!(whole(&v2(0, 0, &[])), Ok(Client::Peer));
        assert_eq!(whole(&v2(0, 0x11, &addresses)), Ok(Client::Peer));
        assert_eq!(whole(&v2(1, 0, &[])), Ok(Client::Peer));
        assert!(whole(&v2(1, 0x11, &addresses[..11])).is_err());
        assert!(whole(&v2(2, 0x11, &addresses)).is_err());
        assert!(whole(&v2(1, 0x31, &[0; 216])).is_err());
        assert!(whole(&v2(1, 0x12, &addresses)).is_err());
        let long = v2(1, 0x11, &[0; 60_000]);
        assert_eq!(feed(&long, usize::MAX), (Some(Err("it is too long")), 16));
        let mut other = v2(1, 0x11, &addresses);
        other[12] = 0x11;
        assert!(whole(&other).is_err());
    }

    fn preface() -> impl Strategy<Value = (Vec<u8>, IpAddr)> {
        let ports = any::<(u16, u16)>();
        let one4 = (any::<[u8; 4]>(), ports).prop_map(|(ip, (a, b))| {
            let ip = Ipv4Addr::from(ip);
            (format!("PROXY TCP4 {ip} 10.0.0.1 {a} {b}\r\n").into_bytes(), IpAddr::from(ip))
        });
        let one6 = (any::<[u8; 16]>(), ports).prop_map(|(ip, (a, b))| {
            let ip = Ipv6Addr::from(ip);
            (format!("PROXY TCP6 {ip} ::1 {a} {b}\r\n").into_bytes(), IpAddr::from(ip).to_canonical())
        });
        let more = || proptest::collection::vec(any::<u8>(), 0..300);
        let two4 = (any::<[u8; 12]>(), more())
            .prop_map(|(a, more)| (v2(1, 0x11, &[&a[..], &more].concat()), IpAddr::from([a[0], a[1], a[2], a[3]])));
        let two6 = (any::<[u8; 16]>(), any::<[u8; 20]>(), more()).prop_map(|(ip, rest, more)| {
            (v2(1, 0x21, &[&ip[..], &rest, &more].concat()), IpAddr::from(ip).to_canonical())
        });
        prop_oneof![one4, one6, two4, two6]
    }

    proptest! {
        #[test]
        fn a_preface_is_read_to_its_last_byte_and_no_further(
            (preface, ip) in preface(),
            after in proptest::collection::vec(any::<u8>(), 0..40),
            at_a_time in 1..50usize,
        ) {
            let stream = [&preface[..], &after].concat();
            prop_assert_eq!(feed(&stream, at_a_time), (Some(Ok(Client::At(ip))), preface.len()));
        }

        #[test]
        fn one_that_is_cut_off_is_never_done((preface, _) in preface(), cut in any::<prop::sample::Index>()) {
            prop_assert_eq!(feed(&preface[..cut.index(preface.len())], 7).0, None);
        }

        #[test]
        fn anything_at_all_is_answered_within_bounds(stream in proptest::collection::vec(any::<u8>(), 0..300), begin in 0..3usize) {
            let begin: &[u8] = [&b""[..], b"PROXY ", &SIGNATURE][begin];
            let (_, taken) = feed(&[begin, &stream].concat(), usize::MAX);
            prop_assert!(taken <= MAX);
        }
    }
}
