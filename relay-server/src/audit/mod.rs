//! The audit log: who did what to tunnels, tokens, devices and certificates, and which agents were there. One JSON object a line, in `audit.jsonl` of
//! the data folder; `file` is how they get there, `writer` how the running relay hands them over without waiting.
//!
//! It names tunnels, devices, addresses and the public part of tokens; never a secret, a body or a header. Lines are only ever added. Each is on the disk
//! (fdatasync) before the next batch is taken up: a command's before it exits, the relay's some milliseconds after it happened, so that a power cut can cost
//! the last moments. What agents do as often as they like, connecting first of all, has a line for each as long as that is some sixty in an hour for a token, a
//! tunnel and a kind; what is beyond that is told as a number every ten minutes, so that nobody who has a good token pushes everything else out of the files
//! ([`Audit::sum_up`]; a kill costs that number). A line that cannot be written is told in the log of the relay, loudly, and counted in the next line that can; deliveries
//! go on.

mod file;
mod writer;

use std::net::IpAddr;

use serde::Serialize;
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};

pub(crate) use file::{agents_from, append, is_part, parts, read};
pub(crate) use tunnel_journal::Found;
pub(crate) use writer::Audit;

use crate::tokens::TokenId;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// The relay began to serve.
    RelayStarted,
    /// The relay was told to stop.
    RelayStopped,
    /// A tunnel was added.
    TunnelAdded,
    /// A tunnel's settings were changed.
    TunnelChanged,
    /// A tunnel was removed.
    TunnelRemoved,
    /// A token was created.
    TokenCreated,
    /// A token opens one more tunnel.
    TokenGranted,
    /// A token opens a tunnel no more.
    TokenWithdrawn,
    /// A token got a new secret.
    TokenRotated,
    /// A token was revoked.
    TokenRevoked,
    /// An agent's session began.
    AgentConnected,
    /// An agent's session ended.
    AgentDisconnected,
    /// A tunnel answers its senders otherwise.
    AnswerChanged,
    /// Nothing is kept for a device any more.
    DeviceForgotten,
    /// What was spooled for a tunnel was removed.
    Purged,
    /// Certificate files were taken over by hand.
    CertificatesReloaded,
    /// A new certificate was asked for by hand.
    CertificateRenewal,
    /// A certificate from an ACME server is in force.
    CertificateRenewed,
    /// Everything in the data folder was copied.
    BackedUp,
    /// The data folder was made from a backup.
    Restored,
    /// The spool has another key, or its encryption was turned on or off.
    SpoolRekeyed,
    /// A device told the key that deliveries are sealed to, its first or another one.
    DeviceKeyed,
    /// Lines before this one could not be written.
    LinesLost,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub(crate) enum Who {
    /// An operator by a command, as this user of the system.
    Operator {
        /// The user's number.
        uid: u32,
    },
    /// An agent.
    Agent {
        /// With this token.
        with_token: TokenId,
    },
    /// The relay by itself.
    Relay,
}

impl Who {
    /// The operator who runs this process.
    pub(crate) fn operator() -> Who {
        Who::Operator { uid: rustix::process::getuid().as_raw() }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
    #[serde(flatten)]
    pub(crate) who: Who,
    /// Where it came from, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<IpAddr>,
    /// The tunnels that it was done to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tunnels: Vec<TunnelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<DeviceName>,
    /// The token that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenId>,
    /// How often it was done, where several are told as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u64>,
    /// What else is to be known, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Entry {
    /// That was done, and nothing more is said about it yet.
    pub(crate) fn new(at: Timestamp, what: What, who: Who) -> Entry {
        Entry { at, what, who, from: None, tunnels: Vec::new(), device: None, token: None, times: None, note: None }
    }

    pub(crate) fn from(self, address: IpAddr) -> Entry {
        Entry { from: Some(address), ..self }
    }

    pub(crate) fn tunnel(mut self, tunnel: &TunnelName) -> Entry {
        self.tunnels.push(tunnel.clone());
        self
    }

    pub(crate) fn device(self, device: &DeviceName) -> Entry {
        Entry { device: Some(device.clone()), ..self }
    }

    pub(crate) fn token(self, token: &TokenId) -> Entry {
        Entry { token: Some(token.clone()), ..self }
    }

    pub(crate) fn times(self, times: u64) -> Entry {
        Entry { times: Some(times), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Entry {
        Entry { note: Some(note.into()), ..self }
    }

    /// The line, with its end.
    fn line(&self) -> String {
        // Nothing in it can fail to be JSON.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}
