//! One transaction: what the queued deliveries and orders do to copies of the records and to the tables.
//!
//! Nothing outside sees a batch before it is committed; a batch that fails changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{Database, Durability, ReadableTable as _, Table};
use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};

use tunnel_vault::Vault;

use crate::bounds::Bounds;
use crate::format::{self, At};
use crate::record::Record;
use crate::redb_spool::join_runs;
use crate::state::{Answer, Append, Order, Tunnel};
use crate::{Dropped, MAX_DEVICES, Place, Role, Seq, SpoolError, Start, Why, disk};

/// Deliveries that one transaction deletes at most, for each reason: what comes in meanwhile should not wait long.
const MAX_DELETED: u64 = 10_000;
/// And about so many bytes of them: the pages that they are on are read to be freed, some 100 MiB a second.
const MAX_DELETED_BYTES: u64 = 32 << 20;

type Deliveries<'t> = Table<'t, (u32, u64), &'static [u8]>;

/// A tunnel's record as the batch leaves it.
pub(crate) struct Draft {
    pub(crate) record: Record,
    /// Devices that are new since the copy was made.
    pub(crate) fresh: Vec<DeviceName>,
    /// The record differs from the disk's.
    pub(crate) touched: bool,
    /// The deliveries that the batch adds, with their stored bytes.
    pub(crate) written: Vec<(Seq, Arc<Delivery>, usize)>,
    /// The bytes that were queued for this tunnel.
    pub(crate) queued: u64,
}

impl Draft {
    fn new(known: Option<Record>, queued: u64) -> Draft {
        // Number 0 stands for a tunnel that is not on the disk yet.
        let record = known.unwrap_or_else(|| Record::new(0));
        Draft { record, fresh: Vec::new(), touched: false, written: Vec::new(), queued }
    }
}

/// An answer that is owed once the batch is committed.
pub(crate) enum Owed {
    Append(Answer<Seq>, Result<Seq, SpoolError>),
    Join(Answer<Place>, Result<Place, SpoolError>),
    Flag(Answer<bool>, bool),
    Expire(Answer<(Vec<Dropped>, bool)>, Vec<Dropped>, bool),
    Purge(Answer<Vec<Dropped>>, Vec<Dropped>),
    Flush(Answer<()>),
}

impl Owed {
    pub(crate) fn send(self) {
        // Whoever asked may be gone; what was done stays done.
        match self {
            Owed::Append(answer, seq) => drop(answer.send(seq)),
            Owed::Join(answer, place) => drop(answer.send(place)),
            Owed::Flag(answer, flag) => drop(answer.send(Ok(flag))),
            Owed::Expire(answer, dropped, more) => drop(answer.send(Ok((dropped, more)))),
            Owed::Purge(answer, dropped) => drop(answer.send(Ok(dropped))),
            Owed::Flush(answer) => drop(answer.send(Ok(()))),
        }
    }
}

pub(crate) struct Batch {
    appends: Vec<Append>,
    orders: Vec<Order>,
    /// The lazy tunnels are seen to in this batch.
    pub(crate) lazy: bool,
    /// More was to be deleted than one batch may: the next one should not wait.
    pub(crate) overdue: bool,
    pub(crate) drafts: HashMap<TunnelName, Draft>,
    pub(crate) answers: Vec<Owed>,
    /// What was dropped to make room for what came in.
    pub(crate) dropped: Vec<Dropped>,
    /// What goes on with the next batch.
    pub(crate) further: Vec<Order>,
    /// Purges of tunnels, by their numbers: before which place, and whether that is done.
    purges: Vec<(u32, Seq, bool)>,
    /// There was something to write.
    pub(crate) committed: bool,
    /// The file is to be compacted afterwards, so that what was removed leaves it.
    pub(crate) compact: bool,
    /// Who is owed an answer once that is done.
    pub(crate) tidied: Vec<Answer<bool>>,
}

