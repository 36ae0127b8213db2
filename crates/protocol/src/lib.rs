//! The protocol between relay and agent. This comment is its specification; the modules below are its only implementation.
//!
//! # Transport
//! One WebSocket (RFC 6455) per agent, opened by the agent with `GET /agent/v1/TUNNEL` at the relay. The upgrade request carries
//! `Authorization: Bearer TOKEN`; a token that is unknown, revoked or not of that tunnel is answered 401 before the upgrade, so that
//! the refusal is a status that every proxy and log shows, and so that nobody learns which tunnels exist. All messages are binary, each is one
//! frame, and none is longer than [`MAX_FRAME`]; a text message or a longer one ends the session. No extension is negotiated.
//!
//! # Frames
//! A frame is a Protocol Buffers message: [`ToAgent`] or [`ToRelay`], each with one of the kinds below and a flag `critical`. A receiver skips
//! fields it does not know, and a frame of a kind it does not know, unless `critical` is set: then it says so ([`DecodeError::TooNew`]) and
//! ends the session. So new fields and kinds can be added without breaking an older peer; what an older peer must not overlook is sent as
//! `critical`. A field's number and meaning never change.
//!
//! # Hello
//! 1. The agent sends [`Hello`]: the versions it speaks, its device name, where a device new to the tunnel starts, how far it knows it got
//!    ([`Resume`]), and its window. The relay waits for it at most [`HELLO_TIMEOUT`].
//! 2. The relay answers [`Welcome`] with the version chosen (the highest that both speak), the tunnel's answer mode, public addresses,
//!    its limits and the heartbeat to keep; or [`Refused`] with a code and a sentence for people, and closes.
//!
//! # Deliveries
//! The relay sends [`Incoming`]: a delivery's head with its number `n` (counted from 1 in each session), its place `seq` in the tunnel's
//! stream (0 where it was not spooled), and its body if that is at most [`INLINE_BODY`] long. A longer body follows in [`Chunk`]s of at most
//! [`CHUNK`] bytes, each with `n` and its offset, in order, without gaps; frames of other deliveries may come between them, and the sender
//! takes turns ([`Outbox`]), so that a big delivery does not hold up small ones.
//!
//! The agent answers each delivery exactly once, when it has it durably and never before:
//! - [`ToRelay::Taken`] with the numbers of one or more deliveries; or
//! - where the head said `answer_within` (passthrough): [`Answer`] with the handler's status, header lines and body, or with why there is
//!   none. A body over [`INLINE_BODY`] follows in chunks of the same form; one over [`MAX_ANSWER`], or a head that is over the caps, is not sent but told
//!   as [`AnswerFailure::TooLarge`]. An answer says taken too.
//!
//! Order: spooled deliveries are sent in the order of `seq`; they may be taken in another. The relay remembers for each device the greatest `seq` up to
//! which all are taken and starts there when the device comes back. What was taken beyond it, and what was taken when the relay could not
//! note it any more, is sent again: the agent knows a delivery by its id and stores it once.
//!
//! # Sealed deliveries
//! An agent tells its public key in [`Hello`]. Where [`Welcome::sealed`] says so, what comes in from then on is sealed to the keys of the tunnel's devices before
//! it is stored (crates/envelope has the format): such a delivery's HTTP version is 255, its body an envelope, its method, target and lines stand-ins. An agent without a
//! key is refused where deliveries are sealed. Sealed deliveries may come after sealing was turned off, and others after it was turned on: each says what it is.
//! One that the agent cannot open it takes all the same: it will never be able to open it, and what comes behind it must not wait. Answers go up in the clear.
//!
//! # Flow control
//! The relay never has more deliveries, or more bytes of bodies, sent and not yet taken than the window in [`Hello`] allows, except that one
//! delivery may always be on its way ([`Window`]). It may have fewer: the relay caps what it holds for one agent. There is no other credit: taking
//! is what opens the window.
//!
//! # Gaps
//! [`Gap`] tells the agent that deliveries it never saw are gone from the spool (age, size), with the bounds of what is missing.
//!
//! # Answer mode
//! Where [`Welcome::sets_answer`] says so, and only there, the agent may ask for another way of answering the tunnel's senders with [`SetAnswer`]: a
//! number of its own (not 0) and the mode. The relay answers [`Answers`] with that number and either the mode that is in force from now on, durably and for
//! all that comes in later, or the one that was and why it stays. What came in before is answered as it began. Whenever the mode changes, whoever changed
//! it, the relay sends [`Answers`] with the number 0 to the tunnel's other agents. An agent that does not know the frame skips it. An agent may have one
//! question open; the relay refuses a second one.
//!
//! # Heartbeat
//! Either side sends [`ToAgent::Ping`]/[`ToRelay::Ping`] once in the heartbeat's interval, whatever else it sends, and answers a ping with a pong of
//! the same number. Anything heard counts as life: so each hears the other even while its own pings wait behind a big body on a slow line. Who has
//! heard nothing for the heartbeat's `dead_after` drops the connection ([`Heartbeat`]).
//!
//! # Goodbye
//! [`ToAgent::Goodbye`]/[`ToRelay::Goodbye`] says that the sender is about to close and why, in words for people.
//!
//! This room knows nothing of sockets and of the clock: time is an argument.

mod chunks;
mod codec;
mod domain;
mod heartbeat;
mod limits;
mod outbox;
mod window;
mod wire;

pub use chunks::{Assembled, Assembler, ChunkError};
pub use codec::DecodeError;
pub use domain::{
    Answer, AnswerBody, AnswerFailure, AnswerMode, Answers, Chunk, Gap, GapReason, Hello, Incoming, Refusal, Refused,
    Resume, SetAnswer, Start, ToAgent, ToRelay, Welcome,
};
pub use heartbeat::{Beat, Heartbeat};
pub use limits::{
    CHUNK, HELLO_TIMEOUT, INLINE_BODY, MAX_ANSWER, MAX_BODY, MAX_FRAME, MAX_HEAD, MAX_HEADER_LINES, MAX_TAKEN,
    VERSION_MAX, VERSION_MIN, choose_version,
};
pub use outbox::{ChunkFrame, Outbox};
pub use window::Window;
