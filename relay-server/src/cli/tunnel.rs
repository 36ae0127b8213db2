//! `healthie-relay tunnel add|set|list|devices|forget|purge|remove`; what the last three do is in `ending`.

use std::time::Duration;

use clap::Subcommand;
use tunnel_delivery::{DeviceName, TunnelName};

use super::changed::{changed, done, token_id};
use super::consent::Consent;
use super::data_key::DataKey;
use super::ending::{self, Removal};
use super::shape::{Shape, apart, not_in_force};
use super::{Data, Failure, print, tell};
use crate::audit::What;
use crate::control::{Device, Question, Told, Without, ask, ask_running};
use crate::registry::{AnswerMode, Registry, TunnelSettings};
use crate::session::wall_clock;
use crate::settings::units::span;
use crate::tokens::TokenId;

#[derive(Subcommand)]
pub(super) enum Tunnel {
    /// Add a tunnel
    Add {
        /// Its name: the first label of its host name, or what follows /t/
        name: TunnelName,
        #[command(flatten)]
        shape: Shape,
        /// The token that opens it, by its public part; for the former owner of a removed tunnel this gives the name back. May be repeated
        #[arg(long = "for", value_name = "TOKEN-ID", value_parser = token_id)]
        owners: Vec<TokenId>,
        /// Take the name of a removed tunnel although it is still kept for its owner
        #[arg(long)]
        take_name: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Change a tunnel; a running relay takes it over at once
    Set {
        /// Its name
        name: TunnelName,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        data: Data,
    },
    /// List tunnels
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: Data,
    },
    /// List the devices that deliveries are kept for, and how many wait for each
    Devices {
        /// Of this tunnel only
        name: Option<TunnelName>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
    /// Keep nothing for a device any more; if it comes again it is a new one. Asks where something waits for it
    Forget {
        /// The tunnel
        name: TunnelName,
        /// The device
        device: DeviceName,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
    /// Drop all that waits for a tunnel's agents, and keep the tunnel. Asks first
    ///
    /// Whoever has not taken it is told how much is missing. The spool's file is compacted, so that nothing of it is in there any more. What agents
    /// have taken is theirs: `healthie-tunnel purge --tunnel NAME`.
    Purge {
        /// Its name
        name: TunnelName,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
    /// Remove a tunnel and what it has spooled; tokens that opened it stay and open it no more. Asks first
    Remove {
        /// Its name
        name: TunnelName,
        /// How long nobody else may have the name: 12h, 30d; 0 for not at all
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span, env = "HEALTHIE_RELAY_RESERVE_NAMES")]
        reserve_name: Duration,
        /// Revoke the tokens that open nothing but this tunnel; then only --take-name gives its name back early
        #[arg(long)]
        with_tokens: bool,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
}

impl Tunnel {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Tunnel::Add { name, shape, owners, take_name, data } => {
                let mut settings = TunnelSettings::new(AnswerMode::default(), wall_clock());
                shape.apply(&mut settings)?;
                let (answer, apart) = (settings.answer, apart(&settings));
                let entry = done(What::TunnelAdded).tunnel(&name);
                Registry::open(&data.data)?.add_tunnel_for(name, settings, &owners, take_name)?;
                let opens = owners.iter().map(|id| format!(" for {id}")).collect::<String>();
                let taken = if take_name { "; --take-name" } else { "" };
                let apart = if apart.is_empty() { apart } else { format!("; {apart}") };
                changed(&data.data, entry.note(format!("{}{opens}{taken}{apart}", answer.as_str())));
            }
            Tunnel::Set { shape, .. } if shape.is_empty() => {
                return Err(Failure::usage(
                    "say what is to be changed; `healthie-relay tunnel set --help` shows what can be",
                ));
            }
            Tunnel::Set { name, shape, data } => {
                let sized = shape.is_sized();
                let mut wrong = None;
                let mut sizes = (None, None);
                let mut now = String::new();
                let (mut was, mut is) = (false, false);
                data.registry()?.change_tunnel(&name, |settings| {
                    was = settings.seal;
                    wrong = shape.apply(settings).err();
                    is = settings.seal;
                    sizes = (settings.max_body, settings.spool_bytes);
                    now = format!("{} {}", settings.answer.as_str(), apart(settings));
                })?;
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
                changed(&data.data, done(What::TunnelChanged).tunnel(&name).note(now.trim_end().to_owned()));
                if sized
                    && let Ok(Some(Told::Limits { max_body, spool_bytes })) = ask_running(&data.data, &Question::Limits)
                {
                    not_in_force(sizes, (max_body, spool_bytes)).iter().for_each(|line| tell(line));
                }
                if was != is {
                    tell(&sealing_changed(&data, &name, is));
                }
            }
            Tunnel::List { json, data } => {
                let all = data.registry()?.snapshot();
                if json {
                    let list: Vec<_> = all
                        .tunnels
                        .iter()
                        .map(|(name, t)| {
                            serde_json::json!({
                                "name": name, "answer": t.answer, "when_away": t.when_away, "answer_within_ms": t.answer_within_ms,
                                "methods": t.methods.iter().map(tunnel_delivery::Method::as_str).collect::<Vec<_>>(), "from": t.from,
                                "seal": t.seal, "max_body": t.max_body, "rate": t.per_second, "burst": t.burst,
                                "spool_bytes": t.spool_bytes, "spool_age_ms": t.spool_age_ms, "created_at": t.created_at,
                            })
                        })
                        .collect();
                    print(&format!("{}\n", serde_json::Value::from(list)));
                } else {
                    for (name, t) in &all.tunnels {
                        let answer = match t.answer {
                            AnswerMode::Ack => "ack",
                            AnswerMode::Passthrough => "passthrough",
                        };
                        let apart = apart(t);
                        let apart = if apart.is_empty() { apart } else { format!("\t{apart}") };
                        print(&format!("{name}\t{answer}\t{}{apart}\n", t.created_at));
                    }
                }
            }
            Tunnel::Devices { name, json, key, data } => {
                data.there()?;
                match ask(&data.data, key.source(), &Question::Devices { tunnel: name })? {
                    Told::Devices { devices, without } if json => print(&listed(&devices, &without)),
                    Told::Devices { devices, without } => {
                        devices.iter().for_each(|device| print(&shown(device)));
                        without.iter().for_each(|tunnel| print(&waits_alone(tunnel)));
                        if devices.is_empty() && without.is_empty() {
                            tell("there is no tunnel");
                        }
                    }
                    other => return Err(refused(other)),
                }
            }
            Tunnel::Forget { name, device, consent, key, data } => ending::forget(name, device, consent, key, &data)?,
            Tunnel::Purge { name, consent, key, data } => ending::purge(name, consent, key, &data)?,
            Tunnel::Remove { name, reserve_name, with_tokens, consent, key, data } => {
                ending::remove(&name, Removal { reserve_name, with_tokens }, consent, key, &data)?;
            }
        }
        Ok(())
    }
}

