//! From a request to an answer: the body is read within its bounds, the delivery gets its id, and goes into the spool, to an agent, or both.
//!
//! It knows HTTP and the hub, not the agents' sockets. It never logs a body or a header's value.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Lost, Method, Target, TunnelName};
use tunnel_spool::{DevicePlace, Role, SpoolError};

use crate::admission::{InHand, neighbourhood};
use crate::bodies::Hold;
use crate::config::{BODY_GRACE, Limits};
use crate::harmless;
use crate::http::trail;
use crate::hub::{NoTaker, Offer};
use crate::lines::Line;
use crate::metrics::{Limit, Outcome};
use crate::registry::{AnswerMode, TunnelSettings, WhenAway};
use crate::respond::{self, Answer, Many, Problem, Whose};
use crate::sealing;
use crate::shared::{Shared, Taking};
use crate::sources::Source;
use crate::traces;

/// A request that is addressed to a tunnel, without its body.
pub(crate) struct Request {
    pub(crate) tunnel: TunnelName,
    pub(crate) prefix_len: usize,
    pub(crate) source_ip: IpAddr,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) http_version: HttpVersion,
    pub(crate) headers: Headers,
    pub(crate) lost: Vec<Lost>,
}

/// Takes a delivery and says what to answer its sender.
pub(crate) async fn take(request: Request, body: Incoming, in_hand: &mut InHand, shared: &Arc<Shared>) -> Answer {
    let tunnel = request.tunnel.clone();
    let mut counting =
        Counting { shared, tunnel: &tunnel, began: Instant::now(), delivery: None, outcome: Outcome::SenderGone };
    let taken = try_take(request, body, in_hand, shared, &mut counting.delivery).await;
    let id = counting.delivery.as_ref().map(|delivery| delivery.id);
    let answer = match taken {
        Ok(taken) => {
            in_hand.taken();
            counting.outcome = taken.outcome;
            taken.answer
        }
        Err(problem) => {
            counting.outcome = problem.outcome();
            // Over HTTP/2 that is a stream that was reset, and costs its sender nothing.
            if problem == Problem::BadBody {
                in_hand.was_given_up();
            }
            problem.answer(id)
        }
    };
    // What never became a delivery has an id all the same.
    let id = id.unwrap_or_else(|| {
        let id = shared.ids.next(shared.now());
        trail::name(id);
        id
    });
    drop(counting);
    trail::of_delivery(answer, id)
}

/// A delivery that is answered as it should be.
struct Taken {
    answer: Answer,
    outcome: Outcome,
}

impl Taken {
    /// It is durably spooled.
    fn spooled(id: DeliveryId) -> Taken {
        Taken { answer: respond::accepted(id), outcome: Outcome::Accepted }
    }
}

/// Counts and tells what came of a delivery: also where its sender went away, and all that was under way for it was dropped.
struct Counting<'a> {
    shared: &'a Shared,
    tunnel: &'a TunnelName,
    began: Instant,
    /// As soon as it is one.
    delivery: Option<Arc<Delivery>>,
    outcome: Outcome,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        debug!(tunnel = %self.tunnel, outcome = self.outcome.as_str(), us = took.as_micros(), "delivery");
        self.shared.metrics.delivery(self.tunnel, self.outcome, took);
        if let Some(delivery) = &self.delivery {
            traces::answered(&self.shared.traces, delivery, self.outcome, self.shared.now(), took);
        }
    }
}

