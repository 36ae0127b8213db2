//! From a request to an answer: the body is read within its bounds, the delivery gets its id, and goes into the spool, to an agent, or both.
//!
//! It knows HTTP and the hub, not the agents' sockets. It never logs a body or a header's value.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Lost, Method, Target, TunnelName};
use tunnel_spool::{Spool as _, SpoolError};

use crate::hub::{NoTaker, Offer};
use crate::metrics::{Limit, Outcome};
use crate::registry::{AnswerMode, TunnelSettings, WhenAway};
use crate::respond::{self, Answer, Problem};
use crate::sealing;
use crate::shared::Shared;

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
pub(crate) async fn take(request: Request, body: Incoming, shared: &Arc<Shared>) -> Answer {
    let tunnel = request.tunnel.clone();
    let counting = Counting { shared, tunnel: &tunnel, began: Instant::now(), outcome: Outcome::SenderGone };
    let mut id = None;
    match try_take(request, body, shared, &mut id).await {
        Ok(taken) => {
            counting.ended(taken.outcome);
            taken.answer
        }
        Err(problem) => {
            counting.ended(problem.outcome());
            problem.answer(id)
        }
    }
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
    outcome: Outcome,
}

impl Counting<'_> {
    fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        debug!(tunnel = %self.tunnel, outcome = self.outcome.as_str(), us = took.as_micros(), "delivery");
        self.shared.metrics.delivery(self.tunnel, self.outcome, took);
    }
}

/// `id` is set as soon as the delivery has one.
async fn try_take(
    request: Request,
    body: Incoming,
    shared: &Arc<Shared>,
    id: &mut Option<DeliveryId>,
) -> Result<Taken, Problem> {
    let tunnel = request.tunnel.clone();
    let Some(settings) = shared.tunnel(&tunnel).await else { return Err(Problem::NotFound) };
    if shared.is_stopping() {
        return Err(Problem::Stopping);
    }
    let delivery = read(request, body, shared).await?;
    // While the body came in, the tunnel may have become another one of the same name, with another owner.
    let same = |now: &TunnelSettings| now.created_at == settings.created_at;
    let snapshot = shared.registry.snapshot();
    let Some(now) = snapshot.tunnels.get(&tunnel).filter(|now| same(now)) else { return Err(Problem::NotFound) };
    *id = Some(delivery.id);
    // From here on a sealed tunnel's delivery is an envelope.
    let delivery = Arc::new(if now.seal { sealing::seal(delivery, shared).await? } else { delivery });
    match settings.answer {
        AnswerMode::Ack => spool(&delivery, shared).await.map(|()| Taken::spooled(delivery.id)),
        AnswerMode::Passthrough => pass_through(&delivery, &settings, shared).await,
    }
}

/// Reads the body and makes the delivery.
async fn read(mut request: Request, body: Incoming, shared: &Shared) -> Result<Delivery, Problem> {
    let limits = &shared.config.limits;
    if body.size_hint().lower() > limits.body {
        return Err(Problem::TooLarge { limit: limits.body });
    }
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        let (body, trailers) =
            tokio::time::timeout(limits.body_time, collect(body, limits.body)).await.map_err(|_| {
                shared.metrics.limit_hit(Limit::BodyTime);
                Problem::BodyTimeout
            })??;
        if trailers {
            request.lost.push(Lost::Trailers);
        }
        body
    };
    let received_at = shared.now();
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
async fn collect(mut body: Incoming, limit: u64) -> Result<(Bytes, bool), Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut trailers = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::BadBody)?;
        match frame.into_data() {
            Ok(data) => {
                if (first.len() + rest.len() + data.len()) as u64 > limit {
                    return Err(Problem::TooLarge { limit });
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

/// Returns once the delivery is durably spooled.
async fn spool(delivery: &Arc<Delivery>, shared: &Shared) -> Result<(), Problem> {
    match shared.spool.append(Arc::clone(delivery)).await {
        Ok(_) => {
            shared.hub.wake(&delivery.tunnel);
            Ok(())
        }
        Err(e) => {
            if !matches!(e, SpoolError::Busy) {
                warn!(tunnel = %delivery.tunnel, error = %e, "a delivery could not be spooled");
            }
            Err(Problem::of_spool(&e))
        }
    }
}

/// The handler's own answer. Where other devices wait for the delivery too, a 2xx goes out only once it is spooled for them.
async fn pass_through(delivery: &Arc<Delivery>, settings: &TunnelSettings, shared: &Shared) -> Result<Taken, Problem> {
    let until = Instant::now() + settings.answer_within();
    let (reply, answer) = oneshot::channel();
    match shared.hub.offer(&delivery.tunnel, Offer { delivery: Arc::clone(delivery), until, reply }) {
        Ok(()) => {}
        Err(NoTaker::Away) if settings.when_away == WhenAway::Spool => {
            return spool(delivery, shared).await.map(|()| Taken::spooled(delivery.id));
        }
        Err(NoTaker::Away) => return Err(Problem::NoAgent),
        Err(NoTaker::Busy) => return Err(Problem::AgentBusy),
    }
    let answer = async {
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(failure))) => Err(Problem::Handler(failure)),
            Ok(Err(_)) => Err(Problem::AgentGone),
            Err(_) => Err(Problem::Timeout),
        }
    };
    // Asked of the spool itself: a count kept elsewhere would be behind it for a moment, and that moment's deliveries would be missing.
    let others = shared.spool.devices(&delivery.tunnel).map_or(true, |devices| devices.len() > 1);
    let answer = if others {
        let (answer, spooled) = tokio::join!(answer, spool(delivery, shared));
        let answer = answer?;
        if (200..300).contains(&answer.status) {
            spooled?;
        }
        answer
    } else {
        answer.await?
    };
    Ok(Taken { answer: respond::handlers(answer, delivery.id), outcome: Outcome::Answered })
}
