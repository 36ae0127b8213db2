//! Where in which trace something is: W3C Trace Context, Recommendation of November 2021, section 3.2 (`traceparent`). Pure.

use std::fmt;

use tunnel_delivery::DeliveryId;

/// A span's id; never all zeros.
pub type SpanId = [u8; 8];

/// A place in a trace: what comes of it is a child of this span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: SpanId,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The beginning of a delivery's own trace: both ids are the delivery's, so that everybody who has the delivery knows them.
    pub fn of_delivery(id: DeliveryId, sampled: bool) -> TraceContext {
        TraceContext { trace: *id.as_bytes(), span: span_of_delivery(id), sampled }
    }

    /// The same trace, at another span.
    pub fn at(self, span: SpanId) -> TraceContext {
        TraceContext { span, ..self }
    }

    /// Reads the value of a `traceparent` line. Anything that is not one is none: a trace is never a reason to refuse anything.
    pub fn parse(value: &[u8]) -> Option<TraceContext> {
        // version "-" trace-id "-" parent-id "-" flags; a later version may have more behind it.
        let (known, more) = value.split_at_checked(55)?;
        let [a, b, rest @ ..] = known else { return None };
        let version = byte(*a, *b)?;
        let whole = if version == 0 { more.is_empty() } else { more.first().is_none_or(|c| *c == b'-') };
        let dashes = [rest.first()?, rest.get(33)?, rest.get(50)?].iter().all(|c| **c == b'-');
        if version == 0xff || !whole || !dashes {
            return None;
        }
        let trace: [u8; 16] = hex(rest.get(1..33)?)?;
        let span: SpanId = hex(rest.get(34..50)?)?;
        let [flags]: [u8; 1] = hex(rest.get(51..53)?)?;
        let context = TraceContext { trace, span, sampled: flags & 1 == 1 };
        (trace != [0; 16] && span != [0; 8]).then_some(context)
    }
}

/// As the value of a `traceparent` line.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("-")?;
        self.span.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

/// The second half of a UUID: its variant and 62 random bits, so never all zeros.
pub(crate) fn span_of_delivery(id: DeliveryId) -> SpanId {
    let mut span = [0; 8];
    span.copy_from_slice(&id.as_bytes()[8..]);
    if span == [0; 8] { [1; 8] } else { span }
}

/// Lower case only, as the Recommendation has it.
fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (pair, out) in text.chunks_exact(2).zip(&mut out) {
        *out = byte(pair[0], pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_recommendation_s_examples_are_read() {
        let read = TraceContext::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((read.trace[0], read.span[1], read.sampled), (0x4b, 0xf0, true));
        assert_eq!(read.to_string(), EXAMPLE);
        let later = EXAMPLE.replacen("00-", "cc-", 1);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        assert!(TraceContext::parse(format!("{later}-what-comes-later").as_bytes()).is_some());
        let unsampled = TraceContext::parse(EXAMPLE.replace("-01", "-02").as_bytes()).unwrap();
        assert!(!unsampled.sampled);
    }

    #[test]
    fn what_is_none_is_none() {
        for bad in [
            String::new(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}-"),
            format!("{EXAMPLE}x"),
            EXAMPLE.replacen("00-", "ff-", 1),
            EXAMPLE.replacen("00-", "cc-", 1) + "x",
            EXAMPLE.to_uppercase(),
            EXAMPLE.replacen('-', "_", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".to_owned(),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_delivery_s_trace_is_known_from_its_id() {
        let id: DeliveryId = "019aa000-0000-7123-8456-789abcdef012".parse().unwrap();
        let text = TraceContext::of_delivery(id, true).to_string();
        assert_eq!(text, "00-019aa000000071238456789abcdef012-8456789abcdef012-01");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), sampled: bool) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let context = TraceContext { trace, span, sampled };
            prop_assert_eq!(TraceContext::parse(context.to_string().as_bytes()), Some(context));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0..55usize, c: u8) {
            let _ = TraceContext::parse(&bytes);
            let mut near = EXAMPLE.as_bytes().to_vec();
            near[at] = c;
            if let Some(read) = TraceContext::parse(&near) {
                prop_assert!(read.trace != [0; 16]);
            }
        }
    }
}
