//! Deliveries for the tests of this folder: each is made from a number, so that one process can check what another one stored.

#![allow(dead_code)] // Each test uses its part of this.

pub(crate) mod packed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tunnel_archive::{Intake, Options};
use tunnel_delivery::{
    Attempt, AttemptError, Cause, Delivery, DeliveryId, Environment, ErrorKind, Event, Headers, HttpVersion, Lost,
    SignatureStatus, Timestamp, Verdict,
};

/// 2025-11-21, in microseconds.
pub(crate) const START: i64 = 1_763_714_000_000_000;

pub(crate) const EVENTS: [&str; 5] =
    ["appointment.created", "appointment.updated", "goal.delated", "patient\0odd", "form_answer_group.created"];

/// Options for small file systems.
pub(crate) fn small() -> Options {
    Options { reserve_bytes: 1 << 20, min_free_bytes: 4 << 20, ..Options::default() }
}

/// A small, well mixing generator (splitmix64); the tests need variety, not quality.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(crate) fn time_of(n: u64) -> Timestamp {
    Timestamp::from_micros(START + i64::try_from(n).unwrap() * 700)
}

pub(crate) fn id_of(n: u64) -> DeliveryId {
    let mut random = [0; 10];
    random[..2].copy_from_slice(&(n as u16).to_be_bytes());
    random[2..].copy_from_slice(&Dice(n).roll().to_be_bytes());
    DeliveryId::build(time_of(n), random)
}

/// Delivery number `n`. One in ten has a body of up to 300 KB.
pub(crate) fn intake(n: u64) -> Intake {
    let mut dice = Dice(n ^ 0x5eed);
    let len = if dice.below(10) == 0 { dice.below(300_000) } else { dice.below(600) };
    let body = dice.bytes(usize::try_from(len).unwrap());
    let mut headers = Headers::default();
    headers.push("Content-Type", "application/json");
    headers.push("x-Odd", dice.bytes(12));
    headers.push("Signature", format!("sig1={n:064x}"));
    headers.push("Signature", "");
    let event = EVENTS[usize::try_from(dice.below(EVENTS.len() as u64)).unwrap()];
    let sha = sha256(&body);
    Intake {
        delivery: Arc::new(Delivery {
            id: id_of(n),
            received_at: time_of(n),
            tunnel: "team".parse().unwrap(),
            source_ip: "18.206.70.225".parse().unwrap(),
            environment: Environment::Staging,
            method: "POST".parse().unwrap(),
            target: format!("/t/team/hook?n={n}").parse().unwrap(),
            prefix_len: 7,
            http_version: HttpVersion::Http11,
            headers,
            body: Bytes::from(body),
            lost: vec![Lost::ChunkBoundaries],
        }),
        body_sha256: sha,
        event: (dice.below(8) != 0).then(|| Event {
            event_type: event.into(),
            resource_id: Some(dice.below(500).to_string()),
            resource_id_type: Some("Appointment".into()),
            changed_fields: vec!["date".into()],
            extra: Default::default(),
        }),
        signature: Verdict {
            profile: Some("guide".into()),
            ..Verdict::bare(SignatureStatus::ALL[usize::try_from(dice.below(4)).unwrap()])
        },
        queued: true,
    }
}

/// An attempt at delivery number `n`. One in ten has a long answer.
pub(crate) fn attempt(n: u64) -> Attempt {
    let mut dice = Dice(n ^ 0xa77e);
    let len = if dice.below(10) == 0 { dice.below(100_000) } else { dice.below(200) };
    let body = dice.bytes(usize::try_from(len).unwrap());
    let mut headers = Headers::default();
    headers.push("Date", "Fri, 21 Nov 2025 08:33:20 GMT");
    let refused = dice.below(5) == 0;
    Attempt {
        at: time_of(n),
        target: "http://localhost:3000/hook".into(),
        cause: if dice.below(2) == 0 { Cause::Forward } else { Cause::Replay },
        resigned: dice.below(2) == 0,
        edited: dice.below(2) == 0,
        status: (!refused).then_some([200, 302, 404, 500][usize::try_from(dice.below(4)).unwrap()]),
        error: refused.then(|| AttemptError { kind: ErrorKind::Connect, message: "nothing listens there".into() }),
        duration: Duration::from_micros(dice.below(1_000_000)),
        response_headers: headers,
        response_body: Bytes::from(body),
        response_truncated: false,
    }
}
