//! The archive as its users meet it: what goes in comes out, lists are what a plain filter would give, repeats are noticed, and a store
//! that is held is told clearly.

mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tunnel_archive::{Archive, ArchiveError, Cursor, EventPattern, Inserted, Intake, Order, Query};
use tunnel_delivery::{
    AnswerClass, Attempt, Cause, DeliveryId, Environment, Event, HeaderLine, Headers, SignatureStatus, Stored, Summary,
    Timestamp, Verdict,
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn open(dir: &Path) -> Archive {
    Archive::open(dir, sample::small()).unwrap()
}

fn header_lines() -> impl Strategy<Value = Headers> {
    let bytes = |n| proptest::collection::vec(any::<u8>(), 0..n);
    proptest::collection::vec((bytes(12), bytes(80)), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(n, v)| HeaderLine::new(n, v)).collect())
}

fn body() -> impl Strategy<Value = Bytes> {
    let len = prop_oneof![4 => 0usize..3000, 2 => 0usize..70_000, 1 => 0usize..2 << 20];
    (len, any::<u64>()).prop_map(|(len, seed)| sample::Dice(seed).bytes(len).into())
}

prop_compose! {
    fn attempts()(n in 0u64..50, headers in header_lines(), body in body(), long in any::<bool>()) -> Attempt {
        let mut attempt = sample::attempt(n);
        attempt.response_headers = headers;
        attempt.response_body = body;
        if long {
            attempt.target = format!("http://localhost/{}", "x".repeat(3000));
        }
        attempt
    }
}

prop_compose! {
    fn intakes()(
        n in 0u64..1000, headers in header_lines(), body in body(), path in "[!-\"$->@-~]{0,400}",
        event in proptest::option::of((".{0,300}", proptest::option::of(".{0,300}"), ".{0,30}")), reason in proptest::option::of(".{0,300}"),
        profile in proptest::option::of(".{0,80}"), v6 in any::<bool>(), queued in any::<bool>(),
    ) -> Intake {
        let mut intake = sample::intake(n);
        let delivery = Arc::make_mut(&mut intake.delivery);
        delivery.headers = headers;
        delivery.body = body;
        delivery.target = format!("/{path}").parse().unwrap();
        if v6 {
            delivery.source_ip = "2001:db8::7".parse().unwrap();
        }
        intake.event = event.map(|(event_type, resource_id, field)| Event {
            event_type,
            resource_id_type: resource_id.clone(),
            resource_id,
            changed_fields: vec![field.clone(), String::new()],
            extra: [(field, serde_json::json!({"n": 7, "list": [null, "ä"]}))].into_iter().collect(),
        });
        intake.signature.profile = profile;
        intake.signature.reason = reason.clone();
        intake.signature.hint = reason;
        intake.queued = queued;
        intake
    }
}

