//! Reading: one delivery whole, and lists. A list takes the most selective index that applies, merges its terms in order, passes over what its
//! sketches say cannot be wanted, and checks the rest of the conditions on summaries and bodies.

use bytes::Bytes;
use tunnel_delivery::{DeliveryId, Stored, Summary};

use crate::engine::Fault;
use crate::index;
use crate::keys;
use crate::pending::{Kv, piece_count, read_pieces};
use crate::postings::{self, BLOCK};
use crate::query::{Cursor, Needle, Order, Page, Query};
use crate::record::{self, Entry, Unreadable, Whole};
use crate::shelf;
use crate::sketch::{self, Stretch, Wanted};

/// Why something could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Fault(Fault),
    Unreadable(Unreadable),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> ReadError {
        ReadError::Fault(fault)
    }
}

impl From<Unreadable> for ReadError {
    fn from(what: Unreadable) -> ReadError {
        ReadError::Unreadable(what)
    }
}

const MISSING: ReadError = ReadError::Unreadable(Unreadable("pieces"));

/// How many event names one pattern list may stand for before a list by time is the better plan.
const TERMS_MAX: usize = 512;

/// How many blocks of an index are looked at to guess how selective it is.
const PROBE_BLOCKS: usize = 8;

fn line(kv: &impl Kv, id: DeliveryId) -> Result<Option<Entry>, ReadError> {
    let Some(bytes) = keys::LINES.get(kv, id.as_bytes())? else { return Ok(None) };
    Ok(Some(Entry::from_bytes(id, &bytes)?))
}

fn bytes(kv: &impl Kv, prefix: &[u8], len: u64) -> Result<Bytes, ReadError> {
    let len = usize::try_from(len).map_err(|_| MISSING)?;
    let bytes = read_pieces(kv, prefix, piece_count(len))?.ok_or(MISSING)?;
    if bytes.len() == len { Ok(bytes.into()) } else { Err(MISSING) }
}

fn request(kv: &impl Kv, entry: &Entry) -> Result<Whole, ReadError> {
    Ok(record::decode(&entry.summary, request_bytes(kv, entry)?)?)
}

/// The same, encoded.
pub(crate) fn request_bytes(kv: &impl Kv, entry: &Entry) -> Result<Bytes, ReadError> {
    let id = entry.summary.id;
    match entry.request_len {
        None => Ok(Bytes::copy_from_slice(&keys::REQUESTS.get(kv, id.as_bytes())?.ok_or(MISSING)?)),
        Some(len) => bytes(kv, &keys::request(id), len),
    }
}

/// How often something is read again that seems to be missing: it may have been removed between two looks, and put back.
const LOOKS: usize = 20;

/// Reads what belongs to a delivery. It may be removed, or its note replaced, between reading the line and reading what that names:
/// what is missing is missing only if the line still says the same.
fn consistent<T>(
    kv: &impl Kv,
    id: DeliveryId,
    read: impl Fn(&Entry) -> Result<T, ReadError>,
) -> Result<Option<T>, ReadError> {
    let mut looks = 0;
    loop {
        let Some(before) = line(kv, id)? else { return Ok(None) };
        match read(&before) {
            Ok(read) => return Ok(Some(read)),
            Err(ReadError::Fault(fault)) => return Err(fault.into()),
            Err(unreadable) => {
                looks += 1;
                let same = line(kv, id)?.is_some_and(|after| after == before);
                // A note may be replaced by one of the same length.
                if same && (before.note_len.is_none() || looks > LOOKS) || looks > 100 * LOOKS {
                    return Err(unreadable);
                }
            }
        }
    }
}

/// The request of a delivery and what was known when it came.
pub(crate) fn whole(kv: &impl Kv, id: DeliveryId) -> Result<Option<Whole>, ReadError> {
    consistent(kv, id, |entry| request(kv, entry))
}

