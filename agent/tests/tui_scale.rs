//! How the inspector's questions fare on a large archive. Takes minutes, and is run by hand:
//! `cargo test --release -p healthie-tunnel --test tui_scale -- --ignored --nocapture`, with `SCALE_DELIVERIES` for another number than a
//! million and `SCALE_FOLDER` for a folder that is kept.

mod support;

use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use healthie_tunnel::control::{Control, PageAsk, PageFound};
use support::agent::local;
use support::deliveries::{BEGAN, intake, plain};
use tunnel_archive::{Archive, Options};
use tunnel_delivery::{DeliveryId, SignatureStatus, Timestamp};

const EVENTS: [&str; 4] =
    ["appointment.created", "appointment.updated", "form_answer_group.created", "billing_item.updated"];

async fn fill(dir: &Path, n: u32) {
    let archive = Archive::open(dir, Options::default()).unwrap();
    let inserts = (0..n).map(|i| {
        let event = if i % 1000 == 500 { "goal.created" } else { EVENTS[i as usize % 4] };
        let more = if i == n / 2 { r#","why":"needle"}"# } else { "}" };
        let body = format!(
            r#"{{"resource_id":"{}","resource_id_type":"Thing","event_type":"{event}","changed_fields":["start","end","location"],"name":"somebody with a name"{more}"#,
            i / 8
        );
        let mut delivery = plain(Timestamp::from_micros(BEGAN + i64::from(i) * 50_000), body);
        let mut unique = [0; 10];
        unique[..4].copy_from_slice(&i.to_be_bytes());
        delivery.id = DeliveryId::build(delivery.received_at, unique);
        archive.insert(intake(delivery, SignatureStatus::NoSecret))
    });
    stream::iter(inserts).buffer_unordered(512).for_each(|done| async { drop(done.unwrap()) }).await;
    archive.close().await.unwrap();
}

async fn page(control: &Control, query: &str, oldest_first: bool, cursor: Option<String>) -> PageFound {
    control.page(&PageAsk { query: query.into(), oldest_first, cursor, limit: 200 }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and is read rather than judged"]
#[expect(clippy::print_stdout, reason = "its figures are what it is for")]
async fn a_large_archive() {
    let n: u32 = std::env::var("SCALE_DELIVERIES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let kept = std::env::var("SCALE_FOLDER").ok();
    let temporary = tempfile::tempdir().unwrap();
    let data = kept.as_deref().map_or(temporary.path(), Path::new);
    if !data.join("archive").exists() {
        std::fs::create_dir_all(data.join("archive")).unwrap();
        let began = Instant::now();
        fill(&data.join("archive"), n).await;
        println!("{n} deliveries stored in {:?}", began.elapsed());
    }
    let local = local(data, &[]);
    let began = Instant::now();
    let control = local.connect().await.unwrap();
    let opened = began.elapsed();
    let first = page(&control, "", false, None).await;
    println!("open {opened:?}, with the first page {:?}, {} lines", began.elapsed(), first.items.len());
    for (query, oldest_first) in [
        ("", false),
        ("", true),
        ("event:goal.*", false),
        ("event:appointment.*", false),
        ("resource:4242", false),
        ("type:Thing resource:60000", false),
        ("-event:appointment.* -event:form*", false),
        ("env:staging", false),
        ("name", false),
        ("needle", false),
    ] {
        let began = Instant::now();
        let mut found = page(&control, query, oldest_first, None).await;
        let (first, came) = (began.elapsed(), found.items.len());
        let mut hit = (came > 0).then_some(first);
        let (mut all, mut pages, mut slowest) = (came, 1, first);
        while let Some(cursor) = found.next.take().filter(|_| pages < 5000 && all < 1000) {
            let began_page = Instant::now();
            found = page(&control, query, oldest_first, Some(cursor)).await;
            slowest = slowest.max(began_page.elapsed());
            all += found.items.len();
            pages += 1;
            if all > 0 {
                hit = hit.or(Some(began.elapsed()));
            }
        }
        println!(
            "{query:?} oldest first {oldest_first}: first page {first:?} with {came}; first hit {hit:?}; {all} in {pages} pages, {:?}, slowest {slowest:?}",
            began.elapsed()
        );
    }
    control.close().await;
}
