//! Networks and mail addresses as people write them, for every flag and key of the relay. Pure.
//!
//! What can be meant in two ways is refused: on a network hangs who is believed and who is bounded.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use crate::route::Domain;

/// The longest mail address (RFC 5321, section 4.5.3.1.3, less the brackets).
const LONGEST_MAIL: usize = 254;

/// For clap: a network, or a single address. IPv4 in the clothes of IPv6 is IPv4, as it is everywhere in the relay.
///
/// # Errors
/// It is neither, or it is an address that stands for a network: `10.0.0.1/8` is one of 16 million addresses or all of them.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| "write it like 192.0.2.0/24, 10.0.0.1 or 2001:db8::/32".to_owned())?;
    unambiguous(network)?;
    let mapped = network.prefix_len().checked_sub(96).and_then(|len| match network.addr() {
        IpAddr::V6(six) => Ipv4Net::new(six.to_ipv4_mapped()?, len).ok(),
        IpAddr::V4(_) => None,
    });
    Ok(mapped.map_or(network, IpNet::from))
}

/// For clap: an address and a port to listen on.
///
/// # Errors
/// How it is written.
pub(crate) fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write ADDRESS:PORT with an address in figures, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

/// Whether an address with a length is a network and not a host in one.
///
/// # Errors
/// It is such a host, and what may have been meant.
pub(crate) fn unambiguous(network: IpNet) -> Result<(), String> {
    let (whole, address, bits) = (network.trunc(), network.addr(), network.prefix_len());
    if whole.addr() == address {
        return Ok(());
    }
    Err(format!(
        "{network} is an address with the length of a network, and it goes on behind its {bits} bits: write {whole} for all of that network, or {address} for the one address"
    ))
}

/// For clap: a mail address that an ACME server can be told: one, without a name or a scheme before it, of letters that need no quoting (RFC 8555, section 7.3).
///
/// # Errors
/// What was expected.
pub(crate) fn mail(text: &str) -> Result<String, String> {
    let local = |name: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!$'*+-._~".contains(&b);
        !name.is_empty() && name.bytes().all(fits) && name.split('.').all(|part| !part.is_empty())
    };
    let domain =
        |name: &str| Domain::new(name).is_some_and(|read| read.as_str().len() == name.len()) && name.contains('.');
    let is_one = text.split_once('@').is_some_and(|(name, at)| local(name) && domain(at));
    if is_one && text.len() <= LONGEST_MAIL {
        return Ok(text.to_owned());
    }
    Err("write a mail address like ops@example.com".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_in_other_clothes_is_the_same() {
        for (text, read) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), read, "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0", "relay.test"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_with_the_length_of_a_network_could_be_meant_in_two_ways() {
        for (text, one, other) in [
            ("10.0.0.1/8", "10.0.0.0/8", "10.0.0.1"),
            ("0.0.0.1/0", "0.0.0.0/0", "0.0.0.1"),
            ("2001:db8::1/32", "2001:db8::/32", "2001:db8::1"),
            ("::ffff:10.0.0.1/104", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1"),
        ] {
            let told = network(text).unwrap_err();
            assert!(told.contains(&format!("write {one} for")) && told.contains(&format!("or {other} for")), "{told}");
        }
    }

    #[test]
    fn a_mail_address_is_one_that_an_acme_server_can_write_to() {
        for text in ["ops@example.com", "first.last+relay@mail.example.co.uk", "o'neill@xn--bcher-kva.example"] {
            assert_eq!(mail(text).as_deref(), Ok(text));
        }
        let long = format!("{}@example.com", "a".repeat(300));
        for text in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops@localhost",
            "ops@example.com.",
            "ops@.example.com",
            "ops@exa mple.com",
            "mailto:ops@example.com",
            "Ops <ops@example.com>",
            "a@example.com,b@example.com",
            "a@b@example.com",
            "ops@example.com?subject=x",
            "a..b@example.com",
            "ops%00@example.com",
            "öps@example.com",
            &long,
        ] {
            assert!(mail(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,40}") {
            let _ = (network(&text), mail(&text));
        }

        #[test]
        fn what_is_taken_is_all_that_was_written(bits in any::<u32>(), length in 0_u8..=32) {
            let text = format!("{}/{length}", std::net::Ipv4Addr::from(bits));
            let exact = bits.checked_shl(u32::from(length)).unwrap_or(0) == 0;
            prop_assert_eq!(network(&text).is_ok(), exact);
        }
    }
}
