//! A large archive to look at: deliveries of which there is one for each number, in a mix as one would have. Pure but for [`fill`], which stores
//! them.
//!
//! What can be looked for is told by number ([`Facts`]), so that it is known which delivery a list must show first without asking the archive.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tunnel_archive::{Archive, Intake, Options, Query};
use tunnel_delivery::{
    Attempt, Cause, Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict,
};

use crate::error::{BenchError, wrong};

/// A text in one body of a thousand.
pub(crate) const RARE: &str = "kestrel";
/// A text in one body of a hundred thousand.
pub(crate) const RARER: &str = "quokka";
/// A text in every third body.
pub(crate) const COMMON: &str = "clinic";
/// A text in no body.
pub(crate) const ABSENT: &str = "xylograph";

/// When the first delivery came, in microseconds since 1970, and how far they are apart.
const FIRST: i64 = 1_760_000_000_000_000;
const APART: i64 = 2_345_678;

/// Sketching is not waited for longer than this.
const SKETCHING: Duration = Duration::from_secs(600);

/// How many insert at once.
const AT_ONCE: usize = 256;

/// The first of these is the most frequent event, each other less than the one before it.
const EVENTS: [&str; 12] = [
    "appointment.updated",
    "appointment.created",
    "patient.updated",
    "form_answer_group.created",
    "form_answer_group.signed",
    "billing_item.created",
    "patient.created",
    "appointment.deleted",
    "task.created",
    "conversation_membership.viewed",
    "received_direct_message.created",
    "goal.created",
];

/// What bodies talk about; none of the words begins or ends one that is looked for.
const WORDS: [&str; 24] = [
    "follow",
    "intake",
    "session",
    "weekly",
    "insurance",
    "updated",
    "provider",
    "nutrition",
    "coaching",
    "morning",
    "location",
    "timezone",
    "reason",
    "therapy",
    "payment",
    "charted",
    "document",
    "review",
    "reminder",
    "patient",
    "virtual",
    "evening",
    "assessment",
    "plan",
];

/// What is looked for in the delivery of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) number: u64,
    pub(crate) event: &'static str,
    pub(crate) resource: u64,
    pub(crate) production: bool,
    pub(crate) demo: bool,
    pub(crate) signature: SignatureStatus,
    /// What a handler answered; nobody was asked where there is none.
    pub(crate) answer: Option<u16>,
    random: u64,
}

impl Facts {
    /// Those of a number.
    pub(crate) fn of(number: u64) -> Facts {
        let random = mix(number);
        // Half of what is left each time: 1/2, 1/4 … down to 1/2048 for the last.
        let event = EVENTS[(random.trailing_zeros() as usize).min(EVENTS.len() - 1)];
        Facts {
            number,
            event,
            resource: 1_000_000 + mix(number / 8) % 9_000_000,
            production: (random >> 12) & 127 == 5,
            demo: (random >> 20) & 31 == 7,
            signature: match (random >> 26) & 255 {
                0 => SignatureStatus::Invalid,
                1..5 => SignatureStatus::Unsigned,
                _ => SignatureStatus::Valid,
            },
            answer: number.is_multiple_of(10).then_some(if (random >> 34) & 63 == 1 { 503 } else { 200 }),
            random,
        }
    }

    /// Whether the body has one of the words that are looked for.
    pub(crate) fn says(self, word: &str) -> bool {
        match word {
            COMMON => self.number % 3 == 1,
            RARE => self.number % 1000 == 123,
            RARER => self.number % 100_000 == 54_321,
            _ => false,
        }
    }

    /// When it came.
    pub(crate) fn at(self) -> Timestamp {
        Timestamp::from_micros(FIRST + self.number as i64 * APART)
    }

    /// What a body holds: 300 bytes to 4 KB, most of them short.
    fn body(self) -> String {
        let mut numbers = self.random;
        let mut next = || {
            numbers = mix(numbers);
            numbers
        };
        let part = (next() % 1000) as f64 / 1000.0;
        let len = 300 + (3700.0 * part.powi(4)) as usize;
        let mut body = format!(
            r#"{{"resource_id":{},"resource_id_type":"{}","event_type":"{}","changed_fields":["start","end","location"],"trace":"{:016x}{:016x}","at":"{}","text":""#,
            self.resource,
            self.event.split('.').next().unwrap_or_default(),
            self.event,
            next(),
            next(),
            self.at(),
        );
        for word in [COMMON, RARE, RARER].into_iter().filter(|word| self.says(word)) {
            body.push_str(word);
            body.push(' ');
        }
        while body.len() + 2 < len {
            let random = next();
            match random % 8 {
                0 => body.push_str(&(random >> 40).to_string()),
                _ => body.push_str(WORDS[(random >> 8) as usize % WORDS.len()]),
            }
            body.push(' ');
        }
        body.push_str("\"}");
        body
    }

