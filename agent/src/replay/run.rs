//! The loop of a replay: keeps the clock, reads on, asks `control` to send, and tells. What is to happen when is `pace`'s answer.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tunnel_delivery::DeliveryId;

use super::course::{Course, Item, Shot};
use super::pace::{After, Next, Pacer, Ticket};
use super::selection::Reader;
use super::tally::{Left, Summary};
use super::{Copy, Plan, Selection};
use crate::control::{Control, ControlError, Edited, Kind, Replay, Replayed};

/// How long what is left is counted after a stop.
const COUNTING: Duration = Duration::from_secs(2);
/// So many deliveries are read ahead.
const AHEAD: usize = 100;
/// A time that does not come.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// One try, as it is told.
#[derive(Debug)]
pub struct Tried<'a> {
    /// Which request of the course.
    pub shot: Shot,
    /// Which try of it, from 1.
    pub tries: u32,
    /// Whether it is tried again.
    pub again: bool,
    /// What came of it, or why it could not be sent.
    pub done: Result<&'a Replayed, &'a ControlError>,
}

/// What happens, as it happens. Cheap: nothing is copied for it.
#[derive(Debug)]
pub enum Told<'a> {
    /// The course is that many requests long; told once, where that comes to be known.
    Counted(u64),
    /// A try is over.
    Tried(Tried<'a>),
    /// A stop was heard; so many requests are still under way.
    Stopping(usize),
}