/// How many repeats of a delivery are named.
const REPEATS_NAMED: usize = 100;

/// A delivery with everything that belongs to it.
pub(crate) fn stored(kv: &impl Kv, id: DeliveryId) -> Result<Option<Stored>, ReadError> {
    consistent(kv, id, |entry| {
        let mut stored = bare(kv, entry)?;
        stored.attempts.reserve(entry.summary.attempts.min(64) as usize);
        for number in 1..=entry.summary.attempts {
            stored.attempts.push(crate::attempt::decode(attempt(kv, id, number)?)?);
        }
        Ok(stored)
    })
}

/// The same without its attempts, of which there may be very many, and its line in a list.
pub(crate) fn without_attempts(kv: &impl Kv, id: DeliveryId) -> Result<Option<(Stored, Summary)>, ReadError> {
    consistent(kv, id, |entry| Ok((bare(kv, entry)?, entry.summary.clone())))
}

fn bare(kv: &impl Kv, entry: &Entry) -> Result<Stored, ReadError> {
    let note = note(kv, entry)?;
    let whole = request(kv, entry)?;
    let repeats = if entry.summary.repeats == 0 { Vec::new() } else { repeats(kv, entry.summary.id)? };
    Ok(Stored {
        delivery: whole.delivery,
        body_sha256: whole.body_sha256,
        event: whole.event,
        signature: whole.signature,
        duplicate_of: whole.duplicate_of,
        repeats,
        pinned: entry.summary.pinned,
        note,
        attempts: Vec::new(),
    })
}

/// The note of a delivery, if it has one.
pub(crate) fn note(kv: &impl Kv, entry: &Entry) -> Result<Option<String>, ReadError> {
    let Some(len) = entry.note_len else { return Ok(None) };
    let note = bytes(kv, &keys::note(entry.summary.id), len)?;
    String::from_utf8(note.into()).map(Some).map_err(|_| Unreadable("note").into())
}

fn repeats(kv: &impl Kv, id: DeliveryId) -> Result<Vec<DeliveryId>, Fault> {
    let bound = |byte| index::repeat(id, DeliveryId::from_bytes([byte; 16]));
    let mut walk = postings::Walk::new(keys::REPEATS.to_vec(), bound(0), bound(255), Order::OldestFirst);
    let mut all = Vec::new();
    while all.len() < REPEATS_NAMED
        && let Some(entry) = walk.next(kv)?
    {
        all.extend(DeliveryId::from_slice(&entry[16..]));
    }
    Ok(all)
}

/// An attempt, encoded.
pub(crate) fn attempt(kv: &impl Kv, id: DeliveryId, number: u32) -> Result<Bytes, ReadError> {
    let on_shelf = keys::ATTEMPTS.get(kv, &keys::attempt(id, number))?.ok_or(MISSING)?;
    match on_shelf.split_first() {
        Some((0, attempt)) => Ok(Bytes::copy_from_slice(attempt)),
        Some((1, len)) => {
            let len = u64::from_be_bytes(len.try_into().map_err(|_| MISSING)?);
            bytes(kv, &keys::attempt_pieces(id, number), len)
        }
        _ => Err(ReadError::Unreadable(Unreadable("attempt"))),
    }
}