/// `made` is set as soon as there is a delivery.
async fn try_take(
    request: Request,
    body: Incoming,
    in_hand: &mut InHand,
    shared: &Arc<Shared>,
    made: &mut Option<Arc<Delivery>>,
) -> Result<Taken, Problem> {
    let tunnel = request.tunnel.clone();
    answers_method(&request, shared)?;
    let Some(settings) = shared.tunnel(&tunnel).await else { return Err(Problem::NotFound) };
    if shared.is_stopping() {
        return Err(Problem::Stopping);
    }
    let metrics = &shared.metrics;
    comes_from_where_it_may(&request, &settings, shared)?;
    let healthie = Environment::of(request.source_ip) != Environment::Unknown;
    let rate = settings.rate(shared.config.limits.tunnel_rate);
    shared.rates.tunnel(&tunnel, healthie, rate).map_err(|wait| {
        metrics.limit_hit(Limit::TunnelRate);
        Problem::TooMany { of: Many::Tunnel, retry_after: whole_seconds(wait) }
    })?;
    let source = request.source_ip;
    let mut hold = shared.bodies.hold((!shared.is_favoured(source)).then(|| neighbourhood(source)));
    if !hold.grow(head_bytes(&request)) {
        metrics.limit_hit(Limit::InFlight);
        return Err(Problem::Overloaded);
    }
    let longest = longest_body(&settings, shared.config.limits.body);
    let mut delivery = Arc::new(read(request, body, longest, &mut hold, shared).await?);
    in_hand.was_read();
    let taking = shared.taking().await;
    // While the body came in, the tunnel may have become another one of the same name, with another owner, or closed to this sender.
    let now = shared.registry.snapshot().tunnels.get(&tunnel).cloned();
    let Some(settings) = now.filter(|now| now.created_at == settings.created_at) else {
        return Err(Problem::NotFound);
    };
    if !Source::admit(&settings.from, source) {
        metrics.limit_hit(Limit::Source);
        return Err(Problem::Source);
    }
    *made = Some(Arc::clone(&delivery));
    trail::name(delivery.id);
    if settings.seal {
        // From here on it is an envelope, also for what is told of it at its end: nothing here keeps what is inside.
        delivery = Arc::new(sealing::seal(delivery, shared).await?);
        *made = Some(Arc::clone(&delivery));
    }
    match settings.answer {
        AnswerMode::Ack => spool(&delivery, shared, taking).await.map(|()| Taken::spooled(delivery.id)),
        AnswerMode::Passthrough => pass_through(&delivery, &settings, shared, taking).await,
    }
}

/// Whether the tunnel answers the request's method. It is asked before whether there is such a tunnel, and of what is known at once, so that a browser's visit to
/// an address tells nobody whether it is a tunnel's: all answer POST unless their owner adds something.
fn answers_method(request: &Request, shared: &Shared) -> Result<(), Problem> {
    let all = shared.registry.snapshot();
    let known = all.tunnels.get(&request.tunnel);
    let post = request.method.as_str() == "POST";
    let allowed = match known {
        Some(settings) if settings.methods.contains(&request.method) => return Ok(()),
        None if post => return Ok(()),
        Some(settings) => {
            let names: Vec<&str> = settings.methods.iter().map(Method::as_str).collect();
            names.join(", ").into()
        }
        None => "POST".into(),
    };
    shared.metrics.limit_hit(Limit::Method);
    Err(Problem::Method(allowed))
}

/// Whether the tunnel takes deliveries from where this one comes.
fn comes_from_where_it_may(request: &Request, settings: &TunnelSettings, shared: &Shared) -> Result<(), Problem> {
    if Source::admit(&settings.from, request.source_ip) {
        return Ok(());
    }
    shared.metrics.limit_hit(Limit::Source);
    debug!(tunnel = %request.tunnel, source_ip = %request.source_ip, "delivery refused: the tunnel takes none from there");
    Err(Problem::Source)
}

/// What its head takes up while its body comes.
fn head_bytes(request: &Request) -> u64 {
    let lines: usize = request.headers.iter().map(|line| line.name.len() + line.value.len()).sum();
    (lines + request.target.as_str().len()) as u64
}

/// For Retry-After: no shorter than it is.
pub(crate) fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// The longest body that a tunnel takes where the relay takes bodies of `relays` bytes, and who sets that.
fn longest_body(settings: &TunnelSettings, relays: u64) -> (u64, Whose) {
    settings.max_body.filter(|own| *own < relays).map_or((relays, Whose::Relay), |own| (own, Whose::Tunnel))
}