/// Replays what `plan` means, until it is done or `stop` comes; then what is under way is waited for. `told` hears of everything and may stop it
/// too. What could not be sent, and what ended it early, is in the summary.
///
/// # Errors
/// What is meant cannot be found out: nothing was sent.
pub async fn run(
    control: &Control,
    plan: &Plan,
    mut told: impl FnMut(Told<'_>) -> ControlFlow<()>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, ControlError> {
    let began = Instant::now();
    let mut manner = plan.manner;
    manner.interval = plan.pace.interval;
    let mut summary = Summary { seed: manner.chaos.any().then_some(manner.seed), ..Summary::default() };
    let mut stop = std::pin::pin!(stop);
    // What is meant may take its time to be found.
    let mut items = tokio::select! {
        biased;
        items = Items::new(control, plan) => items?,
        () = &mut stop => {
            summary.end(began.elapsed());
            summary.left = Some(Left { or_more: true, after: plan.after, limit: plan.limit, skip: manner.skip, ..Left::default() });
            return Ok(summary);
        }
    };
    let mut pacer = Pacer::new(Course::new(manner), plan.pace);
    let mut flying = FuturesUnordered::new();
    let mut place = Place::default();
    let mut counted = false;
    let mut stopping = false;
    loop {
        if let (false, Some(all)) = (counted, items.count) {
            counted = true;
            stopping |= told(Told::Counted(manner.requests(all))).is_break();
        }
        if stopping {
            let given_up = pacer.stop() as u64;
            summary.given_up += given_up;
            summary.failed += given_up;
            stopping = false;
            place.stopped = true;
        }
        let wait = match pacer.next(began.elapsed()) {
            Next::Send(ticket, shot, tries) => {
                if tries == 1 {
                    place.begins(&shot);
                }
                flying.push(send(control, &plan.copy, ticket, shot, tries));
                // Others must get on however many are due.
                tokio::task::consume_budget().await;
                continue;
            }
            Next::Over => break,
            Next::Want(until) => match items.take() {
                Some(item) => {
                    pacer.offer(item);
                    continue;
                }
                None => until,
            },
            Next::Wait(until) => until,
        };
        let due = began + wait.unwrap_or(NEVER).min(NEVER);
        tokio::select! {
            biased;
            () = &mut stop, if !place.stopped => {
                stopping = true;
                // What it says can stop nothing any more.
                let _ = told(Told::Stopping(flying.len()));
            }
            Some((ticket, shot, tries, done)) = flying.next(), if !flying.is_empty() => {
                let ended = answered(&mut pacer, &mut summary, &mut place, (ticket, shot, tries, &done), began.elapsed(), &mut told);
                stopping |= ended.is_break();
            }
            read = items.read(), if items.wants_more() && !place.stopped => {
                if let Err(e) = read {
                    summary.broke.get_or_insert(e);
                    stopping = true;
                }
            }
            () = sleep_until(due), if wait.is_some() => {}
        }
    }
    drop(flying);
    summary.deliveries = place.deliveries;
    summary.dropped = pacer.course().dropped();
    // Counting what is left is not part of it.
    summary.end(began.elapsed());
    if place.stopped {
        let left = left(&mut items, &pacer, plan, &manner, &place).await;
        // A stop that comes with the last answer stops nothing.
        summary.left = Some(left).filter(|l| l.requests > 0 || l.or_more);
    }
    Ok(summary)
}

/// Takes in what came of a try.
fn answered(
    pacer: &mut Pacer,
    summary: &mut Summary,
    place: &mut Place,
    (ticket, shot, tries, done): (Ticket, Shot, u32, &Result<Replayed, ControlError>),
    now: Duration,
    told: &mut impl FnMut(Told<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let good = done.as_ref().is_ok_and(|d| d.attempt.succeeded());
    // What could not be sent cannot be sent a second later either.
    let after = pacer.answered(ticket, done.is_ok() && !good, now);
    let mut ended = ControlFlow::Continue(());
    match done {
        Ok(done) => summary.tried(&done.attempt),
        Err(e) => {
            summary.refused(e);
            // The next one would fail in the same way.
            if matches!(e.kind, Kind::Unreachable | Kind::Damaged) {
                summary.broke.get_or_insert_with(|| e.clone());
                ended = ControlFlow::Break(());
            }
        }
    }
    if after == After::Done && ended.is_continue() {
        place.ended(&shot);
    }
    match (after, good) {
        (After::Again, _) => {}
        (After::Done, true) => summary.ok += 1,
        (After::Done, false) => summary.failed += 1,
    }
    let heard = told(Told::Tried(Tried { shot, tries, again: after == After::Again, done: done.as_ref() }));
    if heard.is_break() { heard } else { ended }
}

async fn send(
    control: &Control,
    copy: &Copy,
    ticket: Ticket,
    shot: Shot,
    tries: u32,
) -> (Ticket, Shot, u32, Result<Replayed, ControlError>) {
    let done = match &copy.edited {
        Some(edited) => control.edited(edited).await,
        None => control.replay(&copy.of(shot.id)).await,
    };
    (ticket, shot, tries, done)
}

impl Copy {
    /// The question to `control`.
    pub(super) fn of(&self, id: DeliveryId) -> Replay {
        Replay {
            id: id.to_string(),
            to: self.to.clone(),
            forward_as: self.forward_as,
            resign: self.resign,
            allow_production: self.allow_production,
        }
    }

    /// This request instead of the delivery's own, which goes where the others would.
    #[must_use]
    pub fn edited(self, edited: Edited) -> Copy {
        let edited = Edited { to: self.to.clone(), allow_production: self.allow_production, ..edited };
        Copy { edited: Some(edited), ..self }
    }
}

/// How far a replay is in the deliveries' own order.
#[derive(Default)]
struct Place {
    /// Behind what has begun.
    now: Mark,
    /// Before each request that has begun and has not come to its end, by its number. What is given up, or could not be sent because nobody is there
    /// to send it, stays: whoever goes on begins with it.
    open: BTreeMap<u64, Mark>,
    /// How many deliveries of which something began.
    deliveries: u64,
    stopped: bool,
}

/// A place in the deliveries' own order.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The last delivery of which everything began.
    whole: Option<DeliveryId>,
    /// How many deliveries of which everything began.
    wholes: u64,
}

impl Place {
    fn begins(&mut self, shot: &Shot) {
        self.open.insert(shot.number, self.now);
        self.deliveries += u64::from(shot.copy == 1);
        if shot.last {
            self.now = Mark { whole: Some(shot.id), wholes: self.now.wholes + 1 };
        }
    }

    fn ended(&mut self, shot: &Shot) {
        self.open.remove(&shot.number);
    }
}

/// What is left when a replay is stopped: what was not begun, and all behind the first request that has not come to its end.
async fn left(items: &mut Items<'_>, pacer: &Pacer, plan: &Plan, manner: &super::Manner, place: &Place) -> Left {
    let counting = tokio::time::timeout(COUNTING, items.count_rest()).await;
    let or_more = !matches!(counting, Ok(Ok(())));
    let all = manner.requests(pacer.course().offered() + items.unread());
    let (number, mark) = match place.open.first_key_value() {
        Some((number, mark)) => (*number, *mark),
        None => (manner.skip + pacer.begun(), place.now),
    };
    // A delivery that was sent fewer times than it should be is gone on with from its beginning: ids name no copies.
    let plain = manner.is_plain();
    let done = if plain { mark.wholes * u64::from(manner.times) } else { number - manner.skip };
    Left {
        requests: all.saturating_sub(done),
        or_more,
        after: if plain { mark.whole.or(plan.after) } else { None },
        limit: plan.limit.map(|limit| limit.saturating_sub(mark.wholes)),
        skip: if plain { 0 } else { number },
    }
}

/// The deliveries of the plan, read ahead a little.
pub(super) struct Items<'a> {
    /// Known, and not offered yet.
    known: VecDeque<Item>,
    reading: Reading<'a>,
    /// How many there are, where that is known.
    pub(super) count: Option<u64>,
    read: u64,
}

