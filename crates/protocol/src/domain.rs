//! The frames as the programs see them: checked, typed, and named by who reads them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tunnel_delivery::{Delivery, DeviceKey, DeviceName, Headers, Timestamp, TunnelName};

use crate::limits::{MAX_ANSWER, MAX_BODY, MAX_HEAD, MAX_HEADER_LINES};

/// A frame that the relay sends and an agent reads.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAgent {
    /// The session is open.
    Welcome(Welcome),
    /// There will be no session.
    Refused(Refused),
    /// A delivery, whole or the head of one.
    Delivery(Incoming),
    /// A piece of a delivery's body.
    Chunk(Chunk),
    /// Deliveries are missing.
    Gap(Gap),
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// How the tunnel answers from now on.
    Answers(Answers),
    /// The relay closes the session; the text is for people.
    Goodbye(String),
    /// A frame of a kind that this version does not know and may skip.
    Unknown,
}

/// A frame that an agent sends and the relay reads.
#[derive(Clone, Debug, PartialEq)]
pub enum ToRelay {
    /// The first frame.
    Hello(Hello),
    /// These deliveries are durably stored.
    Taken(Vec<u64>),
    /// A delivery is durably stored, and this is what to answer its sender.
    Answer(Answer),
    /// A piece of an answer's body.
    Chunk(Chunk),
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// The tunnel is to answer otherwise.
    SetAnswer(SetAnswer),
    /// The agent closes the session; the text is for people.
    Goodbye(String),
    /// A frame of a kind that this version does not know and may skip.
    Unknown,
}

/// The agent's first frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// The lowest and the highest version that the agent speaks.
    pub versions: (u32, u32),
    /// The agent's name within its tunnel.
    pub device: DeviceName,
    /// Program and version, for the relay's log; at most 100 characters are kept.
    pub software: String,
    /// Where a device that the tunnel does not know yet starts.
    pub start: Start,
    /// How far the agent knows that it got.
    pub resume: Option<Resume>,
    /// The most deliveries that may be on their way.
    pub window_deliveries: u32,
    /// The most bytes of bodies that may be on their way.
    pub window_bytes: u64,
    /// The public key to which deliveries may be sealed for this device; an older agent has none.
    pub device_key: Option<DeviceKey>,
}

/// Where a new device starts in the tunnel's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on; the first device of a tunnel gets what waited for it too.
    #[default]
    Now,
    /// With the oldest delivery in the spool.
    Beginning,
    /// With the oldest delivery received at that time or later.
    At(Timestamp),
}

/// How far an agent got in a stream it knows by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// [`Welcome::stream`] of the session in which it got there; another one means that `after` says nothing.
    pub stream: Bytes,
    /// Everything up to and including this place is durably stored.
    pub after: u64,
}

/// How a tunnel answers the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerMode {
    /// 200 as soon as the delivery is durably spooled.
    Ack,
    /// The handler's own answer.
    Passthrough,
}

impl AnswerMode {
    /// The mode as it is written: `ack` or `passthrough`.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerMode::Ack => "ack",
            AnswerMode::Passthrough => "passthrough",
        }
    }
}

impl std::str::FromStr for AnswerMode {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "ack" => Ok(AnswerMode::Ack),
            "passthrough" => Ok(AnswerMode::Passthrough),
            _ => Err(format!("{s:?} is neither `ack` nor `passthrough`")),
        }
    }
}

/// The agent asks for another way of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAnswer {
    /// The question's number, for its answer; not 0.
    pub asked: u64,
    /// How the tunnel is to answer.
    pub mode: AnswerMode,
}

/// How the tunnel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The question that this answers; 0 where the mode changed without this agent's asking.
    pub asked: u64,
    /// The mode in force.
    pub mode: AnswerMode,
    /// Why what was asked for was not done, for people.
    pub refused: Option<String>,
}