/// A page of a list.
pub(crate) fn list(kv: &impl Kv, query: &Query) -> Result<Page, ReadError> {
    let mut page = Page { items: Vec::new(), next: None, scanned: 0, damaged: Vec::new() };
    let range = query.id_range();
    let (mut low, mut high) = (*range.start(), *range.end());
    match (query.cursor, query.order) {
        (Some(Cursor(id)), Order::NewestFirst) => match before(id) {
            Some(id) => high = high.min(id),
            None => return Ok(page),
        },
        (Some(Cursor(id)), Order::OldestFirst) => match following(id) {
            Some(id) => low = low.max(id),
            None => return Ok(page),
        },
        (None, _) => {}
    }
    if low > high || query.limit == 0 {
        return Ok(page);
    }
    let wanted = Wanted::of(query);
    let needle = query.text.as_deref().map(Needle::new);
    let mut plan = plan(kv, query, low, high)?;
    // What the sketches told last.
    let mut known: Option<Stretch> = None;
    let (mut last, mut work) = (None, 0);
    loop {
        let Some((id, line)) = plan.next(kv)? else { return Ok(page) };
        if page.items.len() == query.limit || work >= query.scan_limit.max(1) {
            page.next = last.map(Cursor);
            return Ok(page);
        }
        work += 1;
        last = Some(id);
        if let Some(wanted) = &wanted {
            let stretch = match known.filter(|stretch| stretch.has(id)) {
                Some(stretch) => stretch,
                None => {
                    let stretch = sketch::stretch(kv, wanted, id, query.order)?;
                    work += stretch.looks;
                    *known.insert(stretch)
                }
            };
            if !stretch.perhaps {
                let end = match query.order {
                    Order::NewestFirst => stretch.low.max(low),
                    Order::OldestFirst => stretch.high.min(high),
                };
                if let Plan::Time(walk) = &mut plan {
                    walk.pass(end.as_bytes());
                    page.scanned += usize::try_from(stretch.count).unwrap_or(usize::MAX);
                    last = Some(end);
                } else {
                    page.scanned += 1;
                }
                continue;
            }
        }
        page.scanned += 1;
        let read = match line {
            Some(line) => Entry::from_bytes(id, &line).map(Some).map_err(ReadError::from),
            None => self::line(kv, id),
        };
        let entry = match read {
            Ok(Some(entry)) => entry,
            // An index may be a step ahead of the line that it names.
            Ok(None) => continue,
            // A fault is the engine's end, and says nothing of this line.
            Err(ReadError::Unreadable(what)) if query.past_damage => {
                page.damaged.push((id, format!("unreadable {}", what.0)));
                continue;
            }
            Err(error) => return Err(error),
        };
        if query.matches(&entry.summary)
            && match &needle {
                Some(needle) => body_has(kv, &entry, needle)?,
                None => true,
            }
        {
            page.items.push(entry.summary);
        }
    }
}

fn body_has(kv: &impl Kv, entry: &Entry, needle: &Needle<'_>) -> Result<bool, ReadError> {
    let read = |entry: &Entry| {
        let request = request_bytes(kv, entry)?;
        // The body lies in the request as it is: what is nowhere in that need not be taken apart.
        Ok(needle.is_in(&request) && needle.is_in(&record::body(request)?))
    };
    match read(entry) {
        Err(ReadError::Unreadable(_)) => Ok(consistent(kv, entry.summary.id, read)?.unwrap_or(false)),
        done => done,
    }
}

fn before(id: DeliveryId) -> Option<DeliveryId> {
    u128::from_be_bytes(*id.as_bytes()).checked_sub(1).map(|n| DeliveryId::from_bytes(n.to_be_bytes()))
}

fn following(id: DeliveryId) -> Option<DeliveryId> {
    u128::from_be_bytes(*id.as_bytes()).checked_add(1).map(|n| DeliveryId::from_bytes(n.to_be_bytes()))
}

/// A delivery that may belong to a list, and its line where that was met on the way.
type Candidate = (DeliveryId, Option<Vec<u8>>);

/// Where the candidates of a list come from, in the list's order.
enum Plan {
    /// Every delivery in a time range.
    Time(shelf::Walk),
    /// One or more terms of an index, merged.
    Terms { walks: Vec<(postings::Walk, Option<DeliveryId>)>, order: Order, started: bool },
}

impl Plan {
    fn terms(prefixes: Vec<Vec<u8>>, low: DeliveryId, high: DeliveryId, order: Order) -> Plan {
        let walk = |prefix| postings::Walk::new(prefix, low.as_bytes().to_vec(), high.as_bytes().to_vec(), order);
        Plan::Terms { walks: prefixes.into_iter().map(|p| (walk(p), None)).collect(), order, started: false }
    }

