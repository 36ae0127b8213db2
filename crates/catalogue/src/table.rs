//! The documented events: the table of events.tsv, and finding a name in it.

use std::fmt;
use std::sync::LazyLock;

/// One event per line, sorted by name, in tab-separated columns; `-` is nothing.
///
/// Columns: the name; the resource's type, with `?` if it is inferred; extra fields of the payload, strings
/// unless `:integer` follows; the changed fields that the documentation's sample shows; the GraphQL mutations that trigger the event;
/// the sources that have the name; the name that is meant, where this one is misspelt.
const TABLE: &str = include_str!("events.tsv");

/// What is documented about one event.
#[derive(Clone, Debug)]
pub struct EventType {
    /// For example `appointment.created`.
    pub name: &'static str,
    /// The GraphQL type that `resource_id_type` names.
    pub resource_type: ResourceType,
    /// Fields of the payload besides the four that all have.
    pub extra_fields: Box<[ExtraField]>,
    /// What `changed_fields` holds in the documentation's sample.
    pub sample_changed_fields: Box<[&'static str]>,
    /// The GraphQL mutations that trigger it, as far as documented.
    pub triggering_mutations: Box<[&'static str]>,
    /// Which documents have the name.
    pub sources: Sources,
    /// The name that is meant, where this one is a documented misspelling.
    pub misspelling_of: Option<&'static str>,
}

impl EventType {
    /// What happened: the name after its first dot, for example `created`.
    pub fn verb(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, verb)| verb)
    }

    /// Whether its payload lists changed fields: those of updates do.
    pub fn is_update(&self) -> bool {
        self.verb() == "updated" || !self.sample_changed_fields.is_empty()
    }
}

/// The type of an event's resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A document says so.
    Documented(&'static str),
    /// No document says so; related events have it, or the GraphQL reference has a type of the event's name.
    Inferred(&'static str),
}

impl ResourceType {
    /// The type's name.
    pub fn name(self) -> &'static str {
        match self {
            ResourceType::Documented(name) | ResourceType::Inferred(name) => name,
        }
    }
}

/// A field of the payload besides the four that all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraField {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type.
    pub kind: FieldType,
}

/// The JSON type of an extra field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A string; ids are strings too.
    Text,
    /// An integer.
    Integer,
}

/// A document that has event names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event reference of the public developer guide (2026).
    Guide,
    /// The event enum of the public GraphQL reference, version 2026-01-01.
    GraphQl,
    /// The help article about webhooks and the sandbox.
    Sandbox,
    /// The best-effort AsyncAPI description, which is not official.
    AsyncApi,
    /// The "API & webhooks guide for AI Scribe".
    Scribe,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 5] = [Source::Guide, Source::GraphQl, Source::Sandbox, Source::AsyncApi, Source::Scribe];

    /// A name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Guide => "guide event reference",
            Source::GraphQl => "graphql enum 2026-01-01",
            Source::Sandbox => "sandbox article",
            Source::AsyncApi => "asyncapi description",
            Source::Scribe => "AI-Scribe guide",
        }
    }

    fn from_column(word: &str) -> Option<Source> {
        match word {
            "guide" => Some(Source::Guide),
            "graphql" => Some(Source::GraphQl),
            "sandbox" => Some(Source::Sandbox),
            "asyncapi" => Some(Source::AsyncApi),
            "scribe" => Some(Source::Scribe),
            _ => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources(u8);

impl Sources {
    /// Whether the document is among them.
    pub fn has(self, source: Source) -> bool {
        self.0 & (1 << source as u8) != 0
    }

    /// The documents, in the order of [`Source::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.has(*source))
    }
}

/// All documented events, sorted by name.
pub fn all() -> &'static [EventType] {
    static EVENTS: LazyLock<Vec<EventType>> = LazyLock::new(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        // The table is part of the program, and a test reads all of it.
        rows.map(|line| event(line).expect("every line of events.tsv has seven columns of the stated form")).collect()
    });
    &EVENTS
}

/// The documented event of that name.
pub fn find(name: &str) -> Option<&'static EventType> {
    let events = all();
    events.binary_search_by(|event| event.name.cmp(name)).ok().map(|at| &events[at])
}

