//! A delivery for the tests of this room: what they tell apart is given, all else is usual.

use std::sync::Arc;

use bytes::Bytes;
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Timestamp};

/// A delivery of the tunnel `team`.
pub(crate) fn delivery(number: u8, received_at: Timestamp, body: impl Into<Bytes>) -> Arc<Delivery> {
    Arc::new(Delivery {
        id: DeliveryId::from_bytes([number; 16]),
        received_at,
        tunnel: "team".parse().unwrap(),
        source_ip: [127, 0, 0, 1].into(),
        environment: Environment::Unknown,
        method: "POST".parse().unwrap(),
        target: "/".parse().unwrap(),
        prefix_len: 0,
        http_version: HttpVersion::Http11,
        headers: Headers::default(),
        body: body.into(),
        lost: Vec::new(),
    })
}
