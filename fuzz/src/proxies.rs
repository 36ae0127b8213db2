//! What proxies say about who sends: the PROXY protocol and X-Forwarded-For.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use healthie_relay::fuzzing::{origin, preface as read};
use ipnet::IpNet;
use tunnel_delivery::Headers;

use crate::cut::Cut;

/// The longest preface that is taken, in bytes.
const MAX: usize = 4096;

/// A preface is read alike however it comes, never further than its end, and gives the address that it plainly has.
pub(crate) fn preface(stream: &[u8]) {
    let (outcome, taken) = read(stream, usize::MAX);
    assert!(taken <= stream.len().min(MAX));
    // What is no preface may be seen sooner.
    let slowly = read(stream, 1);
    assert_eq!(slowly.0, outcome, "byte by byte it is read otherwise");
    assert!(slowly.1 == taken || matches!(outcome, Some(Err(_))), "byte by byte another number of bytes is taken");
    match outcome {
        Some(Ok(address)) => {
            assert_eq!(plain(&stream[..taken]), Some(address), "{:?}", &stream[..taken]);
            // What follows is not looked at, and what is cut off is not a preface.
            assert_eq!(read(&[&stream[..taken], b"GET / HTTP/1.1\r\n"].concat(), 7), (outcome, taken));
            assert_eq!(read(&stream[..taken - 1], usize::MAX).0, None);
        }
        Some(Err(_)) => {
            let more = [stream, b"\r\n"].concat();
            assert_eq!(read(&more, usize::MAX).0, outcome, "a bad one became good");
        }
        None => assert_eq!(taken, stream.len()),
    }
}

/// The address in a whole preface, read with nothing in mind but its description; `None` where it is none.
#[expect(clippy::option_option, reason = "no preface, one without an address, one with it")]
fn plain(preface: &[u8]) -> Option<Option<IpAddr>> {
    if let Some(rest) = preface.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n") {
        let (&[command, family, high, low], rest) = rest.split_first_chunk::<4>()?;
        if rest.len() != usize::from(high) << 8 | usize::from(low) {
            return None;
        }
        return match (command, family) {
            (0x20, _) | (0x21, 0x00) => Some(None),
            (0x21, 0x11) if rest.len() >= 12 => Some(Some(Ipv4Addr::from(*rest.first_chunk::<4>()?).into())),
            (0x21, 0x21) if rest.len() >= 36 => {
                Some(Some(IpAddr::from(Ipv6Addr::from(*rest.first_chunk::<16>()?)).to_canonical()))
            }
            _ => None,
        };
    }
    let line = std::str::from_utf8(preface).ok()?.strip_suffix("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    let ports = |ports: &[&str]| ports.iter().all(|port| port.parse::<u16>().is_ok_and(|n| n.to_string() == **port));
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", from, to, a, b] if ports(&[a, b]) && to.parse::<Ipv4Addr>().is_ok() => {
            Some(Some(from.parse::<Ipv4Addr>().ok()?.into()))
        }
        ["PROXY", "TCP6", from, to, a, b] if ports(&[a, b]) && to.parse::<Ipv6Addr>().is_ok() => {
            Some(Some(IpAddr::from(from.parse::<Ipv6Addr>().ok()?).to_canonical()))
        }
        _ => None,
    }
}

/// Header lines of a request that came from a stranger, then from a proxy that is trusted.
pub(crate) fn forwarded(input: &[u8]) {
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("it is a network"));
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut lines = Cut(input);
    let mut headers = Headers::default();
    while !lines.0.is_empty() {
        let line = lines.line();
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        headers.push(line[..colon].to_vec(), line.get(colon + 1..).unwrap_or_default().to_vec());
    }
    let stranger: IpAddr = Ipv4Addr::new(8, 8, 8, 8).into();
    assert_eq!(origin(&trusted, stranger, &headers), (stranger, None), "a stranger was believed");
    let proxy: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    assert_eq!(origin(&[], proxy, &headers), (proxy, None), "nobody is trusted, and somebody was believed");
    let (source, https) = origin(&trusted, proxy, &headers);
    // What stands further to the left than an address that is not trusted was written by whoever has that address.
    if !trusts(source) {
        let mut forged = Headers::default();
        forged.push("X-Forwarded-For", "1.2.3.4");
        forged.0.extend(headers.0.iter().cloned());
        assert_eq!(origin(&trusted, proxy, &forged), (source, https), "a forged hop was believed");
    }
}
