//! What one connection is doing, as far as it matters for how long it may go on so: waiting for a request, reading one, working at it, or having an
//! answer taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::flag::Flag;
use crate::metrics::Limit;

/// How long things may take on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Waiting for a request.
    pub(crate) idle: Duration,
    /// The head of a request, once it has begun; nothing where its beginning is not seen, as in HTTP/2.
    pub(crate) head: Option<Duration>,
    /// An answer's way to its sender.
    pub(crate) answer: Duration,
    /// How many requests may be given up by the other end before they are answered.
    pub(crate) given_up: u32,
}

/// A connection's doings.
pub(crate) struct Place {
    doing: Mutex<Doing>,
    /// Rings when a limit may begin to run at another time.
    changed: Notify,
    give_way: Flag,
}

struct Doing {
    /// Since when no request is under way, or since when there is one.
    since: Instant,
    /// When the first bytes came since then.
    heard: Option<Instant>,
    reading: usize,
    working: usize,
    /// Answers that are not taken yet, and since when.
    answers: BTreeMap<u64, Instant>,
    next_answer: u64,
    given_up: u32,
    proven: bool,
    agent: bool,
    slow_reader: bool,
}

impl Place {
    pub(crate) fn new() -> Place {
        let doing = Doing {
            since: Instant::now(),
            heard: None,
            reading: 0,
            working: 0,
            answers: BTreeMap::new(),
            next_answer: 0,
            given_up: 0,
            proven: false,
            agent: false,
            slow_reader: false,
        };
        Place { doing: Mutex::new(doing), changed: Notify::new(), give_way: Flag::default() }
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the connection is worth, the least first, and since when it has been so; nothing if it must not be ended.
    pub(super) fn worth(&self) -> Option<(u8, Instant)> {
        let doing = self.doing();
        let kind = match &*doing {
            Doing { working: 1.., .. } | Doing { agent: true, .. } => return None,
            doing if doing.is_idle() => u8::from(doing.proven),
            _ => 2,
        };
        Some((kind, doing.since))
    }

    pub(super) fn give_way(&self) {
        self.give_way.raise();
    }

    /// Returns once its place is needed for another.
    pub(crate) async fn must_give_way(&self) {
        self.give_way.raised().await;
    }

    #[cfg(test)]
    pub(super) fn has_to_go(&self) -> bool {
        self.give_way.is_up()
    }

    /// A delivery was taken on it. What was given up before is forgiven.
    pub(crate) fn prove(&self) {
        let mut doing = self.doing();
        (doing.proven, doing.given_up) = (true, 0);
    }

    pub(crate) fn is_an_agent_s(&self) {
        self.doing().agent = true;
    }

    /// Whether it is an agent's: then what is written goes on for as long as it lasts.
    pub(crate) fn is_agent(&self) -> bool {
        self.doing().agent
    }

    /// Whether a request is under way.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.doing().is_idle()
    }

    /// Something came from the other end.
    pub(crate) fn heard(&self) {
        let mut doing = self.doing();
        if doing.is_idle() && doing.heard.is_none() {
            doing.heard = Some(Instant::now());
            drop(doing);
            self.changed.notify_one();
        }
    }

    /// The other end did not take what was written.
    pub(crate) fn too_slow_a_reader(&self) {
        self.doing().slow_reader = true;
    }

    /// Whether the connection ended because of that.
    pub(crate) fn was_too_slow_a_reader(&self) -> bool {
        self.doing().slow_reader
    }

    /// A request has come whose body is still to be read.
    pub(crate) fn request(self: &Arc<Place>) -> InHand {
        let mut doing = self.doing();
        if doing.is_idle() {
            doing.since = Instant::now();
        }
        doing.reading += 1;
        doing.heard = None;
        drop(doing);
        self.changed.notify_one();
        InHand { place: Arc::clone(self), stage: Stage::Reading }
    }