impl Batch {
    pub(crate) fn new(appends: Vec<Append>, orders: Vec<Order>, lazy: bool) -> Batch {
        let answers = Vec::with_capacity(appends.len() + orders.len());
        Batch {
            appends,
            orders,
            lazy,
            overdue: false,
            drafts: HashMap::new(),
            answers,
            dropped: Vec::new(),
            further: Vec::new(),
            purges: Vec::new(),
            committed: false,
            compact: false,
            tidied: Vec::new(),
        }
    }

    /// The tunnels that this batch needs copies of, with the bytes queued for each.
    pub(crate) fn names(&self, lazy: Vec<TunnelName>, all: &HashMap<TunnelName, Tunnel>) -> HashMap<TunnelName, u64> {
        let mut names: HashMap<TunnelName, u64> = lazy.into_iter().map(|name| (name, 0)).collect();
        for append in &self.appends {
            let bytes = append.encoded.len() as u64;
            match names.get_mut(&append.delivery.tunnel) {
                Some(queued) => *queued += bytes,
                None => drop(names.insert(append.delivery.tunnel.clone(), bytes)),
            }
        }
        for order in &self.orders {
            match order {
                Order::Join { tunnel, .. }
                | Order::SetKey { tunnel, .. }
                | Order::Forget { tunnel, .. }
                | Order::DropTunnel { tunnel, .. }
                | Order::Purge { tunnel, .. } => {
                    names.entry(tunnel.clone()).or_default();
                }
                Order::Expire { .. } => {
                    for (name, _) in all.iter().filter(|(_, t)| t.record.first < t.record.next) {
                        names.entry(name.clone()).or_default();
                    }
                }
                Order::Tidied { .. } | Order::Flush { .. } => {}
            }
        }
        names
    }

    pub(crate) fn draft(&mut self, name: TunnelName, known: Option<Record>, queued: u64) {
        let draft = Draft { touched: self.lazy, ..Draft::new(known, queued) };
        self.drafts.insert(name, draft);
    }

    /// Takes the deliveries out of the batch.
    pub(crate) fn refuse_appends(&mut self) -> Vec<Append> {
        std::mem::take(&mut self.appends)
    }