fn event(line: &'static str) -> Option<EventType> {
    let mut columns = line.split('\t');
    let mut column = || columns.next().filter(|text| !text.is_empty());
    let words = |text: &'static str| text.split(' ').filter(|word| *word != "-");
    let name = column()?;
    let resource_type = column()?;
    let resource_type = match resource_type.strip_suffix('?') {
        Some(name) => ResourceType::Inferred(name),
        None => ResourceType::Documented(resource_type),
    };
    let extra_fields = words(column()?).map(extra_field).collect::<Option<_>>()?;
    let sample_changed_fields = words(column()?).collect();
    let triggering_mutations = words(column()?).collect();
    let sources = words(column()?).try_fold(0, |set, word| Some(set | 1 << Source::from_column(word)? as u8))?;
    let misspelling_of = words(column()?).next();
    let event = EventType {
        name,
        resource_type,
        extra_fields,
        sample_changed_fields,
        triggering_mutations,
        sources: Sources(sources),
        misspelling_of,
    };
    column().is_none().then_some(event)
}

fn extra_field(word: &'static str) -> Option<ExtraField> {
    match word.split_once(':') {
        None => Some(ExtraField { name: word, kind: FieldType::Text }),
        Some((name, "integer")) => Some(ExtraField { name, kind: FieldType::Integer }),
        Some(_) => None,
    }
}

/// The longest name that suggestions are made for, in bytes: twice as long as the longest documented one.
const MAX_SUGGESTED: usize = 100;

/// The documented events whose names are most like this one, at most three, the likest first; none if none is like it.
///
/// The GraphQL form (`APPOINTMENT_CREATED`) is understood too.
pub fn nearest(name: &str) -> Vec<&'static EventType> {
    if name.len() > MAX_SUGGESTED {
        return Vec::new();
    }
    // The GraphQL form has the same letters: only then are dots and underscores the same.
    let upper = !name.contains('.') && name == name.to_uppercase();
    let wanted = name.to_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 8);
    let mut scored: Vec<_> = all()
        .iter()
        .filter(|event| event.misspelling_of.is_none())
        .map(|event| match upper {
            true => (distance(&event.name.replace('.', "_"), &wanted), event),
            false => (distance(event.name, &wanted), event),
        })
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    scored.sort_by_key(|(distance, event)| (*distance, event.name));
    scored.into_iter().take(3).map(|(_, event)| event).collect()
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_182_events_in_order_each_once() {
        assert_eq!(all().len(), 182);
        assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
        for event in all() {
            assert_eq!(find(event.name).map(|e| e.name), Some(event.name));
            assert!(!event.verb().is_empty(), "{}", event.name);
            assert!(event.sources.iter().count() > 0, "{}", event.name);
        }
        let types: BTreeSet<_> = all().iter().map(|event| event.resource_type.name()).collect();
        assert_eq!(types.len(), 62);
    }

    #[test]
    fn what_is_documented_of_one_event() {
        let event = find("lab_result.updated").unwrap();
        assert_eq!(event.resource_type, ResourceType::Documented("LabResult"));
        assert_eq!(*event.sample_changed_fields, ["file_string"]);
        assert_eq!(*event.triggering_mutations, ["updateLabResult"]);
        assert_eq!(event.extra_fields.len(), 4);
        assert!(event.is_update());
        let joined = find("appointment.participant_joined").unwrap();
        assert!(joined.extra_fields.contains(&ExtraField { name: "event_ts", kind: FieldType::Integer }));
        assert!(joined.sources.has(Source::Scribe) && !joined.is_update());
        assert_eq!(find("appointment.transcript_failed").unwrap().resource_type, ResourceType::Inferred("Appointment"));
        assert_eq!(find("received_direct_message.created").unwrap().resource_type.name(), "ReceivedDirectMessage");
    }

    #[test]
    fn misspellings_stand_for_documented_names() {
        let misspelt: Vec<_> = all().iter().filter_map(|e| Some((e.name, e.misspelling_of?))).collect();
        assert_eq!(misspelt, [("diagnosis.create", "diagnosis.created"), ("goal.delated", "goal.deleted")]);
        for (_, meant) in misspelt {
            assert!(find(meant).is_some(), "{meant}");
        }
    }

    #[test]
    fn suggestions() {
        let names = |name| nearest(name).iter().map(|event| event.name).collect::<Vec<_>>();
        assert_eq!(names("apointment.craeted")[0], "appointment.created");
        assert_eq!(names("APPOINTMENT_CREATED")[0], "appointment.created");
        assert_eq!(names("goal.delated")[0], "goal.deleted");
        assert!(names("zzzzzzzz").is_empty());
        assert!(names(&"appointment.created".repeat(50)).is_empty());
    }

    proptest! {
        #[test]
        fn distance_is_a_distance(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &b) <= a.len().max(b.len()));
        }

        #[test]
        fn any_text_may_be_asked_for(name: String) {
            prop_assert!(nearest(&name).len() <= 3);
            prop_assert!(find(&name).is_none_or(|event| event.name == name));
        }
    }
}
