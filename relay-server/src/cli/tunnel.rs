//! `healthie-relay tunnel add|set|list|remove|devices|forget`

use clap::Subcommand;
use tunnel_delivery::{DeviceName, TunnelName};

use super::shape::{Shape, apart};
use super::{Data, Failure, print, tell};
use crate::control::{Question, Told, ask};
use crate::registry::{AnswerMode, Registry, TunnelSettings};
use crate::session::wall_clock;

#[derive(Subcommand)]
pub(super) enum Tunnel {
    /// Add a tunnel
    Add {
        /// Its name: the first label of its host name, or what follows /t/
        name: TunnelName,
        #[command(flatten)]
        shape: Shape,
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
        data: Data,
    },
    /// Keep nothing for a device any more; if it comes again it is a new one
    Forget {
        /// The tunnel
        name: TunnelName,
        /// The device
        device: DeviceName,
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
            Tunnel::Add { name, shape, data } => {
                let mut settings = TunnelSettings::new(AnswerMode::default(), wall_clock());
                shape.apply(&mut settings)?;
                Registry::open(&data.data)?.add_tunnel(name, settings)?;
            }
            Tunnel::Set { shape, .. } if shape.is_empty() => {
                return Err(Failure::usage(
                    "say what is to be changed; `healthie-relay tunnel set --help` shows what can be",
                ));
            }
            Tunnel::Set { name, shape, data } => {
                let mut wrong = None;
                data.registry()?.change_tunnel(&name, |settings| wrong = shape.apply(settings).err())?;
                if let Some(wrong) = wrong {
                    return Err(wrong);
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
                                "seal": t.seal, "max_body": t.max_body, "rate": t.per_second, "burst": t.burst, "created_at": t.created_at,
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
            Tunnel::Devices { name, json, data } => {
                data.there()?;
                match ask(&data.data, &Question::Devices { tunnel: name })? {
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
            Tunnel::Forget { name, device, data } => {
                data.there()?;
                match ask(&data.data, &Question::Forget { tunnel: name, device })? {
                    Told::Forgotten => {}
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