    fn next(&mut self, kv: &impl Kv) -> Result<Option<Candidate>, ReadError> {
        match self {
            Plan::Time(walk) => {
                let Some((key, line)) = walk.next(kv)? else { return Ok(None) };
                Ok(DeliveryId::from_slice(&key).map(|id| (id, Some(line))))
            }
            Plan::Terms { walks, order, started } => {
                if !*started {
                    for (walk, next) in walks.iter_mut() {
                        *next = entry_id(walk.next(kv)?);
                    }
                    *started = true;
                }
                let heads = walks.iter().filter_map(|(_, next)| *next);
                let best = match order {
                    Order::NewestFirst => heads.max(),
                    Order::OldestFirst => heads.min(),
                };
                let Some(best) = best else { return Ok(None) };
                // An id that moves from one term to another meanwhile may be in both.
                for (walk, next) in walks.iter_mut() {
                    while *next == Some(best) {
                        *next = entry_id(walk.next(kv)?);
                    }
                }
                Ok(Some((best, None)))
            }
        }
    }
}

/// The id at the end of an entry.
fn entry_id(entry: Option<Vec<u8>>) -> Option<DeliveryId> {
    entry.and_then(|e| DeliveryId::from_slice(&e[e.len().saturating_sub(16)..]))
}

fn plan(kv: &impl Kv, query: &Query, low: DeliveryId, high: DeliveryId) -> Result<Plan, ReadError> {
    let order = query.order;
    if let Some(first) = query.repeats_of {
        let bound = |id: DeliveryId| index::repeat(first, id);
        let walk = postings::Walk::new(keys::REPEATS.to_vec(), bound(low), bound(high), order);
        return Ok(Plan::Terms { walks: vec![(walk, None)], order, started: false });
    }
    // A resource's id is nearly unique: no other index can be much better.
    if let Some(resource_id) = &query.resource_id {
        let walk = |(prefix, hash): (&[u8], [u8; 8])| {
            let bound = |id: DeliveryId| [&hash[..], id.as_bytes()].concat();
            (postings::Walk::new(prefix.to_vec(), bound(low), bound(high), order), None)
        };
        let forms = kv.veil().forms(&keys::RESOURCE_ID, index::resource(resource_id));
        return Ok(Plan::Terms { walks: forms.into_iter().map(walk).collect(), order, started: false });
    }
    let mut candidates: Vec<Vec<Vec<u8>>> = Vec::new();
    if !query.events.is_empty() {
        candidates.extend(event_terms(kv, query)?);
    }
    if let Some(name) = &query.resource_type {
        candidates.push(vec![keys::resource_type(name)]);
    }
    if !query.signature.is_empty() {
        candidates.push(query.signature.iter().map(|s| index::signature(*s)).collect());
    }
    if !query.answer.is_empty() {
        candidates.push(query.answer.iter().map(|c| index::answer(*c)).collect());
    }
    if let Some(name) = &query.tunnel {
        candidates.push(vec![keys::tunnel(name.as_str())]);
    }
    if query.duplicates == Some(true) {
        candidates.push(vec![keys::DUPLICATES.to_vec()]);
    }
    let mut best: Option<(usize, Vec<Vec<u8>>)> = None;
    for mut prefixes in candidates {
        prefixes.sort();
        prefixes.dedup();
        let size = probe(kv, &prefixes, low, high)?;
        if best.as_ref().is_none_or(|(least, _)| size < *least) {
            best = Some((size, prefixes));
        }
    }
    Ok(match best {
        Some((_, prefixes)) => Plan::terms(prefixes, low, high, order),
        None => Plan::Time(keys::LINES.walk(low.as_bytes(), high.as_bytes(), order)),
    })
}