/// The relay's first frame when it opens the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u32,
    /// The tunnel, as the relay spells it.
    pub tunnel: TunnelName,
    /// How this tunnel answers.
    pub answer_mode: AnswerMode,
    /// Where senders reach the tunnel, best first; each ends without a slash.
    pub public_urls: Vec<String>,
    /// The longest body that the relay takes from senders now, in bytes; what it took earlier may be longer.
    pub max_body: u64,
    /// How long to hear nothing before sending a ping.
    pub heartbeat: Duration,
    /// How long to hear nothing before giving the connection up.
    pub dead_after: Duration,
    /// Names the stream that places count in.
    pub stream: Bytes,
    /// The place after which the relay starts.
    pub after: u64,
    /// How many deliveries wait in the spool.
    pub waiting: u64,
    /// The relay's program and version.
    pub software: String,
    /// Whether the relay takes [`SetAnswer`].
    pub sets_answer: bool,
    /// Whether what comes in for the tunnel from now on is sealed to its devices.
    pub sealed: bool,
    /// Something that the agent's user should know, in words for people.
    pub notice: Option<String>,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No common version.
    Version,
    /// The hello is not acceptable.
    BadHello,
    /// The relay has as many agents as it allows.
    TooMany,
    /// The relay cannot serve now.
    Unavailable,
    /// A code that this version does not know.
    Other(u32),
}

/// The relay's first frame when it does not open the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// For programs.
    pub code: Refusal,
    /// For people.
    pub message: String,
}

/// A delivery on its way to the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Its number in this session.
    pub n: u64,
    /// Its place in the tunnel's stream; `None` where it was not spooled.
    pub seq: Option<u64>,
    /// How long the sender waits for the handler's answer; `None` where no answer is wanted.
    pub answer_within: Option<Duration>,
    /// The length of the whole body in bytes; `delivery.body` is empty where it follows in chunks.
    pub body_len: u64,
    /// The delivery.
    pub delivery: Arc<Delivery>,
}

impl Incoming {
    /// Whether a delivery is within the caps on frames. One that is not can never be sent, so it must not be taken.
    pub fn fits(delivery: &Delivery) -> bool {
        let lines = &delivery.headers.0;
        let head = delivery.method.as_str().len() + delivery.target.as_str().len();
        let head = head + lines.iter().map(|l| l.name.len() + l.value.len()).sum::<usize>();
        lines.len() <= MAX_HEADER_LINES && head <= MAX_HEAD && delivery.body.len() as u64 <= MAX_BODY
    }
}

impl AnswerBody {
    /// Whether an answer is within the caps on frames and on answers.
    pub fn fits(&self) -> bool {
        let head: usize = self.headers.iter().map(|l| l.name.len() + l.value.len()).sum();
        self.headers.0.len() <= MAX_HEADER_LINES && head <= MAX_HEAD && self.body_len <= MAX_ANSWER
    }
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The delivery's number in this session.
    pub n: u64,
    /// Where the piece belongs, in bytes from the body's beginning.
    pub offset: u64,
    /// The piece; not empty.
    pub data: Bytes,
}

/// What to answer the sender of a delivery. The body of an answer may follow in chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The delivery's number in this session.
    pub n: u64,
    /// The handler's answer, or why there is none.
    pub outcome: Result<AnswerBody, AnswerFailure>,
}

/// A handler's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerBody {
    /// The status, 200 to 599.
    pub status: u16,
    /// The header lines, without those of the connection.
    pub headers: Headers,
    /// The length of the whole body in bytes.
    pub body_len: u64,
    /// The body; empty where it follows in chunks.
    pub body: Bytes,
}

/// Why a handler gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerFailure {
    /// Nothing accepted the connection.
    Unreachable,
    /// It took too long.
    Timeout,
    /// It closed early or sent something that is not HTTP.
    Broken,
    /// The agent could not store the delivery.
    NotStored,
    /// The agent was told not to forward this delivery.
    NotForwarded,
    /// The handler's answer is longer than what is sent up.
    TooLarge,
    /// The agent's forwarding is paused; the delivery was stored.
    Paused,
    /// A reason that this version does not know.
    Other(u32),
}

/// Deliveries that are gone from the spool before the agent had them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing place.
    pub from: u64,
    /// The last missing place.
    pub upto: u64,
    /// How many are missing.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why deliveries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// They were older than the relay keeps them.
    Age,
    /// The tunnel's share of the disk was used up.
    Size,
    /// The owner removed them.
    Removed,
    /// The relay cannot read them back from its disk.
    Unreadable,
    /// A reason that this version does not know.
    Other(u32),
}
