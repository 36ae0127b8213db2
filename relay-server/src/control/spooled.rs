//! Questions that the spool and the registry answer: by the running relay, which also knows who is connected, or by a command that found none.

use tunnel_delivery::{DeviceName, Timestamp, TunnelName};
use tunnel_spool::{Role, Spool};

use super::{Device, Question, Told};
use crate::hub::Hub;
use crate::registry::{Registry, RegistryError};

/// The answer. Without a hub there is no running relay and nobody is connected.
pub(super) async fn tell(
    question: Question,
    spool: &dyn Spool,
    registry: &Registry,
    hub: Option<&Hub>,
    now: Timestamp,
) -> Told {
    let all = registry.snapshot();
    let unknown = |tunnel: &TunnelName| Told::No { why: RegistryError::NoTunnel(tunnel.clone()).to_string() };
    let connected = |tunnel: &TunnelName, device: &DeviceName| hub.is_some_and(|hub| hub.is_there(tunnel, device));
    match question {
        Question::Devices { tunnel: Some(tunnel) } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Devices { tunnel } => {
            let mut devices = Vec::new();
            for name in all.tunnels.keys().filter(|name| tunnel.as_ref().is_none_or(|only| only == *name)) {
                let places = match spool.devices(name) {
                    Ok(places) => places,
                    Err(e) => return Told::No { why: e.to_string() },
                };
                devices.extend(places.into_iter().map(|place| Device {
                    tunnel: name.clone(),
                    connected: connected(name, &place.device),
                    only_looks: place.role == Role::Watches,
                    last_seen: hub.and_then(|hub| hub.last_seen(name, &place.device, now)).unwrap_or(place.joined),
                    waiting: place.waiting,
                    missed: place.gap.map_or(0, |gap| gap.count()),
                    device: place.device,
                }));
            }
            Told::Devices { devices }
        }
        Question::Waiting { tunnel } => waiting(&tunnel, spool, registry),
        Question::Forget { tunnel, .. } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Forget { tunnel, device } if connected(&tunnel, &device) => {
            let why = format!("device {device} of tunnel {tunnel} is connected; stop its agent first");
            Told::No { why }
        }
        Question::Forget { tunnel, device } => match spool.forget(&tunnel, &device).await {
            Ok(true) => {
                if let Some(hub) = hub {
                    // One that came in this very moment has no place any more, and must join anew.
                    hub.dismiss_device(&tunnel, &device, "the device was forgotten");
                }
                tracing::info!(%tunnel, %device, "a device is forgotten, as asked");
                Told::Forgotten
            }
            Ok(false) => Told::No {
                why: format!(
                    "tunnel {tunnel} has no device {device}; `healthie-relay tunnel devices {tunnel}` shows those it has"
                ),
            },
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Purge { tunnel } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Purge { tunnel } => match spool.purge(&tunnel).await {
            Ok(dropped) => {
                let deliveries = dropped.iter().map(tunnel_spool::Dropped::count).sum();
                tracing::info!(%tunnel, deliveries, "what waited for a tunnel is dropped, as asked");
                Told::Purged { deliveries }
            }
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Drop { tunnel } if all.tunnels.contains_key(&tunnel) => Told::No {
            why: format!("there is a tunnel {tunnel}; `healthie-relay tunnel purge {tunnel}` drops what waits for it"),
        },
        Question::Drop { tunnel } => match spool.drop_tunnel(&tunnel).await {
            Ok(()) => Told::Dropped,
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Tidied => match spool.tidied().await {
            Ok(whole) => Told::Tidied { whole },
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Certificates
        | Question::Reload
        | Question::LookAgain
        | Question::Renew
        | Question::Changed
        | Question::Used
        | Question::Limits
        | Question::Backup => Told::No { why: "no relay runs on this data folder".into() },
    }
}

/// How much waits for a tunnel's agents. Blocks on the disk, for as long as the spool's file is being compacted.
pub(super) fn waiting(tunnel: &TunnelName, spool: &dyn Spool, registry: &Registry) -> Told {
    if !registry.snapshot().tunnels.contains_key(tunnel) {
        return Told::No { why: RegistryError::NoTunnel(tunnel.clone()).to_string() };
    }
    match spool.stats(tunnel) {
        Ok(stats) => Told::Waiting { deliveries: stats.waiting, bytes: stats.bytes },
        Err(e) => Told::No { why: e.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Access, AnswerMode, Pass, TunnelSettings};
    use crate::tokens::TokenId;
    use tunnel_spool::{Limits, RedbSpool, Start};

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn why(told: Told) -> String {
        match told {
            Told::No { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn devices_are_shown_and_those_that_are_away_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        let team: TunnelName = "team".parse().unwrap();
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
        registry.reload().unwrap();
        let spool =
            RedbSpool::open(&dir.path().join("spool"), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
        let hub = Hub::default();
        let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::Full);
        let (here, away): (DeviceName, DeviceName) = ("here".parse().unwrap(), "away".parse().unwrap());
        for device in [&here, &away] {
            spool.join(&team, device, Start::Now, NOW).await.unwrap();
        }
        let _seat = hub.seat(&team, &here, &pass, 9).unwrap();
        let ask = |question| tell(question, &spool, &registry, Some(&hub), NOW);
        let forget = |device: &DeviceName| Question::Forget { tunnel: team.clone(), device: device.clone() };

        let Told::Devices { devices } = ask(Question::Devices { tunnel: None }).await else { panic!() };
        let shown: Vec<_> = devices.iter().map(|d| (d.device.as_str(), d.connected)).collect();
        assert_eq!(shown, [("here", true), ("away", false)]);
        assert!(why(ask(forget(&here)).await).contains("is connected"));
        assert_eq!(ask(forget(&away)).await, Told::Forgotten);
        assert!(why(ask(forget(&away)).await).contains("no device away"));
        let nobody = Question::Devices { tunnel: Some("nobody".parse().unwrap()) };
        assert!(why(ask(nobody).await).contains("no tunnel nobody"));
    }
}
