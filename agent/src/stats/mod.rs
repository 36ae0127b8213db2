//! Figures about many deliveries: how many, by what, how long handlers took, and how they lie in time. Pure, one line of a list after the
//! other, in memory that does not grow with their number: groups and buckets are bounded, and what has no room is counted under `others`.
//!
//! Owns counting. It does not own reading the archive (`control/stats`) or printing (`cli/events/stats`).

mod durations;
mod timeline;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tunnel_delivery::{AnswerClass, Summary, Timestamp};

pub use durations::Durations;
pub use timeline::{Bucket, Timeline};

/// The most groups that are told apart; the deliveries that would make more are counted together.
pub const MOST_GROUPS: usize = 10_000;

/// What deliveries are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The event's name.
    Event,
    /// What the last attempt came to.
    Answer,
    /// The verdict.
    Signature,
    /// Healthie's environment.
    Environment,
    /// The resource, type and id.
    Resource,
    /// The tunnel.
    Tunnel,
    /// The hour of UTC.
    Hour,
    /// The day of UTC.
    Day,
}

impl By {
    /// All of them.
    pub const ALL: [By; 8] =
        [By::Event, By::Answer, By::Signature, By::Environment, By::Resource, By::Tunnel, By::Hour, By::Day];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Event => "event",
            By::Answer => "answer",
            By::Signature => "signature",
            By::Environment => "environment",
            By::Resource => "resource",
            By::Tunnel => "tunnel",
            By::Hour => "hour",
            By::Day => "day",
        }
    }

    /// Whether groups follow each other in time.
    pub fn is_time(self) -> bool {
        matches!(self, By::Hour | By::Day)
    }

    /// The group of a delivery.
    fn of(self, s: &Summary) -> String {
        let time = |len: usize| s.received_at.to_string().get(..len).unwrap_or("-").replace('T', " ");
        match self {
            By::Event => s.event_type.clone().unwrap_or_else(|| "(no event)".to_owned()),
            By::Answer => s.answer.class.as_str().to_owned(),
            By::Signature => s.signature.as_str().to_owned(),
            By::Environment => s.environment.as_str().to_owned(),
            By::Resource => match (&s.resource_id_type, &s.resource_id) {
                (None, None) => "(no resource)".to_owned(),
                (kind, id) => [kind.as_deref(), id.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "),
            },
            By::Tunnel => s.tunnel.to_string(),
            By::Hour => format!("{}:00", time(13)),
            By::Day => time(10),
        }
    }
}

/// How many deliveries, and what came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Deliveries.
    pub deliveries: u64,
    /// Attempts.
    pub attempts: u64,
    /// The length of their bodies together, in bytes.
    pub body_bytes: u64,
    /// By what the last attempt came to; a class that did not occur is absent.
    pub answers: BTreeMap<AnswerClass, u64>,
    /// Of how many the last attempt was none that succeeded; what waits, or was not to be forwarded, is not counted.
    pub failed: u64,
    /// How long the last attempts took that had an answer: half of them at most so long, in milliseconds, within 3 %.
    pub p50_ms: Option<f64>,
    /// 99 of 100 of them.
    pub p99_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
}

/// A group and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// All of them together.
    pub total: Counts,
    /// When the first and the last were received.
    pub first: Option<Timestamp>,
    /// The last.
    pub last: Option<Timestamp>,
    /// How many look like repeats of an earlier one.
    pub repeats: u64,
    /// What the groups were made by.
    pub by: Option<By>,
    /// The groups: by time as time goes, otherwise the largest first.
    pub groups: Vec<Group>,
    /// What is in none of the groups because there are too many of them.
    pub others: Option<Counts>,
    /// How they lie in time, oldest first.
    pub timeline: Vec<Bucket>,
}

/// A group while it is counted.
#[derive(Clone, Debug, Default)]
struct Count {
    counts: Counts,
    took: Durations,
}

impl Count {
    fn add(&mut self, s: &Summary) {
        let c = &mut self.counts;
        c.deliveries += 1;
        c.attempts += u64::from(s.attempts);
        c.body_bytes += s.body_len;
        *c.answers.entry(s.answer.class).or_default() += 1;
        c.failed += u64::from(failed(s.answer.class));
        if s.answer.status.is_some() {
            self.took.add(s.answer.duration_us);
        }
    }

    fn done(self) -> Counts {
        let ms = |us: u64| us as f64 / 1000.0;
        Counts {
            p50_ms: self.took.quantile(0.5).map(ms),
            p99_ms: self.took.quantile(0.99).map(ms),
            max_ms: self.took.max().map(ms),
            ..self.counts
        }
    }
}

/// Whether the last attempt was made and did not succeed.
pub fn failed(class: AnswerClass) -> bool {
    matches!(class, AnswerClass::Redirect | AnswerClass::Refused | AnswerClass::Failed | AnswerClass::Error)
}

