//! Which of Healthie's two environments a delivery came from, told by its source address.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Healthie's environments, which are wholly separate; production carries patients' data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Healthie's sandbox.
    Staging,
    /// Healthie's production.
    Production,
    /// Not one of the published addresses.
    #[default]
    Unknown,
}

/// Source: Healthie's developer guide "Webhooks" (2026); the last one in the guide only, the others in the AI-Scribe guide too.
const STAGING: [Ipv4Addr; 3] =
    [Ipv4Addr::new(18, 206, 70, 225), Ipv4Addr::new(44, 195, 8, 253), Ipv4Addr::new(44, 198, 216, 125)];

/// Source: Healthie's developer guide "Webhooks" (2026) and AI-Scribe guide.
const PRODUCTION: [Ipv4Addr; 4] = [
    Ipv4Addr::new(52, 4, 158, 130),
    Ipv4Addr::new(3, 216, 152, 234),
    Ipv4Addr::new(54, 243, 233, 84),
    Ipv4Addr::new(50, 19, 211, 21),
];

impl Environment {
    /// The environment whose published addresses contain `source`.
    pub fn of(source: IpAddr) -> Environment {
        match source.to_canonical() {
            IpAddr::V4(ip) if STAGING.contains(&ip) => Environment::Staging,
            IpAddr::V4(ip) if PRODUCTION.contains(&ip) => Environment::Production,
            _ => Environment::Unknown,
        }
    }

    /// `staging`, `production` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Staging => "staging",
            Environment::Production => "production",
            Environment::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_count_too() {
        assert_eq!(Environment::of("::ffff:52.4.158.130".parse().unwrap()), Environment::Production);
        assert_eq!(Environment::of("44.198.216.125".parse().unwrap()), Environment::Staging);
        assert_eq!(Environment::of("127.0.0.1".parse().unwrap()), Environment::Unknown);
    }
}