fn expected(intake: &Intake, attempts: &[Attempt], note: Option<String>) -> Stored {
    Stored {
        delivery: (*intake.delivery).clone(),
        body_sha256: intake.body_sha256,
        event: intake.event.clone(),
        signature: intake.signature.clone(),
        duplicate_of: None,
        repeats: Vec::new(),
        pinned: note.is_some(),
        note,
        attempts: attempts.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn what_goes_in_comes_out_also_after_reopening(
        intake in intakes(), tries in proptest::collection::vec(attempts(), 0..6),
        note in proptest::option::of((".{0,50}", 0usize..15_000)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let note = note.map(|(start, len)| format!("{start}{}", "n".repeat(len)));
        let id = intake.delivery.id;
        let stored = runtime().block_on(async {
            let archive = open(dir.path());
            archive.insert(intake.clone()).await.unwrap();
            for (number, attempt) in (1..).zip(&tries) {
                assert_eq!(archive.record(id, attempt.clone()).await.unwrap(), number);
            }
            if note.is_some() {
                archive.set_note(id, Some("another".repeat(5000))).await.unwrap();
                archive.set_note(id, note.clone()).await.unwrap();
                archive.set_pinned(id, true).await.unwrap();
            }
            let stored = archive.get(id).unwrap().unwrap();
            archive.close().await.unwrap();
            stored
        });
        let expected = expected(&intake, &tries, note);
        prop_assert!(stored == expected, "{stored:?}\n{expected:?}");
        prop_assert!(open(dir.path()).get(id).unwrap().unwrap() == expected);
        // Nothing was too large for the engine's log.
        prop_assert_eq!(std::fs::read_dir(dir.path().join("store/blobs")).unwrap().count(), 0);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { n: u64, event: usize, status: usize, tunnel: bool },
    Record { pick: usize, attempt: u64 },
    Pin { pick: usize },
    Remove { pick: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u64..400, 0usize..6, 0usize..4, any::<bool>())
            .prop_map(|(n, event, status, tunnel)| Step::Insert { n, event, status, tunnel }),
        2 => (any::<prop::sample::Index>(), 0u64..40).prop_map(|(i, attempt)| Step::Record { pick: i.index(1000), attempt }),
        1 => any::<prop::sample::Index>().prop_map(|i| Step::Pin { pick: i.index(1000) }),
        1 => any::<prop::sample::Index>().prop_map(|i| Step::Remove { pick: i.index(1000) }),
    ]
}

prop_compose! {
    fn queries()(
        newest in any::<bool>(), limit in 1usize..9, scan_limit in prop_oneof![Just(3usize), Just(20_000)],
        from in proptest::option::of(0u64..400), until in proptest::option::of(0u64..400),
        events in proptest::sample::subsequence(vec!["appointment.*", "goal.delated", "*created", "patient\0*", "nothing"], 0..3),
        kind in proptest::option::weighted(0.2, Just("Goal")), resource in proptest::option::weighted(0.2, 0u64..5),
        signature in proptest::sample::subsequence(SignatureStatus::ALL.to_vec(), 0..4),
        answer in proptest::sample::subsequence(AnswerClass::ALL.to_vec(), 0..4),
        environment in proptest::sample::subsequence(vec![Environment::Staging, Environment::Unknown], 0..2),
        tunnel in proptest::option::weighted(0.2, Just("other")), (pinned, duplicates) in
            (proptest::option::weighted(0.2, any::<bool>()), proptest::option::weighted(0.2, any::<bool>())),
        text in proptest::option::weighted(0.2, Just("BODY OF 1")),
    ) -> Query {
        Query {
            order: if newest { Order::NewestFirst } else { Order::OldestFirst },
            limit,
            cursor: None,
            from: from.map(sample::time_of),
            until: until.map(sample::time_of),
            events: events.into_iter().map(EventPattern::new).collect(),
            resource_type: kind.map(str::to_owned),
            resource_id: resource.map(|r| r.to_string()),
            signature,
            answer,
            environment,
            tunnel: tunnel.map(|t| t.parse().unwrap()),
            pinned,
            duplicates,
            repeats_of: None,
            text: text.map(str::to_owned),
            scan_limit,
            // What is whole is told alike.
            past_damage: newest,
        }
    }
}

fn story(n: u64, event: usize, status: usize, tunnel: bool) -> Intake {
    // From 300 on they are repeats, if what they repeat is there.
    let mut intake = sample::intake(n % 300);
    let delivery = Arc::make_mut(&mut intake.delivery);
    delivery.id = sample::id_of(n);
    delivery.received_at = sample::time_of(n);
    delivery.body = format!("body of {}", n % 300).into();
    intake.body_sha256 = sample::sha256(&delivery.body);
    if tunnel {
        delivery.tunnel = "other".parse().unwrap();
    }
    intake.signature = Verdict::bare(SignatureStatus::ALL[status]);
    Arc::make_mut(&mut intake.delivery).environment =
        if n % 7 == 1 { Environment::Staging } else { Environment::Unknown };
    intake.queued = n.is_multiple_of(2);
    intake.event = sample::EVENTS.get(event).map(|name| Event {
        event_type: (*name).into(),
        resource_id: Some((n % 5).to_string()),
        resource_id_type: Some(if event == 2 { "Goal" } else { "Appointment" }.into()),
        ..Event::default()
    });
    intake
}

/// All pages of a list.
fn walk(archive: &Archive, query: &Query) -> Vec<Summary> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = archive.list(&query).unwrap();
        assert!(page.items.len() <= query.limit && page.scanned <= query.scan_limit, "{page:?}");
        found.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next.to_string().parse::<Cursor>().unwrap()),
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn lists_are_what_a_plain_filter_gives(
        steps in proptest::collection::vec(step(), 0..150), queries in proptest::collection::vec(queries(), 20),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path());
        let mut model: BTreeMap<DeliveryId, Bytes> = BTreeMap::new();
        runtime().block_on(async {
            for step in steps {
                let picked = |pick: usize| model.keys().nth(pick % model.len().max(1)).copied();
                match step {
                    Step::Insert { n, event, status, tunnel } => {
                        let intake = story(n, event, status, tunnel);
                        let (id, body) = (intake.delivery.id, intake.delivery.body.clone());
                        let there = model.insert(id, body).is_some();
                        let inserted = archive.insert(intake).await.unwrap();
                        assert_eq!(inserted == Inserted::AlreadyThere, there);
                    }
                    Step::Record { pick, attempt } => {
                        if let Some(id) = picked(pick) {
                            archive.record(id, sample::attempt(attempt)).await.unwrap();
                        }
                    }
                    Step::Pin { pick } => {
                        if let Some(id) = picked(pick) {
                            archive.set_pinned(id, true).await.unwrap();
                        }
                    }
                    Step::Remove { pick } => {
                        if let Some(id) = picked(pick) {
                            assert_eq!(archive.remove(vec![id]).await.unwrap(), 1);
                            model.remove(&id);
                        }
                    }
                }
            }
        });
        // The summaries come from the archive, one by one through the time list; which of them belong to a query is decided here.
        let all = walk(&archive, &Query::default());
        prop_assert!(all.iter().rev().map(|s| s.id).eq(model.keys().copied()));
        for summary in &all {
            let stored = archive.get(summary.id).unwrap().unwrap();
            prop_assert_eq!(summary.attempts as usize, stored.attempts.len());
            prop_assert_eq!(summary.pinned, stored.pinned);
            if let Some(last) = stored.attempts.last() {
                // What waits to be forwarded waits until it is, whatever was replayed meanwhile.
                let waits = summary.answer.class == AnswerClass::Queued;
                let forwarded = stored.attempts.iter().any(|a| a.cause == Cause::Forward);
                let as_it_should = if waits { !forwarded } else { summary.answer.class == AnswerClass::of(last) };
                prop_assert!(as_it_should, "{:?}", summary);
            }
        }
        let report = archive.check(|_| ()).unwrap();
        prop_assert!(report.is_sound(), "{:?} {:?}", report.findings(), report);
        for query in queries {
            let text = query.text.as_ref().map(|t| t.to_ascii_lowercase());
            let mut wanted: Vec<Summary> = all
                .iter()
                .filter(|s| query.matches(s))
                .filter(|s| text.as_ref().is_none_or(|t| String::from_utf8_lossy(&model[&s.id]).contains(t)))
                .cloned()
                .collect();
            if query.order == Order::OldestFirst {
                wanted.reverse();
            }
            prop_assert_eq!(walk(&archive, &query), wanted, "{:?}", query);
        }
    }
}

