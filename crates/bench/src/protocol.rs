//! Measures `protocol`: a delivery into frames and out again, beside a copy of the same bytes and beside JSON of the same delivery.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use tunnel_delivery::{Delivery, SignatureStatus, Stored, Verdict};
use tunnel_protocol::{Assembler, INLINE_BODY, Incoming, Outbox, ToAgent};

use crate::Arguments;
use crate::error::{BenchError, wrong};
use crate::figures::{TURNS, Turns};
use crate::sample::{SMALL, Sample};
use crate::table::Table;

const ABOUT: &str = "a delivery encoded and decoded, beside a copy of its frames and beside JSON written and read";

/// The bodies measured: a thin payload, the longest that travels in its head's frame, and one that goes in chunks.
const BODIES: [(&str, usize); 3] =
    [("200 B, one frame", SMALL), ("32 KiB, one frame", INLINE_BODY), ("1 MiB, in chunks", 1 << 20)];

/// Measures all sizes.
pub(crate) fn measure(arguments: &Arguments) -> Result<Table<4>, BenchError> {
    let mut table = Table::new("protocol", ABOUT, ["per second", "MB per second", "x copy", "x json"]);
    for (case, len) in BODIES {
        let delivery = Arc::new(Sample::new(0, len)?.numbered(1));
        let frames: Vec<Bytes> = frames(&delivery).collect();
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        if there(frames.iter().cloned())? != delivery.body {
            return Err(wrong("a body came out of the frames differently"));
        }
        let flat = frames.concat();
        let json = stored(&delivery);
        let turns = Turns::measure(
            arguments.turn(TURNS),
            &mut [
                &mut || {
                    black_box(black_box(&flat).clone());
                    Ok(())
                },
                &mut || {
                    let text = serde_json::to_vec(black_box(&json)).map_err(wrong)?;
                    black_box(serde_json::from_slice::<Stored>(&text).map_err(wrong)?);
                    Ok(())
                },
                &mut || {
                    black_box(there(crate::protocol::frames(black_box(&delivery)))?);
                    Ok(())
                },
            ],
        )?;
        let per_second = turns.rate(2);
        let megabytes = per_second.map(|rate| rate * bytes as f64 / 1e6);
        table.row(case, [per_second, megabytes, turns.ratio(2, 0), turns.ratio(2, 1)]);
    }
    Ok(table)
}

/// The length of a delivery on its way, in bytes.
pub(crate) fn length(delivery: &Arc<Delivery>) -> usize {
    frames(delivery).map(|frame| frame.len()).sum()
}

/// The frames that carry a delivery, as the relay makes them.
fn frames(delivery: &Arc<Delivery>) -> impl Iterator<Item = Bytes> {
    let mut incoming = Incoming {
        n: 1,
        seq: Some(1),
        answer_within: None,
        body_len: delivery.body.len() as u64,
        traceparent: None,
        delivery: Arc::clone(delivery),
    };
    let mut out = Outbox::<ToAgent>::default();
    if delivery.body.len() <= INLINE_BODY {
        out.whole(ToAgent::Delivery(incoming).encode());
    } else {
        let body = std::mem::take(&mut Arc::make_mut(&mut incoming.delivery).body);
        out.with_body(ToAgent::Delivery(incoming).encode(), 1, body);
    }
    std::iter::from_fn(move || out.pop())
}

/// The body that comes out of frames, as the agent puts it together.
fn there(frames: impl Iterator<Item = Bytes>) -> Result<Bytes, BenchError> {
    let mut parts = Assembler::new(1);
    for frame in frames {
        match ToAgent::decode(frame).map_err(wrong)? {
            ToAgent::Delivery(whole) if whole.body_len <= INLINE_BODY as u64 => return Ok(whole.delivery.body.clone()),
            ToAgent::Delivery(head) => parts.begin(head.n, head.body_len, head.delivery).map_err(wrong)?,
            ToAgent::Chunk(chunk) => {
                if let Some(whole) = parts.chunk(chunk).map_err(wrong)? {
                    return Ok(whole.body);
                }
            }
            other => return Err(wrong(format!("an unexpected frame: {other:?}"))),
        }
    }
    Err(wrong("the frames ended before the body"))
}

/// The same delivery as `events show --json` prints it.
fn stored(delivery: &Delivery) -> Stored {
    Stored {
        delivery: delivery.clone(),
        body_sha256: [0; 32],
        event: None,
        signature: Verdict::bare(SignatureStatus::NoSecret),
        duplicate_of: None,
        repeats: Vec::new(),
        pinned: false,
        note: None,
        attempts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_carries_every_size() {
        for (case, len) in BODIES {
            let delivery = Arc::new(Sample::new(0, len).unwrap().numbered(1));
            assert_eq!(there(frames(&delivery)).unwrap(), delivery.body, "{case}");
            assert_eq!(frames(&delivery).count() > 1, len > INLINE_BODY, "{case}");
            assert!(length(&delivery) > len, "{case}");
        }
    }
}