    /// Writes and syncs the batch. `next_id` is the number of the next new tunnel.
    pub(crate) fn write(
        &mut self,
        db: &Database,
        bounds: &Bounds,
        vault: Option<&Vault>,
        next_id: &mut u32,
    ) -> Result<(), redb::Error> {
        if self.appends.is_empty() && self.orders.is_empty() && !self.lazy {
            return Ok(());
        }
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        {
            let mut deliveries = txn.open_table(disk::DELIVERIES)?;
            for append in std::mem::take(&mut self.appends) {
                self.append(append, &mut deliveries, bounds, vault, next_id)?;
            }
            for order in std::mem::take(&mut self.orders) {
                self.obey(order, &mut deliveries, bounds, next_id)?;
            }
            if self.lazy {
                for draft in self.drafts.values_mut() {
                    let upto = draft.record.needed_from().min(portion(&draft.record));
                    let bytes = delete(&mut deliveries, &draft.record, upto)?;
                    draft.record.trimmed(upto, bytes);
                    self.overdue |= draft.record.needed_from() > upto;
                }
            }
            if self.compact || !self.purges.is_empty() {
                let mut meta = txn.open_table(disk::META)?;
                for (tunnel, before, done) in &self.purges {
                    let mark = disk::purge_of(*tunnel);
                    // Another one of the same tunnel may go further.
                    let further = meta.get(&*mark)?.map_or(0, |there| there.value());
                    if !done {
                        meta.insert(&*mark, before.0.max(further))?;
                    } else if further <= before.0 {
                        meta.remove(&*mark)?;
                    }
                }
                if self.compact {
                    meta.insert(disk::OWED, 1)?;
                }
            }
            let mut tunnels = txn.open_table(disk::TUNNELS)?;
            for (name, draft) in self.drafts.iter().filter(|(_, d)| d.touched && d.record.id != 0) {
                tunnels.insert(name.as_str(), &*format::encode_record(&draft.record))?;
                self.committed = true;
            }
        }
        if self.committed {
            txn.commit()?;
        } else {
            txn.abort()?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        append: Append,
        to: &mut Deliveries<'_>,
        bounds: &Bounds,
        vault: Option<&Vault>,
        next_id: &mut u32,
    ) -> Result<(), redb::Error> {
        let Append { delivery, encoded, answer } = append;
        let draft = touch(&mut self.drafts, &delivery.tunnel, next_id);
        let len = encoded.len();
        let limit = bounds.in_exchange(&delivery.tunnel, draft.record.bytes);
        if draft.record.bytes + len as u64 > limit {
            self.dropped.extend(make_room(to, draft, &delivery.tunnel, len as u64, limit)?);
            if draft.record.bytes + len as u64 > limit {
                let full = bounds.refusal(&delivery.tunnel, draft.record.bytes);
                self.answers.push(Owed::Append(answer, Err(full)));
                return Ok(());
            }
        }
        let seq = draft.record.next;
        let mut place = to.insert_reserve((draft.record.id, seq.0), len)?;
        // A system without random bytes: nothing can be written, as on a disk that fails.
        let written = encoded.write_to(place.as_mut(), At(draft.record.id, seq), vault);
        written.map_err(|e| redb::Error::Io(std::io::Error::other(e)))?;
        drop(place);
        draft.record.next = seq.next();
        draft.record.bytes += len as u64;
        draft.written.push((seq, delivery, len));
        self.answers.push(Owed::Append(answer, Ok(seq)));
        Ok(())
    }

    fn obey(
        &mut self,
        order: Order,
        deliveries: &mut Deliveries<'_>,
        bounds: &Bounds,
        next_id: &mut u32,
    ) -> Result<(), redb::Error> {
        let owed = match order {
            Order::Join { tunnel, device, role, start, now, answer } => {
                let draft = touch(&mut self.drafts, &tunnel, next_id);
                let place = match draft.record.rejoin(&device, role, now) {
                    Some(place) => Ok(place),
                    None if role == Role::Watches && draft.record.device(&device).is_some() => {
                        Err(SpoolError::NotAWatcher { tunnel, device })
                    }
                    None if draft.record.count(role) >= MAX_DEVICES => {
                        Err(SpoolError::TooManyDevices { tunnel, limit: MAX_DEVICES })
                    }
                    None => {
                        // Before what was kept only for one that watches is counted as gone: it is there, and whoever comes may ask for it.
                        let first = draft.record.needed_from();
                        // One that watches has taken the name; it must not keep out whom the deliveries are for.
                        draft.record.forget(&device);
                        let from = match start {
                            Start::Now if role == Role::Watches || draft.record.count(Role::Takes) > 0 => {
                                draft.record.next
                            }
                            Start::Now | Start::Beginning => first,
                            Start::At(at) => first_since(deliveries, &draft.record, first, at)?,
                        };
                        draft.fresh.push(device.clone());
                        Ok(draft.record.register(device, role, from.prev(), now))
                    }
                };
                Owed::Join(answer, place)
            }
            Order::SetKey { tunnel, device, key, answer } => {
                let draft = self.drafts.get_mut(&tunnel).filter(|draft| draft.record.id != 0);
                let known = draft.is_some_and(|draft| {
                    draft.touched = true;
                    draft.record.set_key(&device, key)
                });
                Owed::Flag(answer, known)
            }
            Order::Forget { tunnel, device, answer } => {
                let known = self.drafts.get_mut(&tunnel).filter(|draft| draft.record.device(&device).is_some());
                if let Some(draft) = known {
                    // What all have taken is deleted first: with the last device gone, nobody could tell it from what waits.
                    let upto = draft.record.needed_from();
                    let bytes = delete(deliveries, &draft.record, upto)?;
                    draft.record.trimmed(upto, bytes);
                    draft.touched = true;
                    Owed::Flag(answer, draft.record.forget(&device))
                } else {
                    Owed::Flag(answer, false)
                }
            }
            Order::DropTunnel { tunnel, answer } => {
                let more = match self.drafts.get_mut(&tunnel).filter(|draft| draft.record.id != 0) {
                    Some(draft) => {
                        let more = clear(deliveries, draft)?;
                        // As with a purge: who removes a tunnel must not find its deliveries in the file afterwards.
                        self.compact |= !more;
                        more
                    }
                    None => false,
                };
                Owed::Flag(answer, more)
            }
            Order::Purge { tunnel, before, mut dropped, answer } => {
                if let Some(draft) = self.drafts.get_mut(&tunnel).filter(|draft| draft.record.id != 0) {
                    let record = &mut draft.record;
                    let before = before.unwrap_or(record.next).min(record.next);
                    let upto = before.min(portion(record)).max(record.first);
                    let bytes = delete(deliveries, record, upto)?;
                    draft.touched = true;
                    let why = Why::Removed;
                    if let Some((from, upto)) = record.dropped(upto, bytes, why) {
                        join_runs(&mut dropped, vec![Dropped { tunnel: tunnel.clone(), from, upto, bytes, why }]);
                    }
                    let done = record.first >= before;
                    self.purges.push((record.id, before, done));
                    self.compact |= done;
                    if !done {
                        self.further.push(Order::Purge { tunnel, before: Some(before), dropped, answer });
                        return Ok(());
                    }
                }
                Owed::Purge(answer, dropped)
            }
            Order::Expire { now, answer } => {
                let (dropped, more) = self.expire(deliveries, bounds, now)?;
                Owed::Expire(answer, dropped, more)
            }
            Order::Tidied { answer } => {
                self.tidied.push(answer);
                return Ok(());
            }
            Order::Flush { answer } => Owed::Flush(answer),
        };
        self.answers.push(owed);
        Ok(())
    }

    fn expire(
        &mut self,
        deliveries: &mut Deliveries<'_>,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<(Vec<Dropped>, bool), redb::Error> {
        let mut dropped = Vec::new();
        let (mut left, mut bytes_left) = (MAX_DELETED, MAX_DELETED_BYTES);
        for (name, draft) in &mut self.drafts {
            let id = draft.record.id;
            let (oldest, most) = (now.earlier(bounds.age_of(name)), bounds.dropped_beyond(name));
            for why in [Why::Age, Why::Size] {
                let mut upto = draft.record.first;
                let mut excess = draft.record.bytes.saturating_sub(most);
                for entry in deliveries.range((id, upto.0)..(id, draft.record.next.0))? {
                    let (_, value) = entry?;
                    let goes = match why {
                        // One whose time cannot be read is left for whoever reads it to report.
                        Why::Age => format::received_at(value.value()).is_ok_and(|at| at < oldest),
                        Why::Size => excess > 0,
                        Why::Removed => false,
                    };
                    if !goes || left == 0 || bytes_left == 0 {
                        break;
                    }
                    bytes_left = bytes_left.saturating_sub(value.value().len() as u64);
                    excess = excess.saturating_sub(value.value().len() as u64);
                    left -= 1;
                    upto = upto.next();
                }
                if upto == draft.record.first {
                    continue;
                }
                let bytes = delete(deliveries, &draft.record, upto)?;
                draft.touched = true;
                if let Some((from, upto)) = draft.record.dropped(upto, bytes, why) {
                    dropped.push(Dropped { tunnel: name.clone(), from, upto, bytes, why });
                }
            }
        }
        Ok((dropped, left == 0 || bytes_left == 0))
    }
}

/// The draft of a tunnel that is about to be changed, with its number given if it has none.
fn touch<'d>(drafts: &'d mut HashMap<TunnelName, Draft>, name: &TunnelName, next_id: &mut u32) -> &'d mut Draft {
    let draft = drafts.entry(name.clone()).or_insert_with(|| Draft::new(None, 0));
    draft.touched = true;
    if draft.record.id == 0 {
        draft.record.id = *next_id;
        *next_id += 1;
    }
    draft
}

