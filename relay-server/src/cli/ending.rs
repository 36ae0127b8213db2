//! `healthie-relay tunnel forget|purge|remove`: what takes deliveries away from agents that have not taken them yet. Each says first how many, and asks.

use std::time::Duration;

use tunnel_delivery::{DeviceName, TunnelName};
use tunnel_spool::RedbSpool;
use tunnel_vault::KeySource;

use super::changed::{changed, done, later, still_to_come};
use super::consent::Consent;
use super::data_key::DataKey;
use super::tunnel::refused;
use super::{Data, Failure, tell};
use crate::audit::What;
use crate::control::{AskError, Question, Told, ask, ask_running, ask_telling};
use crate::registry::RegistryError;
use crate::session::wall_clock;
use crate::tokens::TokenId;

/// Keeps nothing for a device any more. Where nothing waits for it nothing is lost, and nobody is asked.
pub(super) fn forget(
    tunnel: TunnelName,
    device: DeviceName,
    consent: Consent,
    key: DataKey,
    data: &Data,
) -> Result<(), Failure> {
    data.there()?;
    let key = key.source();
    let its = match ask(&data.data, key.clone(), &Question::Devices { tunnel: Some(tunnel.clone()) })? {
        Told::Devices { devices, .. } => devices.into_iter().find(|its| its.device == device),
        other => return Err(refused(other)),
    };
    // One that is there, or is not known, is refused anyway; that answer is the better one.
    if let Some(its) = its.filter(|its| !its.connected && its.waiting > 0) {
        let waiting = deliveries(its.waiting);
        consent.get(&format!("Forget device {device} of tunnel {tunnel}? Nothing is kept for it any more; {waiting} that it has not taken would be gone for it."))?;
    }
    match ask(&data.data, key, &Question::Forget { tunnel, device })? {
        Told::Forgotten => Ok(()),
        other => Err(refused(other)),
    }
}

/// Drops all that waits for a tunnel's agents.
pub(super) fn purge(tunnel: TunnelName, consent: Consent, key: DataKey, data: &Data) -> Result<(), Failure> {
    data.there()?;
    let key = key.source();
    let waiting = match ask(&data.data, key.clone(), &Question::Waiting { tunnel: tunnel.clone() })? {
        Told::Waiting { deliveries, bytes } => waits(deliveries, bytes),
        // A relay of the version before this one has no answer to that, and does purge.
        Told::No { .. } if data.registry()?.snapshot().tunnels.contains_key(&tunnel) => UNKNOWN.to_owned(),
        other => return Err(refused(other)),
    };
    consent.get(&format!("Drop all that waits for the agents of tunnel {tunnel}? {waiting}"))?;
    match ask(&data.data, key, &Question::Purge { tunnel })? {
        Told::Purged { deliveries } => {
            let rid = rid(data);
            tell(&format!("{deliveries} that waited are gone.{}", rid.as_deref().unwrap_or_default()));
            rid.map(drop).map_err(|still| Failure { code: 3, message: still })
        }
        other => Err(refused(other)),
    }
}

/// What a removal was given besides the tunnel.
pub(super) struct Removal {
    pub(super) reserve_name: Duration,
    pub(super) with_tokens: bool,
}

/// Removes a tunnel and what it has spooled.
pub(super) fn remove(
    tunnel: &TunnelName,
    Removal { reserve_name, with_tokens }: Removal,
    consent: Consent,
    key: DataKey,
    data: &Data,
) -> Result<(), Failure> {
    let registry = data.registry()?;
    if !registry.snapshot().tunnels.contains_key(tunnel) {
        return Err(RegistryError::NoTunnel(tunnel.clone()).into());
    }
    let key = key.source();
    let waiting = waiting(tunnel, key.clone(), data);
    consent.get(&format!("Remove tunnel {tunnel}? Its address answers no more. {waiting}"))?;
    let now = wall_clock();
    let until = later(now, reserve_name);
    let idle = registry.retire_tunnel(tunnel, until, with_tokens, now)?;
    let kept = if until > now { format!("its name is kept until {until}") } else { String::new() };
    changed(&data.data, done(What::TunnelRemoved).tunnel(tunnel).note(kept));
    tell(&match left(tunnel, key, data) {
        Ok(gone) => format!("tunnel {tunnel} is removed. {waiting}{gone}"),
        Err(still) => format!("tunnel {tunnel} is removed. {still}"),
    });
    if with_tokens {
        for id in &idle {
            changed(&data.data, done(What::TokenRevoked).token(id).note(format!("with tunnel {tunnel}")));
        }
    }
    if !idle.is_empty() {
        let ids: Vec<String> = idle.iter().map(TokenId::to_string).collect();
        let ids = ids.join(", ");
        tell(&match with_tokens {
            true => format!("Revoked with it, since they opened nothing else: {ids}"),
            false => format!(
                "Tokens that open nothing any more: {ids}. `token grant` gives them another tunnel, `tunnel add {tunnel} --for` this one again, `token revoke` ends them."
            ),
        });
    }
    Ok(())
}

