//! A folder with a store in it, and the program run there with nothing else to see.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use tunnel_archive::{Archive, Intake, Options};
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};

/// When the first delivery of every store here was received.
pub const BEGAN: i64 = 1_763_714_000_000_000;

pub struct Stage(pub tempfile::TempDir);

impl Stage {
    pub fn new() -> Stage {
        Stage(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program on the data folder `data`; it sees nothing but this stage.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
        command.args(arguments).args(["--data", "data"]).current_dir(self.0.path());
        command.env_clear().env("HOME", self.path("home")).env("RUST_BACKTRACE", "1");
        Ran(command.output().unwrap(), arguments.join(" "))
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments).exits(0);
        serde_json::from_str(&ran.out()).unwrap_or_else(|e| panic!("{e}: {}", ran.out()))
    }

    /// A closed store with these bodies, one a second; two that are the same look like repeats.
    pub async fn store(bodies: impl IntoIterator<Item = String>) -> Stage {
        let stage = Stage::new();
        let archive = Archive::open(&stage.path("data/archive"), Options::default()).unwrap();
        for (i, body) in (0..).zip(bodies) {
            let at = Timestamp::from_micros(BEGAN + i * 1_000_000);
            let mut headers = Headers::default();
            headers.push("Content-Type", "application/json");
            let delivery = Delivery {
                id: DeliveryId::first_at(at),
                received_at: at,
                tunnel: "team".parse().unwrap(),
                source_ip: "127.0.0.1".parse().unwrap(),
                environment: Environment::Unknown,
                method: "POST".parse().unwrap(),
                target: "/hook".parse().unwrap(),
                prefix_len: 0,
                http_version: HttpVersion::Http11,
                headers,
                body: body.into(),
                lost: Vec::new(),
            };
            let intake = Intake {
                body_sha256: tunnel_signature::sha256(&delivery.body),
                event: tunnel_catalogue::read(&delivery.body),
                signature: Verdict::bare(SignatureStatus::NoSecret),
                queued: false,
                delivery: Arc::new(delivery),
            };
            archive.insert(intake).await.unwrap();
        }
        archive.close().await.unwrap();
        stage
    }
}

pub fn event(n: usize) -> String {
    format!(
        r#"{{"event_type":"task.updated","resource_id":"{n}","resource_id_type":"Task","pad":"{}"}}"#,
        "x".repeat(200)
    )
}

pub struct Ran(pub Output, pub String);

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.0.status.code(), Some(code), "{}: {}{}", self.1, self.out(), self.err());
        self
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}
