//! Reading everything there is and comparing it: lines with requests, bodies with their digests, indexes with lines, totals with
//! counts.
//!
//! It stands on single reads and not on a snapshot, so that it can run while others write: what seems wrong is looked at again, and
//! counts only if the line that it hangs on was the same before and after.

use std::path::Path;

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tunnel_delivery::DeliveryId;
use tunnel_vault::UserKey;

use crate::engine::{Engine, Fault, Kind};
use crate::error::ArchiveError;
use crate::folder::Folder;
use crate::index;
use crate::keys;
use crate::ledger::Counters;
use crate::pending::Kv;
use crate::postings;
use crate::query::Order;
use crate::reader::{self, ReadError};
use crate::record::Entry;
use crate::report::{Progress, Report};
use crate::rescue;
use crate::sketch::{self, Wanted};
use crate::space::Space;
use crate::veil::Veil;

/// How often what seems wrong is looked at again.
const LOOKS: usize = 50;

/// How many records lie between two words about progress.
const WORD: u64 = 256;

/// Reads the whole archive in this folder, with the key it is encrypted with if it is, and reports what is wrong with it. The archive must not be open
/// ([`crate::Archive::check`] is for one that is). A store that cannot be opened is a finding and not an error; then the report says
/// what a rescue would save. Blocks.
///
/// # Errors
/// [`ArchiveError::Held`], [`ArchiveError::Newer`], [`ArchiveError::Key`], [`ArchiveError::DiskFull`], [`ArchiveError::Io`].
pub fn check(dir: &Path, key: Option<&UserKey>, mut progress: impl FnMut(Progress)) -> Result<Report, ArchiveError> {
    let mut folder = Folder::open_damaged(dir)?;
    let veil = folder.veil(key)?;
    let mut report = Report::default();
    // Opening writes, and the engine hangs on a full disk.
    let space = Space::new(dir, 0, 0);
    space.check(space.look(), 1 << 20)?;
    if let Err(fault) = read(&folder, &veil, &mut progress, &mut report) {
        report.unreadable = Some(fault.detail);
        report.salvage = Some(rescue::from(&folder, &veil, &mut progress, &mut |_| Ok(()))?);
    }
    Ok(report)
}

fn read(folder: &Folder, veil: &Veil, progress: &mut dyn FnMut(Progress), report: &mut Report) -> Result<(), Fault> {
    let damaged = |error: ArchiveError| Fault { detail: error.to_string(), damaged: true };
    folder.check_names().map_err(damaged)?;
    let kind = if folder.is_old() { Kind::Old } else { Kind::Live };
    if !folder.store().exists() {
        // The program ended before there was one; to look must not make one.
        report.totals = folder.check_closed(&Counters::default()).err().map(|error| error.to_string());
        return Ok(());
    }
    let engine = Engine::open(&folder.store(), 8 << 20, kind, veil)?;
    let counters = Counters::load(&engine)?;
    if let Err(error) = folder.check_closed(&counters) {
        report.totals = Some(error.to_string());
    }
    let mut check = Check::new(&engine, kind, counters.deliveries, progress);
    let outcome = check.run(report);
    let counted = check.counted;
    outcome?;
    if report.totals.is_none() {
        report.totals = differences(&counters, &counted, kind);
    }
    Ok(())
}

/// Reads everything of a store that others write to meanwhile.
pub(crate) fn live(kv: &impl Kv, progress: &mut dyn FnMut(Progress), report: &mut Report) -> Result<(), Fault> {
    let totals = || Ok(kv.get(keys::COUNTERS)?.and_then(|bytes| Counters::decode(&*bytes).ok()).unwrap_or_default());
    let kept = totals()?;
    let mut check = Check::new(kv, Kind::Live, kept.deliveries, progress);
    check.run(report)?;
    let counted = check.counted;
    // Where something was written meanwhile, the counts are of no one moment.
    if totals()? == kept {
        report.totals = differences(&kept, &counted, Kind::Live);
    }
    Ok(())
}