/// Reads the body and makes the delivery.
async fn read(
    mut request: Request,
    body: Incoming,
    (limit, of): (u64, Whose),
    hold: &mut Hold,
    shared: &Shared,
) -> Result<Delivery, Problem> {
    let too_large = || {
        shared.metrics.limit_hit(Limit::BodyBytes);
        Problem::TooLarge { limit, of }
    };
    if body.size_hint().lower() > limit {
        return Err(too_large());
    }
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        let (body, trailers) = collect(body, (limit, of), hold, &shared.config.limits).await.map_err(|problem| {
            match problem {
                Problem::TooLarge { .. } => return too_large(),
                Problem::BodyTimeout => shared.metrics.limit_hit(Limit::BodyTime),
                Problem::Overloaded => shared.metrics.limit_hit(Limit::InFlight),
                _ => {}
            }
            problem
        })?;
        if trailers {
            request.lost.push(Lost::Trailers);
        }
        body
    };
    let received_at = shared.now();
    shared.metrics.body(&request.tunnel, body.len() as u64);
    Ok(Delivery {
        id: shared.ids.next(received_at),
        received_at,
        tunnel: request.tunnel,
        environment: Environment::of(request.source_ip),
        source_ip: request.source_ip,
        method: request.method,
        target: request.target,
        prefix_len: request.prefix_len,
        http_version: request.http_version,
        headers: request.headers,
        body,
        lost: request.lost,
    })
}

/// The body's bytes, and whether trailers came after them. A body in one piece, as nearly all are, is not copied.
async fn collect(
    mut body: Incoming,
    (limit, of): (u64, Whose),
    hold: &mut Hold,
    limits: &Limits,
) -> Result<(Bytes, bool), Problem> {
    let began = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut trailers = false;
    loop {
        // What has come earns time for what is to come, up to the most that any body has.
        let earned = ((first.len() + rest.len()) as u64).checked_div(limits.body_rate).map(Duration::from_secs);
        let time = earned.map_or(limits.body_time, |earned| limits.body_time.min(BODY_GRACE.saturating_add(earned)));
        let next = tokio::time::timeout_at(began + time, body.frame());
        let Some(frame) = next.await.map_err(|_| Problem::BodyTimeout)? else { break };
        let frame = frame.map_err(|_| Problem::BadBody)?;
        match frame.into_data() {
            Ok(data) => {
                if (first.len() + rest.len() + data.len()) as u64 > limit {
                    return Err(Problem::TooLarge { limit, of });
                }
                if !hold.grow(data.len() as u64) {
                    return Err(Problem::Overloaded);
                }
                if first.is_empty() && rest.is_empty() {
                    first = data;
                } else {
                    if rest.is_empty() {
                        rest.extend_from_slice(&std::mem::take(&mut first));
                    }
                    rest.extend_from_slice(&data);
                }
            }
            Err(_) => trailers = true,
        }
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, trailers))
}

/// Returns once the delivery is durably spooled. Until then its tunnel is not dropped.
async fn spool(delivery: &Arc<Delivery>, shared: &Shared, taking: Taking) -> Result<(), Problem> {
    let began = Instant::now();
    let appended = shared.spool.append(Arc::clone(delivery)).await;
    drop(taking);
    let (took, failed) = (began.elapsed(), appended.as_ref().err().map(|e| Problem::of_spool(e).outcome()));
    traces::part(&shared.traces, delivery, "spool", shared.now(), took, failed);
    match appended {
        Ok(_) => {
            shared.metrics.spooled(took);
            shared.hub.wake(&delivery.tunnel);
            Ok(())
        }
        Err(e) => {
            match e {
                SpoolError::Busy => shared.metrics.limit_hit(Limit::SpoolQueue),
                SpoolError::TunnelFull { .. } | SpoolError::DiskLow { .. } => {
                    shared.metrics.limit_hit(Limit::SpoolShare);
                }
                SpoolError::DiskFull { .. } => shared.metrics.limit_hit(Limit::Disk),
                SpoolError::TooLarge { .. } => shared.metrics.limit_hit(Limit::BodyBytes),
                _ => {}
            }
            let told = match e {
                SpoolError::Busy => None,
                SpoolError::TunnelFull { .. } | SpoolError::DiskLow { .. } => Some(Line::TunnelFull),
                SpoolError::DiskFull { .. } => Some(Line::DiskFull),
                _ => Some(Line::NotSpooled),
            };
            if told.is_some_and(|line| shared.tells(line, &delivery.tunnel)) {
                warn!(tunnel = %delivery.tunnel, error = %e, "a delivery could not be spooled");
            }
            Err(Problem::of_spool(&e))
        }
    }
}

