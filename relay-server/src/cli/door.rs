//! The settings of `serve` for its public door: HTTPS, certificates, proxies before it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::config::{Acme, AcmeBinding, AcmeChallenge, Https, PairFiles, Problem};
use crate::proxy::Proxies;
use crate::settings::addresses::{listener, mail, network};
use crate::settings::paths::path;
use crate::settings::units;

#[derive(Args)]
pub(super) struct Door {
    /// Serve HTTPS here, with certificates from --cert and --key or from --acme-name
    #[arg(long, value_name = "ADDR:PORT", value_parser = listener, env = "HEALTHIE_RELAY_HTTPS", help_heading = "TLS")]
    https: Option<SocketAddr>,
    /// Certificate chain for HTTPS, PEM; looked at each second, and a new one is taken over without a restart. More than one may be given, each
    /// with a --key; a visitor gets the one with the name he asks for, or the first
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_CERT", help_heading = "TLS")]
    cert: Vec<PathBuf>,
    /// Private key for HTTPS, PEM; one for each --cert, in the same order
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_KEY", help_heading = "TLS")]
    key: Vec<PathBuf>,
    /// Tell browsers for so long to come by HTTPS only (Strict-Transport-Security), without the names below; 0s tells them nothing. It binds everything else that
    /// is served under the name too
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::span_of("0s", "3650d"), help_heading = "TLS", env = "HEALTHIE_RELAY_HSTS")]
    hsts: Duration,
    /// Get a certificate for this name by ACME, and renew it; more than one name may be given, and *.DOMAIN with --acme-dns-hook
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "HEALTHIE_RELAY_ACME_NAME", help_heading = "ACME")]
    acme_name: Vec<String>,
    /// You agree to the terms of service of the ACME server
    #[arg(long, env = "HEALTHIE_RELAY_ACME_AGREE", help_heading = "ACME")]
    acme_agree: bool,
    /// A mail address that the ACME server may write to
    #[arg(
        long,
        value_name = "MAIL",
        value_parser = mail,
        value_delimiter = ',',
        env = "HEALTHIE_RELAY_ACME_CONTACT",
        help_heading = "ACME"
    )]
    acme_contact: Vec<String>,
    /// How the ACME server is shown that a name is yours; wildcards always by DNS
    #[arg(
        long,
        value_name = "WAY",
        default_value = "tls-alpn",
        env = "HEALTHIE_RELAY_ACME_CHALLENGE",
        help_heading = "ACME"
    )]
    acme_challenge: AcmeChallenge,
    /// The ACME server's directory
    #[arg(long, value_name = "URL", default_value = Acme::LETS_ENCRYPT, env = "HEALTHIE_RELAY_ACME_DIRECTORY", help_heading = "ACME")]
    acme_directory: String,
    /// Trust the ACME server by the authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_ACME_ROOT", help_heading = "ACME")]
    acme_root: Option<PathBuf>,
    /// Program that proves names by DNS: called as PROGRAM set|clear RECORD VALUE, for TXT records; must leave other values of a record alone
    #[arg(long, value_name = "PROGRAM", value_parser = path(), env = "HEALTHIE_RELAY_ACME_DNS_HOOK", help_heading = "ACME")]
    acme_dns_hook: Option<PathBuf>,
    /// Longest time that one call of that program may take
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = units::span_of("1s", "1h"), help_heading = "ACME", env = "HEALTHIE_RELAY_ACME_DNS_HOOK_TIME")]
    acme_dns_hook_time: Duration,
    /// How long to wait until new DNS records are seen everywhere
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::span_of("0s", "1h"), help_heading = "ACME", env = "HEALTHIE_RELAY_ACME_DNS_WAIT")]
    acme_dns_wait: Duration,
    /// Your account with the owner of the ACME server, where that wants one (external account binding)
    #[arg(long, value_name = "ID", env = "HEALTHIE_RELAY_ACME_EAB_ID", help_heading = "ACME")]
    acme_eab_id: Option<String>,
    /// File with the key of that account, in base64url
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_ACME_EAB_KEY_FILE", help_heading = "ACME")]
    acme_eab_key_file: Option<PathBuf>,
    /// Addresses of proxies of yours, as ADDR/BITS: believe their X-Forwarded-For and X-Forwarded-Proto, and nobody else's
    #[arg(long, value_name = "CIDR", value_parser = own_network, value_delimiter = ',', env = "HEALTHIE_RELAY_TRUSTED_PROXY", help_heading = "Proxies")]
    trusted_proxy: Vec<IpNet>,
    /// Serve /healthz, /readyz and /metrics here, by plain HTTP, and nothing else: for you and your Prometheus, not for the world
    #[arg(long, value_name = "ADDR:PORT", value_parser = listener, env = "HEALTHIE_RELAY_ADMIN")]
    pub(super) admin: Option<SocketAddr>,
    /// Show /metrics on the public listeners to these addresses, as ADDR/BITS; nobody else finds it there. Behind a proxy of yours its address counts,
    /// unless it is a --trusted-proxy
    #[arg(long, value_name = "CIDR", value_parser = network, value_delimiter = ',', env = "HEALTHIE_RELAY_METRICS_FROM")]
    pub(super) metrics_from: Vec<IpNet>,
    /// These listeners are reached from trusted proxies by the PROXY protocol, version 1 or 2
    #[arg(
        long,
        value_name = "LISTENER",
        value_delimiter = ',',
        env = "HEALTHIE_RELAY_PROXY_PROTOCOL",
        help_heading = "Proxies"
    )]
    proxy_protocol: Vec<Listener>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Listener {
    /// all that --http gives
    Http,
    /// the one that --https gives
    Https,
}

