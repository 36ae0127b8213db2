//! From an upgraded connection to a session: the hello, whether the device may come, its place in the spool, its seat in the hub, the welcome; or a refusal that says why.
//!
//! What a session does once it is there is the parent's.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::warn;
use tunnel_delivery::TunnelName;
use tunnel_protocol::{
    HELLO_TIMEOUT, Heartbeat, Hello, Outbox, Refusal, Refused, ToAgent, ToRelay, VERSION_MAX, VERSION_MIN, Welcome,
    Window, choose_version,
};
use tunnel_spool::{Role, Seq, SpoolError};

use super::feed::gap;
use super::ledger::Ledger;
use super::pump::Pump;
use super::{Caller, Session, for_agents, holds_place, key, mode, note};
use crate::admission::neighbourhood;
use crate::audit::What;
use crate::lines::Line;
use crate::metrics::Limit;
use crate::registry::Access;
use crate::shared::Shared;

/// The most that is on its way to one agent, whatever it allows: deliveries, and bytes of bodies. It bounds what an agent that reads nothing can
/// make the relay hold.
const WINDOW_MOST: (u32, u64) = (1024, 16 << 20);

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, code: Refusal, message: String) {
    let mut outbox = Outbox::<ToAgent>::default();
    outbox.whole(ToAgent::Refused(Refused { code, message }).encode());
    let _ = tokio::time::timeout(HELLO_TIMEOUT, pump.drain(&mut outbox)).await;
}

/// The tunnel has as many agents as it may.
async fn refuse_one_more<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, shared: &Shared, tunnel: &TunnelName) {
    shared.metrics.limit_hit(Limit::Agents);
    let agents = counted(shared.config.limits.agents_per_tunnel, "agent");
    refuse(pump, Refusal::TooMany, format!("tunnel {tunnel} has {agents}, as many as this relay allows")).await;
}

/// So many of them, in words.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The agent's first frame; nothing if it was none, or did not come in time.
pub(super) async fn hello<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, shared: &Shared) -> Option<Hello> {
    let mut nothing = Outbox::<ToAgent>::default();
    let frame = match tokio::time::timeout(shared.config.limits.hello_time, pump.next(&mut nothing)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(ended)) => {
            ended.count(&shared.metrics);
            return None;
        }
        Err(_) => {
            shared.metrics.limit_hit(Limit::HelloTime);
            return None;
        }
    };
    match ToRelay::decode(frame) {
        Ok(ToRelay::Hello(hello)) => Some(hello),
        Ok(_) => {
            refuse(pump, Refusal::BadHello, "the first frame must be a hello".into()).await;
            None
        }
        Err(e) => {
            refuse(pump, Refusal::BadHello, e.to_string()).await;
            None
        }
    }
}