#[tokio::test]
async fn a_repeat_is_noticed_and_called_a_guess() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let first = sample::intake(7);
    let again = |days: i64, change: fn(&mut tunnel_delivery::Delivery)| {
        let mut intake = first.clone();
        let delivery = Arc::make_mut(&mut intake.delivery);
        delivery.received_at =
            Timestamp::from_micros(delivery.received_at.as_micros() + days * 86_400_000_000 + 12_000_000);
        delivery.id = DeliveryId::build(delivery.received_at, [3; 10]);
        change(delivery);
        intake
    };
    assert_eq!(archive.insert(first.clone()).await.unwrap(), Inserted::New { duplicate_of: None });
    assert_eq!(archive.insert(first.clone()).await.unwrap(), Inserted::AlreadyThere);
    let Inserted::New { duplicate_of: Some(guess) } = archive.insert(again(0, |_| ())).await.unwrap() else {
        panic!("not noticed");
    };
    assert_eq!(guess.id, first.delivery.id);
    assert!(guess.reason.contains("12 s earlier") && guess.reason.contains("guess"), "{}", guess.reason);
    let stored = archive.get(again(0, |_| ()).delivery.id).unwrap().unwrap();
    assert_eq!(stored.duplicate_of, Some(guess));
    // Three days later it is still a repeat of the first one.
    let later = archive.insert(again(3, |_| ())).await.unwrap();
    assert!(matches!(later, Inserted::New { duplicate_of: Some(d) } if d.id == first.delivery.id));
    for other in [
        again(5, |_| ()),
        again(1, |d| d.target = "/else".parse().unwrap()),
        again(1, |d| d.tunnel = "other".parse().unwrap()),
        again(2, |d| d.headers = Headers::default()),
    ] {
        let mut other = other;
        Arc::make_mut(&mut other.delivery).id = DeliveryId::build(other.delivery.received_at, [4; 10]);
        let id = other.delivery.id;
        let inserted = archive.insert(other).await.unwrap();
        // One of them may have the id of another: then it would not be new at all.
        assert!(
            inserted == Inserted::AlreadyThere || inserted == Inserted::New { duplicate_of: None },
            "{id} {inserted:?}"
        );
    }
}

