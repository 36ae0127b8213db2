//! What a running relay does from time to time: look at the registry, drop what is too old, forget who is gone, and tell how much was left out of the logs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use tunnel_delivery::Timestamp;

use super::jumps::{Believed, DOUBT, News};
use crate::shared::Shared;

/// How often the registry's file is looked at for changes by `tunnel` and `token`.
const LOOK_AT_REGISTRY: Duration = Duration::from_millis(500);
/// How often deliveries that are too old are dropped.
const EXPIRE: Duration = Duration::from_secs(60);
/// How often what was left out of the log is told as a number.
const MINUTE: Duration = Duration::from_secs(60);
/// The same for the audit log, in those.
const MINUTES_OF_AUDIT: u32 = 10;
/// Within so much time after a start, agents that were connected before it are there again.
const COMES_AGAIN: Duration = Duration::from_secs(3600);

/// What is to be done from time to time. The one does not wait for the other: a spool whose disk is slow must not put off the end of a token.
pub(super) async fn keep(shared: Arc<Shared>) {
    tokio::join!(biased; look_at_registry(&shared), drop_old(&shared), sum_up(&shared));
}

async fn look_at_registry(shared: &Arc<Shared>) {
    let mut registry = tokio::time::interval(LOOK_AT_REGISTRY);
    let mut looked = shared.now();
    loop {
        registry.tick().await;
        shared.reload().await;
        // Tokens and secrets whose time is over are no change of the file.
        let now = shared.now();
        if shared.registry.snapshot().something_ended(looked, now) {
            shared.dismiss();
            shared.forget_lost().await;
        }
        looked = now;
    }
}

async fn drop_old(shared: &Shared) {
    let mut expire = tokio::time::interval(EXPIRE);
    let mut believed = Believed::new(shared.now(), Instant::now());
    loop {
        expire.tick().await;
        note_alive(shared).await;
        // Also those that came in the moment when their token ended.
        shared.forget_lost().await;
        drop_too_old(shared, &mut believed, Instant::now()).await;
    }
}

/// Forgets who was away for too long and drops what is too old, by the time that is believed.
pub(crate) async fn drop_too_old(shared: &Shared, believed: &mut Believed, steady: Instant) {
    let (now, news) = believed.look(shared.now(), steady);
    match news {
        Some(News::Jumped(ahead)) => warn!(
            ahead_seconds = ahead.as_secs(),
            doubted_seconds = DOUBT.as_secs(),
            "the clock has jumped ahead, or the machine has slept: until it has been so for that long, nothing is dropped and no device is forgotten for what it says; if it is wrong, set it before"
        ),
        Some(News::Back) => info!("the clock is right again: nothing was dropped for its jump"),
        Some(News::Believed) => warn!("the clock is believed: what is too old by it is dropped"),
        None => {}
    }
    forget_gone(shared, now).await;
    expire_old(shared, now).await;
}

/// Notes that this process is at work.
pub(super) async fn note_alive(shared: &Shared) {
    let (whose, now) = (Arc::clone(&shared.whose), shared.now());
    let _ = shared.offload.run(move || whose.note_alive(now)).await;
}

/// What was left out of the log and of the audit log is told as a number.
async fn sum_up(shared: &Shared) {
    let mut minutes = tokio::time::interval_at(Instant::now() + MINUTE, MINUTE);
    loop {
        for _ in 0..MINUTES_OF_AUDIT {
            minutes.tick().await;
            shared.lines.sum_up(shared.now());
        }
        shared.audit.sum_up(shared.now());
    }
}

async fn expire_old(shared: &Shared, now: Timestamp) {
    match shared.spool.expire(now).await {
        Ok(dropped) => {
            for run in dropped {
                let (count, bytes) = (run.count(), run.bytes);
                warn!(tunnel = %run.tunnel, from = %run.from, upto = %run.upto, count, bytes, why = %run.why, "deliveries were dropped before every agent had them");
            }
        }
        Err(e) => warn!(error = %e, "old deliveries could not be dropped"),
    }
}

/// Forgets devices that were away for longer than anything is kept: nothing is left that waits for them, and a tunnel has room for so many only.
pub(crate) async fn forget_gone(shared: &Shared, now: Timestamp) {
    for (tunnel, settings) in &shared.registry.snapshot().tunnels {
        // A tunnel that keeps things for minutes only has the same devices after lunch, and is sealed to the same keys.
        let kept = shared.config.spool.age_of(settings.share().as_ref()).max(shared.config.spool.max_age);
        for device in shared.spool.devices(tunnel).unwrap_or_default() {
            // Of what was before this process began only what was noted is known: at worst a device is kept for longer. None is forgotten before those
            // that were there have had the time to come again.
            let noted = || shared.whose.last_seen(tunnel, &device.device);
            let noted = noted().filter(|_| now.since(shared.started) > COMES_AGAIN);
            let seen = shared.hub.last_seen(tunnel, &device.device, now).or(noted).unwrap_or(shared.started);
            let seen = seen.max(device.joined);
            // What no other device was given is younger than that, and goes when it is too old.
            if now.since(seen) <= kept || device.only_here > 0 {
                continue;
            }
            // Whether one whose token ended goes is decided where that is known, with it or a minute later; while it stays, something waits that is its alone.
            if shared.whose.lost(tunnel, &device.device, &shared.registry.snapshot(), now).is_some() {
                continue;
            }
            match shared.spool.forget(tunnel, &device.device).await {
                Ok(_) => {
                    // One that came in this very moment has no place any more, and must join anew.
                    shared.hub.dismiss_device(tunnel, &device.device, "the device was away for too long");
                    shared.device_forgotten(tunnel, &device.device).await;
                    info!(%tunnel, device = %device.device, "a device that was away for too long is forgotten");
                }
                Err(e) => warn!(%tunnel, device = %device.device, error = %e, "a device could not be forgotten"),
            }
        }
    }
}
