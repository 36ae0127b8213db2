//! Measures the archive's lists: pages through each of its indexes, beside the plain page of the newest.

use std::hint::black_box;
use std::time::Duration;

use tunnel_archive::{Archive, EventPattern, Order, Query};
use tunnel_delivery::{AnswerClass, SignatureStatus};

use crate::error::{BenchError, wrong};
use crate::figures::Turns;
use crate::table::Table;

const ABOUT: &str = "pages of at most 100 over all that was stored, beside the plain page of the newest";

/// Measures all kinds of list.
pub(crate) fn measure(archive: &Archive, turn: Duration) -> Result<Table<5>, BenchError> {
    let newest = archive.list(&Query { limit: 1, ..Query::default() })?;
    let newest = newest.items.first().ok_or_else(|| wrong("nothing was stored"))?;
    let oldest = archive.list(&Query { limit: 1, order: Order::OldestFirst, ..Query::default() })?;
    let oldest = oldest.items.first().ok_or_else(|| wrong("nothing was stored"))?;
    let event = EventPattern::new(newest.event_type.clone().unwrap_or_default());
    let resource_id = oldest.resource_id.clone();
    let text = resource_id.clone();
    let middle = newest.received_at.earlier(newest.received_at.since(oldest.received_at) / 2);
    let queries = [
        ("the newest", Query::default()),
        ("the oldest", Query { order: Order::OldestFirst, ..Query::default() }),
        ("from the middle of the time", Query { until: Some(middle), ..Query::default() }),
        ("of one event", Query { events: vec![event.clone()], ..Query::default() }),
        ("of one resource", Query { resource_id, ..Query::default() }),
        ("with an invalid signature", Query { signature: vec![SignatureStatus::Invalid], ..Query::default() }),
        ("answered 2xx", Query { answer: vec![AnswerClass::Success], ..Query::default() }),
        (
            "of one event, invalid, answered 2xx",
            Query {
                events: vec![event],
                signature: vec![SignatureStatus::Invalid],
                answer: vec![AnswerClass::Success],
                ..Query::default()
            },
        ),
        ("with a text that only the oldest has", Query { text, ..Query::default() }),
    ];

    let mut calls: Vec<Box<dyn FnMut() -> Result<(), BenchError> + '_>> = Vec::new();
    for (_, query) in &queries {
        calls.push(Box::new(move || {
            black_box(archive.list(black_box(query))?);
            Ok(())
        }));
    }
    calls.push(Box::new(|| {
        black_box(archive.get(black_box(oldest.id))?.ok_or_else(|| wrong("a delivery is gone"))?);
        Ok(())
    }));
    let mut each: Vec<&mut dyn FnMut() -> Result<(), BenchError>> = Vec::new();
    for call in &mut calls {
        each.push(call.as_mut());
    }
    let turns = Turns::measure(turn / 2, &mut each)?;

    let mut table = Table::new("archive", ABOUT, ["per second", "x newest", "ms", "found", "looked at"]);
    let figures = |at: usize| (turns.rate(at), turns.ratio(at, 0), turns.rate(at).map(|rate| 1000.0 / rate));
    for (at, (name, query)) in queries.iter().enumerate() {
        let page = archive.list(query)?;
        let (rate, ratio, ms) = figures(at);
        table.row(*name, [rate, ratio, ms, Some(page.items.len() as f64), Some(page.scanned as f64)]);
    }
    let (rate, ratio, ms) = figures(queries.len());
    table.row("one delivery with all that belongs to it", [rate, ratio, ms, Some(1.0), None]);
    Ok(table)
}
