//! From where a tunnel takes deliveries: anywhere, or networks and Healthie's published addresses. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tunnel_delivery::Environment;

/// Where deliveries may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The addresses that Healthie publishes for its sandbox.
    HealthieStaging,
    /// The addresses that Healthie publishes for production.
    HealthieProduction,
    /// A network.
    Network(IpNet),
}

const STAGING: &str = "healthie-staging";
const PRODUCTION: &str = "healthie-production";

impl Source {
    /// Whether a delivery that comes from there is one of these.
    pub fn contains(self, address: IpAddr) -> bool {
        match self {
            Source::HealthieStaging => Environment::of(address) == Environment::Staging,
            Source::HealthieProduction => Environment::of(address) == Environment::Production,
            Source::Network(network) => network.contains(&address.to_canonical()),
        }
    }

    /// Whether a tunnel with this list takes a delivery that comes from there. An empty list takes all.
    pub fn admit(list: &[Source], address: IpAddr) -> bool {
        list.is_empty() || list.iter().any(|source| source.contains(address))
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let address = || text.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical()));
        match text {
            STAGING => Ok(Source::HealthieStaging),
            PRODUCTION => Ok(Source::HealthieProduction),
            _ => text.parse::<IpNet>().ok().or_else(address).map(|n| Source::Network(n.trunc())).ok_or_else(|| {
                format!("{text:?} is no source: write {STAGING}, {PRODUCTION}, an address or a network such as 192.0.2.0/24")
            }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::HealthieStaging => f.write_str(STAGING),
            Source::HealthieProduction => f.write_str(PRODUCTION),
            Source::Network(network) => network.fmt(f),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Source, String> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> String {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(list: &str, address: &str) -> bool {
        let list: Vec<Source> = list.split_whitespace().map(|s| s.parse().unwrap()).collect();
        Source::admit(&list, address.parse().unwrap())
    }

    #[test]
    fn presets_networks_and_addresses() {
        assert!(admits("", "8.8.8.8"));
        assert!(admits("healthie-staging", "18.206.70.225"));
        assert!(!admits("healthie-staging", "52.4.158.130"));
        assert!(admits("healthie-staging healthie-production", "52.4.158.130"));
        assert!(admits("healthie-production", "::ffff:52.4.158.130"));
        assert!(admits("192.0.2.0/24 2001:db8::/32", "2001:db8::1"));
        assert!(admits("192.0.2.77/24", "192.0.2.1"), "bits beyond the length do not count");
        assert!(admits("192.0.2.7", "192.0.2.7") && !admits("192.0.2.7", "192.0.2.8"));
        for bad in ["", "healthie", "any", "192.0.2.0/33", "192.0.2", "10.0.0.0/8 "] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(address: [u8; 4], length in 0_u8..=32) {
            let source = Source::Network(IpNet::new(IpAddr::from(address), length).unwrap().trunc());
            prop_assert_eq!(source.to_string().parse(), Ok(source));
            let json = serde_json::to_string(&source).unwrap();
            prop_assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        }
    }
}