/// A network that one operator may have to himself. None is wider than the widest private ones; whoever lives in what is trusted may name any address as his.
fn own_network(text: &str) -> Result<IpNet, String> {
    let network = network(text)?;
    let (wide, private) = match network {
        IpNet::V4(_) => (network.prefix_len() < 8, "10.0.0.0/8"),
        IpNet::V6(_) => (network.prefix_len() < 7, "fc00::/7"),
    };
    if wide {
        let why = "everybody in it could then claim any address";
        return Err(format!(
            "{network} is wider than any network of one operator ({private}) and {why}; name your proxies, such as 10.1.2.3"
        ));
    }
    Ok(network)
}

impl Door {
    pub(super) fn proxies(&self) -> Proxies {
        Proxies {
            trusted: self.trusted_proxy.clone(),
            preface_on_http: self.proxy_protocol.contains(&Listener::Http),
            preface_on_https: self.proxy_protocol.contains(&Listener::Https),
        }
    }

    /// The HTTPS listener; what contradicts itself goes to `wrong`, and what is given back is as near as can be.
    pub(super) fn https(self, wrong: &mut Vec<Problem>) -> Option<Https> {
        if self.cert.len() != self.key.len() {
            let counted = format!("{} times --cert and {} times --key", self.cert.len(), self.key.len());
            wrong.push(Problem::of(&["cert", "key"], format!("{counted}: each goes with one")));
        }
        if self.https.is_none() {
            const USELESS: [&[&str]; 3] = [&["cert", "https"], &["key", "https"], &["acme-name", "https"]];
            let given = [!self.cert.is_empty(), !self.key.is_empty(), !self.acme_name.is_empty()];
            for (of, _) in USELESS.into_iter().zip(given).filter(|(_, given)| *given) {
                wrong.push(Problem::of(of, format!("--{} is of no use without --https", of[0])));
            }
        }
        let binding = match (self.acme_eab_id, self.acme_eab_key_file) {
            (Some(id), Some(file)) => match key(&file) {
                Ok(key) => Some(AcmeBinding { id, key }),
                Err(problem) => {
                    wrong.push(Problem::of(&["acme-eab-key-file"], problem));
                    None
                }
            },
            (None, None) => None,
            _ => {
                let both = "--acme-eab-id and --acme-eab-key-file go together: give both or none";
                wrong.push(Problem::of(&["acme-eab-id", "acme-eab-key-file"], both));
                None
            }
        };
        let addr = self.https?;
        let acme = (!self.acme_name.is_empty()).then(|| Acme {
            names: self.acme_name.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
            directory: self.acme_directory,
            contacts: self.acme_contact,
            agreed: self.acme_agree,
            challenge: self.acme_challenge,
            root: self.acme_root,
            binding,
            dns_hook: self.acme_dns_hook,
            dns_hook_time: self.acme_dns_hook_time,
            dns_wait: self.acme_dns_wait,
        });
        let pairs = self.cert.into_iter().zip(self.key).map(|(cert, key)| PairFiles { cert, key }).collect();
        Some(Https { addr, pairs, acme, look_every: Https::LOOK_EVERY, hsts: self.hsts })
    }
}

fn key(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|e| format!("cannot read --acme-eab-key-file {}: {e}", file.display()))?;
    let key = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    key.map(Zeroizing::new).map_err(|_| format!("--acme-eab-key-file {} is not base64url", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_everybody_is_a_trusted_proxy() {
        for text in ["10.0.0.0/8", "192.0.2.1", "fc00::/7", "2001:db8::/32"] {
            assert!(own_network(text).is_ok(), "{text}");
        }
        for text in ["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3", "::ffff:0:0/96"] {
            assert!(own_network(text).unwrap_err().contains("name your proxies"), "{text}");
        }
    }
}