/// Drops the oldest deliveries of a full tunnel that are kept for devices which are behind, where another device has them, until there
/// is room for `len` bytes and a little more. A laptop that was put away must not keep a whole team's deliveries from coming in; what is
/// with nobody is never dropped for room.
fn make_room(
    deliveries: &mut Deliveries<'_>,
    draft: &mut Draft,
    tunnel: &TunnelName,
    len: u64,
    limit: u64,
) -> Result<Option<Dropped>, redb::Error> {
    let record = &mut draft.record;
    // Some more than is needed, so that this is not done for each delivery.
    let goal = limit - limit / 64;
    let mut excess = (record.bytes + len).saturating_sub(goal);
    let end = record.with_somebody().next().min(Seq(record.first.0 + MAX_DELETED));
    let mut upto = record.first;
    for entry in deliveries.range((record.id, upto.0)..(record.id, end.0))? {
        if excess == 0 {
            break;
        }
        let (_, value) = entry?;
        excess = excess.saturating_sub(value.value().len() as u64);
        upto = upto.next();
    }
    let bytes = delete(deliveries, record, upto)?;
    let run = record.dropped(upto, bytes, Why::Size);
    Ok(run.map(|(from, upto)| Dropped { tunnel: tunnel.clone(), from, upto, bytes, why: Why::Size }))
}

