//! The bounds on what strangers may do, as flags of `serve`, each with the range that makes sense.

use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use crate::config::{FRAME_LEAST, Limits};
use crate::http::head::MAX_LINES;
use crate::rates::Rate;
use crate::settings::addresses::network;
use crate::settings::units::{count_of, size_of, span_of};
use tunnel_protocol::{MAX_ANSWER, MAX_BODY, MAX_FRAME, MAX_HEAD};
use tunnel_spool::MAX_DEVICES;

/// The most connections and agents that anybody sets, more than a machine has ports for.
const MOST: usize = 10_000_000;
/// The shortest bound for a body: below that a relay takes nothing that Healthie sends.
const LEAST_BODY: u64 = 1 << 10;

/// Defines [`Bounds`] and how it becomes [`Limits`], one line for each flag: the field, its flag, its environment variable, what it is in the help, how it is read
/// and the default as it is written.
macro_rules! bounds {
    ($($(#[doc = $help:literal])* $field:ident: $type:ty = $default:literal, $flag:literal, $env:literal, $value:literal, $parser:expr;)*) => {
        #[derive(Args, Debug)]
        #[command(next_help_heading = "Limits")]
        pub(super) struct Bounds {
            $(
                $(#[doc = $help])*
                #[arg(long = $flag, env = $env, value_name = $value, default_value = $default, value_parser = $parser)]
                $field: $type,
            )*
            /// Set no bounds for each address for this network; may be given more than once. Healthie's addresses and trusted proxies need not be named
            #[arg(long = "unlimited", env = "HEALTHIE_RELAY_UNLIMITED", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
            unlimited: Vec<IpNet>,
        }
    };
}

bounds! {
    /// Longest body of a delivery; a tunnel may have a shorter one
    body: u64 = "1MiB", "max-body", "HEALTHIE_RELAY_MAX_BODY", "SIZE", size_of(LEAST_BODY, MAX_BODY);
    /// Most that is held at once, heads and bodies, of all deliveries that are not answered yet; beyond it 503
    bodies: u64 = "256MiB", "max-bodies", "HEALTHIE_RELAY_MAX_BODIES", "SIZE", size_of(LEAST_BODY, 1 << 40);
    /// Longest head of a request
    head_bytes: u64 = "32KiB", "max-head", "HEALTHIE_RELAY_MAX_HEAD", "SIZE", size_of(1 << 10, MAX_HEAD as u64);
    /// Most header lines of a request
    head_lines: usize = "100", "max-head-lines", "HEALTHIE_RELAY_MAX_HEAD_LINES", "N", count_of(8, MAX_LINES);
    /// How long a head may take to come, once it has begun
    head_time: Duration = "10s", "head-time", "HEALTHIE_RELAY_HEAD_TIME", "TIME", span_of("100ms", "1h");
    /// How long a connection may wait for its first or next request
    idle_time: Duration = "30s", "idle-time", "HEALTHIE_RELAY_IDLE_TIME", "TIME", span_of("100ms", "1d");
    /// How long a body may take to come
    body_time: Duration = "30s", "body-time", "HEALTHIE_RELAY_BODY_TIME", "TIME", span_of("100ms", "1h");
    /// How much of a body must come each second at least, after the first five; 0 for any
    body_rate: u64 = "1KiB", "body-rate", "HEALTHIE_RELAY_BODY_RATE", "SIZE", size_of(0, 1 << 30);
    /// How long a sender may take to take its answer, and an agent to take anything it is sent
    write_time: Duration = "20s", "write-time", "HEALTHIE_RELAY_WRITE_TIME", "TIME", span_of("100ms", "1h");
    /// How long TLS may take to be set up, and a proxy to say who sends
    handshake_time: Duration = "10s", "handshake-time", "HEALTHIE_RELAY_HANDSHAKE_TIME", "TIME", span_of("100ms", "10m");
    /// How long an agent may take to say hello
    hello_time: Duration = "10s", "hello-time", "HEALTHIE_RELAY_HELLO_TIME", "TIME", span_of("100ms", "10m");
    /// How long the other end's network may take nothing of what was sent until the system gives the connection up, also one that is closed already
    network_time: Duration = "30s", "network-time", "HEALTHIE_RELAY_NETWORK_TIME", "TIME", span_of("1s", "1h");
    /// Most connections at once, agents not included; when all are taken, the one that is worth the least has to go
    connections: usize = "8000", "max-connections", "HEALTHIE_RELAY_MAX_CONNECTIONS", "N", count_of(1, MOST);
    /// Most connections from one address at once, or from one /64 of IPv6, agents not included
    connections_per_address: usize = "256", "max-connections-per-address", "HEALTHIE_RELAY_MAX_CONNECTIONS_PER_ADDRESS", "N", count_of(1, MOST);
    /// Most requests at once on one connection of HTTP/2
    streams: u32 = "100", "max-streams", "HEALTHIE_RELAY_MAX_STREAMS", "N", count_of(1_u32, 10_000);
    /// Most requests that one connection of HTTP/2 may give up before they are answered
    resets: u32 = "100", "max-resets", "HEALTHIE_RELAY_MAX_RESETS", "N", count_of(1_u32, 1_000_000);
    /// Most requests a second from one address in the long run; 0 for any; beyond it 429
    address_rate: u32 = "200", "address-rate", "HEALTHIE_RELAY_ADDRESS_RATE", "N", count_of(0_u32, 1_000_000);
    /// Most requests from one address at once, after a pause
    address_burst: u32 = "2000", "address-burst", "HEALTHIE_RELAY_ADDRESS_BURST", "N", count_of(1_u32, 1_000_000);
    /// Most TLS handshakes a second from one address in the long run, ten times as many at once after a pause; 0 for any; beyond it the connection is closed
    address_handshakes: u32 = "100", "address-handshakes", "HEALTHIE_RELAY_ADDRESS_HANDSHAKES", "N", count_of(0_u32, 100_000);
    /// Most TLS handshakes a second of all, Healthie's left out; 0 for any; beyond it they wait their turn, for --handshake-time at most
    handshakes: u32 = "2000", "max-handshakes", "HEALTHIE_RELAY_MAX_HANDSHAKES", "N", count_of(0_u32, 1_000_000);
    /// Most deliveries a second for one tunnel in the long run, Healthie's and all others counted apart; 0 for any; beyond it 429
    tunnel_rate: u32 = "500", "tunnel-rate", "HEALTHIE_RELAY_TUNNEL_RATE", "N", count_of(0_u32, 1_000_000);
    /// Most deliveries for one tunnel at once, after a pause
    tunnel_burst: u32 = "5000", "tunnel-burst", "HEALTHIE_RELAY_TUNNEL_BURST", "N", count_of(1_u32, 1_000_000);
    /// Longest body of a handler's answer that is carried back in passthrough; a longer one is left out, its status not
    answer: u64 = "64KiB", "max-answer", "HEALTHIE_RELAY_MAX_ANSWER", "SIZE", size_of(0, MAX_ANSWER);
    /// Most agents at once, of all tunnels
    agents: usize = "11000", "max-agents", "HEALTHIE_RELAY_MAX_AGENTS", "N", count_of(1, MOST);
    /// Most agents of one tunnel at once
    agents_per_tunnel: usize = "32", "max-agents-per-tunnel", "HEALTHIE_RELAY_MAX_AGENTS_PER_TUNNEL", "N", count_of(1, MOST);
    /// Most devices that one tunnel keeps deliveries for; at most 64
    devices_per_tunnel: usize = "64", "max-devices-per-tunnel", "HEALTHIE_RELAY_MAX_DEVICES_PER_TUNNEL", "N", count_of(1, MAX_DEVICES);
    /// Longest WebSocket frame that an agent may send, from 64KiB to 256KiB
    frame: u64 = "256KiB", "max-frame", "HEALTHIE_RELAY_MAX_FRAME", "SIZE", size_of(FRAME_LEAST as u64, MAX_FRAME as u64);
    /// Wrong tokens that each address may try in a minute; more are answered 429, while good ones from there still get in
    failed_attempts: u32 = "20", "failed-attempts", "HEALTHIE_RELAY_FAILED_ATTEMPTS", "N", count_of(1_u32, 1_000_000);
    /// How long to hear nothing from an agent before asking whether it is there
    heartbeat: Duration = "3s", "heartbeat", "HEALTHIE_RELAY_HEARTBEAT", "TIME", span_of("100ms", "10m");
    /// How long to hear nothing from an agent before giving it up
    dead_after: Duration = "8s", "dead-after", "HEALTHIE_RELAY_DEAD_AFTER", "TIME", span_of("100ms", "1h");
    /// How long a stop waits for what is under way
    drain: Duration = "20s", "drain-time", "HEALTHIE_RELAY_DRAIN_TIME", "TIME", span_of("100ms", "1h");
}

impl Bounds {
    pub(super) fn limits(self) -> Limits {
        let whole = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            body: self.body,
            bodies: self.bodies,
            head_bytes: whole(self.head_bytes),
            head_lines: self.head_lines,
            head_time: self.head_time,
            idle_time: self.idle_time,
            body_time: self.body_time,
            body_rate: self.body_rate,
            write_time: self.write_time,
            network_time: self.network_time,
            tls_time: self.handshake_time,
            hello_time: self.hello_time,
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            unlimited: self.unlimited,
            streams: self.streams,
            resets: self.resets,
            address_rate: Rate { per_second: self.address_rate, burst: self.address_burst },
            address_handshakes: Rate {
                per_second: self.address_handshakes,
                burst: self.address_handshakes.saturating_mul(10),
            },
            handshakes: self.handshakes,
            tunnel_rate: Rate { per_second: self.tunnel_rate, burst: self.tunnel_burst },
            answer: self.answer,
            agents: self.agents,
            agents_per_tunnel: self.agents_per_tunnel,
            devices_per_tunnel: self.devices_per_tunnel,
            frame: whole(self.frame),
            failed_attempts: self.failed_attempts,
            heartbeat: self.heartbeat,
            dead_after: self.dead_after,
            drain: self.drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bounds: Bounds,
    }

    fn parsed(arguments: &[&str]) -> Result<Limits, String> {
        let line = Line::try_parse_from([&["x"], arguments].concat());
        line.map(|line| line.bounds.limits()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_library() {
        assert_eq!(format!("{:?}", parsed(&[]).unwrap()), format!("{:?}", Limits::default()));
    }

    #[test]
    fn a_wrong_value_is_told_what_would_be_right() {
        for (arguments, told) in [
            (["--max-body", "1M"], "MiB"),
            (["--max-body", "0"], "1KiB to 64MiB"),
            (["--max-connections", "0"], "it is 1 to"),
            (["--max-connections", "many"], "whole number"),
            (["--max-connections", "-5"], ""),
            (["--tunnel-rate", "1000001"], "0 to 1000000"),
            (["--max-devices-per-tunnel", "65"], "1 to 64"),
            (["--head-time", "0s"], "100ms to 1h"),
            (["--head-time", "10"], "10s for seconds"),
            (["--idle-time", "soon"], "30s"),
            (["--unlimited", "here"], "192.0.2.0/24"),
        ] {
            let error = parsed(&arguments).unwrap_err();
            assert!(error.contains(told), "{arguments:?}: {error}");
        }
        let limits =
            parsed(&["--unlimited", "10.0.0.0/8,192.0.2.7", "--tunnel-rate", "0", "--body-rate", "0"]).unwrap();
        assert_eq!((limits.unlimited.len(), limits.tunnel_rate.per_second, limits.body_rate), (2, 0, 0));
    }
}
