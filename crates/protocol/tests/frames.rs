//! Frames as a peer sees them: they go round, caps hold, bytes of any kind do no harm, newer peers are understood or told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tunnel_delivery::{
    Delivery, DeliveryId, DeviceKey, Environment, HeaderLine, Headers, HttpVersion, Lost, Timestamp,
};
use tunnel_protocol::*;

fn headers() -> impl Strategy<Value = Headers> {
    proptest::collection::vec(
        (
            "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
            proptest::collection::vec(any::<u8>().prop_filter("no line breaks", |b| !matches!(b, 0 | 10 | 13)), 0..60),
        ),
        0..12,
    )
    .prop_map(|lines| lines.into_iter().map(|(n, v)| HeaderLine::new(n, v)).collect())
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (
        any::<[u8; 16]>(),
        any::<i64>(),
        any::<[u8; 16]>(),
        "[A-Z]{1,10}",
        "/[!-\"$-~]{0,80}",
        headers(),
        proptest::collection::vec(any::<u8>(), 0..4000),
    )
        .prop_map(|(id, at, ip, method, target, headers, body)| Delivery {
            id: DeliveryId::from_bytes(id),
            received_at: Timestamp::from_micros(at),
            tunnel: "team".parse().unwrap(),
            source_ip: if ip[0] % 2 == 0 {
                std::net::IpAddr::from(ip)
            } else {
                std::net::IpAddr::from([ip[0], ip[1], ip[2], ip[3]])
            },
            environment: [Environment::Unknown, Environment::Staging, Environment::Production][usize::from(ip[0]) % 3],
            method: method.parse().unwrap(),
            prefix_len: usize::from(ip[1]) % (target.len() + 1),
            target: target.parse().unwrap(),
            http_version: [HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2, HttpVersion::Sealed]
                [usize::from(ip[2]) % 4],
            headers,
            body: body.into(),
            lost: if ip[3] % 2 == 0 { vec![] } else { vec![Lost::ChunkBoundaries, Lost::HeaderOrder] },
        })
}