    fn intake(self, headers: &Headers) -> Result<Intake, BenchError> {
        let body = Bytes::from(self.body());
        let mut unique = [0; 10];
        unique[..8].copy_from_slice(&self.random.to_be_bytes());
        Ok(Intake {
            body_sha256: Sha256::digest(&body).into(),
            event: tunnel_catalogue::read(&body),
            signature: Verdict::bare(self.signature),
            queued: false,
            delivery: Arc::new(Delivery {
                id: DeliveryId::build(self.at(), unique),
                received_at: self.at(),
                tunnel: if self.demo { "demo" } else { "team" }.parse().map_err(wrong)?,
                source_ip: [127, 0, 0, 1].into(),
                environment: if self.production { Environment::Production } else { Environment::Staging },
                method: "POST".parse().map_err(wrong)?,
                target: "/webhooks/healthie".parse().map_err(wrong)?,
                prefix_len: 0,
                http_version: HttpVersion::Http11,
                headers: headers.clone(),
                body,
                lost: Vec::new(),
            }),
        })
    }

    fn attempt(self, status: u16) -> Attempt {
        Attempt {
            at: self.at(),
            target: "http://127.0.0.1:3000/webhooks/healthie".to_owned(),
            cause: Cause::Forward,
            resigned: false,
            edited: false,
            status: Some(status),
            error: None,
            duration: Duration::from_micros(self.random % 50_000),
            response_headers: Headers::default(),
            response_body: "{\"ok\":true}".into(),
            response_truncated: false,
        }
    }
}

/// SplitMix64: the same number gives the same mix on every machine.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How long storing took, and how long the archive then took to sketch the rest of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) stored: Duration,
    pub(crate) sketched: Duration,
    /// The length of the store's file, in bytes.
    pub(crate) disk_bytes: u64,
}

/// Stores deliveries until the archive in this folder has `count`, and waits until a search may pass over what cannot have a text.
pub(crate) async fn fill(folder: &Path, count: u64) -> Result<Filled, BenchError> {
    let began = Instant::now();
    std::fs::create_dir_all(folder).map_err(crate::error::io("make the folder of the archive"))?;
    let archive = Archive::open(folder, Options::default())?;
    let numbers = Arc::new(AtomicU64::new(archive.stats().deliveries));
    let mut headers = Headers::default();
    for (name, value) in [("Host", "bench.relay.test"), ("User-Agent", "Ruby"), ("Content-Type", "application/json")] {
        headers.push(name, value);
    }
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (archive, numbers, headers) = (archive.clone(), Arc::clone(&numbers), headers.clone());
        tasks.spawn(async move {
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, BenchError>(());
                }
                let facts = Facts::of(number);
                let intake = facts.intake(&headers)?;
                let id = intake.delivery.id;
                archive.insert(intake).await?;
                if let Some(status) = facts.answer {
                    archive.record_with_next(id, facts.attempt(status)).await?;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(wrong)??;
    }
    let stored = began.elapsed();
    while began.elapsed() < stored + SKETCHING && !is_sketched(&archive, count)? {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let filled = Filled { stored, sketched: began.elapsed() - stored, disk_bytes: archive.stats().disk_bytes };
    archive.close().await?;
    Ok(filled)
}

/// Whether a look at a few of the deliveries tells that a text is in none.
fn is_sketched(archive: &Archive, count: u64) -> Result<bool, BenchError> {
    let scan_limit = usize::try_from(count / 16).unwrap_or(usize::MAX).max(1000);
    let query = Query { text: Some(ABSENT.to_owned()), scan_limit, ..Query::default() };
    Ok(tokio::task::block_in_place(|| archive.list(&query))?.next.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_say_what_their_facts_say_and_are_as_long_as_promised() {
        let mut events = std::collections::BTreeSet::new();
        for number in 54_000..57_000 {
            let facts = Facts::of(number);
            let body = facts.body();
            for word in [COMMON, RARE, RARER, ABSENT] {
                assert_eq!(body.contains(word), facts.says(word), "{word} in {body}");
            }
            assert!((300..=4096).contains(&body.len()), "{}", body.len());
            let event = tunnel_catalogue::read(body.as_bytes()).unwrap();
            assert_eq!((&*event.event_type, event.resource_id), (facts.event, Some(facts.resource.to_string())));
            events.insert(facts.event);
        }
        assert!(events.len() >= 10, "{events:?}");
        assert!((0..3000).any(|n| Facts::of(n).production) && (0..3000).any(|n| Facts::of(n).demo));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_archive_is_filled_to_the_number_asked_for_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        for count in [30, 50, 40] {
            fill(dir.path(), count).await.unwrap();
        }
        let archive = Archive::open(dir.path(), Options::default()).unwrap();
        let stats = archive.stats();
        assert_eq!((stats.deliveries, stats.attempts), (50, 5));
        archive.close().await.unwrap();
    }
}
