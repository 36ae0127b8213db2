//! What the backlog reads back from the archive, and in which order it hands over.

mod order;
mod read_back;

use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Timestamp};

fn delivery(n: i64) -> Delivery {
    let at = Timestamp::from_micros(1_763_714_000_000_000 + n * 1_000_000);
    Delivery {
        id: DeliveryId::first_at(at),
        received_at: at,
        tunnel: "team".parse().unwrap(),
        source_ip: [127, 0, 0, 1].into(),
        environment: Environment::Unknown,
        method: "POST".parse().unwrap(),
        target: "/".parse().unwrap(),
        prefix_len: 0,
        http_version: HttpVersion::Http11,
        headers: Headers::default(),
        body: "{}".into(),
        lost: Vec::new(),
    }
}