impl Session {
    /// From a hello to a session: the device gets its place in the stream and its seat, and the agent is told where it stands. Nothing if it was refused.
    pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        pump: &mut Pump<S>,
        hello: Hello,
        caller: &Caller,
        shared: Arc<Shared>,
    ) -> Option<Session> {
        let limits = &shared.config.limits;
        let Some(version) = choose_version((VERSION_MIN, VERSION_MAX), hello.versions) else {
            let message = format!(
                "this relay speaks versions {VERSION_MIN} to {VERSION_MAX} of the protocol and the agent {} to {}: update the older of the two",
                hello.versions.0, hello.versions.1
            );
            refuse(pump, Refusal::Version, message).await;
            return None;
        };
        let Some(sealed) = shared.registry.snapshot().tunnels.get(&caller.tunnel).map(|tunnel| tunnel.seal) else {
            refuse(pump, Refusal::Unavailable, format!("tunnel {} was removed", caller.tunnel)).await;
            return None;
        };
        if let Some(why) = key::refusal(&caller.tunnel, sealed, &hello) {
            // A code that an agent of any version ends over: trying again would not help.
            refuse(pump, Refusal::BadHello, why).await;
            return None;
        }
        // Those that only look use up no place of the others.
        let mut devices = shared.spool.devices(&caller.tunnel).unwrap_or_default();
        devices.retain(|place| (place.role == Role::Watches) == (caller.pass.access == Access::ReadOnly));
        let known = devices.iter().any(|place| place.device == hello.device);
        let start = key::begins(hello.start, sealed && !devices.is_empty());
        if !known && devices.len() >= limits.devices_per_tunnel {
            shared.metrics.limit_hit(Limit::Devices);
            let message = format!(
                "tunnel {} keeps deliveries for {}, as many as this relay allows; `healthie-relay tunnel forget` makes room where one is gone for good",
                caller.tunnel,
                counted(devices.len(), "device")
            );
            refuse(pump, Refusal::TooMany, message).await;
            return None;
        }
        // Asked before it gets a place in the spool, which it would keep though it is refused.
        if !shared.hub.has_room(&caller.tunnel, &hello.device, &caller.pass, limits.agents_per_tunnel) {
            refuse_one_more(pump, &shared, &caller.tunnel).await;
            return None;
        }
        let taking = shared.taking().await;
        // A tunnel that is gone by now must not get a device, nor the next one of its name.
        if let Some(why) = shared.registry.snapshot().ends(&caller.pass, &caller.tunnel, shared.now()) {
            drop(taking);
            refuse(pump, Refusal::Unavailable, why).await;
            return None;
        }
        if caller.pass.access == Access::Full {
            // Before the place is this one's: what an onlooker has taken must not move it.
            shared.hub.dismiss_onlooker(&caller.tunnel, &hello.device);
        }
        if known {
            // Before it joins: its place is not to be forgotten, with the token that it came with before, after it was given this one.
            shared.device_came(&caller.tunnel, &hello.device, &caller.pass.token).await;
        }
        let joined = match caller.pass.access {
            Access::Full => shared.spool.join(&caller.tunnel, &hello.device, start, shared.now()).await,
            Access::ReadOnly => shared.spool.watch(&caller.tunnel, &hello.device, start, shared.now()).await,
        };
        let joined = match joined {
            // Its key is durable before it is seated: whatever is sealed while it is there is sealed to it. And before its key it is known whose it is:
            // nothing is sealed to it for a token that ended.
            Ok(place) => {
                let note = |key| {
                    note(
                        &shared,
                        caller,
                        &hello.device,
                        What::DeviceKeyed,
                        &format!("{} {key}", caller.pass.access.as_str()),
                    );
                };
                shared.device_came(&caller.tunnel, &hello.device, &caller.pass.token).await;
                key::noted(&shared, &caller.tunnel, &hello, place, sealed, note).await
            }
            Err(e) => Err(e),
        };
        drop(taking);
        let key::Noted { place, notice } = match joined {
            Ok(noted) => noted,
            Err(e) => {
                if matches!(e, SpoolError::TooManyDevices { .. }) {
                    shared.metrics.limit_hit(Limit::Devices);
                }
                if shared.tells(Line::AgentNotSeated, &caller.pass.token) {
                    warn!(tunnel = %caller.tunnel, device = %hello.device, error = %e, "an agent could not be seated");
                }
                refuse(pump, Refusal::Unavailable, for_agents(&e)).await;
                return None;
            }
        };
        let known = !place.new;
        let Some(seat) = shared.hub.seat(&caller.tunnel, &hello.device, &caller.pass, limits.agents_per_tunnel) else {
            // Another came between. Under the same name, the place is that one's.
            let taken = shared.hub.is_there(&caller.tunnel, &hello.device);
            if !known && !taken {
                let _ = shared.spool.forget(&caller.tunnel, &hello.device).await;
                shared.device_forgotten(&caller.tunnel, &hello.device).await;
            }
            match taken {
                true => refuse(pump, Refusal::Unavailable, "another took the device's name just now".into()).await,
                false => refuse_one_more(pump, &shared, &caller.tunnel).await,
            }
            return None;
        };
        // A session of the same device that ended meanwhile may have noted that it left.
        shared.device_came(&caller.tunnel, &hello.device, &caller.pass.token).await;
        // Seated, it is told of every later change; a change between the upgrade and now has passed it by.
        let all = shared.registry.snapshot();
        let ended = all.ends(&caller.pass, &caller.tunnel, shared.now());
        let settings = match (all.tunnels.get(&caller.tunnel), ended) {
            (Some(settings), None) => settings,
            (_, why) => {
                refuse(pump, Refusal::Unavailable, why.unwrap_or_default()).await;
                return None;
            }
        };
        if settings.seal != sealed {
            refuse(pump, Refusal::Unavailable, "the tunnel's settings changed just now".into()).await;
            return None;
        }
        let places = shared.spool.devices(&caller.tunnel).unwrap_or_default();
        if !holds_place(&places, &hello.device, caller.pass.access) {
            refuse(pump, Refusal::Unavailable, "the device was forgotten just now, or another took its name".into())
                .await;
            return None;
        }
        let stream = shared.stream_of(&caller.tunnel, settings);
        let (mut after, mut missing) = (place.after, place.gap);
        if let Some(resume) = &hello.resume
            && resume.stream == stream
            && Seq(resume.after) > after
            && Seq(resume.after) <= shared.spool.last(&caller.tunnel)
        {
            // The spool's own books are older than the agent's, which has deliveries from behind what they say was dropped.
            (after, missing) = (Seq(resume.after), None);
            shared.spool.taken(&caller.tunnel, &hello.device, after);
        }
        let waiting = shared.spool.last(&caller.tunnel).0.saturating_sub(after.0);
        let mut ledger = Ledger::new(window(&hello), after, hello.window_deliveries.min(WINDOW_MOST.0));
        ledger.traces = shared.traces.clone();
        ledger.outbox.urgent(
            ToAgent::Welcome(Welcome {
                version,
                tunnel: caller.tunnel.clone(),
                answer_mode: mode::on_the_wire(settings.answer),
                public_urls: caller.public_urls.clone(),
                max_body: settings.max_body.map_or(limits.body, |own| own.min(limits.body)),
                heartbeat: limits.heartbeat,
                dead_after: limits.dead_after,
                stream,
                after: after.0,
                waiting,
                software: concat!("healthie-relay ", env!("CARGO_PKG_VERSION")).into(),
                sets_answer: true,
                sealed,
                notice,
                read_only: caller.pass.access == Access::ReadOnly,
            })
            .encode(),
        );
        if let Some(missing) = missing {
            if shared.tells(Line::Gap, &caller.pass.token) {
                warn!(tunnel = %caller.tunnel, device = %hello.device, from = %missing.from, upto = %missing.upto, "an agent is told of a gap");
            }
            ledger.outbox.whole(gap(missing.from, missing.upto, Some(missing.why)));
        }
        shared.note_use(&caller.pass.token);
        shared.handshakes.agent_came_from(neighbourhood(caller.from));
        shared.metrics.session_opened(known);
        Some(Session {
            tunnel: caller.tunnel.clone(),
            device: hello.device,
            heartbeat: Heartbeat::new(Instant::now().into_std(), limits.heartbeat, limits.dead_after),
            shared,
            seat,
            ledger,
            backlog: VecDeque::new(),
            reading: None,
            caller: caller.clone(),
            sealed,
            has_key: hello.device_key.is_some(),
            told: settings.answer,
            changing: None,
            change_after: Instant::now(),
        })
    }
}

/// As much as the agent allows, within bounds of the relay's own.
pub(super) fn window(hello: &Hello) -> Window {
    Window::new(hello.window_deliveries.min(WINDOW_MOST.0), hello.window_bytes.min(WINDOW_MOST.1))
}
