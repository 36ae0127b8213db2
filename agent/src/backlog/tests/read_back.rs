//! What cannot be read back yet, or at all, keeps back nothing else.

use std::path::Path;

use tunnel_archive::{Archive, Inserted, Intake, Options, Page, Query};
use tunnel_delivery::{Attempt, SignatureStatus, Stored, Verdict};

use super::super::*;
use super::delivery;
use crate::again::Whom;
use crate::dial::{Dialer, Trust};
use crate::forward::{Client, HostHeader, Interrupt};
use crate::keep::{Keep, Later};
use crate::notice::{Announcer, Notice};
use crate::signing::Signing;

/// A store with a fault.
struct Holed(Archive, Fault);

#[derive(Clone)]
enum Fault {
    None,
    /// This record cannot be read.
    Record(DeliveryId),
    /// This line of a list cannot be read.
    Line(DeliveryId),
    /// No list can be read as often as this says.
    Lists(Arc<std::sync::atomic::AtomicUsize>),
}

fn damaged() -> ArchiveError {
    ArchiveError::Damaged { dir: "here".into(), detail: "unreadable request".into() }
}

impl Keep for Holed {
    fn insert(&self, intake: Intake) -> Later<'_, Inserted> {
        Keep::insert(&self.0, intake)
    }

    fn record(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        Keep::record(&self.0, id, attempt)
    }

    fn record_with_next(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        Keep::record_with_next(&self.0, id, attempt)
    }

    fn list(&self, query: &Query) -> Result<Page, ArchiveError> {
        let mut page = self.0.list(query)?;
        match &self.1 {
            Fault::Lists(left) => {
                use std::sync::atomic::Ordering::Relaxed;
                if left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    return Err(damaged());
                }
            }
            Fault::Line(id) if page.items.iter().any(|line| line.id == *id) => {
                if !query.past_damage {
                    return Err(damaged());
                }
                page.items.retain(|line| line.id != *id);
                page.damaged.push((*id, "unreadable line".to_owned()));
            }
            _ => {}
        }
        Ok(page)
    }

    fn get(&self, id: DeliveryId) -> Result<Option<Stored>, ArchiveError> {
        match self.1 {
            Fault::Record(hit) if hit == id => Err(damaged()),
            _ => self.0.get(id),
        }
    }

    fn blocks(&self) -> bool {
        true
    }
}

/// So many that wait to be forwarded, from the first second on.
async fn waiting(data: &Path, count: i64) -> Archive {
    let archive = Archive::open(data, Options::default()).unwrap();
    for n in 1..=count {
        let intake = Intake {
            delivery: Arc::new(delivery(n)),
            body_sha256: [0; 32],
            event: None,
            signature: Verdict::bare(SignatureStatus::NoSecret),
            queued: true,
        };
        archive.insert(intake).await.unwrap();
    }
    archive
}

/// The way to handlers, where nobody listens, and whatever warnings come of it.
fn hand(keep: Holed) -> (Hand, Arc<Policy>, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let warnings = Arc::clone(&warnings);
        move |notice: Arc<Notice>| {
            if let Notice::Warning { message } = &*notice {
                warnings.lock().unwrap().push(message.clone());
            }
        }
    };
    let interrupt = Interrupt::default();
    let hand = Hand {
        client: Client::new(Dialer::new(Trust::default()), HostHeader::Sent, interrupt.clone()),
        signing: Arc::new(Signing::new(Vec::new())),
        keep: Arc::new(keep),
        announcer: Announcer::new(Arc::new(sink)),
        limit: Duration::from_secs(1),
        marks: true,
        interrupt,
    };
    let mut policy = Policy::default();
    policy.routes.default = Some("9".parse().unwrap());
    (hand, Arc::new(policy), warnings)
}

/// Else it would be looked for without end.
#[tokio::test]
async fn what_is_tried_again_does_not_wait_for_what_is_still_coming() {
    let data = tempfile::tempdir().unwrap();
    let archive = waiting(data.path(), 1).await;
    let (hand, policy, _) = hand(Holed(archive.clone(), Fault::None));
    let backlog = Arc::new(Backlog::default());
    let coming = backlog.coming(delivery(1).id);
    let again = Again { id: delivery(2).id, whom: Whom::Handler, made: 1 };
    {
        let mut inner = backlog.lock();
        inner.was_again = true;
        inner.again.put(again, Instant::now(), Duration::ZERO);
    }
    let pause = Pause::default();
    let due = |text| {
        let next = backlog.next(&hand, &policy, &pause);
        async move { tokio::time::timeout(Duration::from_secs(60), next).await.expect(text) }
    };
    assert!(matches!(due("what is tried again").await, Due::Again(found) if found == again));
    drop(coming);
    assert!(matches!(due("what came").await, Due::Job(job) if job.delivery.id == delivery(1).id));
    drop(hand);
    archive.close().await.unwrap();
}

#[tokio::test]
async fn one_record_that_cannot_be_read_keeps_back_none_behind_it() {
    none_behind_it_is_kept_back(Fault::Record(delivery(1).id)).await;
}

#[tokio::test]
async fn nor_does_one_line_of_the_list() {
    none_behind_it_is_kept_back(Fault::Line(delivery(1).id)).await;
}

/// Nothing else comes, and nobody asks: it is looked for again all the same, what is tried again does not wait for it, and it is told once.
#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_read_later_and_keeps_back_nothing_that_is_tried_again() {
    let data = tempfile::tempdir().unwrap();
    let archive = waiting(data.path(), 1).await;
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(5));
    let (hand, policy, warnings) = hand(Holed(archive.clone(), Fault::Lists(Arc::clone(&left))));
    let backlog = Arc::new(Backlog::default());
    let again = |n| Again { id: delivery(n).id, whom: Whom::Handler, made: 1 };
    {
        let mut inner = backlog.lock();
        inner.was_again = true;
        inner.again.put(again(2), Instant::now(), Duration::ZERO);
        inner.again.put(again(3), Instant::now(), Duration::from_secs(45));
    }
    let pause = Pause::default();
    let began = Instant::now();
    let mut due = Vec::new();
    for _ in 0..3 {
        let next = tokio::time::timeout(Duration::from_secs(3600), backlog.next(&hand, &policy, &pause));
        due.push(match next.await.expect("it waits for something that will not come") {
            Due::Again(again) => (again.id, false),
            Due::Job(job) => (job.delivery.id, true),
        });
    }
    assert_eq!(due, [(delivery(2).id, false), (delivery(3).id, false), (delivery(1).id, true)]);
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    assert_eq!(warnings.lock().unwrap().len(), 1, "{:?}", warnings.lock().unwrap());
    drop(hand);
    archive.close().await.unwrap();
}

async fn none_behind_it_is_kept_back(fault: Fault) {
    let data = tempfile::tempdir().unwrap();
    let archive = waiting(data.path(), 3).await;
    let (hand, policy, warnings) = hand(Holed(archive.clone(), fault));
    let mut due = Vec::new();
    let backlog = Backlog::default();
    for _ in 0..2 {
        backlog.refill(&hand, &policy).await.unwrap();
        let mut inner = backlog.lock();
        due.extend(inner.ready.drain(..).map(|job| job.delivery.id));
        assert!(!inner.spilled, "what comes is forwarded at once again");
    }
    assert_eq!(due, [delivery(2).id, delivery(3).id]);
    let warnings = warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].starts_with(&delivery(1).id.to_string()), "{warnings:?}");
    drop(hand);
    archive.close().await.unwrap();
}