/// How long an onlooker may be away and still gets what is passed through meanwhile: a broken line costs it nothing. One that is away for longer has closed the
/// laptop, and deliveries that the tunnel's own agent has answered are not to be written to this disk for that.
const ONLOOKER_AWAY: Duration = Duration::from_secs(600);

/// Whether this is a device that only watches, and does so now.
fn looks_on(device: &DevicePlace, tunnel: &TunnelName, shared: &Shared) -> bool {
    let now = shared.now();
    // What was before this process began is not known.
    let seen = || shared.hub.last_seen(tunnel, &device.device, now).unwrap_or(shared.started.max(device.joined));
    device.role == Role::Watches && now.since(seen()) <= ONLOOKER_AWAY
}

/// The handler's own answer. Where other devices wait for the delivery too, a 2xx goes out only once it is spooled for them.
async fn pass_through(
    delivery: &Arc<Delivery>,
    settings: &TunnelSettings,
    shared: &Arc<Shared>,
    taking: Taking,
) -> Result<Taken, Problem> {
    let until = Instant::now() + settings.answer_within();
    let (reply, answer) = oneshot::channel();
    match shared.hub.offer(&delivery.tunnel, Offer { delivery: Arc::clone(delivery), until, reply }) {
        Ok(()) => {}
        Err(NoTaker::Away) if settings.when_away == WhenAway::Spool => {
            return spool(delivery, shared, taking).await.map(|()| Taken::spooled(delivery.id));
        }
        Err(NoTaker::Away) => return Err(Problem::NoAgent),
        Err(NoTaker::Busy) => {
            shared.metrics.limit_hit(Limit::AgentQueue);
            return Err(Problem::AgentBusy);
        }
    }
    let answer = async {
        let began = Instant::now();
        let answer = match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(failure))) => Err(Problem::Handler(failure)),
            Ok(Err(_)) => Err(Problem::AgentGone),
            Err(_) => {
                shared.metrics.limit_hit(Limit::AnswerTime);
                Err(Problem::Timeout)
            }
        };
        let failed = answer.as_ref().err().map(Problem::outcome);
        traces::part(&shared.traces, delivery, "handler", shared.now(), began.elapsed(), failed);
        answer
    };
    // Asked of the spool itself: a count kept elsewhere would be behind it for a moment, and that moment's deliveries would be missing.
    let (others, watched) = match shared.spool.devices(&delivery.tunnel) {
        Ok(devices) => {
            let takers = devices.iter().filter(|device| device.role == Role::Takes).count();
            (takers > 1, devices.iter().any(|device| looks_on(device, &delivery.tunnel, shared)))
        }
        Err(_) => (true, false),
    };
    let answer = if others {
        let (answer, spooled) = tokio::join!(answer, spool(delivery, shared, taking));
        let answer = answer?;
        if (200..300).contains(&answer.status) {
            spooled?;
        }
        answer
    } else {
        if watched {
            // Those that only watch are owed nothing that a sender would have to wait for.
            let (delivery, shared) = (Arc::clone(delivery), Arc::clone(shared));
            tokio::spawn(async move { spool(&delivery, &shared, taking).await });
        } else {
            drop(taking);
        }
        answer.await?
    };
    let (answer, left_out) = harmless::answer(answer, shared.config.limits.answer)?;
    if left_out {
        shared.metrics.limit_hit(Limit::AnswerBytes);
    }
    Ok(Taken { answer: respond::handlers(answer, delivery.id), outcome: Outcome::Answered })
}
