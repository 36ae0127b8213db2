//! A bounded load of deliveries, sent as Healthie sends: over and over until the answer is 2xx. It owns what is sent and what was answered; it
//! judges nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Connection, Dice, Log};

/// How long a sender rests before it sends again what was not answered 2xx. Healthie rests for longer; a story has no time for that.
const AGAIN_AFTER: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_millis(150);

/// One body in so many is big, and one in so many is no JSON and no text.
const BIG: u64 = 40;
const RAW: u64 = 10;

/// Who sends what, where to, and how fast at most.
#[derive(Clone, Debug)]
pub struct Plan {
    /// From this all bodies and rests are drawn.
    pub seed: u64,
    /// The Host line.
    pub host: String,
    /// How many send at once, each over a connection of its own.
    pub senders: usize,
    /// How long each rests after an answer, on average: what bounds the load.
    pub rest: Duration,
}

/// A delivery that was answered 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Who sent it, counted from 0.
    pub sender: usize,
    /// Which of the sender's deliveries it is, counted from 0.
    pub number: u64,
    /// The id that the relay gave the one that was answered.
    pub id: String,
    /// How often it was sent.
    pub tries: u32,
    /// When it was sent the last time.
    pub sent: Instant,
    /// When the answer was there.
    pub at: Instant,
}

/// Senders at work, until they are told to stop.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    over: (Mutex<bool>, Condvar),
    answered: Log<Answered>,
    refused: Log<u16>,
}

impl Plan {
    /// The path of a delivery: it names who sent it and which it is.
    pub fn target(sender: usize, number: u64) -> String {
        format!("/hook/{sender}/{number}")
    }

    /// The sender and the number in a path of [`Plan::target`].
    pub fn of_target(target: &str) -> Option<(usize, u64)> {
        let (sender, number) = target.strip_prefix("/hook/")?.split_once('/')?;
        Some((sender.parse().ok()?, number.parse().ok()?))
    }

    /// The body of a delivery: no two are alike, and most look like Healthie's.
    pub fn body(&self, sender: usize, number: u64) -> Vec<u8> {
        let mut dice = Dice::new(self.seed).other(((sender as u64) << 40) | number);
        let length = if dice.one_in(BIG) { 20_000 + dice.below(80_000) } else { dice.below(400) };
        let padding = dice.bytes(usize::try_from(length).unwrap_or_default());
        let name = format!("{sender}.{number}");
        if dice.one_in(RAW) {
            return [name.as_bytes(), &padding].concat();
        }
        let hex: String = padding.iter().map(|byte| format!("{byte:02x}")).collect();
        let event = r#""event_type":"appointment.updated","resource_id_type":"Appointment","changed_fields":["date"]"#;
        format!(r#"{{"resource_id":"{name}",{event},"padding":"{hex}"}}"#).into_bytes()
    }

    fn request(&self, sender: usize, number: u64) -> Vec<u8> {
        let body = self.body(sender, number);
        let (target, host, length) = (Plan::target(sender, number), &self.host, body.len());
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.into_bytes(), body].concat()
    }

    /// Lets the senders begin.
    pub fn start(self, to: SocketAddr) -> Load {
        let shared = Arc::new(Shared {
            plan: self,
            over: (Mutex::new(false), Condvar::new()),
            answered: Log::default(),
            refused: Log::default(),
        });
        let begin = |sender: usize| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.send(sender, to))
        };
        let senders = (0..shared.plan.senders).map(begin).collect();
        Load { shared, senders }
    }
}

impl Load {
    /// What was answered 2xx so far, in the order of the answers.
    pub fn answered(&self) -> &Log<Answered> {
        &self.shared.answered
    }

