//! Deliveries for the tests of the spool: made from a number, so that a test can tell what it should find again.

use std::sync::Arc;

use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Lost, Timestamp, TunnelName};

/// The `n`th delivery of a tunnel, received at `at` microseconds, with a body of `len` bytes that depends on `n`.
pub(crate) fn delivery(tunnel: &TunnelName, n: u64, at: i64, len: usize) -> Arc<Delivery> {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let mut headers = Headers::default();
    headers.push("Content-Type", "application/json");
    headers.push("X-Number", n.to_string());
    headers.push("x-number", vec![0xff, n as u8]);
    let at = Timestamp::from_micros(at);
    Arc::new(Delivery {
        id: DeliveryId::build(at, random),
        received_at: at,
        tunnel: tunnel.clone(),
        source_ip: [18, 206, 70, n as u8].into(),
        environment: Environment::Staging,
        method: "POST".parse().expect("a method"),
        target: format!("/t/{tunnel}/hook?n={n}").parse().expect("a target"),
        prefix_len: 3 + tunnel.as_str().len(),
        http_version: HttpVersion::Http11,
        headers,
        body: body(n, len).into(),
        lost: if n.is_multiple_of(2) { vec![Lost::ChunkBoundaries] } else { vec![] },
    })
}

/// Bytes that differ between any two numbers and at every place (xorshift64*).
fn body(n: u64, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) as u8
    };
    (0..len).map(|_| next()).collect()
}
