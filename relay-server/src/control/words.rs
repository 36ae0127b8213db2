//! What is said over the socket, in JSON, and which of it the audit log is told. Nothing here knows who says it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};

use super::{LOOK_WITHIN, TIDY_WITHIN, WITHIN};
use crate::audit::{Entry, What, Who};
use crate::tls::certificates::Standing;
use crate::tokens::TokenId;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub(crate) enum Question {
    /// The devices of one tunnel, or of all.
    Devices { tunnel: Option<TunnelName> },
    /// How much waits for this tunnel's agents.
    Waiting { tunnel: TunnelName },
    /// Keep nothing for this device any more.
    Forget { tunnel: TunnelName, device: DeviceName },
    /// Drop all that waits for this tunnel's agents.
    Purge { tunnel: TunnelName },
    /// Answer once the bytes of what was dropped so far have left the spool's file.
    Tidied,
    /// Drop all that is spooled for a tunnel that was removed.
    Drop { tunnel: TunnelName },
    /// How the certificates stand.
    Certificates,
    /// Look at the certificate files now.
    Reload,
    /// Look at everything that can be looked at again, the settings included.
    LookAgain,
    /// Get a new certificate from the ACME server now.
    Renew,
    /// The registry was changed: take it over now.
    Changed,
    /// What holds for tunnels that say nothing else.
    Limits,
    /// When each token last opened a session, as far as this process saw.
    Used,
    /// Write a backup behind the answer ([`crate::backup`], uncompressed).
    Backup,
}

impl Question {
    /// How long its answer may take.
    pub(super) fn within(&self) -> Duration {
        match self {
            Question::Purge { .. } | Question::Drop { .. } | Question::Tidied => TIDY_WITHIN,
            Question::Changed | Question::LookAgain => LOOK_WITHIN,
            _ => WITHIN,
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "lowercase")]
pub(crate) enum Told {
    Devices {
        devices: Vec<Device>,
        /// Those of the tunnels that were asked for which nobody takes anything from.
        #[serde(default)]
        without: Vec<Without>,
    },
    Waiting {
        /// That somebody has not taken.
        deliveries: u64,
        /// Of all that is stored for the tunnel.
        bytes: u64,
    },
    Forgotten,
    /// How many deliveries, that somebody had not taken.
    Purged {
        deliveries: u64,
    },
    /// Nobody can read it any more.
    Dropped,
    Tidied {
        /// Whether they have; otherwise the spool is being copied, and they leave when that has ended.
        whole: bool,
    },
    Limits {
        /// The longest body, in bytes.
        max_body: u64,
        /// The most that a tunnel may hold, in bytes.
        spool_bytes: u64,
    },
    Certificates {
        certificates: Vec<Standing>,
    },
    Used {
        used: BTreeMap<TokenId, Timestamp>,
    },
    /// It was looked at.
    LookedAgain {
        #[serde(flatten)]
        reloaded: Reloaded,
    },
    /// It is in force.
    Taken,
    /// It is to come, and for what it waits.
    Waits {
        why: String,
    },
    /// It is begun.
    Begun,
    /// It cannot be done, and why.
    No {
        why: String,
    },
}

/// What came of looking at everything again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// What cannot be used; what was read before stays in force.
    pub(crate) problems: Vec<String>,
    /// Settings that have changed and wait for a restart.
    pub(crate) waiting: Vec<String>,
    /// Whether the settings cannot be read as such: the file is no settings file, or holds keys or values that there are none of.
    #[serde(default)]
    pub(crate) mistaken: bool,
}

/// Somebody's wish that everything be looked at again, and where to say what came of it.
pub(crate) type Wish = oneshot::Sender<Reloaded>;

/// A device of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) tunnel: TunnelName,
    pub(crate) device: DeviceName,
    pub(crate) connected: bool,
    /// Whether it only looks, with a read-only token.
    #[serde(default)]
    pub(crate) only_looks: bool,
    /// When it was last there, as far as is known.
    pub(crate) last_seen: Timestamp,
    /// Whether it may have been there for longer: the relay ended while it was.
    #[serde(default)]
    pub(crate) perhaps_longer: bool,
    /// How many deliveries are spooled that it has not taken.
    pub(crate) waiting: u64,
    /// How many were dropped before it could take them, and it was not told yet.
    pub(crate) missed: u64,
}

/// A tunnel without a device that deliveries are kept for: none has come yet, or those that had were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Without {
    pub(crate) tunnel: TunnelName,
    /// How many deliveries wait for the first that comes.
    pub(crate) waiting: u64,
}

/// The line for it, with a running relay or without one.
pub(super) fn noted(question: &Question, told: &Told, who: Who, now: Timestamp) -> Option<Entry> {
    let entry = |what| Entry::new(now, what, who);
    match (question, told) {
        (Question::Forget { tunnel, device }, Told::Forgotten) => {
            Some(entry(What::DeviceForgotten).tunnel(tunnel).device(device))
        }
        (Question::Purge { tunnel }, Told::Purged { deliveries }) => {
            Some(entry(What::Purged).tunnel(tunnel).note(format!("{deliveries} that waited")))
        }
        (Question::Reload, Told::Certificates { .. }) => Some(entry(What::CertificatesReloaded)),
        (Question::Renew, Told::Begun) => Some(entry(What::CertificateRenewal)),
        _ => None,
    }
}
