//! What each operation changes: the keys of a delivery and of its indexes, put into one batch. Removing is in `erase`.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tunnel_delivery::{
    Answer, AnswerClass, Attempt, Cause, Delivery, DeliveryId, DuplicateOf, Event, Stored, Timestamp, Verdict,
};

use crate::engine::{Engine, Fault};
use crate::error::ArchiveError;
use crate::index;
use crate::keys;
use crate::pending::{BYTES_MAX, Kv, Pending};
use crate::piece::Piece;
use crate::postings::{self, Walk};
use crate::query::Order;
use crate::reader;
use crate::record::{self, Entry, Unreadable};
use crate::sketch::{self, Sketch};

/// A delivery as it comes in.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The request as sent.
    pub delivery: Arc<Delivery>,
    /// SHA-256 of its body.
    pub body_sha256: [u8; 32],
    /// What the body says happened.
    pub event: Option<Event>,
    /// What is known about its signature.
    pub signature: Verdict,
    /// Whether it waits to be forwarded.
    pub queued: bool,
}

/// What came of storing a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was not there before.
    New {
        /// The earlier delivery it seems to repeat.
        duplicate_of: Option<DuplicateOf>,
    },
    /// A delivery with this id was there already. Nothing was changed.
    AlreadyThere,
}

/// A repeat is looked for this far back. Healthie retries for about three days.
const REPEAT_WITHIN: Duration = Duration::from_secs(4 * 24 * 3600);

/// Requests and attempts of this length and less are kept on their shelves.
const ON_SHELF: usize = 1536;
const _: () = assert!(ON_SHELF < keys::ATTEMPTS.value_max());

/// The longest encoded request or attempt: more than anything that can come, which is a body of 64 MiB with what its event repeats of it. Whatever
/// was accepted for the agent must find room here.
pub(crate) const RECORD_MAX: usize = 192 * 1024 * 1024;
const _: () = assert!(RECORD_MAX < BYTES_MAX);

/// The longest note, in bytes.
const NOTE_MAX: usize = 64 * 1024;

/// Why an operation was not done.
pub(crate) enum Refusal {
    /// It cannot be done; nothing was changed.
    No(ArchiveError),
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

/// Totals over the whole archive.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Counters {
    #[prost(uint64, tag = "1")]
    pub(crate) deliveries: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) attempts: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) body_bytes: u64,
    /// Of encoded lines, requests, attempts and notes.
    #[prost(uint64, tag = "4")]
    pub(crate) record_bytes: u64,
}

impl Counters {
    /// The totals that the store has; zero for a new one.
    pub(crate) fn load(engine: &Engine) -> Result<Counters, Fault> {
        match engine.get(keys::COUNTERS)? {
            Some(bytes) => Counters::decode(&*bytes).map_err(|_| engine.fail("unreadable counters".into(), true)),
            None => Ok(Counters::default()),
        }
    }
}

/// A batch of operations.
pub(crate) struct Ledger<'e> {
    engine: &'e Engine,
    pub(crate) batch: Pending<'e>,
    pub(crate) counters: Counters,
    /// The end of the last sketch, once it was looked up. Sketches are made between ledgers.
    frontier: Option<Option<DeliveryId>>,
    /// A sketch that became too full by what came late.
    pub(crate) blurred: Option<DeliveryId>,
}