    /// Returns once the connection has to end, with the limit that it hit.
    pub(crate) async fn over(&self, patience: Patience) -> Limit {
        loop {
            let next = {
                let doing = self.doing();
                if doing.given_up > patience.given_up {
                    return Limit::Streams;
                }
                doing.limit(patience)
            };
            let hit = async {
                match next {
                    Some((at, limit)) => {
                        tokio::time::sleep_until(at).await;
                        limit
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.give_way.raised() => return Limit::Connections,
                () = self.changed.notified() => {}
                limit = hit => return limit,
            }
        }
    }
}

impl Doing {
    fn is_idle(&self) -> bool {
        self.reading == 0 && self.working == 0 && self.answers.is_empty()
    }

    /// The limit that comes first, and when.
    fn limit(&self, patience: Patience) -> Option<(Instant, Limit)> {
        if self.agent {
            return None;
        }
        let answer = self.answers.values().min().map(|since| (*since + patience.answer, Limit::ReadTime));
        let idle = self.is_idle().then(|| match (self.heard, patience.head) {
            (Some(heard), Some(head)) => (heard + head, Limit::HeadTime),
            _ => (self.since + patience.idle, Limit::ConnectionUse),
        });
        [answer, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

enum Stage {
    Reading,
    Working,
    Answering(u64),
}

/// One request under way, until this is dropped.
pub(crate) struct InHand {
    place: Arc<Place>,
    stage: Stage,
}

impl InHand {
    /// Its body is read; now it is worked at.
    pub(crate) fn was_read(&mut self) {
        if matches!(self.stage, Stage::Reading) {
            let mut doing = self.place.doing();
            doing.reading -= 1;
            doing.working += 1;
            self.stage = Stage::Working;
        }
    }

    /// A delivery was taken.
    pub(crate) fn taken(&self) {
        self.place.prove();
    }

    /// The other end took it back, or broke it off, before it was whole.
    pub(crate) fn was_given_up(&self) {
        let mut doing = self.place.doing();
        doing.given_up = doing.given_up.saturating_add(1);
    }

    /// Its answer is on its way; dropping this then says that it was taken.
    pub(crate) fn answered(&mut self) {
        self.was_read();
        let mut doing = self.place.doing();
        doing.working -= 1;
        let id = doing.next_answer;
        doing.next_answer += 1;
        doing.answers.insert(id, Instant::now());
        self.stage = Stage::Answering(id);
        drop(doing);
        self.place.changed.notify_one();
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut doing = self.place.doing();
        match self.stage {
            Stage::Reading => doing.reading -= 1,
            Stage::Working => doing.working -= 1,
            Stage::Answering(id) => drop(doing.answers.remove(&id)),
        }
        if doing.is_idle() {
            (doing.since, doing.heard) = (Instant::now(), None);
        }
        drop(doing);
        if !matches!(self.stage, Stage::Answering(_)) {
            self.was_given_up();
        }
        self.place.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(30),
        head: Some(Duration::from_secs(10)),
        answer: Duration::from_secs(20),
        given_up: 2,
    };

    #[tokio::test(start_paused = true)]
    async fn each_limit_begins_when_its_time_comes() {
        let place = Arc::new(Place::new());
        let began = Instant::now();
        assert_eq!(place.over(PATIENCE).await, Limit::ConnectionUse);
        assert_eq!(began.elapsed(), 30 * S, "nothing came");

        let place = Arc::new(Place::new());
        let began = Instant::now();
        let slow = async {
            tokio::time::sleep(25 * S).await;
            place.heard();
            tokio::time::sleep(9 * S).await;
            place.heard();
            std::future::pending::<()>().await;
        };
        tokio::select! { _ = place.over(PATIENCE) => {} () = slow => {} }
        assert_eq!(began.elapsed(), 35 * S, "a head began and did not end");

        let place = Arc::new(Place::new());
        let began = Instant::now();
        let work = async {
            let mut request = place.request();
            tokio::time::sleep(100 * S).await;
            request.answered();
            tokio::time::sleep(19 * S).await;
            drop(request);
            let mut never_taken = place.request();
            never_taken.answered();
            std::future::pending::<()>().await;
        };
        let over = tokio::select! { over = place.over(PATIENCE) => over, () = work => unreachable!() };
        assert_eq!((over, began.elapsed()), (Limit::ReadTime, 139 * S));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_too_much_or_is_in_the_way_has_to_go() {
        let place = Arc::new(Place::new());
        for _ in 0..3 {
            drop(place.request());
        }
        assert_eq!(place.over(PATIENCE).await, Limit::Streams);
        let place = Place::new();
        place.give_way();
        assert_eq!(place.over(PATIENCE).await, Limit::Connections);
    }
}