const UNKNOWN: &str = "How many deliveries wait there, to be dropped with it, could not be found out.";

/// What goes with a tunnel. That it cannot be found out, for want of the spool's key as it may be, keeps no tunnel from being removed.
fn waiting(tunnel: &TunnelName, key: Option<KeySource>, data: &Data) -> String {
    let question = Question::Waiting { tunnel: tunnel.clone() };
    let told = match ask_running(&data.data, &question) {
        // A folder without a spool gets none by this.
        Ok(None) if !RedbSpool::is_in(&data.data.join("spool")) => return waits(0, 0),
        Ok(None) => ask(&data.data, key, &question).ok(),
        Ok(told) => told,
        Err(_) => None,
    };
    match told {
        Some(Told::Waiting { deliveries, bytes }) => waits(deliveries, bytes),
        _ => UNKNOWN.to_owned(),
    }
}

/// Sees to it that nothing of a tunnel that was removed is left in the spool's file, and says so; or what is left there and what drops it.
fn left(tunnel: &TunnelName, key: Option<KeySource>, data: &Data) -> Result<String, String> {
    let spool = data.data.join("spool");
    if !RedbSpool::is_in(&spool) {
        return Ok(String::new());
    }
    let why = match ask_telling(&data.data, &Question::Changed, &mut still_to_come) {
        // It drops before it says so.
        Ok(Some(Told::Taken)) => return rid(data),
        Ok(Some(_)) | Err(_) => {
            return Err(
                "What waited for it IS STILL IN THE SPOOL'S FILE: the running relay has not dropped it yet. It tries again by itself; its log says when it has"
                    .to_owned(),
            );
        }
        Ok(None) => match ask(&data.data, key, &Question::Drop { tunnel: tunnel.clone() }) {
            Ok(Told::Dropped) => return rid(data),
            Ok(Told::No { why }) => why,
            Ok(_) => "the spool answered something else".to_owned(),
            Err(e) => e.to_string(),
        },
    };
    Err(format!(
        "What waited for it IS STILL IN {} ({why}), and in backups made from it. `healthie-relay serve` drops it at its next start, with the spool's key",
        spool.display()
    ))
}

/// Waits until nothing of what was dropped is left in the spool's file, which takes its time with a long one, and says so; or what is left there and until when.
fn rid(data: &Data) -> Result<String, String> {
    const STILL: &str = "What was dropped nobody can read any more, but bytes of it ARE STILL IN THE SPOOL'S FILE";
    match ask_telling(&data.data, &Question::Tidied, &mut still_to_come) {
        // Without a relay this command has opened the spool, which is compacted before it is closed.
        Ok(None | Some(Told::Tidied { whole: true })) => {
            Ok(" Nothing of it is left in the spool's file; copies made before, such as backups, still hold it.".to_owned())
        }
        Ok(Some(Told::Tidied { whole: false })) => Ok(
            " Bytes of it leave the spool's file later: a backup is being made just now, or the disk has no room for writing the file anew (the log says); copies, such as that backup, hold it on."
                .to_owned(),
        ),
        Err(AskError::Silent { .. }) => Err(format!(
            "{STILL}: the relay is still compacting that. Its log says when it has (\"compacted the spool\"), and a relay that is started anew goes on with it"
        )),
        Ok(Some(Told::No { why })) => Err(format!("{STILL}, or whether they are could not be found out ({why})")),
        Ok(Some(_)) => Err(format!("{STILL}, or whether they are could not be found out")),
        Err(e) => Err(format!("{STILL}, or whether they are could not be found out ({e})")),
    }
}

fn waits(count: u64, bytes: u64) -> String {
    match count {
        0 => "No delivery waits there.".to_owned(),
        1 => format!("1 delivery that an agent has not taken yet ({bytes} bytes) is dropped."),
        n => format!("{n} deliveries that an agent has not taken yet ({bytes} bytes) are dropped."),
    }
}

fn deliveries(count: u64) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}