    /// The other answers so far.
    pub fn refused(&self) -> &Log<u16> {
        &self.shared.refused
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// Waits until this many more were answered 2xx.
    ///
    /// # Panics
    /// If they are not within the deadline.
    pub fn goes_on(&self, more: usize) {
        let wanted = self.answered().len() + more;
        self.answered().wait(&format!("{wanted} deliveries to be answered 2xx"), |a| (a.len() >= wanted).then_some(()));
    }

    /// Stops the senders; gives what was answered 2xx. What is still unanswered is given up.
    ///
    /// # Panics
    /// If a sender did.
    pub fn stop(mut self) -> Vec<Answered> {
        self.say_over();
        for sender in self.senders.drain(..) {
            sender.join().expect("a sender does not fail");
        }
        self.shared.answered.all()
    }

    fn say_over(&self) {
        *self.shared.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.over.1.notify_all();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.say_over();
    }
}

impl Shared {
    /// Waits, and says whether it is over.
    fn rest(&self, time: Duration) -> bool {
        let over = self.over.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.over.1.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn send(&self, sender: usize, to: SocketAddr) {
        let mut dice = Dice::new(self.plan.seed).other(sender as u64);
        let mut kept = None;
        for number in 0.. {
            let request = self.plan.request(sender, number);
            let (mut tries, mut sent) = (0, Instant::now());
            let id = loop {
                tries += 1;
                if let Some(id) = self.try_once(&mut kept, to, &request) {
                    break id;
                }
                if self.rest(dice.within(&AGAIN_AFTER)) {
                    return;
                }
                sent = Instant::now();
            };
            self.answered.push(Answered { sender, number, id, tries, sent, at: Instant::now() });
            if self.rest(dice.within(&(Duration::ZERO..2 * self.plan.rest))) {
                return;
            }
        }
    }

    /// Sends once; the id if the answer is 2xx. The connection is kept for the next if it still can be.
    fn try_once(&self, kept: &mut Option<Connection>, to: SocketAddr, request: &[u8]) -> Option<String> {
        let mut connection = kept.take().unwrap_or_else(|| Connection::open(to));
        connection.try_send(request).ok()?;
        let answer = connection.try_answer()?;
        let status = answer.status()?;
        if answer.header("connection").is_none_or(|said| !said.eq_ignore_ascii_case("close")) {
            *kept = Some(connection);
        }
        if (200..300).contains(&status) {
            return answer.header("healthie-tunnel-delivery");
        }
        self.refused.push(status);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Handler, Reply};

    fn plan() -> Plan {
        Plan { seed: 5, host: "team.relay.test".to_owned(), senders: 3, rest: Duration::from_millis(1) }
    }

    #[test]
    fn bodies_differ_and_come_again_from_their_seed() {
        let bodies: HashSet<_> = (0..2).flat_map(|s| (0..200).map(move |n| plan().body(s, n))).collect();
        assert_eq!(bodies.len(), 400);
        assert!(bodies.contains(&plan().body(1, 7)) && !bodies.contains(&plan().body(2, 7)));
        assert!(bodies.iter().any(|body| body.len() > 32 * 1024), "none is big");
        assert!(bodies.iter().any(|body| std::str::from_utf8(body).is_err()), "all are text");
        assert_eq!(Plan::of_target(&Plan::target(2, 71)), Some((2, 71)));
        assert_eq!(Plan::of_target("/other"), None);
    }

    #[test]
    fn what_is_not_answered_2xx_is_sent_again() {
        let count = AtomicU64::new(0);
        let handler = Handler::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            n if n % 3 == 0 => Reply::Close,
            n if n % 3 == 1 => Reply::status(503, "later"),
            n => Reply::Answer {
                status: 200,
                headers: vec![(b"Healthie-Tunnel-Delivery".to_vec(), n.to_string().into_bytes())],
                body: Vec::new(),
            },
        });
        let load = plan().start(handler.address());
        load.goes_on(10);
        assert!(load.refused().all().iter().all(|status| *status == 503));
        let answered = load.stop();
        assert!(answered.iter().any(|a| a.tries > 1));
        for sender in 0..3 {
            let numbers: Vec<_> = answered.iter().filter(|a| a.sender == sender).map(|a| a.number).collect();
            assert!(numbers.iter().zip(0..).all(|(n, at)| *n == at), "sender {sender} left one out: {numbers:?}");
        }
    }
}