/// Devices as JSON. A tunnel that has none to take what waits has an element too, whose device is null.
fn listed(devices: &[Device], without: &[Without]) -> String {
    let nobody = without.iter().map(|Without { tunnel, waiting }| {
        serde_json::json!({
            "tunnel": tunnel, "device": null, "connected": false, "only_looks": false, "last_seen": null, "perhaps_longer": false,
            "waiting": waiting, "missed": 0,
        })
    });
    let all: Vec<_> = devices.iter().map(|device| serde_json::json!(device)).chain(nobody).collect();
    format!("{}\n", serde_json::Value::from(all))
}

/// A device in one line.
fn shown(d: &Device) -> String {
    let there = match d {
        Device { connected: true, .. } => "connected".to_owned(),
        Device { perhaps_longer: true, .. } => format!("away, last known to be there at {}", d.last_seen),
        _ => format!("away since {}", d.last_seen),
    };
    let missed = if d.missed > 0 { format!("\t{} dropped", d.missed) } else { String::new() };
    let looks = if d.only_looks { "\tonly looks" } else { "" };
    format!("{}\t{}\t{there}\t{} waiting{missed}{looks}\n", d.tunnel, d.device, d.waiting)
}

/// What is told of a tunnel without a device that takes.
fn waits_alone(Without { tunnel, waiting }: &Without) -> String {
    let what = match waiting {
        0 => "nothing waits".to_owned(),
        1 => "1 delivery waits for the first that comes".to_owned(),
        n => format!("{n} deliveries wait for the first that comes"),
    };
    format!("{tunnel}\tno device with full access has connected, or those that had are forgotten; {what}\n")
}

/// What becomes of what waits already, where sealing was turned on or off.
fn sealing_changed(data: &Data, name: &TunnelName, on: bool) -> String {
    let devices = match ask_running(&data.data, &Question::Devices { tunnel: Some(name.clone()) }) {
        Ok(Some(Told::Devices { devices, .. })) => devices,
        // Without a running relay the spool would have to be opened, with its key.
        _ => Vec::new(),
    };
    let most = devices.iter().map(|device| device.waiting).max();
    let waits = most.map_or_else(|| "what waits already".to_owned(), |n| format!("what waits already ({n})"));
    if !on {
        return format!("{name} is not sealed from now on; {waits} is handed over as it was stored, sealed");
    }
    format!(
        "{name} is sealed from now on; {waits} was stored as it came, stays so in the spool and is handed over like that. \
         `healthie-relay tunnel purge {name}` drops it. While no agent with full access has told a key, deliveries are answered 503"
    )
}

/// The answer was another one than that which was asked for.
pub(super) fn refused(told: Told) -> Failure {
    match told {
        Told::No { why } => Failure { code: 1, message: why },
        other => Failure { code: 3, message: format!("the relay answered something else: {other:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_shown_with_what_waits_and_tunnels_without_one_too() {
        let at = tunnel_delivery::Timestamp::from_micros(1_800_000_000_000_000);
        let away = Device {
            tunnel: "team".parse().unwrap(),
            device: "laptop".parse().unwrap(),
            connected: false,
            only_looks: false,
            last_seen: at,
            perhaps_longer: false,
            waiting: 3,
            missed: 2,
        };
        assert_eq!(shown(&away), format!("team\tlaptop\taway since {at}\t3 waiting\t2 dropped\n"));
        let killed = Device { perhaps_longer: true, missed: 0, ..away.clone() };
        assert_eq!(shown(&killed), format!("team\tlaptop\taway, last known to be there at {at}\t3 waiting\n"));
        let there = Device { connected: true, only_looks: true, ..killed.clone() };
        assert_eq!(shown(&there), "team\tlaptop\tconnected\t3 waiting\tonly looks\n");
        let without = |waiting| Without { tunnel: "other".parse().unwrap(), waiting };
        for (waiting, told) in [(0, "nothing waits"), (1, "1 delivery waits for"), (7, "7 deliveries wait for")] {
            assert!(waits_alone(&without(waiting)).contains(told), "{}", waits_alone(&without(waiting)));
        }
        let json: serde_json::Value = serde_json::from_str(&listed(&[killed], &[without(7)])).unwrap();
        assert_eq!((&json[0]["waiting"], &json[0]["perhaps_longer"]), (&3.into(), &true.into()));
        assert_eq!((&json[1]["tunnel"], &json[1]["waiting"]), (&"other".into(), &7.into()));
        assert!(json[1]["device"].is_null() && json[2].is_null());
    }
}