/// Counts.
#[derive(Debug)]
pub struct Tally {
    by: Option<By>,
    most: usize,
    total: Count,
    groups: BTreeMap<String, Count>,
    others: Option<Count>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    repeats: u64,
    timeline: Timeline,
}

impl Tally {
    /// Of nothing yet. Of more groups than `most`, those that come first are told apart.
    pub fn new(by: Option<By>, most: usize) -> Tally {
        Tally {
            by,
            most,
            total: Count::default(),
            groups: BTreeMap::new(),
            others: None,
            first: None,
            last: None,
            repeats: 0,
            timeline: Timeline::default(),
        }
    }

    /// One more.
    pub fn add(&mut self, s: &Summary) {
        self.total.add(s);
        self.repeats += u64::from(s.duplicate_of.is_some());
        self.first = Some(self.first.map_or(s.received_at, |first| first.min(s.received_at)));
        self.last = self.last.max(Some(s.received_at));
        self.timeline.add(s.received_at, failed(s.answer.class));
        let Some(by) = self.by else { return };
        let name = by.of(s);
        let room = self.groups.len() < self.most;
        match self.groups.get_mut(&name) {
            Some(group) => group.add(s),
            None if room => self.groups.entry(name).or_default().add(s),
            None => self.others.get_or_insert_default().add(s),
        }
    }

    /// What it came to; the timeline in at most so many buckets.
    pub fn done(self, buckets: usize) -> Stats {
        let mut groups: Vec<Group> =
            self.groups.into_iter().map(|(name, count)| Group { name, counts: count.done() }).collect();
        // By time they are in order already.
        if !self.by.is_some_and(By::is_time) {
            groups.sort_by_key(|group| std::cmp::Reverse(group.counts.deliveries));
        }
        Stats {
            total: self.total.done(),
            first: self.first,
            last: self.last,
            repeats: self.repeats,
            by: self.by,
            groups,
            others: self.others.map(Count::done),
            timeline: self.timeline.done(buckets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::sample::line;
    use proptest::prelude::*;

    fn of(n: u32, by: Option<By>, most: usize) -> Stats {
        let mut tally = Tally::new(by, most);
        (0..n).for_each(|i| tally.add(&line(i)));
        tally.done(40)
    }

    #[test]
    fn figures_add_up() {
        let stats = of(1000, Some(By::Event), 100);
        assert_eq!(stats.total.deliveries, 1000);
        assert_eq!(stats.total.answers.values().sum::<u64>(), 1000);
        assert_eq!(stats.groups.len(), 5);
        assert_eq!(stats.groups.iter().map(|g| g.counts.deliveries).sum::<u64>(), 1000);
        assert_eq!(stats.timeline.iter().map(|b| b.deliveries).sum::<u64>(), 1000);
        assert_eq!(stats.timeline.iter().map(|b| b.failed).sum::<u64>(), stats.total.failed);
        let failing = &stats.total.answers;
        assert_eq!(stats.total.failed, failing[&AnswerClass::Failed] + failing[&AnswerClass::Error]);
        // The sample takes 4.2 ms and 997 us more each time.
        let p50 = stats.total.p50_ms.unwrap();
        assert!((480.0..530.0).contains(&p50), "{p50}");
        assert!(stats.total.max_ms > stats.total.p99_ms && stats.total.p99_ms > stats.total.p50_ms);
        assert_eq!((stats.first, stats.last), (Some(line(0).received_at), Some(line(999).received_at)));
    }

    #[test]
    fn groups_are_bounded_and_the_rest_is_told() {
        let stats = of(1000, Some(By::Resource), 7);
        assert_eq!(stats.groups.len(), 7);
        let told: u64 = stats.groups.iter().map(|g| g.counts.deliveries).sum();
        assert_eq!(told + stats.others.unwrap().deliveries, 1000);
    }

    #[test]
    fn times_are_groups_in_order() {
        let stats = of(5000, Some(By::Hour), 100);
        let names: Vec<&str> = stats.groups.iter().map(|g| &*g.name).collect();
        assert_eq!(names, ["2025-11-21 08:00", "2025-11-21 09:00", "2025-11-21 10:00"]);
        assert_eq!(of(10, Some(By::Day), 100).groups[0].name, "2025-11-21");
    }

    proptest! {
        #[test]
        fn nothing_is_counted_twice_or_left_out(n in 0u32..300, by in 0usize..8, most in 0usize..20) {
            let stats = of(n, Some(By::ALL[by]), most);
            let others = stats.others.map_or(0, |c| c.deliveries);
            prop_assert_eq!(stats.groups.iter().map(|g| g.counts.deliveries).sum::<u64>() + others, u64::from(n));
            prop_assert_eq!(stats.timeline.iter().map(|b| b.deliveries).sum::<u64>(), u64::from(n));
        }
    }
}
