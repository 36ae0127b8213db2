//! What one session has sent and what became of it: numbers, window, places, answers. Pure; the sockets are in `session`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tunnel_delivery::{Delivery, Timestamp};
use tunnel_protocol::{
    Answer, AnswerBody, AnswerFailure, Assembler, Chunk, ChunkError, INLINE_BODY, Incoming, Outbox, ToAgent, Window,
};
use tunnel_spool::Seq;
use tunnel_telemetry::Traces;

use crate::hub::Offer;
use crate::traces::{self, Carried};

type Reply = oneshot::Sender<Result<AnswerBody, AnswerFailure>>;

/// The most offers that may wait for the window to open; an agent that is so far behind is busy.
const OFFERS_WAITING: usize = 1024;

/// The most bytes of answers that come in pieces at once. It bounds what an agent can make the relay hold, as the window does the other way.
const ANSWERS_COMING: u64 = 64 << 20;

/// The agent broke the protocol; the session ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    /// A number that was never sent, or is done with.
    #[error("the agent took number {0}, which is not on its way")]
    NotOnItsWay(u64),
    /// An answer to a delivery that wanted none.
    #[error("the agent answered number {0}, which wants no answer")]
    NoAnswerWanted(u64),
    /// An answer's body is longer than the relay takes.
    #[error("the agent sends an answer of {0} bytes")]
    AnswerTooLong(u64),
    /// Too many answers come in pieces at once.
    #[error("the agent sends answers of more than {ANSWERS_COMING} bytes at once")]
    AnswersTooMany,
    /// Chunks out of order and the like.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

struct OnItsWay {
    len: u64,
    seq: Option<Seq>,
    reply: Option<Reply>,
    took: Took,
}

/// A delivery that the agent durably has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    /// When it was put into the outbox.
    pub(crate) sent: Instant,
    /// When the relay had received it.
    pub(crate) received_at: Timestamp,
    /// Its place in a trace.
    pub(crate) trace: Option<Carried>,
}

/// The books of one session.
pub(crate) struct Ledger {
    next_n: u64,
    window: Window,
    on_their_way: BTreeMap<u64, OnItsWay>,
    /// Places that are on their way; what lies below the least of them is taken.
    places: BTreeSet<Seq>,
    /// The last place that was sent.
    sent: Seq,
    /// The last place that was reported as taken.
    reported: Seq,
    /// Where runs begin that were told as gaps and behind which nothing is taken yet, oldest first. Whoever has a delivery from behind a gap has
    /// the gap; until then the agent may never have heard of it.
    untold: VecDeque<Seq>,
    waiting: VecDeque<Offer>,
    /// What was taken since it was last asked for.
    took: Vec<Took>,
    answers: Assembler<(u64, AnswerBody)>,
    /// Bytes of answers that were announced and are not complete.
    answers_coming: u64,
    /// Where what is sent is in which trace.
    pub(crate) traces: Traces,
    /// What goes to the agent next.
    pub(crate) outbox: Outbox<ToAgent>,
}

impl Ledger {
    /// Empty books of a session whose device has everything up to `after`. As many answers may be under way as deliveries.
    pub(crate) fn new(window: Window, after: Seq, most: u32) -> Ledger {
        Ledger {
            next_n: 1,
            window,
            on_their_way: BTreeMap::new(),
            places: BTreeSet::new(),
            sent: after,
            reported: after,
            untold: VecDeque::new(),
            waiting: VecDeque::new(),
            took: Vec::new(),
            answers: Assembler::new(most.clamp(1, 4096) as usize),
            answers_coming: 0,
            traces: Traces::none(),
            outbox: Outbox::default(),
        }
    }

    /// The last place that was sent: what follows it comes next.
    pub(crate) fn sent(&self) -> Seq {
        self.sent
    }