/// Where the totals that are kept and what was counted differ.
fn differences(kept: &Counters, counted: &Counters, kind: Kind) -> Option<String> {
    let counted =
        Counters { record_bytes: if kind == Kind::Old { kept.record_bytes } else { counted.record_bytes }, ..*counted };
    (*kept != counted).then(|| {
        let say = |c: &Counters| {
            let Counters { deliveries, attempts, body_bytes, record_bytes } = c;
            format!(
                "{deliveries} deliveries, {attempts} attempts, {body_bytes} bytes of bodies, {record_bytes} of records"
            )
        };
        format!("the totals say {}, counted were {}", say(kept), say(&counted))
    })
}

/// A check under way.
struct Check<'a, K> {
    kv: &'a K,
    kind: Kind,
    /// Roughly how many deliveries there are.
    expected: u64,
    progress: &'a mut dyn FnMut(Progress),
    counted: Counters,
    /// How many index entries the deliveries have that were looked at, by tag; none of an unreadable line.
    entries: [u64; keys::POSTINGS.len()],
}

/// What is wrong with one delivery.
#[derive(Clone, Copy, Default, PartialEq)]
struct Wrong {
    line: bool,
    request: bool,
    body: bool,
    attempts: bool,
    note: bool,
    index: bool,
}

/// What one delivery adds to the counts.
#[derive(Clone, Copy, Default)]
struct Count {
    entries: [u64; keys::POSTINGS.len()],
    attempts: u64,
    body_bytes: u64,
    record_bytes: u64,
}

