//! Deliveries sealed to the agents' public keys. This comment is the specification; the modules below are its only implementation.
//!
//! # What it is for
//! A relay that seals keeps in its spool, and sends down to agents, what only the agents can open. It seals at its edge: after it has read a request and
//! given it an id, before the request goes anywhere else. It holds no key that opens anything.
//!
//! # What it does not protect from
//! - The relay's process itself: it sees each request in the clear between TLS and sealing, and that memory is the HTTP server's, which does not wipe it. Whoever
//!   takes over a *running* relay reads what comes in from then on; what was spooled before stays shut.
//! - Forgery. Sealing says nothing about who sealed: whoever knows the public keys can. That it came through the relay is TLS's to say, that Healthie
//!   sent it is the signature's inside.
//! - What stays outside: see below. Lengths are blurred, not hidden; how many come and when is not hidden.
//! - A device whose key is stolen, for all that was ever sealed to it: there is no forward secrecy towards the recipients' own keys. X25519 does not withstand a
//!   large quantum computer.
//! - The handler's answer in passthrough travels back in the clear (within TLS), since the relay has to give it to the sender.
//!
//! # What is inside and what stays outside
//! Inside: method, target with the length of its prefix, HTTP version, header lines, what the recording lost, body. Outside: the delivery's id and time, by which
//! it is stored, ordered and acknowledged; the tunnel; the source address and the environment that it says, which the relay's rules and its log use and which
//! name Healthie's servers and nobody's patient; the length of the envelope. All that stays outside is bound to the envelope: changed, it does not open.
//!
//! A sealed delivery is a [`Delivery`] whose [`HttpVersion`] is `Sealed`, a value that no sender can bring about, with the envelope as its body, the method
//! `SEALED`, the target `/` and no header lines. A program that does not know of sealing refuses that version wherever it reads it.
//!
//! # The envelope, version 1
//! Numbers are big-endian.
//! ```text
//! magic       3   "HTE"
//! version     1   1
//! count       1   recipients, 1 to 64
//! count times:
//!   key id    8   the first bytes of SHA-256 of the recipient's public key
//!   enc      32   HPKE's encapsulated key
//!   wrapped  48   the content key, sealed with HPKE
//! content         AES-256-GCM over the padded plain text, its tag (16) at the end
//! ```
//! *Context* is `"healthie-tunnel sealed delivery 1"`, a zero, the id (16), the time (8, microseconds), the environment (1: 0 unknown, 1 staging, 2 production), the
//! source address (its length in 1, then 4 or 16), the tunnel's name (its length in 1, then the name).
//!
//! *Content key*: 32 random bytes for each delivery. It encrypts one text, so that the nonce is zero. The associated data is the context followed by everything that
//! stands before the content: no recipient can be added, removed or exchanged.
//!
//! *Wrapping*: HPKE (RFC 9180) in base mode, one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; `info` is the context, `aad` the key id.
//!
//! *Plain text*: length of the head (4), head (Protocol Buffers, `content.rs`), body, and zeros up to the next length of [Padmé](https://petsymposium.org/2019/files/papers/issue4/popets-2019-0056.pdf)
//! and at least 512 bytes: at most 12 % more.
//!
//! # Caps
//! [`MAX_RECIPIENTS`] recipients; a head of [`MAX_HEAD`] bytes of method, target and lines and [`MAX_LINES`] lines; [`MAX_BODY`] bytes of body. What is opened is as suspect as what comes
//! from the network, because everybody can seal: it is checked like that.
//!
//! # Keys
//! A device makes one X25519 pair and keeps it ([`KeyRing`]); the relay knows the public half ([`DeviceKey`]). A ring may hold older pairs: they open what was sealed to
//! them. Content keys and private keys are wiped from memory when they are done with.
//!
//! HPKE, AES-GCM and SHA-256 are aws-lc's, through rustls and aws-lc-rs: what both programs speak TLS with. Randomness comes from there too and is not an argument: a caller
//! that chose it could only choose wrongly.

mod content;
mod envelope;
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod padding;

pub use content::{MAX_BODY, MAX_HEAD, MAX_LINES};
pub use envelope::{MAX_RECIPIENTS, OpenError, SealError, open, seal, sealed_len};
pub use keys::{KeyError, KeyPair, KeyRing, MAX_KEYS, is_usable};

#[cfg(doc)]
use tunnel_delivery::{Delivery, DeviceKey, HttpVersion};