#[tokio::test]
async fn the_longest_names_have_room() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let mut intake = sample::intake(1);
    let long = "\u{10ffff}".repeat(10_000);
    let delivery = Arc::make_mut(&mut intake.delivery);
    delivery.target = format!("/{}", "t".repeat(60_000)).parse().unwrap();
    delivery.method = "M".repeat(64).parse().unwrap();
    delivery.tunnel = "t".repeat(63).parse().unwrap();
    intake.event = Some(Event {
        event_type: long.clone(),
        resource_id: Some(long.clone()),
        resource_id_type: Some(long.clone()),
        changed_fields: vec![long.clone()],
        ..Event::default()
    });
    intake.signature.profile = Some(long.clone());
    intake.signature.reason = Some(long.clone());
    let id = intake.delivery.id;
    archive.insert(intake.clone()).await.unwrap();
    let attempt = Attempt { target: long.clone(), duration: Duration::MAX, ..sample::attempt(3) };
    for _ in 0..3 {
        archive.record(id, attempt.clone()).await.unwrap();
    }
    archive.set_note(id, Some("n".repeat(64 * 1024))).await.unwrap();
    assert!(matches!(archive.set_note(id, Some("n".repeat(64 * 1024 + 1))).await, Err(ArchiveError::TooLarge { .. })));
    let stored = archive.get(id).unwrap().unwrap();
    assert_eq!((stored.event, stored.attempts), (intake.event, vec![attempt; 3]));
    let query = Query { events: vec![EventPattern::new(long.clone())], resource_id: Some(long), ..Query::default() };
    assert_eq!(archive.list(&query).unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_second_open_and_a_closed_archive_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let other = archive.clone();
    let error = Archive::open(dir.path(), sample::small()).unwrap_err();
    assert!(matches!(error, ArchiveError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    let id = sample::id_of(1);
    assert!(
        matches!(archive.record(id, sample::attempt(1)).await, Err(ArchiveError::Unknown(unknown)) if unknown == id)
    );
    archive.insert(sample::intake(1)).await.unwrap();
    archive.record_soon(id, sample::attempt(1)).unwrap();
    archive.close().await.unwrap();
    assert!(matches!(other.insert(sample::intake(2)).await, Err(ArchiveError::Closed)));
    assert!(matches!(other.get(id), Err(ArchiveError::Closed)));
    let again = open(dir.path());
    assert_eq!(again.get(id).unwrap().unwrap().attempts, [sample::attempt(1)]);
    drop(again);
    open(dir.path());
}

#[tokio::test]
async fn ids_are_found_by_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    assert!(archive.find("latest").unwrap().is_empty());
    for n in 0..40 {
        archive.insert(sample::intake(n)).await.unwrap();
    }
    let id = sample::id_of(17);
    let text = id.to_string();
    assert_eq!(archive.find("latest").unwrap(), [sample::id_of(39)]);
    assert_eq!(archive.find(&text).unwrap(), [id]);
    assert_eq!(archive.find(&text.to_uppercase()).unwrap(), [id]);
    assert_eq!(archive.find(&text[text.len() - 8..]).unwrap(), [id]);
    assert_eq!(archive.find(&text[..8]).unwrap().len(), 10);
    for nothing in ["", "-", "nope", "ffffffff", &"0".repeat(33)] {
        assert!(archive.find(nothing).unwrap().is_empty(), "{nothing:?}");
    }
}
