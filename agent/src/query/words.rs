//! The words of the language as data: help and messages are printed from here.

/// One kind of condition.
#[derive(Debug)]
pub struct Word {
    /// What stands before the colon.
    pub name: &'static str,
    /// What may stand after it.
    pub values: &'static str,
    /// What it means, in one line.
    pub about: &'static str,
}

/// Every condition there is.
pub const WORDS: &[Word] = &[
    Word { name: "event", values: "appointment.*", about: "events of this pattern" },
    Word { name: "type", values: "Appointment", about: "this type of resource" },
    Word { name: "resource", values: "12345", about: "this resource id" },
    Word {
        name: "status",
        values: "2xx 3xx 4xx 5xx error failed queued none 503",
        about: "what the last attempt came to; failed is all but 2xx",
    },
    Word { name: "sig", values: "valid invalid unsigned no-secret", about: "the signature" },
    Word { name: "env", values: "staging production unknown", about: "Healthie's environment" },
    Word { name: "tunnel", values: "team", about: "this tunnel" },
    Word { name: "since", values: "24h 2026-11-21T09:30:00Z", about: "received then or later" },
    Word { name: "until", values: "1h", about: "received then or earlier" },
    Word {
        name: "is",
        values: "pinned repeat repeated retried",
        about: "marks; a repeat seems to be an earlier one again",
    },
    Word { name: "text", values: "\"no show\"", about: "the body has this text; so does a word without a colon" },
];