    /// Whether the window lets a body of `len` bytes pass and nobody with a waiting sender stands before it.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        self.waiting.is_empty() && self.window.allows(len)
    }

    /// Puts a spooled delivery into the outbox. The caller has asked [`Ledger::has_room`].
    pub(crate) fn send(&mut self, seq: Seq, delivery: &Arc<Delivery>, now: Instant) {
        self.sent = seq;
        self.places.insert(seq);
        self.post(delivery, Some(seq), None, now);
    }

    /// Passes over what follows up to `upto`, with the frame that tells of it. It counts as taken once something behind it is.
    pub(crate) fn pass_over(&mut self, upto: Seq, gap: Bytes) {
        self.outbox.whole(gap);
        // Runs that nothing was sent between are told of by the same delivery.
        if self.untold.back().is_none_or(|run| self.places.last() > Some(run)) {
            self.untold.push_back(self.sent.next());
        }
        self.sent = upto;
    }

    /// Takes an offer: it goes out as soon as the window lets it. An offer beyond what may wait is refused at once.
    pub(crate) fn offer(&mut self, offer: Offer, now: Instant) {
        if self.waiting.len() < OFFERS_WAITING {
            self.waiting.push_back(offer);
        } else {
            let _ = offer.reply.send(Err(AnswerFailure::NotStored));
        }
        self.send_waiting(now);
    }

    fn send_waiting(&mut self, now: Instant) {
        while let Some(first) = self.waiting.front() {
            // Its sender has its answer already: the time is up, or the connection is gone.
            if first.until <= now || first.reply.is_closed() {
                self.waiting.pop_front();
                continue;
            }
            if !self.window.allows(first.delivery.body.len() as u64) {
                return;
            }
            if let Some(offer) = self.waiting.pop_front() {
                self.post(&offer.delivery, None, Some((offer.until, offer.reply)), now);
            }
        }
    }

    fn post(&mut self, delivery: &Arc<Delivery>, seq: Option<Seq>, waits: Option<(Instant, Reply)>, now: Instant) {
        let n = self.next_n;
        self.next_n += 1;
        let len = delivery.body.len() as u64;
        let (answer_within, reply) = waits.map(|(until, reply)| (until.saturating_duration_since(now), reply)).unzip();
        let trace = traces::carry(&self.traces, delivery);
        let incoming = Incoming {
            n,
            seq: seq.map(|s| s.0),
            answer_within,
            body_len: len,
            traceparent: trace.map(|carried| carried.context.to_string()),
            delivery: Arc::clone(delivery),
        };
        let frame = ToAgent::Delivery(incoming).encode();
        if delivery.body.len() <= INLINE_BODY {
            self.outbox.whole(frame);
        } else {
            self.outbox.with_body(frame, n, delivery.body.clone());
        }
        self.window.sent(len);
        let took = Took { sent: now, received_at: delivery.received_at, trace };
        self.on_their_way.insert(n, OnItsWay { len, seq, reply, took });
    }

    fn take(&mut self, n: u64) -> Result<Option<Reply>, Breach> {
        let done = self.on_their_way.remove(&n).ok_or(Breach::NotOnItsWay(n))?;
        self.window.taken(done.len);
        self.took.push(done.took);
        if let Some(seq) = done.seq {
            self.places.remove(&seq);
            while self.untold.front().is_some_and(|run| *run < seq) {
                self.untold.pop_front();
            }
        }
        Ok(done.reply)
    }

    /// The agent has these durably.
    pub(crate) fn taken(&mut self, numbers: &[u64], now: Instant) -> Result<(), Breach> {
        for &n in numbers {
            // Where an answer was wanted none will come: dropping the reply says so.
            drop(self.take(n)?);
        }
        self.send_waiting(now);
        Ok(())
    }

    /// The agent has this one durably, and answers its sender. A body that is not there yet follows in chunks.
    pub(crate) fn answer(&mut self, answer: Answer, now: Instant) -> Result<(), Breach> {
        let n = answer.n;
        match self.on_their_way.get(&n) {
            None => return Err(Breach::NotOnItsWay(n)),
            Some(OnItsWay { reply: None, .. }) => return Err(Breach::NoAnswerWanted(n)),
            Some(_) => {}
        }
        match answer.outcome {
            Ok(body) if !body.fits() => return Err(Breach::AnswerTooLong(body.body_len)),
            Ok(body) if body.body_len != body.body.len() as u64 => {
                let coming = self.answers_coming + body.body_len;
                if coming > ANSWERS_COMING {
                    return Err(Breach::AnswersTooMany);
                }
                self.answers.begin(n, body.body_len, (n, body))?;
                self.answers_coming = coming;
                return Ok(());
            }
            outcome => self.finish(n, outcome)?,
        }
        self.send_waiting(now);
        Ok(())
    }

    /// A piece of an answer's body.
    pub(crate) fn chunk(&mut self, chunk: Chunk, now: Instant) -> Result<(), Breach> {
        if let Some(whole) = self.answers.chunk(chunk)? {
            let (n, head) = whole.head;
            self.answers_coming = self.answers_coming.saturating_sub(head.body_len);
            self.finish(n, Ok(AnswerBody { body: whole.body, ..head }))?;
            self.send_waiting(now);
        }
        Ok(())
    }

    fn finish(&mut self, n: u64, outcome: Result<AnswerBody, AnswerFailure>) -> Result<(), Breach> {
        if let Some(reply) = self.take(n)? {
            // The sender may have gone; the agent has the delivery and its own record of the answer all the same.
            let _ = reply.send(outcome);
        }
        Ok(())
    }

    /// What was taken since this was last asked for.
    pub(crate) fn took(&mut self) -> Vec<Took> {
        std::mem::take(&mut self.took)
    }

    /// The place up to which everything is taken, if that has moved since it was last asked for.
    pub(crate) fn newly_taken(&mut self) -> Option<Seq> {
        let upto = self.places.first().map_or(self.sent, |first| first.prev());
        let upto = self.untold.front().map_or(upto, |run| upto.min(run.prev()));
        (upto > self.reported).then(|| {
            self.reported = upto;
            upto
        })
    }

    /// How many deliveries are on their way.
    pub(crate) fn on_their_way(&self) -> u32 {
        self.window.on_their_way()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Headers;

    use std::time::Duration;

    fn delivery(len: usize) -> Arc<Delivery> {
        crate::sample::delivery(0, Timestamp::default(), vec![b'x'; len])
    }

    fn sent(ledger: &mut Ledger) -> Vec<String> {
        let frames = std::iter::from_fn(|| ledger.outbox.pop());
        frames
            .map(|f| match ToAgent::decode(f).unwrap() {
                ToAgent::Delivery(d) => format!("{}:{:?}", d.n, d.seq),
                ToAgent::Chunk(c) => format!("chunk of {}", c.n),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn offer(len: usize, until: Instant) -> (Offer, oneshot::Receiver<Result<AnswerBody, AnswerFailure>>) {
        let (reply, answer) = oneshot::channel();
        (Offer { delivery: delivery(len), until, reply }, answer)
    }

    #[test]
    fn the_place_moves_only_over_what_is_taken_without_a_hole() {
        let mut l = Ledger::new(Window::new(9, 999), Seq(4), 9);
        for seq in 5..8 {
            l.send(Seq(seq), &delivery(1), Instant::now());
        }
        let now = Instant::now();
        assert_eq!(sent(&mut l), ["1:Some(5)", "2:Some(6)", "3:Some(7)"]);
        l.taken(&[2, 3], now).unwrap();
        assert_eq!(l.newly_taken(), None);
        l.taken(&[1], now).unwrap();
        assert_eq!(l.newly_taken(), Some(Seq(7)));
        assert_eq!(l.newly_taken(), None);
        assert_eq!((l.took().len(), l.took().len()), (3, 0));
        assert_eq!(l.taken(&[1], now), Err(Breach::NotOnItsWay(1)));
    }

    #[test]
    fn a_gap_counts_only_once_something_behind_it_is_taken() {
        let now = Instant::now();
        let mut l = Ledger::new(Window::new(9, 999), Seq(4), 9);
        l.send(Seq(5), &delivery(1), Instant::now());
        l.pass_over(Seq(8), ToAgent::Ping(1).encode());
        l.pass_over(Seq(9), ToAgent::Ping(2).encode());
        l.taken(&[1], now).unwrap();
        assert_eq!(l.newly_taken(), Some(Seq(5)), "the agent may not have heard of the gap");
        l.send(Seq(10), &delivery(1), Instant::now());
        l.pass_over(Seq(11), ToAgent::Ping(3).encode());
        l.send(Seq(12), &delivery(1), Instant::now());
        assert_eq!((l.newly_taken(), l.sent()), (None, Seq(12)));
        assert_eq!(sent(&mut l), ["1:Some(5)", "Ping(1)", "Ping(2)", "2:Some(10)", "Ping(3)", "3:Some(12)"]);
        l.taken(&[2], now).unwrap();
        assert_eq!(l.newly_taken(), Some(Seq(10)));
        l.taken(&[3], now).unwrap();
        assert_eq!(l.newly_taken(), Some(Seq(12)));
    }

    #[test]
    fn waiting_senders_go_before_the_backlog_and_within_the_window() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut l = Ledger::new(Window::new(1, 999), Seq(0), 9);
        l.send(Seq(1), &delivery(1), Instant::now());
        let (first, mut first_answer) = offer(1, later);
        let (late, _late_answer) = offer(1, now + Duration::from_secs(1));
        l.offer(first, now);
        l.offer(late, now);
        assert_eq!(sent(&mut l), ["1:Some(1)"]);
        assert!(!l.has_room(0));
        l.taken(&[1], now).unwrap();
        assert_eq!(sent(&mut l), ["2:None"]);
        let body = AnswerBody { status: 200, headers: Headers::default(), body_len: 2, body: "ok".into() };
        l.answer(Answer { n: 2, outcome: Ok(body.clone()) }, now + Duration::from_secs(2)).unwrap();
        assert_eq!(first_answer.try_recv(), Ok(Ok(body)));
        assert_eq!(sent(&mut l), [""; 0], "the sender of the second one had given up");
        assert!(l.has_room(0));
    }

    #[test]
    fn answers_come_whole_or_in_chunks_but_only_where_wanted() {
        let now = Instant::now();
        let mut l = Ledger::new(Window::new(9, 9999), Seq(0), 10);
        l.send(Seq(1), &delivery(1), Instant::now());
        let (o, mut answer) = offer(1, now + Duration::from_secs(1));
        l.offer(o, now);
        let head = AnswerBody { status: 200, headers: Headers::default(), body_len: 4, body: Bytes::new() };
        assert_eq!(l.answer(Answer { n: 1, outcome: Ok(head.clone()) }, now), Err(Breach::NoAnswerWanted(1)));
        let long = AnswerBody { body_len: tunnel_protocol::MAX_ANSWER + 1, ..head.clone() };
        assert_eq!(
            l.answer(Answer { n: 2, outcome: Ok(long) }, now),
            Err(Breach::AnswerTooLong(tunnel_protocol::MAX_ANSWER + 1))
        );
        l.answer(Answer { n: 2, outcome: Ok(head) }, now).unwrap();
        l.chunk(Chunk { n: 2, offset: 0, data: "ab".into() }, now).unwrap();
        assert!(answer.try_recv().is_err());
        l.chunk(Chunk { n: 2, offset: 2, data: "cd".into() }, now).unwrap();
        assert_eq!(answer.try_recv().unwrap().unwrap().body, "abcd");
        assert_eq!(l.on_their_way(), 1);
    }

    #[test]
    fn an_agent_may_have_so_much_of_answers_on_its_way() {
        let now = Instant::now();
        let mut l = Ledger::new(Window::new(99, 9999), Seq(0), 99);
        let most = ANSWERS_COMING / tunnel_protocol::MAX_ANSWER;
        for n in 1..=most + 1 {
            let (o, _answer) = offer(1, now + Duration::from_secs(1));
            l.offer(o, now);
            let body_len = tunnel_protocol::MAX_ANSWER;
            let head = AnswerBody { status: 200, headers: Headers::default(), body_len, body: Bytes::new() };
            let told = l.answer(Answer { n, outcome: Ok(head) }, now);
            assert_eq!(told, if n <= most { Ok(()) } else { Err(Breach::AnswersTooMany) });
        }
    }

    #[test]
    fn a_long_body_follows_its_head() {
        let mut l = Ledger::new(Window::new(9, 9 << 20), Seq(0), 10);
        l.send(Seq(1), &delivery(INLINE_BODY + 1), Instant::now());
        l.send(Seq(2), &delivery(INLINE_BODY), Instant::now());
        assert_eq!(sent(&mut l), ["1:Some(1)", "chunk of 1", "2:Some(2)", "chunk of 1"]);
    }
}