impl<'a, K: Kv> Check<'a, K> {
    fn new(kv: &'a K, kind: Kind, expected: u64, progress: &'a mut dyn FnMut(Progress)) -> Check<'a, K> {
        Check { kv, kind, expected, progress, counted: Counters::default(), entries: Default::default() }
    }

    /// Reads everything.
    fn run(&mut self, report: &mut Report) -> Result<(), Fault> {
        self.deliveries(report)?;
        self.indexes(report)?;
        self.orphans(report)
    }

    fn tell(&mut self, step: &'static str, done: u64, total: u64) {
        if done.is_multiple_of(WORD) {
            (self.progress)(Progress { step, done, total: total.max(done) });
        }
    }

    fn deliveries(&mut self, report: &mut Report) -> Result<(), Fault> {
        let mut walk = keys::LINES.walk(&[0; 16], &[255; 16], Order::OldestFirst);
        let mut done = 0;
        while let Some((key, _)) = walk.next(self.kv)? {
            self.tell("reading deliveries", done, self.expected);
            done += 1;
            let Some(id) = DeliveryId::from_slice(&key) else { continue };
            let Some((wrong, count)) = self.delivery(id)? else { continue };
            self.counted.deliveries += 1;
            self.counted.attempts += count.attempts;
            self.counted.body_bytes += count.body_bytes;
            self.counted.record_bytes += count.record_bytes;
            self.entries.iter_mut().zip(count.entries).for_each(|(all, entries)| *all += entries);
            if wrong == Wrong::default() {
                report.deliveries += 1;
                report.attempts += count.attempts;
                report.body_bytes += count.body_bytes;
            }
            for (is, named) in [
                (wrong.line, &mut report.lines),
                (wrong.request, &mut report.requests),
                (wrong.body, &mut report.bodies),
                (wrong.attempts, &mut report.attempts_unreadable),
                (wrong.note, &mut report.notes),
                (wrong.index, &mut report.unindexed),
            ] {
                if is {
                    named.note(id);
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a delivery, for certain; `None` if it is gone.
    fn delivery(&self, id: DeliveryId) -> Result<Option<(Wrong, Count)>, Fault> {
        let mut looks = 0;
        loop {
            let Some(line) = keys::LINES.get(self.kv, id.as_bytes())? else { return Ok(None) };
            let (wrong, count) = self.look(id, &line)?;
            looks += 1;
            if wrong == Wrong::default() || looks == LOOKS {
                return Ok(Some((wrong, count)));
            }
            let after = keys::LINES.get(self.kv, id.as_bytes())?;
            if after.as_deref() == Some(&*line) && (!wrong.note || looks > LOOKS / 2) {
                return Ok(Some((wrong, count)));
            }
        }
    }

    fn look(&self, id: DeliveryId, line: &[u8]) -> Result<(Wrong, Count), Fault> {
        let (mut wrong, mut count) = (Wrong::default(), Count { record_bytes: line.len() as u64, ..Count::default() });
        let Ok(entry) = Entry::from_bytes(id, line) else {
            wrong.line = true;
            return Ok((wrong, count));
        };
        let summary = &entry.summary;
        count.body_bytes = summary.body_len;
        count.attempts = summary.attempts.into();
        count.record_bytes += entry.note_len.unwrap_or(0);
        match tolerant(reader::request_bytes(self.kv, &entry))? {
            None => wrong.request = true,
            Some(request) => {
                count.record_bytes += request.len() as u64;
                match crate::record::decode(summary, request) {
                    Err(_) => wrong.request = true,
                    Ok(whole) => wrong.body = whole.body_sha256[..] != Sha256::digest(&whole.delivery.body)[..],
                }
            }
        }
        for number in 1..=summary.attempts {
            match tolerant(reader::attempt(self.kv, id, number))? {
                None => wrong.attempts = true,
                Some(bytes) => {
                    count.record_bytes += bytes.len() as u64;
                    wrong.attempts |= crate::attempt::decode(bytes).is_err();
                }
            }
        }
        wrong.note = tolerant(reader::note(self.kv, &entry))?.is_none();
        wrong.index |= !self.sketched(&entry)?;
        for (prefix, posting) in self.postings(&entry) {
            let mut prefix = prefix;
            if !postings::contains(self.kv, &prefix, &posting)? {
                // Written before a key came or went, perhaps.
                let other = index::other_form(summary, self.kv.veil()).filter(|_| is_resource(&prefix));
                match other {
                    Some((before, posting)) if postings::contains(self.kv, &before, &posting)? => prefix = before,
                    _ => wrong.index = true,
                }
            }
            if let Some(at) = keys::POSTINGS.iter().position(|tag| prefix.first() == Some(tag)) {
                count.entries[at] += 1;
            }
        }
        Ok((wrong, count))
    }

    /// Whether a delivery is in its sketch, if it has one. What cannot be read has its own word.
    fn sketched(&self, entry: &Entry) -> Result<bool, Fault> {
        let Some((_, sketch)) = sketch::covering(self.kv, entry.summary.id)? else { return Ok(true) };
        let body =
            tolerant(reader::request_bytes(self.kv, entry))?.and_then(|request| crate::record::body(request).ok());
        Ok(body.is_none_or(|body| Wanted::whole(entry.summary.environment, &body).perhaps(&sketch)))
    }

    fn postings(&self, entry: &Entry) -> Vec<index::Posting> {
        let mut all = index::of(&entry.summary, self.kv.veil());
        if self.kind == Kind::Old {
            let new = index::since_format_2(&entry.summary);
            all.retain(|posting| !new.contains(posting));
        }
        all
    }

    /// Compares the indexes with the deliveries. Where nothing is missing in an index and it has as many entries as there should be, it has those
    /// and no others; only otherwise, and for fingerprints, which not every delivery has, each entry is looked at: that takes most of the time
    /// of a check.
    fn indexes(&mut self, report: &mut Report) -> Result<(), Fault> {
        for (tag, expected) in keys::POSTINGS.into_iter().zip(self.entries) {
            let hashed = is_fingerprint(&[tag]);
            let sure = !hashed && report.unindexed.count == 0;
            let mut entries = if sure { self.index(tag, false, report)? } else { u64::MAX };
            if entries != expected {
                entries = self.index(tag, true, report)?;
            }
            report.index_entries += entries;
        }
        Ok(())
    }

    /// Counts the entries of an index, or compares each with its delivery.
    fn index(&mut self, tag: u8, compare: bool, report: &mut Report) -> Result<u64, Fault> {
        let mut entries = 0;
        let (mut from, end) = (vec![tag], [tag + 1]);
        while let Some((key, block)) = self.kv.first_in(&from, &end)? {
            from = keys::successor(&key);
            let (prefix, width) = keys::postings_of(&key);
            let (Some(prefix), 0) = (prefix, block.len() % width) else {
                // Told where each is compared; here the count must not fit.
                match compare {
                    true => report.misindexed.note(DeliveryId::from_bytes([0; 16])),
                    false => return Ok(u64::MAX),
                }
                continue;
            };
            for posting in block.chunks(width) {
                entries += 1;
                self.tell("reading indexes", report.index_entries + entries, self.expected.saturating_mul(7));
                let Some(id) = DeliveryId::from_slice(&posting[width - 16..]) else { continue };
                if compare && !self.belongs(prefix, posting, id)? {
                    report.misindexed.note(id);
                }
            }
        }
        Ok(entries)
    }

    /// Whether an index entry has its delivery; one that is gone meanwhile needs none.
    fn belongs(&self, prefix: &[u8], posting: &[u8], id: DeliveryId) -> Result<bool, Fault> {
        for look in 0..LOOKS {
            let line = keys::LINES.get(self.kv, id.as_bytes())?;
            let entry = line.as_ref().and_then(|line| Entry::from_bytes(id, line).ok());
            let right = entry.is_some_and(|entry| match prefix {
                prefix if is_fingerprint(prefix) => entry.summary.duplicate_of.is_none(),
                _ => {
                    let other = index::other_form(&entry.summary, self.kv.veil());
                    self.postings(&entry).iter().chain(&other).any(|(p, e)| p == prefix && e == posting)
                }
            });
            if right || !postings::contains(self.kv, prefix, posting)? {
                return Ok(true);
            }
            if look > 1 && keys::LINES.get(self.kv, id.as_bytes())? == line {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Parts of deliveries that have no line, or that their line does not name.
    fn orphans(&mut self, report: &mut Report) -> Result<(), Fault> {
        let mut walk = keys::REQUESTS.walk(&[0; 16], &[255; 16], Order::OldestFirst);
        while let Some((key, _)) = walk.next(self.kv)? {
            let there = |kv: &K| Ok(keys::REQUESTS.get(kv, &key)?.is_some());
            self.owned(&key, report, |entry| entry.request_len.is_none(), there)?;
        }
        let mut walk = keys::ATTEMPTS.walk(&[0; 20], &[255; 20], Order::OldestFirst);
        while let Some((key, _)) = walk.next(self.kv)? {
            let number = key[16..].first_chunk().map_or(0, |n| u32::from_be_bytes(*n));
            let there = |kv: &K| Ok(keys::ATTEMPTS.get(kv, &key)?.is_some());
            self.owned(&key, report, |entry| number <= entry.summary.attempts, there)?;
        }
        for (tag, width) in [(b'R', 16), (b'n', 16), (b'A', 20)] {
            let (mut from, end) = (vec![tag], [tag + 1]);
            while let Some((key, _)) = self.kv.first_in(&from, &end)? {
                let Some(prefix) = key.get(..1 + width) else {
                    from = keys::successor(&key);
                    continue;
                };
                from = keys::after(prefix);
                let named = |entry: &Entry| match tag {
                    b'R' => entry.request_len.is_some(),
                    b'n' => entry.note_len.is_some(),
                    _ => true,
                };
                // What is being written or removed has no owner for that time.
                let there = |kv: &K| {
                    Ok(kv.get(&keys::intent(prefix))?.is_none() && kv.first_in(prefix, &keys::after(prefix))?.is_some())
                };
                self.owned(&prefix[1..], report, named, there)?;
            }
        }
        Ok(())
    }

    fn owned(
        &mut self,
        key: &[u8],
        report: &mut Report,
        named: impl Fn(&Entry) -> bool,
        there: impl Fn(&K) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let Some(id) = key.get(..16).and_then(DeliveryId::from_slice) else { return Ok(()) };
        for _ in 0..3 {
            // A line that cannot be read is told of elsewhere.
            let line = keys::LINES.get(self.kv, id.as_bytes())?;
            let owned = line.is_some_and(|line| Entry::from_bytes(id, &line).map_or(true, |entry| named(&entry)));
            if owned || !there(self.kv)? {
                return Ok(());
            }
        }
        report.orphans.note(id);
        Ok(())
    }
}

fn is_fingerprint(prefix: &[u8]) -> bool {
    [keys::FINGERPRINT.plain, keys::FINGERPRINT.blind].contains(&prefix)
}

fn is_resource(prefix: &[u8]) -> bool {
    [keys::RESOURCE_ID.plain, keys::RESOURCE_ID.blind].contains(&prefix)
}

/// What is unreadable is a finding; what the store cannot serve ends the check.
fn tolerant<T>(read: Result<T, ReadError>) -> Result<Option<T>, Fault> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(ReadError::Unreadable(_)) => Ok(None),
        Err(ReadError::Fault(fault)) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Intake, Ledger};
    use crate::pending::Pending;
    use crate::query::Query;
    use std::sync::Arc;
    use tunnel_delivery::{AnswerClass, Delivery, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};

    fn intake(n: u8) -> Intake {
        let received_at = Timestamp::from_micros(1_763_714_000_000_000 + i64::from(n) * 1000);
        Intake {
            body_sha256: Sha256::digest([n]).into(),
            delivery: Arc::new(Delivery {
                id: DeliveryId::build(received_at, [n; 10]),
                received_at,
                tunnel: "team".parse().unwrap(),
                source_ip: "18.206.70.225".parse().unwrap(),
                environment: Default::default(),
                method: "POST".parse().unwrap(),
                target: "/hook".parse().unwrap(),
                prefix_len: 0,
                http_version: HttpVersion::Http11,
                headers: Headers::default(),
                body: vec![n].into(),
                lost: Vec::new(),
            }),
            event: None,
            signature: Verdict::bare(SignatureStatus::Unsigned),
            queued: false,
        }
    }

    /// What a check says of fifty deliveries after a change to the indexes.
    fn after(change: impl Fn(&mut Pending<'_>)) -> Report {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut ledger = Ledger::new(&engine, Counters::default());
        (0..50).for_each(|n| drop(ledger.insert(&intake(n)).ok().unwrap()));
        change(&mut ledger.batch);
        ledger.batch.commit().unwrap();
        let mut report = Report::default();
        live(&engine, &mut |_| (), &mut report).unwrap();
        report
    }

    #[test]
    fn a_list_passes_over_a_line_that_cannot_be_read_where_that_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut ledger = Ledger::new(&engine, Counters::default());
        (0..50).for_each(|n| drop(ledger.insert(&intake(n)).ok().unwrap()));
        let hit = intake(7).delivery.id;
        assert!(keys::LINES.put(&mut ledger.batch, hit.as_bytes(), &[255; 9]).unwrap());
        ledger.batch.commit().unwrap();
        let list = |query: &Query| reader::list(&engine, query);
        let by_index = Query { answer: vec![AnswerClass::None], ..Query::default() };
        for query in [Query::default(), by_index] {
            assert!(list(&query).is_err());
            let page = list(&Query { past_damage: true, ..query }).ok().unwrap();
            assert_eq!((page.items.len(), page.next), (49, None));
            assert_eq!(page.damaged.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [hit]);
        }
    }

    #[test]
    fn what_an_index_lacks_and_what_it_has_too_much_is_found() {
        let report = after(|_| ());
        // Signature status, answer, tunnel, fingerprint.
        assert!(report.is_sound() && report.index_entries == 4 * 50, "{report:?}");
        let (there, nobody) = (intake(7).delivery.id, intake(200).delivery.id);
        for prefix in [keys::tunnel("team"), index::signature(SignatureStatus::Unsigned), keys::DUPLICATES.to_vec()] {
            let report = after(|batch| postings::insert(batch, &prefix, nobody.as_bytes(), |_| false).unwrap());
            assert_eq!((report.misindexed.first.as_slice(), report.unindexed.count), (&[nobody][..], 0), "{prefix:?}");
        }
        let report = after(|batch| {
            let wrong = index::answer(AnswerClass::Queued);
            postings::insert(batch, &wrong, there.as_bytes(), |_| false).unwrap();
        });
        assert_eq!((report.misindexed.first.as_slice(), report.unindexed.count), (&[there][..], 0));
        // As many as there should be, and yet not those.
        let report = after(|batch| {
            postings::remove(batch, &keys::tunnel("team"), there.as_bytes()).unwrap();
            postings::insert(batch, &keys::tunnel("team"), nobody.as_bytes(), |_| false).unwrap();
        });
        assert_eq!((report.misindexed.first, report.unindexed.first), (vec![nobody], vec![there]));
    }
}