/// Forgets the devices of a tunnel and deletes a bounded number of its deliveries. Whether some are left. The record stays, so that a
/// tunnel of that name never gives a number a second time.
fn clear(deliveries: &mut Deliveries<'_>, draft: &mut Draft) -> Result<bool, redb::Error> {
    draft.touched = true;
    draft.record.devices.clear();
    draft.record.gap = None;
    let upto = draft.record.next.min(portion(&draft.record));
    let bytes = delete(deliveries, &draft.record, upto)?;
    draft.record.trimmed(upto, bytes);
    Ok(draft.record.first < draft.record.next)
}

/// Up to before where a tunnel's deliveries are deleted in one transaction, where all of them are to go: as many as may, and as their usual size lets.
fn portion(record: &Record) -> Seq {
    let usual = record.bytes / record.next.0.saturating_sub(record.first.0).max(1);
    let fit = MAX_DELETED_BYTES.checked_div(usual).unwrap_or(MAX_DELETED);
    Seq(record.first.0 + fit.clamp(1, MAX_DELETED))
}

/// Deletes the tunnel's deliveries before `upto`. Their bytes.
fn delete(deliveries: &mut Deliveries<'_>, record: &Record, upto: Seq) -> Result<u64, redb::Error> {
    let mut bytes = 0;
    if record.first < upto {
        deliveries.retain_in((record.id, record.first.0)..(record.id, upto.0), |_, value| {
            bytes += value.len() as u64;
            false
        })?;
    }
    Ok(bytes)
}

/// The first delivery from `first` on that was received at `at` or later, found by halving: times grow with the places, but for a
/// clock that was set back.
fn first_since(deliveries: &Deliveries<'_>, record: &Record, first: Seq, at: Timestamp) -> Result<Seq, redb::Error> {
    let (mut low, mut high) = (first.0, record.next.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let earlier = match deliveries.get((record.id, middle))? {
            Some(value) => format::received_at(value.value()).is_ok_and(|received| received < at),
            None => true,
        };
        if earlier {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Seq(low))
}
