//! A folder with a store in it, and the program run there with nothing else to see.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

#[path = "../support/deliveries.rs"]
pub mod deliveries;
mod ran;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tunnel_delivery::SignatureStatus;

use deliveries::{intake, plain, second};
pub use ran::Ran;

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
        Ran::of(&mut command, &arguments.join(" "))
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments).exits(0);
        serde_json::from_str(&ran.out()).unwrap_or_else(|e| panic!("{e}: {}", ran.out()))
    }

    /// A closed store with these bodies, one a second; two that are the same look like repeats.
    pub async fn store(bodies: impl IntoIterator<Item = String>) -> Stage {
        let stage = Stage::new();
        let all = (0..).zip(bodies).map(|(n, body)| {
            let mut delivery = plain(second(n), body);
            delivery.headers.push("Content-Type", "application/json");
            intake(delivery, SignatureStatus::NoSecret)
        });
        deliveries::store(&stage.path("data/archive"), all).await;
        stage
    }
}

pub fn event(n: usize) -> String {
    format!(
        r#"{{"event_type":"task.updated","resource_id":"{n}","resource_id_type":"Task","pad":"{}"}}"#,
        "x".repeat(200)
    )
}
