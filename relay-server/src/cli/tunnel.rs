//! `healthie-relay tunnel add|list|remove|devices|forget`

use clap::Subcommand;
use tunnel_delivery::{DeviceName, TunnelName};

use super::data_key::DataKey;
use super::{Data, Failure, print, tell};
use crate::control::{Question, Told, ask};
use crate::registry::{AnswerMode, Registry, TunnelSettings, WhenAway};
use crate::session::wall_clock;

#[derive(Subcommand)]
pub(super) enum Tunnel {
    /// Add a tunnel
    Add {
        /// Its name: the first label of its host name, or what follows /t/
        name: TunnelName,
        /// What the sender of a delivery is answered
        #[arg(long, value_enum, default_value_t)]
        answer: AnswerMode,
        /// What a passthrough tunnel does when no agent is connected
        #[arg(long, value_enum, default_value_t)]
        when_away: WhenAway,
        /// How long a sender waits for the handler in passthrough: 15, 15s, 2m; up to 10 minutes
        #[arg(long, value_name = "TIME", default_value = "15s", value_parser = seconds)]
        answer_within: u64,
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
    /// Keep nothing for a device any more; if it comes again it is a new one
    Forget {
        /// The tunnel
        name: TunnelName,
        /// The device
        device: DeviceName,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
    /// Drop all that waits for a tunnel's agents, and keep the tunnel
    ///
    /// Whoever has not taken it is told how much is missing. The spool's file is compacted, so that nothing of it is in there any more. What agents
    /// have taken is theirs: `healthie-tunnel purge --tunnel NAME`.
    Purge {
        /// Its name
        name: TunnelName,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
    /// Remove a tunnel, its tokens and what it has spooled
    Remove {
        /// Its name
        name: TunnelName,
        #[command(flatten)]
        data: Data,
    },
}

impl Tunnel {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Tunnel::Add { name, answer, when_away, answer_within, data } => {
                let settings = TunnelSettings {
                    when_away,
                    answer_within_ms: answer_within * 1000,
                    ..TunnelSettings::new(answer, wall_clock())
                };
                Registry::open(&data.data)?.add_tunnel(name, settings)?;
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
                                "created_at": t.created_at,
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
                        print(&format!("{name}\t{answer}\t{}\n", t.created_at));
                    }
                }
            }
            Tunnel::Devices { name, json, key, data } => {
                data.there()?;
                match ask(&data.data, key.source(), &Question::Devices { tunnel: name })? {
                    Told::Devices { devices } if json => {
                        print(&format!("{}\n", serde_json::json!(devices)));
                    }
                    Told::Devices { devices } => {
                        if devices.is_empty() {
                            tell("no device has connected yet: the first one gets all that waits");
                        }
                        for d in devices {
                            let there = if d.connected {
                                "connected".to_owned()
                            } else {
                                format!("away since {}", d.last_seen)
                            };
                            let missed = if d.missed > 0 { format!("\t{} dropped", d.missed) } else { String::new() };
                            print(&format!("{}\t{}\t{there}\t{} waiting{missed}\n", d.tunnel, d.device, d.waiting));
                        }
                    }
                    other => return Err(refused(other)),
                }
            }
            Tunnel::Forget { name, device, key, data } => {
                data.there()?;
                match ask(&data.data, key.source(), &Question::Forget { tunnel: name, device })? {
                    Told::Forgotten => {}
                    other => return Err(refused(other)),
                }
            }
            Tunnel::Purge { name, key, data } => {
                data.there()?;
                match ask(&data.data, key.source(), &Question::Purge { tunnel: name })? {
                    Told::Purged { deliveries } => tell(&format!("{deliveries} that waited are gone")),
                    other => return Err(refused(other)),
                }
            }
            Tunnel::Remove { name, data } => data.registry()?.remove_tunnel(&name)?,
        }
        Ok(())
    }
}

fn refused(told: Told) -> Failure {
    match told {
        Told::No { why } => Failure { code: 1, message: why },
        other => Failure { code: 3, message: format!("the relay answered something else: {other:?}") },
    }
}

/// For clap: a length of time in whole seconds, with or without its unit.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        (None, None) => (text, 1),
    };
    let seconds = number.parse::<u64>().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()));
    seconds
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| (1..=600).contains(n))
        .ok_or_else(|| "write 1s to 600s, such as 15, 30s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_have_a_unit_or_not() {
        assert_eq!([seconds("30"), seconds("30s"), seconds("2m")], [Ok(30), Ok(30), Ok(120)]);
        for bad in ["", "0", "0s", "s", "601", "11m", "+5", "1h", "-1", "99999999999999999999m"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
