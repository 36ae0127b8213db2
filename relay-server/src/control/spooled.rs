//! Questions that the spool and the registry answer: by the running relay, which also knows who is connected, or by a command that found none.

use tunnel_delivery::{DeviceName, Timestamp, TunnelName};
use tunnel_spool::{DevicePlace, Role, Spool};

use super::{Device, Question, Told, Without};
use crate::hub::Hub;
use crate::registry::{Registry, RegistryError};
use crate::whose::{Seen, Whose};

/// The answer. Without a hub there is no running relay and nobody is connected.
pub(super) async fn tell(
    question: Question,
    spool: &dyn Spool,
    registry: &Registry,
    (whose, hub): (&Whose, Option<&Hub>),
    now: Timestamp,
) -> Told {
    let all = registry.snapshot();
    let unknown = |tunnel: &TunnelName| Told::No { why: RegistryError::NoTunnel(tunnel.clone()).to_string() };
    let connected = |tunnel: &TunnelName, device: &DeviceName| hub.is_some_and(|hub| hub.is_there(tunnel, device));
    match question {
        Question::Devices { tunnel } => devices(tunnel.as_ref(), spool, registry, (whose, hub), now),
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

/// The devices of that tunnel, or of all. Blocks on the disk, for as long as the spool's file is being compacted.
pub(super) fn devices(
    only: Option<&TunnelName>,
    spool: &dyn Spool,
    registry: &Registry,
    (whose, hub): (&Whose, Option<&Hub>),
    now: Timestamp,
) -> Told {
    let all = registry.snapshot();
    if let Some(tunnel) = only.filter(|tunnel| !all.tunnels.contains_key(*tunnel)) {
        return Told::No { why: RegistryError::NoTunnel(tunnel.clone()).to_string() };
    }
    let (mut devices, mut without) = (Vec::new(), Vec::new());
    for name in all.tunnels.keys().filter(|name| only.is_none_or(|only| only == *name)) {
        let places = match spool.devices(name) {
            Ok(places) => places,
            Err(e) => return Told::No { why: e.to_string() },
        };
        if places.iter().all(|place| place.role == Role::Watches) {
            match spool.stats(name) {
                Ok(stats) => without.push(Without { tunnel: name.clone(), waiting: stats.waiting }),
                Err(e) => return Told::No { why: e.to_string() },
            }
        }
        devices.extend(places.into_iter().map(|place| {
            let (last_seen, perhaps_longer) = last_seen(name, &place, (whose, hub), now);
            Device {
                tunnel: name.clone(),
                connected: hub.is_some_and(|hub| hub.is_there(name, &place.device)),
                only_looks: place.role == Role::Watches,
                last_seen,
                perhaps_longer,
                waiting: place.waiting,
                missed: place.gap.map_or(0, |gap| gap.count()),
                device: place.device,
            }
        }));
    }
    Told::Devices { devices, without }
}

/// When a device was last there, and whether it may have been for longer: what this process saw, then what is noted. Without either it is known when it came.
fn last_seen(
    tunnel: &TunnelName,
    place: &DevicePlace,
    (whose, hub): (&Whose, Option<&Hub>),
    now: Timestamp,
) -> (Timestamp, bool) {
    if let Some(at) = hub.and_then(|hub| hub.last_seen(tunnel, &place.device, now)) {
        return (at, false);
    }
    match whose.seen(tunnel, &place.device) {
        Some(Seen::Until(at)) if at >= place.joined => (at, false),
        Some(Seen::AtLeast(at)) if at >= place.joined => (at, true),
        _ => (place.joined, true),
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
        let seat = hub.seat(&team, &here, &pass, 9).unwrap();
        let whose = Whose::load(&dir.path().join("spool"));
        let ask = |question| tell(question, &spool, &registry, (&whose, Some(&hub)), NOW);
        let forget = |device: &DeviceName| Question::Forget { tunnel: team.clone(), device: device.clone() };

        let Told::Devices { devices, without } = ask(Question::Devices { tunnel: None }).await else { panic!() };
        assert_eq!(without, []);
        let shown: Vec<_> = devices.iter().map(|d| (d.device.as_str(), d.connected)).collect();
        assert_eq!(shown, [("here", true), ("away", false)]);
        assert!(why(ask(forget(&here)).await).contains("is connected"));
        assert_eq!(ask(forget(&away)).await, Told::Forgotten);
        assert!(why(ask(forget(&away)).await).contains("no device away"));
        assert!(
            matches!(ask(Question::Devices { tunnel: None }).await, Told::Devices { without, .. } if without.is_empty())
        );
        drop(seat);
        assert_eq!(ask(forget(&here)).await, Told::Forgotten);
        spool.append(crate::sample::delivery(1, NOW, "{}")).await.unwrap();
        let told = ask(Question::Devices { tunnel: Some(team.clone()) }).await;
        let without = vec![Without { tunnel: team.clone(), waiting: 1 }];
        assert_eq!(told, Told::Devices { devices: Vec::new(), without }, "it waits for whoever comes");
        let nobody = Question::Devices { tunnel: Some("nobody".parse().unwrap()) };
        assert!(why(ask(nobody).await).contains("no tunnel nobody"));
    }

    #[tokio::test]
    async fn a_device_was_there_until_it_left_or_the_relay_last_gave_a_sign() {
        let dir = tempfile::tempdir().unwrap();
        let spool = RedbSpool::open(dir.path(), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
        let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
        spool.join(&team, &laptop, Start::Now, NOW).await.unwrap();
        let place = spool.devices(&team).unwrap().remove(0);
        let after = |seconds: i64| Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000);
        let token = TokenId::parse("0123456789ab").unwrap();
        let seen = |whose: &Whose| last_seen(&team, &place, (whose, None), after(9999));
        let whose = Whose::load(dir.path());
        assert_eq!(seen(&whose), (NOW, true), "nothing more is known");
        whose.came(&team, &laptop, &token);
        whose.note_alive(after(60));
        let killed = Whose::load(dir.path());
        assert_eq!(seen(&killed), (after(60), true));
        killed.came(&team, &laptop, &token);
        killed.left(&team, &laptop, &token, after(90));
        assert_eq!(seen(&killed), (after(90), false));
        let hub = Hub::default();
        let pass = Pass::made_up(&token, Access::Full);
        let _seat = hub.seat(&team, &laptop, &pass, 9).unwrap();
        assert_eq!(last_seen(&team, &place, (&killed, Some(&hub)), after(100)), (after(100), false), "it is there");
    }
}
