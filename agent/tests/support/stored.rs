//! A data folder with signed deliveries in it.

use tunnel_delivery::{Delivery, DeliveryId, Environment, SignatureStatus};
use tunnel_signature::Profile;

use super::deliveries::{self, intake, plain, second, signed};

pub const SECRET: &str = "whsec_test";
pub const MANY: i64 = 250;

pub fn id(i: i64) -> DeliveryId {
    DeliveryId::first_at(second(i))
}

/// Signed deliveries; every tenth is about a goal, every fiftieth says "no show", one is from staging.
pub async fn stored() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let all = (0..MANY).map(|i| {
        let event = if i % 10 == 0 { "goal.created" } else { "appointment.created" };
        let more = if i % 50 == 0 { r#","why":"No Show"}"# } else { "}" };
        let body = format!(r#"{{"event_type":"{event}","resource_id":"{i}","resource_id_type":"Thing"{more}"#);
        let environment = if i == 7 { Environment::Staging } else { Environment::Unknown };
        let delivery = Delivery { environment, ..plain(second(i), body) };
        intake(signed(delivery, Profile::Scribe, SECRET), SignatureStatus::Valid)
    });
    deliveries::store(&data.path().join("archive"), all).await;
    data
}