proptest! {
    #[test]
    fn deliveries_go_round(d in delivery(), n in any::<u64>(), seq in 1_u64.., ms in 1_u32..) {
        let incoming = Incoming {
            n,
            seq: Some(seq),
            answer_within: Some(Duration::from_millis(ms.into())),
            body_len: d.body.len() as u64,
            traceparent: (n % 2 == 0).then(|| format!("00-{n:032x}-{seq:016x}-01")),
            delivery: Arc::new(d),
        };
        let frame = ToAgent::Delivery(incoming.clone()).encode();
        match ToAgent::decode(frame) {
            Ok(ToAgent::Delivery(got)) => prop_assert_eq!(got.for_tunnel(&"team".parse().unwrap()), incoming),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_trace_that_makes_no_sense_is_none_and_the_delivery_comes_all_the_same(d in delivery(), trace in ".{0,80}") {
        let incoming =
            Incoming { n: 1, seq: None, answer_within: None, body_len: d.body.len() as u64, traceparent: Some(trace), delivery: Arc::new(d) };
        match ToAgent::decode(ToAgent::Delivery(incoming).encode()) {
            Ok(ToAgent::Delivery(got)) => prop_assert!(got.traceparent.is_none_or(|t| t.len() == 55 && t.is_ascii())),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn answers_go_round(h in headers(), status in 200_u16..600, body in proptest::collection::vec(any::<u8>(), 0..3000), n in any::<u64>()) {
        let answer = ToRelay::Answer(Answer {
            n,
            outcome: Ok(AnswerBody { status, headers: h, body_len: body.len() as u64, body: body.into() }),
        });
        prop_assert_eq!(ToRelay::decode(answer.encode()), Ok(answer));
    }

    #[test]
    fn answer_modes_go_round(asked in 1_u64.., other in any::<u64>(), passthrough in any::<bool>(), why in proptest::option::of(".{1,90}")) {
        let mode = if passthrough { AnswerMode::Passthrough } else { AnswerMode::Ack };
        prop_assert_eq!(mode.as_str().parse(), Ok(mode));
        let set = ToRelay::SetAnswer(SetAnswer { asked, mode });
        prop_assert_eq!(ToRelay::decode(set.encode()), Ok(set));
        let answers = ToAgent::Answers(Answers { asked: other, mode, refused: why });
        prop_assert_eq!(ToAgent::decode(answers.encode()), Ok(answers));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ToAgent::decode(bytes.clone().into());
        let _ = ToRelay::decode(bytes.into());
    }

    #[test]
    fn any_damage_to_a_frame_is_read_or_refused(d in delivery(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let incoming = Incoming { n: 1, seq: None, answer_within: None, traceparent: None, body_len: d.body.len() as u64, delivery: Arc::new(d) };
        let mut frame = ToAgent::Delivery(incoming).encode().to_vec();
        let at = at.index(frame.len());
        frame[at] = to;
        let _ = ToAgent::decode(frame.into());
    }
}

#[test]
fn hello_and_welcome_go_round() {
    let hello = ToRelay::Hello(Hello {
        versions: (1, 4),
        device: "laptop".parse().unwrap(),
        software: "healthie-tunnel 0.1.0".into(),
        start: Start::At(Timestamp::from_micros(77)),
        resume: Some(Resume { stream: Bytes::from_static(b"abc"), after: 12 }),
        window_deliveries: 256,
        window_bytes: 8 << 20,
        device_key: DeviceKey::from_slice(&[9; 32]),
    });
    assert_eq!(ToRelay::decode(hello.encode()), Ok(hello));
    let welcome = ToAgent::Welcome(Welcome {
        version: 1,
        tunnel: "team".parse().unwrap(),
        answer_mode: AnswerMode::Passthrough,
        public_urls: vec!["https://team.relay.example.com".into()],
        max_body: 1 << 20,
        heartbeat: Duration::from_secs(5),
        dead_after: Duration::from_secs(12),
        stream: Bytes::from_static(b"abc"),
        after: 3,
        waiting: 9,
        software: "healthie-relay 0.1.0".into(),
        sets_answer: true,
        sealed: true,
        notice: Some("it starts from now".into()),
        read_only: true,
    });
    assert_eq!(ToAgent::decode(welcome.encode()), Ok(welcome));
    for other in [
        ToAgent::Gap(Gap { from: 3, upto: 9, count: 5, reason: GapReason::Size }),
        ToAgent::Refused(Refused { code: Refusal::Version, message: "update".into() }),
        ToAgent::Goodbye("maintenance".into()),
        ToAgent::Ping(7),
        ToAgent::Pong(8),
    ] {
        assert_eq!(ToAgent::decode(other.encode()), Ok(other));
    }
    for other in [
        ToRelay::Taken(vec![1, 5, 9]),
        ToRelay::Answer(Answer { n: 4, outcome: Err(AnswerFailure::Timeout) }),
        ToRelay::Answer(Answer { n: 4, outcome: Err(AnswerFailure::Paused) }),
    ] {
        assert_eq!(ToRelay::decode(other.encode()), Ok(other));
    }
}

/// Field 14, varint: a kind that no version has given a meaning yet.
const UNKNOWN_KIND: [u8; 2] = [14 << 3, 7];
/// Field 15, varint 1: critical.
const CRITICAL: [u8; 2] = [15 << 3, 1];

#[test]
fn a_newer_peer_is_understood_or_told_but_never_a_crash() {
    assert_eq!(ToAgent::decode(Bytes::from_static(&UNKNOWN_KIND)), Ok(ToAgent::Unknown));
    assert_eq!(ToRelay::decode(Bytes::from_static(&UNKNOWN_KIND)), Ok(ToRelay::Unknown));
    let critical: Bytes = [UNKNOWN_KIND, CRITICAL].concat().into();
    assert_eq!(ToAgent::decode(critical.clone()), Err(DecodeError::TooNew));
    assert_eq!(ToRelay::decode(critical), Err(DecodeError::TooNew));
    // A known frame with a field of a later version is the known frame.
    let mut ping = ToAgent::Ping(5).encode().to_vec();
    ping.extend_from_slice(&UNKNOWN_KIND);
    assert_eq!(ToAgent::decode(ping.into()), Ok(ToAgent::Ping(5)));
}

#[test]
fn a_question_without_a_number_and_a_refusal_without_words_are_not_misread() {
    let unnumbered = ToRelay::SetAnswer(SetAnswer { asked: 0, mode: AnswerMode::Ack });
    assert!(matches!(ToRelay::decode(unnumbered.encode()), Err(DecodeError::Invalid { field: "question", .. })));
    let wordless = ToAgent::Answers(Answers { asked: 3, mode: AnswerMode::Ack, refused: Some(String::new()) });
    let Ok(ToAgent::Answers(read)) = ToAgent::decode(wordless.encode()) else { panic!("it is a frame") };
    assert!(read.refused.is_some(), "{read:?}");
    let long = ToAgent::Answers(Answers { asked: 3, mode: AnswerMode::Ack, refused: Some("x".repeat(5000)) });
    let Ok(ToAgent::Answers(read)) = ToAgent::decode(long.encode()) else { panic!("it is a frame") };
    assert_eq!(read.refused.map(|why| why.len()), Some(100));
}

#[test]
fn caps_hold() {
    assert!(matches!(ToAgent::decode(vec![0; MAX_FRAME + 1].into()), Err(DecodeError::TooLong(_))));
    let taken = ToRelay::Taken(vec![1; MAX_TAKEN + 1]);
    assert!(matches!(ToRelay::decode(taken.encode()), Err(DecodeError::Invalid { .. })));
    for data in [Bytes::new(), vec![0; CHUNK + 1].into()] {
        let chunk = ToAgent::Chunk(Chunk { n: 1, offset: 0, data });
        assert!(matches!(ToAgent::decode(chunk.encode()), Err(DecodeError::Invalid { .. })));
    }
    let answer = ToRelay::Answer(Answer {
        n: 1,
        outcome: Ok(AnswerBody {
            status: 200,
            headers: Headers::default(),
            body_len: MAX_BODY + 1,
            body: Bytes::new(),
        }),
    });
    assert!(matches!(ToRelay::decode(answer.encode()), Err(DecodeError::Invalid { .. })));
    for (name, value) in [("a", "b\r\nX: y"), ("", "b"), ("a:b", "c"), ("a\n", "b")] {
        let mut lines = Headers::default();
        lines.push(name, value);
        let answer = ToRelay::Answer(Answer {
            n: 1,
            outcome: Ok(AnswerBody { status: 200, headers: lines, body_len: 0, body: Bytes::new() }),
        });
        assert!(matches!(ToRelay::decode(answer.encode()), Err(DecodeError::Invalid { .. })), "{name:?}: {value:?}");
    }
    let mut many = Headers::default();
    (0..=MAX_HEADER_LINES).for_each(|_| many.push("a", "b"));
    let answer = ToRelay::Answer(Answer {
        n: 1,
        outcome: Ok(AnswerBody { status: 200, headers: many, body_len: 0, body: Bytes::new() }),
    });
    assert!(matches!(ToRelay::decode(answer.encode()), Err(DecodeError::Invalid { .. })));
}

/// One delivery with something in every field.
fn sample() -> Delivery {
    Delivery {
        id: DeliveryId::from_bytes([7; 16]),
        received_at: Timestamp::from_micros(1_800_000_000_123_456),
        tunnel: "team".parse().unwrap(),
        source_ip: "52.4.158.130".parse().unwrap(),
        environment: Environment::Production,
        method: "POST".parse().unwrap(),
        target: "/t/team/hook?x=1".parse().unwrap(),
        prefix_len: 7,
        http_version: HttpVersion::Http11,
        headers: [HeaderLine::new("Host", "a"), HeaderLine::new("X-Y", vec![0xff, 0x20])].into_iter().collect(),
        body: "{}".into(),
        lost: vec![Lost::ChunkBoundaries, Lost::Trailers],
    }
}

/// Agents of other versions are out there: what a frame looks like must not change with the code that writes it.
#[test]
fn a_delivery_has_the_bytes_that_it_always_had() {
    let incoming = |delivery: Delivery| {
        let (body_len, delivery) = (delivery.body.len() as u64, Arc::new(delivery));
        let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        let answer_within = Some(Duration::from_secs(1));
        ToAgent::Delivery(Incoming { n: 1, seq: Some(2), answer_within, body_len, traceparent: trace, delivery })
    };
    let hex = |frame: &ToAgent| frame.encode().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let frame = incoming(sample());
    assert_eq!(
        hex(&frame),
        "1aa001080110021a100707070707070707070707070707070720c0c4e9c4f2a299032a0434049e8230023a04504f535442102f742f7465616d2f686f6f6b3f783d314807500b5a090a04486f73741201615a090a03582d591202ff2062020203680272027b7d78e80782013730302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d3031"
    );
    let ip = "2001:db8::1".parse().unwrap();
    let sealed = Delivery {
        source_ip: ip,
        environment: Environment::Staging,
        http_version: HttpVersion::Sealed,
        lost: vec![Lost::HeaderOrder],
        ..sample()
    };
    assert_eq!(
        hex(&incoming(sealed)),
        "1aac01080110021a100707070707070707070707070707070720c0c4e9c4f2a299032a1020010db800000000000000000000000130013a04504f535442102f742f7465616d2f686f6f6b3f783d31480750ff015a090a04486f73741201615a090a03582d591202ff20620101680272027b7d78e80782013730302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d3031"
    );
}