/// Roughly how many entries these terms have in the range; not told apart above some hundreds.
fn probe(kv: &impl Kv, prefixes: &[Vec<u8>], low: DeliveryId, high: DeliveryId) -> Result<usize, ReadError> {
    let mut blocks = 0;
    for prefix in prefixes {
        let mut from = [&prefix[..], low.as_bytes()].concat();
        let end = keys::successor(&[&prefix[..], high.as_bytes()].concat());
        // The block that begins before the range may reach into it; it is not counted.
        while let Some((key, _)) = kv.first_in(&from, &end)? {
            blocks += 1;
            if blocks >= PROBE_BLOCKS {
                return Ok(blocks * BLOCK);
            }
            from = keys::successor(&key);
        }
    }
    Ok(blocks * BLOCK)
}

/// The terms of all event names in the store that match the patterns; `None` if they are too many.
fn event_terms(kv: &impl Kv, query: &Query) -> Result<Option<Vec<Vec<u8>>>, ReadError> {
    let mut terms = Vec::new();
    for pattern in &query.events {
        let (beginning, whole) = pattern.beginning();
        if whole {
            terms.push(keys::event(beginning));
            continue;
        }
        let mut from = keys::events_beginning(beginning);
        let end = keys::after(&from);
        while let Some((key, _)) = kv.first_in(&from, &end)? {
            let Some((term, name)) = keys::split_term(&key) else {
                return Err(ReadError::Unreadable(Unreadable("index")));
            };
            // What is not the whole name may belong to any name that begins so.
            let maybe = name.len() >= keys::NAME_MAX;
            if maybe || std::str::from_utf8(&name).is_ok_and(|name| pattern.matches(name)) {
                terms.push(term.to_vec());
            }
            if terms.len() > TERMS_MAX {
                return Ok(None);
            }
            from = keys::after(term);
        }
    }
    Ok(Some(terms))
}

/// Ids that a person may mean by this text: `latest`, a whole id, or the beginning or end of one without its hyphens. The latest
/// come first; `limit` bounds how many, `scan_limit` how many ids are compared with an end.
pub(crate) fn find(kv: &impl Kv, text: &str, limit: usize, scan_limit: usize) -> Result<Vec<DeliveryId>, ReadError> {
    let all = |low: DeliveryId, high: DeliveryId| keys::LINES.walk(low.as_bytes(), high.as_bytes(), Order::NewestFirst);
    let (first, last) = (DeliveryId::from_bytes([0; 16]), DeliveryId::from_bytes([255; 16]));
    let mut found = Vec::new();
    if text == "latest" {
        found.extend(all(first, last).next(kv)?.and_then(|(key, _)| DeliveryId::from_slice(&key)));
        return Ok(found);
    }
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(found);
    }
    let bound = |fill: &str| {
        let padded = format!("{digits}{}", fill.repeat(32 - digits.len()));
        u128::from_str_radix(&padded, 16).map(|n| DeliveryId::from_bytes(n.to_be_bytes()))
    };
    let (Ok(least), Ok(greatest)) = (bound("0"), bound("f")) else { return Ok(found) };
    let mut walk = all(least, greatest);
    while found.len() < limit
        && let Some((key, _)) = walk.next(kv)?
    {
        found.extend(DeliveryId::from_slice(&key));
    }
    // The random end of an id is what tells ids of one minute apart.
    let mut walk = all(first, last);
    for _ in 0..scan_limit {
        if found.len() >= limit || digits.len() == 32 {
            break;
        }
        let Some((key, _)) = walk.next(kv)? else { break };
        if let Some(id) = DeliveryId::from_slice(&key) {
            let hex = format!("{:032x}", u128::from_be_bytes(*id.as_bytes()));
            if hex.ends_with(&digits) && !found.contains(&id) {
                found.push(id);
            }
        }
    }
    Ok(found)
}
