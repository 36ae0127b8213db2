//! Which deliveries a command is about: as it travels to a running agent, as a question to the archive, and as a test of what just came.

use serde::{Deserialize, Serialize};
use tunnel_archive::{Cursor, EventPattern, Order, Query};
use tunnel_delivery::{AnswerClass, SignatureStatus, Summary, Timestamp, TunnelName};

/// Conditions that must all hold; those that are empty hold for everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// One of these patterns of event names.
    pub events: Vec<String>,
    /// This resource type.
    pub resource_type: Option<String>,
    /// This resource.
    pub resource_id: Option<String>,
    /// One of these.
    pub signature: Vec<SignatureStatus>,
    /// One of these.
    pub status: Vec<AnswerClass>,
    /// Received then or later.
    pub since: Option<Timestamp>,
    /// Received then or earlier.
    pub until: Option<Timestamp>,
    /// This tunnel.
    pub tunnel: Option<TunnelName>,
    /// The body has this text.
    pub text: Option<String>,
    /// Seems to repeat an earlier delivery, or does not.
    pub duplicates: Option<bool>,
    /// What must hold besides, in the query language.
    pub query: String,
    /// At most so many.
    pub limit: Option<usize>,
    /// Oldest first.
    pub oldest_first: bool,
    /// Where the list before ended.
    pub cursor: Option<String>,
}

/// A list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// The deliveries.
    pub items: Vec<Summary>,
    /// Where to go on; absent at the end.
    pub next: Option<String>,
}

impl Filter {
    /// As a question to the archive; what only the query says is not in it.
    pub fn query(&self, limit: usize, cursor: Option<Cursor>) -> Query {
        Query {
            order: if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
            limit,
            cursor,
            from: self.since,
            until: self.until,
            events: self.events.iter().map(|p| EventPattern::new(p.clone())).collect(),
            resource_type: self.resource_type.clone(),
            resource_id: self.resource_id.clone(),
            signature: self.signature.clone(),
            answer: self.status.clone(),
            tunnel: self.tunnel.clone(),
            duplicates: self.duplicates,
            text: self.text.clone(),
            ..Query::default()
        }
    }

    /// Whether a delivery is meant, as far as its summary tells: everything but the text and the query.
    pub fn matches(&self, s: &Summary) -> bool {
        let name = s.event_type.as_deref();
        (self.events.is_empty() || self.events.iter().any(|p| name.is_some_and(|n| tunnel_catalogue::matches(p, n))))
            && self.resource_type.as_ref().is_none_or(|t| s.resource_id_type.as_ref() == Some(t))
            && self.resource_id.as_ref().is_none_or(|id| s.resource_id.as_ref() == Some(id))
            && (self.signature.is_empty() || self.signature.contains(&s.signature))
            && (self.status.is_empty() || self.status.contains(&s.answer.class))
            && self.since.is_none_or(|t| s.received_at >= t)
            && self.until.is_none_or(|t| s.received_at <= t)
            && self.duplicates.is_none_or(|d| d == s.duplicate_of.is_some())
            && self.tunnel.as_ref().is_none_or(|t| s.tunnel == *t)
    }
}