impl<'e> Ledger<'e> {
    pub(crate) fn new(engine: &'e Engine, counters: Counters) -> Ledger<'e> {
        Ledger { engine, batch: Pending::new(engine), counters, frontier: None, blurred: None }
    }

    /// Stores a delivery, unless its id is there already.
    pub(crate) fn insert(&mut self, intake: &Intake) -> Result<Inserted, Refusal> {
        let delivery = &*intake.delivery;
        let id = delivery.id;
        if keys::LINES.get(&self.batch, id.as_bytes())?.is_some() {
            return Ok(Inserted::AlreadyThere);
        }
        let print = fingerprint(delivery, &intake.body_sha256);
        let duplicate_of = self.duplicate_of(intake, print)?;
        self.put_delivery(intake, duplicate_of.as_ref(), print)?;
        if let Some(first) = &duplicate_of {
            self.count_repeats(first.id, |repeats| repeats.saturating_add(1))?;
        }
        Ok(Inserted::New { duplicate_of })
    }

    /// Stores a delivery that was saved from a damaged store, with what is known of it. Its repeats count when they are stored.
    pub(crate) fn restore(&mut self, saved: &Stored, class: AnswerClass) -> Result<(), Refusal> {
        let intake = Intake {
            delivery: Arc::new(saved.delivery.clone()),
            body_sha256: saved.body_sha256,
            event: saved.event.clone(),
            signature: saved.signature.clone(),
            queued: class == AnswerClass::Queued,
        };
        let id = saved.delivery.id;
        let print = fingerprint(&intake.delivery, &intake.body_sha256);
        self.put_delivery(&intake, saved.duplicate_of.as_ref(), print)?;
        if let Some(first) = &saved.duplicate_of {
            self.count_repeats(first.id, |repeats| repeats.saturating_add(1))?;
        }
        for attempt in &saved.attempts {
            self.record(id, attempt)?;
        }
        if saved.pinned {
            self.set_pinned(id, true)?;
        }
        if saved.note.is_some() {
            self.set_note(id, saved.note.as_deref())?;
        }
        Ok(())
    }

    fn put_delivery(
        &mut self,
        intake: &Intake,
        duplicate_of: Option<&DuplicateOf>,
        print: [u8; 8],
    ) -> Result<(), Refusal> {
        let delivery = &*intake.delivery;
        let id = delivery.id;
        let (summary, request) = record::encode(intake, duplicate_of);
        if request.len() > RECORD_MAX {
            let len = request.len();
            return Err(Refusal::No(ArchiveError::TooLarge { what: "the delivery", len, limit: RECORD_MAX }));
        }
        let request_len = if request.len() <= ON_SHELF {
            keys::REQUESTS.put(&mut self.batch, id.as_bytes(), &request)?;
            None
        } else {
            self.batch.put_pieces(&keys::request(id), &request)?;
            Some(request.len() as u64)
        };
        let entry = Entry { summary, request_len, note_len: None, stored_len: 0 };
        self.put_line(&entry)?;
        for (prefix, posting) in index::of(&entry.summary, self.batch.veil()) {
            postings::insert(&mut self.batch, &prefix, &posting, |_| false)?;
        }
        self.add_to_sketch(delivery)?;
        if duplicate_of.is_none() {
            let oldest = window_start(delivery.received_at);
            let forms = index::hashed(self.batch.veil(), &keys::FINGERPRINT, print, id);
            if let Some((prefix, posting)) = forms.first() {
                postings::insert(&mut self.batch, prefix, posting, |e| e[8..] < oldest.as_bytes()[..])?;
            }
        }
        self.counters.deliveries += 1;
        self.counters.body_bytes += delivery.body.len() as u64;
        self.counters.record_bytes += request.len() as u64;
        self.put_counters();
        Ok(())
    }

    /// What comes late, below the frontier, goes into its sketch; all else is sketched later.
    fn add_to_sketch(&mut self, delivery: &Delivery) -> Result<(), Fault> {
        let frontier = match self.frontier {
            Some(frontier) => frontier,
            None => *self.frontier.insert(sketch::frontier(self.engine)?),
        };
        if frontier.is_none_or(|frontier| delivery.id > frontier) {
            return Ok(());
        }
        let Some((key, value)) = sketch::covering(&self.batch, delivery.id)? else { return Ok(()) };
        let Some(mut sketch) = Sketch::read(&value) else {
            return Err(self.engine.fail("unreadable sketch".into(), true));
        };
        sketch.add(delivery.environment, &delivery.body);
        if sketch.is_blurred() {
            self.blurred = sketch::id_of(&key);
        }
        if let Some(piece) = sketch.piece() {
            self.batch.put(key.to_vec(), piece);
        }
        Ok(())
    }

    /// Adds an attempt, returns its number from 1.
    pub(crate) fn record(&mut self, id: DeliveryId, attempt: &Attempt) -> Result<u32, Refusal> {
        let mut entry = self.line(id)?;
        let bytes = crate::attempt::encode(attempt);
        if bytes.len() > RECORD_MAX {
            let len = bytes.len();
            return Err(Refusal::No(ArchiveError::TooLarge { what: "the attempt", len, limit: RECORD_MAX }));
        }
        let number = entry.summary.attempts.saturating_add(1);
        // On the shelf an attempt begins with a zero; a long one leaves its length there instead.
        let on_shelf = if bytes.len() <= ON_SHELF {
            [&[0], &bytes[..]].concat()
        } else {
            self.batch.put_pieces(&keys::attempt_pieces(id, number), &bytes)?;
            [&[1], &(bytes.len() as u64).to_be_bytes()[..]].concat()
        };
        keys::ATTEMPTS.put(&mut self.batch, &keys::attempt(id, number), &on_shelf)?;
        let summary = &mut entry.summary;
        let before = summary.answer.class;
        summary.attempts = number;
        summary.answer = Answer {
            // What waits to be forwarded goes on waiting whatever was tried elsewhere meanwhile: only forwarding it is what it waits for.
            class: match (before, attempt.cause) {
                (AnswerClass::Queued, Cause::Replay) => AnswerClass::Queued,
                _ => AnswerClass::of(attempt),
            },
            status: attempt.status,
            duration_us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
        };
        let after = summary.answer.class;
        self.put_line(&entry)?;
        if before != after {
            postings::remove(&mut self.batch, &index::answer(before), id.as_bytes())?;
            postings::insert(&mut self.batch, &index::answer(after), id.as_bytes(), |_| false)?;
        }
        self.counters.attempts += 1;
        self.counters.record_bytes += bytes.len() as u64;
        self.put_counters();
        Ok(number)
    }

    /// Pins a delivery, or lets it go.
    pub(crate) fn set_pinned(&mut self, id: DeliveryId, pinned: bool) -> Result<(), Refusal> {
        let mut entry = self.line(id)?;
        entry.summary.pinned = pinned;
        self.put_line(&entry)?;
        self.put_counters();
        Ok(())
    }

    /// Writes a note about a delivery, or removes it.
    pub(crate) fn set_note(&mut self, id: DeliveryId, note: Option<&str>) -> Result<(), Refusal> {
        let mut entry = self.line(id)?;
        let len = note.map_or(0, str::len);
        if len > NOTE_MAX {
            return Err(Refusal::No(ArchiveError::TooLarge { what: "the note", len, limit: NOTE_MAX }));
        }
        // A note always fits into one batch with its line, so that it is never seen half changed on the disk.
        self.batch.commit()?;
        self.batch.remove_all(&keys::note(id))?;
        for (number, piece) in (0u16..).zip(Piece::cut(note.unwrap_or_default().as_bytes())) {
            self.batch.put(keys::piece(&keys::note(id), number), piece);
        }
        let before = entry.note_len.unwrap_or(0);
        entry.note_len = note.map(|n| n.len() as u64);
        self.put_line(&entry)?;
        self.counters.record_bytes = (self.counters.record_bytes + len as u64).saturating_sub(before);
        self.put_counters();
        Ok(())
    }

    /// Changes how many repeats a delivery has, if it is still there.
    pub(crate) fn count_repeats(&mut self, id: DeliveryId, change: impl Fn(u32) -> u32) -> Result<(), Refusal> {
        match self.line(id) {
            Ok(mut entry) => {
                entry.summary.repeats = change(entry.summary.repeats);
                self.put_line(&entry)?;
                self.put_counters();
                Ok(())
            }
            Err(Refusal::No(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn line(&self, id: DeliveryId) -> Result<Entry, Refusal> {
        let Some(bytes) = keys::LINES.get(&self.batch, id.as_bytes())? else {
            return Err(Refusal::No(ArchiveError::Unknown(id)));
        };
        Ok(Entry::from_bytes(id, &bytes).map_err(|u| self.unreadable(id, u))?)
    }

    pub(crate) fn unreadable(&self, id: DeliveryId, what: Unreadable) -> Fault {
        self.engine.fail(format!("delivery {id}: unreadable {}", what.0), true)
    }

    /// Writes a line; the counters change with it and are to be written too.
    pub(crate) fn put_line(&mut self, entry: &Entry) -> Result<(), Fault> {
        let id = entry.summary.id;
        let line = entry.to_bytes();
        let bytes = &mut self.counters.record_bytes;
        *bytes = (*bytes + line.len() as u64).saturating_sub(entry.stored_len as u64);
        // A summary is cut when it is made; a test holds that the longest has room.
        match keys::LINES.put(&mut self.batch, id.as_bytes(), &line)? {
            true => Ok(()),
            false => Err(self.engine.fail(format!("delivery {id}: its line is too long"), false)),
        }
    }

    pub(crate) fn put_counters(&mut self) {
        if let Ok(piece) = Piece::new(&self.counters.encode_to_vec()) {
            self.batch.put(keys::COUNTERS.to_vec(), piece);
        }
    }

    /// The first earlier delivery that looks the same, within [`REPEAT_WITHIN`].
    fn duplicate_of(&self, intake: &Intake, print: [u8; 8]) -> Result<Option<DuplicateOf>, Refusal> {
        let new = &*intake.delivery;
        let since = window_start(new.received_at);
        let walks = self.batch.veil().forms(&keys::FINGERPRINT, print).into_iter().map(|(prefix, hash)| {
            let bound = |id: DeliveryId| [&hash[..], id.as_bytes()].concat();
            Walk::new(prefix.to_vec(), bound(since), bound(new.id), Order::OldestFirst)
        });
        // Different requests of one hash are no accident: they are not worth more than a few looks.
        let mut found = Vec::new();
        for mut walk in walks {
            for _ in 0..4 {
                let Some(entry) = walk.next(&self.batch)? else { break };
                found.extend(DeliveryId::from_slice(&entry[8..]));
            }
        }
        found.sort_unstable();
        for id in found {
            if id == new.id {
                continue;
            }
            let whole = reader::whole(&self.batch, id).map_err(|e| match e {
                reader::ReadError::Fault(fault) => fault,
                reader::ReadError::Unreadable(what) => self.unreadable(id, what),
            })?;
            let Some(old) = whole else { continue };
            if old.body_sha256 == intake.body_sha256 && same_request(&old.delivery, new) {
                let signed = new.headers.get("signature").is_some();
                return Ok(Some(DuplicateOf { id, reason: reason(&old.delivery, new, signed) }));
            }
        }
        Ok(None)
    }
}

fn window_start(at: Timestamp) -> DeliveryId {
    DeliveryId::first_at(at.earlier(REPEAT_WITHIN))
}

/// The same for two deliveries that look the same, and hardly ever for two others.
pub(crate) fn fingerprint(d: &Delivery, body_sha256: &[u8; 32]) -> [u8; 8] {
    keys::hash(&[
        d.tunnel.as_str().as_bytes(),
        d.method.as_str().as_bytes(),
        d.target.as_str().as_bytes(),
        d.headers.get("signature").unwrap_or_default(),
        body_sha256,
    ])
}

fn same_request(a: &Delivery, b: &Delivery) -> bool {
    a.tunnel == b.tunnel
        && a.method == b.method
        && a.target == b.target
        && a.headers.get_all("signature").eq(b.headers.get_all("signature"))
}

fn reason(old: &Delivery, new: &Delivery, signed: bool) -> String {
    let same =
        if signed { "same body, target and signature" } else { "same body and target, both without a signature," };
    format!(
        "{same} as {}, received {} earlier: a repeat by the sender, or a second event with the same fields; Healthie sends no delivery \
         id, so this is a guess",
        old.id,
        span(new.received_at.since(old.received_at))
    )
}

fn span(d: Duration) -> String {
    match d.as_secs() {
        0 => format!("{} ms", d.as_millis()),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}
