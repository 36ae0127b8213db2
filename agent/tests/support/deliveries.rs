//! Deliveries as the tests of this package send and store them: each test says only what is particular about its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tunnel_archive::{Archive, Intake, Options};
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};
use tunnel_signature::{Profile, Reading, Request, Secret};

/// When the first delivery of every store was received, in microseconds.
pub const BEGAN: i64 = 1_763_714_000_000_000;

/// So many seconds after [`BEGAN`].
pub fn second(n: i64) -> Timestamp {
    Timestamp::from_micros(BEGAN + n * 1_000_000)
}

/// A delivery to `/hook` of the tunnel `team`, from this machine, without header lines.
pub fn plain(at: Timestamp, body: impl Into<Bytes>) -> Delivery {
    Delivery {
        id: DeliveryId::first_at(at),
        received_at: at,
        tunnel: "team".parse().unwrap(),
        source_ip: "127.0.0.1".parse().unwrap(),
        environment: Environment::Unknown,
        method: "POST".parse().unwrap(),
        target: "/hook".parse().unwrap(),
        prefix_len: 0,
        http_version: HttpVersion::Http11,
        headers: Headers::default(),
        body: body.into(),
        lost: Vec::new(),
    }
}

/// The same with the lines that sign it added.
pub fn signed(mut delivery: Delivery, profile: Profile, secret: &str) -> Delivery {
    let request = Request {
        method: delivery.method.as_str(),
        target: delivery.target.as_str(),
        content_type: "application/json",
        body: &delivery.body,
    };
    let signed = tunnel_signature::sign(Reading::plain(profile), &Secret::new(secret).unwrap(), &request).unwrap();
    for (name, value) in signed.lines() {
        delivery.headers.push(name, value.as_bytes().to_vec());
    }
    delivery
}

/// What is stored of it, with that verdict.
pub fn intake(delivery: Delivery, status: SignatureStatus) -> Intake {
    Intake {
        body_sha256: tunnel_signature::sha256(&delivery.body),
        event: tunnel_catalogue::read(&delivery.body),
        signature: Verdict::bare(status),
        queued: false,
        delivery: Arc::new(delivery),
    }
}

/// A store in that folder with all of them, closed again.
pub async fn store(folder: &Path, all: impl IntoIterator<Item = Intake>) {
    let archive = Archive::open(folder, Options::default()).unwrap();
    for intake in all {
        archive.insert(intake).await.unwrap();
    }
    archive.close().await.unwrap();
}
