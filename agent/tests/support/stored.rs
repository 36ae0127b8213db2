//! A data folder with signed deliveries in it.

use std::sync::Arc;

use tunnel_archive::{Archive, Intake, Options};
use tunnel_delivery::{
    Delivery, DeliveryId, Environment, HeaderLine, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict,
};
use tunnel_signature::{Profile, Reading, Request, Secret};

pub const SECRET: &str = "whsec_test";
pub const MANY: i64 = 250;

pub fn id(i: i64) -> DeliveryId {
    DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000 + i * 1_000_000))
}

/// Signed deliveries; every tenth is about a goal, every fiftieth says "no show", one is from staging.
pub async fn stored() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("archive");
    std::fs::create_dir_all(&dir).unwrap();
    let archive = Archive::open(&dir, Options::default()).unwrap();
    for i in 0..MANY {
        let event = if i % 10 == 0 { "goal.created" } else { "appointment.created" };
        let more = if i % 50 == 0 { r#","why":"No Show"}"# } else { "}" };
        let body = format!(r#"{{"event_type":"{event}","resource_id":"{i}","resource_id_type":"Thing"{more}"#);
        let request =
            Request { method: "POST", target: "/hook", content_type: "application/json", body: body.as_bytes() };
        let secret = Secret::new(SECRET).unwrap();
        let signed = tunnel_signature::sign(Reading::plain(Profile::Scribe), &secret, &request).unwrap();
        let at = Timestamp::from_micros(1_763_714_000_000_000 + i * 1_000_000);
        let delivery = Delivery {
            id: id(i),
            received_at: at,
            tunnel: "team".parse().unwrap(),
            source_ip: "127.0.0.1".parse().unwrap(),
            environment: if i == 7 { Environment::Staging } else { Environment::Unknown },
            method: "POST".parse().unwrap(),
            target: "/hook".parse().unwrap(),
            prefix_len: 0,
            http_version: HttpVersion::Http11,
            headers: signed.lines().into_iter().map(|(n, v)| HeaderLine::new(n, v.to_owned())).collect::<Headers>(),
            body: body.clone().into(),
            lost: Vec::new(),
        };
        let intake = Intake {
            body_sha256: tunnel_signature::sha256(&delivery.body),
            event: tunnel_catalogue::read(&delivery.body),
            signature: Verdict::bare(SignatureStatus::Valid),
            queued: false,
            delivery: Arc::new(delivery),
        };
        archive.insert(intake).await.unwrap();
    }
    archive.close().await.unwrap();
    data
}
