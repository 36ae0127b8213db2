//! Measures `archive`: durable inserts by one and by many at once, beside one write and sync of the same bytes; lists over what was
//! stored, beside the plain list; what it takes up.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tunnel_archive::{Archive, ArchiveError, Intake, Options};
use tunnel_delivery::{Attempt, Cause, Headers, SignatureStatus, Verdict};
use tunnel_testkit::Stage;

use crate::crowd::{Crowd, crowd};
use crate::error::{BenchError, wrong};
use crate::figures::{Turns, percentile_ms};
use crate::floor::{self, Floor};
use crate::sample::{SMALL, Sample};
use crate::table::{Printer, Table};
use crate::{Arguments, lists, machine, protocol};

const ABOUT: &str =
    "durable inserts of a 200-byte delivery beside write+fdatasync of its bytes, one at a time (the floor)";
const HELD: &str = "what it takes up";

/// In how many turns it is measured.
const TURNS: usize = 5;

/// How many insert at once, and whether each inserts an attempt too.
const CASES: [(usize, bool); 5] = [(1, false), (16, false), (64, false), (1, true), (16, true)];

/// Measures, and prints three tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let stage = Stage::new();
    let samples: Arc<[Sample]> = Sample::several(SMALL)?.into();
    let bytes = protocol::length(&Arc::new(samples[0].numbered(1)));
    let mut floor = Floor::create(&stage.folder().join("floor"), bytes)?;
    let mut held = Table::new("archive", HELD, ["resident MiB", "file bytes each", "deliveries", "attempts"]);

    held.row("before it is opened", [machine::own_resident_mib(), None, None, None]);
    let folder = stage.data("archive");
    let archive = Archive::open(&folder, Options { key: arguments.key()?, ..Options::default() })?;
    held.row("opened, empty", [machine::own_resident_mib(), None, Some(0.0), Some(0.0)]);

    let numbers = Arc::new(AtomicU64::new(1));
    let mut turns = Turns::default();
    let mut crowds: Vec<Crowd> = CASES.iter().map(|_| Crowd::default()).collect();
    for _ in 0..TURNS {
        let turn = arguments.turn(TURNS);
        let mut rates = vec![floor.rate(turn)?, floor.growing_rate(turn)?];
        for ((at_once, attempt), sum) in CASES.into_iter().zip(&mut crowds) {
            let crowd = inserts(&archive, &samples, &numbers, (at_once, attempt), turn).await?;
            rates.push(crowd.rate());
            sum.micros.extend(crowd.micros);
        }
        turns.add(rates);
    }

    let mut table = Table::new("archive", ABOUT, ["per second", "x floor", "p50 ms", "p99 ms"]);
    table.row(floor::NAMES[0], [turns.rate(0), Some(1.0), None, None]);
    table.row(floor::NAMES[1], [turns.rate(1), turns.ratio(1, 0), None, None]);
    for (at, ((at_once, attempt), Crowd { mut micros, .. })) in CASES.into_iter().zip(crowds).enumerate() {
        micros.sort_unstable();
        let with = if attempt { ", each with an attempt" } else { "" };
        let (p50, p99) = (percentile_ms(&micros, 50.0), percentile_ms(&micros, 99.0));
        table.row(format!("{at_once} at once{with}"), [turns.rate(at + 2), turns.ratio(at + 2, 0), p50, p99]);
    }
    printer.print(&table)?;

    takes_up(&mut held, "holding all of it", &archive);
    let list = archive.clone();
    let turn = arguments.turn(crate::figures::TURNS);
    let lists = tokio::task::spawn_blocking(move || lists::measure(&list, turn)).await.map_err(wrong)??;
    printer.print(&lists)?;
    takes_up(&mut held, "after the lists", &archive);
    archive.close().await?;
    let archive = Archive::open(&folder, Options { key: arguments.key()?, ..Options::default() })?;
    takes_up(&mut held, "closed and opened again", &archive);
    archive.close().await?;
    printer.print(&held)
}

fn takes_up(held: &mut Table<4>, when: &str, archive: &Archive) {
    let stats = archive.stats();
    let each = stats.disk_bytes as f64 / stats.deliveries as f64;
    let (deliveries, attempts) = (stats.deliveries as f64, stats.attempts as f64);
    held.row(when, [machine::own_resident_mib(), Some(each), Some(deliveries), Some(attempts)]);
}

async fn inserts(
    archive: &Archive,
    samples: &Arc<[Sample]>,
    numbers: &Arc<AtomicU64>,
    (at_once, attempt): (usize, bool),
    limit: Duration,
) -> Result<Crowd, BenchError> {
    let (archive, samples) = (archive.clone(), Arc::clone(samples));
    crowd(at_once, limit, numbers, move |number| {
        let (archive, samples) = (archive.clone(), Arc::clone(&samples));
        async move {
            let intake = intake(&samples[number as usize % samples.len()], number);
            let (id, at) = (intake.delivery.id, intake.delivery.received_at);
            archive.insert(intake).await?;
            if !attempt {
                return Ok(());
            }
            // As the agent does it: nobody waits for the attempt unless the queue is full.
            let answered = answered(at);
            match archive.record_soon(id, answered.clone()) {
                Err(ArchiveError::Busy) => archive.record(id, answered).await.map(|_| ())?,
                done => done?,
            }
            Ok(())
        }
    })
    .await
}

/// What the agent stores of a delivery; one in ten has a signature that is not valid, of every event alike.
fn intake(sample: &Sample, number: u64) -> Intake {
    let mut sha256 = [0; 32];
    sha256[..8].copy_from_slice(&number.to_be_bytes());
    let status = if number / 8 % 10 == 3 { SignatureStatus::Invalid } else { SignatureStatus::Valid };
    Intake {
        delivery: Arc::new(sample.numbered(number)),
        body_sha256: sha256,
        event: Some(sample.event(number)),
        signature: Verdict::bare(status),
        queued: true,
    }
}

fn answered(at: tunnel_delivery::Timestamp) -> Attempt {
    let mut response_headers = Headers::default();
    for (name, value) in [("Content-Type", "application/json"), ("Content-Length", "11"), ("Server", "bench")] {
        response_headers.push(name, value);
    }
    Attempt {
        at,
        target: "http://127.0.0.1:3000/webhooks/healthie".to_owned(),
        cause: Cause::Forward,
        resigned: false,
        edited: false,
        status: Some(200),
        error: None,
        duration: Duration::from_micros(1234),
        response_headers,
        response_body: "{\"ok\":true}".into(),
        response_truncated: false,
    }
}
