//! Where a request goes, from its Host and its target.

use healthie_relay::fuzzing::{Way, route};

use crate::cut::Cut;

const DOMAIN: &str = "relay.test";
/// The paths at which the relay answers for itself.
const OWN: [&str; 4] = ["/", "/healthz", "/readyz", "/metrics"];

/// Two lines: the Host and the target.
pub(crate) fn check(input: &[u8]) {
    let mut input = Cut(input);
    let (host, target) = (input.line(), String::from_utf8_lossy(input.line()).into_owned());
    let Some(way) = route(Some(host), &target, Some(DOMAIN)) else { return };
    let path = target.split('?').next().unwrap_or_default();
    match &way {
        Way::Tunnel(name, 0) => {
            let text = String::from_utf8_lossy(host).to_ascii_lowercase();
            let bare = text.rsplit_once(':').map_or(&*text, |(bare, _)| bare);
            let bare = bare.strip_suffix('.').unwrap_or(bare);
            assert_eq!(bare, format!("{name}.{DOMAIN}"));
            // Its target is the handler's alone.
            assert_eq!(route(Some(host), "/healthz", Some(DOMAIN)), Some(way.clone()));
            assert_eq!(route(Some(host), "/t/other/", Some(DOMAIN)), Some(way.clone()));
        }
        Way::Tunnel(name, len) => {
            assert_eq!(target.get(..*len), Some(&*format!("/t/{name}")));
            assert!(matches!(target.as_bytes().get(*len), None | Some(b'/' | b'?')), "{target}");
        }
        Way::Agent(Some(name)) => assert_eq!(path, format!("/agent/v1/{name}")),
        Way::Agent(None) => assert!(["/agent/v1", "/agent/v1/"].contains(&path), "{path}"),
        Way::Own => assert!(OWN.contains(&path), "{path}"),
        Way::Nothing => {}
    }
    if let Way::Tunnel(name, _) | Way::Agent(Some(name)) = &way {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!((1..=63).contains(&name.len()) && name.bytes().all(label), "{name:?}");
    }
    if OWN.contains(&path) {
        assert_eq!(route(None, &target, Some(DOMAIN)), Some(Way::Own), "{path}");
    }
    // The case of a host's letters never counts, and without a domain no host does.
    assert_eq!(route(Some(&host.to_ascii_uppercase()), &target, Some(DOMAIN)), Some(way));
    assert_eq!(route(Some(host), &target, None), route(None, &target, None));
}
