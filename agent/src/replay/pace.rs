//! When the next request of a course may begin: so many at once, so far apart, and again until it succeeds. Pure: time is how long ago the
//! replay began, and whoever keeps the clock says it.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::time::Duration;

use super::course::{Course, Item, Shot, Step};

/// The most requests under way at once.
pub const MOST_AT_ONCE: usize = 1000;
/// What timers and a busy machine may make a request late by without the rate falling behind; whatever is later is not made up for.
const LATE: Duration = Duration::from_millis(10);

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many deliveries may be under way; those that wait to be tried again count.
    pub at_once: usize,
    /// Requests are due at least so far apart. One that begins a little late, as timers have it, does not make the next one late too.
    pub interval: Duration,
    /// Each is tried until it is answered 2xx.
    pub until_success: Option<UntilSuccess>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { at_once: 1, interval: Duration::ZERO, until_success: None }
    }
}

/// How long is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntilSuccess {
    /// Between an answer and the next try.
    pub pause: Duration,
    /// At most so many tries.
    pub tries: u32,
    /// No try begins later than that after the first one.
    pub within: Duration,
}

/// So many in a length of time: `5/s`, `300/m`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Duration);

impl Rate {
    /// How far apart that is.
    pub fn interval(self) -> Duration {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong =
            || format!("{:?} is not a rate; write 5/s, 300/m or 1000/h", text.chars().take(40).collect::<String>());
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0).ok_or_else(wrong)?;
        // Rounded up, so that it is never more.
        let nanos = (seconds * 1e9 / number).ceil();
        if nanos > 86_400e9 {
            return Err(format!("{text} is less than one in a day"));
        }
        Ok(Rate(Duration::from_nanos(nanos as u64)))
    }
}

/// Names one request under way and its tries.
pub type Ticket = u64;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This request begins now; it is the so-manieth try, from 1.
    Send(Ticket, Shot, u32),
    /// The next delivery is wanted, or to know that there is none; at this time there is something else to be done.
    Want(Option<Duration>),
    /// Nothing, before an answer comes or this time does.
    Wait(Option<Duration>),
    /// It is over.
    Over,
}

/// What becomes of a request after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// That was its last try.
    Done,
    /// It is tried again.
    Again,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    shot: Shot,
    tries: u32,
    began: Duration,
}

/// A course under way.
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    course: Course,
    /// The course's next request, which waits for its time or a place.
    pending: Option<Shot>,
    flying: HashMap<Ticket, Flight>,
    /// Those of them that wait to be tried again, by when.
    waiting: BTreeMap<(Duration, Ticket), ()>,
    tickets: Ticket,
    /// When the last request was due, or began where that was much later.
    last: Option<Duration>,
    stopped: bool,
}

impl Pacer {
    /// A course that has not begun.
    pub fn new(course: Course, pace: Pace) -> Pacer {
        Pacer {
            pace,
            course,
            pending: None,
            flying: HashMap::new(),
            waiting: BTreeMap::new(),
            tickets: 0,
            last: None,
            stopped: false,
        }
    }

    /// The course.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// How many requests of the course have begun.
    pub fn begun(&self) -> u64 {
        self.tickets
    }

    /// The next delivery, or that there is none.
    pub fn offer(&mut self, item: Option<Item>) {
        match item {
            Some(item) => self.course.offer(item),
            None => self.course.end(),
        }
    }

    /// Nothing begins any more; gives how many were to be tried again, which they are not.
    pub fn stop(&mut self) -> usize {
        self.stopped = true;
        self.pending = None;
        for (_, ticket) in self.waiting.keys() {
            self.flying.remove(ticket);
        }
        std::mem::take(&mut self.waiting).len()
    }

    /// What is to be done at `now`.
    pub fn next(&mut self, now: Duration) -> Next {
        if self.stopped {
            return if self.flying.is_empty() { Next::Over } else { Next::Wait(None) };
        }
        if self.pending.is_none() && self.flying.len() < self.pace.at_once.clamp(1, MOST_AT_ONCE) {
            match self.course.step() {
                Step::Shot(shot) => self.pending = Some(shot),
                // Tries that are due go first: reading on takes its time.
                Step::Want => match self.waiting.first_key_value().map(|((at, _), ())| self.allowed(*at)) {
                    Some(at) if at <= now => {}
                    again => return Next::Want(again),
                },
                Step::Over if self.flying.is_empty() => return Next::Over,
                Step::Over => {}
            }
        }
        let again = self.waiting.first_key_value().map(|((at, ticket), ())| (self.allowed(*at), *ticket));
        let fresh = self.pending.map(|shot| (self.allowed(shot.at), shot));
        match (again, fresh) {
            (Some((at, ticket)), fresh) if fresh.is_none_or(|(f, _)| at <= f) => {
                if at > now {
                    return Next::Wait(Some(at));
                }
                self.waiting.pop_first();
                self.begins(at, now);
                match self.flying.get_mut(&ticket) {
                    Some(flight) => {
                        flight.tries += 1;
                        Next::Send(ticket, flight.shot, flight.tries)
                    }
                    // What waits is under way.
                    None => Next::Wait(Some(now)),
                }
            }
            (_, Some((at, shot))) => {
                if at > now {
                    return Next::Wait(Some(at));
                }
                self.pending = None;
                self.begins(at, now);
                let ticket = self.tickets;
                self.tickets += 1;
                self.flying.insert(ticket, Flight { shot, tries: 1, began: now });
                Next::Send(ticket, shot, 1)
            }
            (_, None) => Next::Wait(None),
        }
    }

    fn begins(&mut self, due: Duration, now: Duration) {
        self.last = Some(if now.saturating_sub(due) <= LATE { due } else { now });
    }

    /// Not before that, if it is due at `at`.
    fn allowed(&self, at: Duration) -> Duration {
        self.last.map_or(at, |last| at.max(last.saturating_add(self.pace.interval)))
    }

    /// An answer came; `worth` says whether it is one after which trying again makes sense.
    pub fn answered(&mut self, ticket: Ticket, worth: bool, now: Duration) -> After {
        let Some(flight) = self.flying.get(&ticket) else { return After::Done };
        if let (Some(until), true, false) = (self.pace.until_success, worth, self.stopped) {
            let at = now.saturating_add(until.pause);
            if flight.tries < until.tries && at.saturating_sub(flight.began) <= until.within {
                self.waiting.insert((at, ticket), ());
                return After::Again;
            }
        }
        self.flying.remove(&ticket);
        After::Done
    }
}

#[cfg(test)]
mod tests;
