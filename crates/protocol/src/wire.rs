//! The messages as they are on the wire. Private: everybody else sees the checked types of `domain`.
//!
//! A number, once given, keeps its meaning for good. Integers that name something are open: an unknown value is handled where it is read.

use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ToAgent {
    #[prost(bool, tag = "15")]
    pub(crate) critical: bool,
    #[prost(oneof = "ToAgentKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) kind: Option<ToAgentKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ToAgentKind {
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    #[prost(message, tag = "2")]
    Refused(Refused),
    #[prost(message, tag = "3")]
    Delivery(Delivery),
    #[prost(message, tag = "4")]
    Chunk(Chunk),
    #[prost(message, tag = "5")]
    Gap(Gap),
    #[prost(uint64, tag = "6")]
    Ping(u64),
    #[prost(uint64, tag = "7")]
    Pong(u64),
    #[prost(message, tag = "8")]
    Goodbye(Goodbye),
    #[prost(message, tag = "9")]
    Answers(Answers),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ToRelay {
    #[prost(bool, tag = "15")]
    pub(crate) critical: bool,
    #[prost(oneof = "ToRelayKind", tags = "1, 2, 3, 4, 6, 7, 8, 9")]
    pub(crate) kind: Option<ToRelayKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ToRelayKind {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Taken(Taken),
    #[prost(message, tag = "3")]
    Answer(Answer),
    #[prost(message, tag = "4")]
    Chunk(Chunk),
    #[prost(uint64, tag = "6")]
    Ping(u64),
    #[prost(uint64, tag = "7")]
    Pong(u64),
    #[prost(message, tag = "8")]
    Goodbye(Goodbye),
    #[prost(message, tag = "9")]
    SetAnswer(SetAnswer),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) version_min: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) version_max: u32,
    #[prost(string, tag = "3")]
    pub(crate) device: String,
    #[prost(string, tag = "4")]
    pub(crate) software: String,
    /// 0 now, 1 beginning, 2 at `start_at`.
    #[prost(uint32, tag = "5")]
    pub(crate) start: u32,
    #[prost(int64, tag = "6")]
    pub(crate) start_at: i64,
    #[prost(uint32, tag = "7")]
    pub(crate) window_deliveries: u32,
    #[prost(uint64, tag = "8")]
    pub(crate) window_bytes: u64,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) resume_stream: Bytes,
    #[prost(uint64, tag = "10")]
    pub(crate) resume_after: u64,
    /// Empty: none.
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) device_key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Welcome {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, tag = "2")]
    pub(crate) tunnel: String,
    /// 0 ack, 1 passthrough.
    #[prost(uint32, tag = "3")]
    pub(crate) answer_mode: u32,
    #[prost(string, repeated, tag = "4")]
    pub(crate) public_urls: Vec<String>,
    #[prost(uint64, tag = "5")]
    pub(crate) max_body: u64,
    #[prost(uint32, tag = "6")]
    pub(crate) heartbeat_ms: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) dead_after_ms: u32,
    #[prost(bytes = "bytes", tag = "8")]
    pub(crate) stream: Bytes,
    #[prost(uint64, tag = "9")]
    pub(crate) after: u64,
    #[prost(uint64, tag = "10")]
    pub(crate) waiting: u64,
    #[prost(string, tag = "11")]
    pub(crate) software: String,
    #[prost(bool, tag = "12")]
    pub(crate) sets_answer: bool,
    #[prost(bool, tag = "13")]
    pub(crate) sealed: bool,
    /// Empty: none.
    #[prost(string, tag = "14")]
    pub(crate) notice: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refused {
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Line {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delivery {
    #[prost(uint64, tag = "1")]
    pub(crate) n: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) seq: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) id: Bytes,
    #[prost(int64, tag = "4")]
    pub(crate) received_at: i64,
    /// Four or sixteen bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) source_ip: Bytes,
    /// 0 unknown, 1 staging, 2 production.
    #[prost(uint32, tag = "6")]
    pub(crate) environment: u32,
    #[prost(string, tag = "7")]
    pub(crate) method: String,
    #[prost(string, tag = "8")]
    pub(crate) target: String,
    #[prost(uint32, tag = "9")]
    pub(crate) prefix_len: u32,
    /// 10, 11, 20; 255: sealed, and the body is an envelope.
    #[prost(uint32, tag = "10")]
    pub(crate) http_version: u32,
    #[prost(message, repeated, tag = "11")]
    pub(crate) headers: Vec<Line>,
    /// 1 header order, 2 chunk boundaries, 3 trailers; others are skipped.
    #[prost(uint32, repeated, tag = "12")]
    pub(crate) lost: Vec<u32>,
    #[prost(uint64, tag = "13")]
    pub(crate) body_len: u64,
    #[prost(bytes = "bytes", tag = "14")]
    pub(crate) body: Bytes,
    /// 0: no answer is wanted.
    #[prost(uint32, tag = "15")]
    pub(crate) answer_within_ms: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Chunk {
    #[prost(uint64, tag = "1")]
    pub(crate) n: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) offset: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Taken {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) n: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(uint64, tag = "1")]
    pub(crate) n: u64,
    /// 0: there is no answer, see `failure`.
    #[prost(uint32, tag = "2")]
    pub(crate) status: u32,
    #[prost(message, repeated, tag = "3")]
    pub(crate) headers: Vec<Line>,
    #[prost(uint64, tag = "4")]
    pub(crate) body_len: u64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) body: Bytes,
    /// 1 unreachable, 2 timeout, 3 broken, 4 not stored, 5 not forwarded, 6 too large, 7 paused.
    #[prost(uint32, tag = "6")]
    pub(crate) failure: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Gap {
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) upto: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) count: u64,
    /// 1 age, 2 size, 3 removed by the owner, 4 unreadable.
    #[prost(uint32, tag = "4")]
    pub(crate) reason: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Goodbye {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SetAnswer {
    #[prost(uint64, tag = "1")]
    pub(crate) asked: u64,
    /// As in [`Welcome`].
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answers {
    #[prost(uint64, tag = "1")]
    pub(crate) asked: u64,
    /// As in [`Welcome`].
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    /// Empty: it was done.
    #[prost(string, tag = "3")]
    pub(crate) refused: String,
}