type Page<'a> = (Reader<'a>, Result<Option<VecDeque<Item>>, ControlError>);

enum Reading<'a> {
    /// Held over, so that a wait for something else does not begin the read anew.
    Page(Pin<Box<dyn Future<Output = Page<'a>> + Send + 'a>>),
    Over,
}

impl<'a> Items<'a> {
    /// # Errors
    /// Those that are named are not there, or those that are to be shuffled cannot be read.
    pub(super) async fn new(control: &'a Control, plan: &'a Plan) -> Result<Items<'a>, ControlError> {
        let mut reader = Reader::new(control, plan);
        let known = if plan.manner.chaos.shuffle {
            let mut all = reader.all().await?;
            plan.manner.shuffle(&mut all);
            all.into()
        } else if matches!(plan.selection, Selection::Ids(_)) {
            reader.more().await?.unwrap_or_default()
        } else {
            // A query with a mistake is told before anything is sent.
            let first = reader.more().await?.unwrap_or_default();
            let read = first.len() as u64;
            return Ok(Items { known: first, reading: Reading::page(reader), count: None, read });
        };
        let read = known.len() as u64;
        Ok(Items { known, reading: Reading::Over, count: Some(read), read })
    }

    /// The next one; `Some(None)` at the end, `None` where it has to be read first.
    pub(super) fn take(&mut self) -> Option<Option<Item>> {
        match (self.known.pop_front(), &self.reading) {
            (Some(item), _) => Some(Some(item)),
            (None, Reading::Over) => Some(None),
            (None, Reading::Page(_)) => None,
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.known.len() < AHEAD && matches!(self.reading, Reading::Page(_))
    }

    /// Reads on. May be dropped and called again.
    pub(super) async fn read(&mut self) -> Result<(), ControlError> {
        let Reading::Page(page) = &mut self.reading else { return Ok(()) };
        let (reader, more) = page.as_mut().await;
        self.reading = Reading::Over;
        match more? {
            Some(more) => {
                self.read += more.len() as u64;
                self.known.extend(more);
                self.reading = Reading::page(reader);
            }
            None => self.count = Some(self.read),
        }
        Ok(())
    }

    fn unread(&self) -> u64 {
        self.known.len() as u64
    }

    /// Reads to the end; only the count is of use then.
    async fn count_rest(&mut self) -> Result<(), ControlError> {
        while matches!(self.reading, Reading::Page(_)) {
            self.read().await?;
        }
        Ok(())
    }
}

impl<'a> Reading<'a> {
    fn page(mut reader: Reader<'a>) -> Reading<'a> {
        Reading::Page(Box::pin(async move {
            let more = reader.more().await;
            (reader, more)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Timestamp;

    fn shot(number: u64, nth: i64, copy: u32, last: bool) -> Shot {
        Shot { id: DeliveryId::first_at(Timestamp::from_micros(nth)), copy, last, number, at: Duration::ZERO }
    }

    #[test]
    fn whoever_goes_on_begins_with_the_first_that_has_not_come_to_its_end() {
        let mut place = Place::default();
        let shots = [shot(0, 1, 1, false), shot(1, 1, 2, true), shot(2, 2, 1, true), shot(3, 3, 1, true)];
        shots.iter().for_each(|shot| place.begins(shot));
        let first = |place: &Place| place.open.first_key_value().map(|(n, m)| (*n, m.whole, m.wholes));
        assert_eq!(first(&place), Some((0, None, 0)));
        place.ended(&shots[3]);
        place.ended(&shots[0]);
        assert_eq!(first(&place), Some((1, None, 0)));
        place.ended(&shots[1]);
        assert_eq!(first(&place), Some((2, Some(shots[0].id), 1)));
        place.ended(&shots[2]);
        assert_eq!((first(&place), place.now.whole, place.now.wholes), (None, Some(shots[3].id), 3));
    }
}
