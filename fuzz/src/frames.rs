//! The frames between relay and agent, and bodies that come in chunks.

use std::collections::HashMap;

use bytes::Bytes;
use tunnel_protocol::{Assembler, CHUNK, Chunk, ChunkError, INLINE_BODY, MAX_BODY, MAX_FRAME, ToAgent, ToRelay};

use crate::cut::Cut;

/// What decodes encodes to what decodes the same, within the caps.
pub(crate) fn to_agent(input: &[u8]) {
    let Ok(frame) = ToAgent::decode(Bytes::copy_from_slice(input)) else { return };
    let encoded = frame.encode();
    assert!(encoded.len() <= MAX_FRAME, "{} bytes are sent on as {}", input.len(), encoded.len());
    assert_eq!(ToAgent::decode(encoded).as_ref(), Ok(&frame));
    match frame {
        ToAgent::Delivery(incoming) => {
            let delivery = &incoming.delivery;
            assert!(incoming.body_len <= MAX_BODY);
            assert!(delivery.body.is_empty() || delivery.body.len() as u64 == incoming.body_len);
            assert!(delivery.body.len() <= INLINE_BODY);
            assert!(delivery.handler_target().starts_with('/'));
            let line_ends = |bytes: &[u8]| bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
            assert!(!delivery.headers.iter().any(|line| line_ends(&line.name) || line_ends(&line.value)));
        }
        ToAgent::Chunk(chunk) => assert!((1..=CHUNK).contains(&chunk.data.len())),
        ToAgent::Gap(gap) => assert!(gap.from > 0 && gap.from <= gap.upto),
        _ => {}
    }
}

/// Likewise upwards.
pub(crate) fn to_relay(input: &[u8]) {
    let Ok(frame) = ToRelay::decode(Bytes::copy_from_slice(input)) else { return };
    let encoded = frame.encode();
    assert!(encoded.len() <= MAX_FRAME, "{} bytes are sent on as {}", input.len(), encoded.len());
    assert_eq!(ToRelay::decode(encoded).as_ref(), Ok(&frame));
    if let ToRelay::Answer(answer) = frame
        && let Ok(answer) = answer.outcome
    {
        assert!(answer.body_len <= MAX_BODY && answer.body.len() <= INLINE_BODY);
        assert!((200..=599).contains(&answer.status));
    }
}

/// A body that was announced, as simply as can be.
struct Announced {
    len: u64,
    body: Vec<u8>,
}

/// Heads and chunks in any order come to what a plain table of bodies says.
pub(crate) fn chunks(input: &[u8]) {
    const MOST: usize = 3;
    let mut steps = Cut(input);
    let mut assembler = Assembler::new(MOST);
    let mut table: HashMap<u64, Announced> = HashMap::new();
    while !steps.0.is_empty() {
        let (what, n, size) = (steps.byte(), u64::from(steps.byte() % 5), steps.byte());
        if what % 4 == 0 {
            let expected = match table.len() {
                MOST => Err(ChunkError::TooMany(MOST)),
                _ if table.contains_key(&n) => Err(ChunkError::Twice(n)),
                _ => Ok(()),
            };
            assert_eq!(assembler.begin(n, size.into(), n), expected);
            if expected.is_ok() {
                table.insert(n, Announced { len: size.into(), body: Vec::new() });
            }
            continue;
        }
        let data = Bytes::copy_from_slice(steps.bytes(usize::from(size % 32)));
        let right = table.get(&n).map_or(0, |known| known.body.len() as u64);
        let offset = if what % 4 == 3 { u64::from(what / 4) } else { right };
        let got = assembler.chunk(Chunk { n, offset, data: data.clone() });
        let Some(known) = table.get_mut(&n) else {
            assert_eq!(got, Err(ChunkError::Stray(n)));
            continue;
        };
        if offset != right {
            assert_eq!(got, Err(ChunkError::OutOfOrder { n, offset, expected: right }));
        } else if right + data.len() as u64 > known.len {
            assert_eq!(got, Err(ChunkError::TooMuch(n)));
        } else {
            known.body.extend_from_slice(&data);
            let whole = got.as_ref().map(|done| done.as_ref().map(|done| (done.n, done.head, &done.body[..])));
            if known.body.len() as u64 == known.len {
                assert_eq!(whole, Ok(Some((n, n, &known.body[..]))));
                table.remove(&n);
            } else {
                assert_eq!(whole, Ok(None));
            }
        }
    }
}
