//! What must be true of an agent's archive after whatever happened: every delivery that was answered 2xx is in it once, byte for byte and in
//! order. It sees the archive as anybody does, by the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tunnel_testkit::{Agent, Answered, Handler, Log, Plan, pass};

/// How many deliveries one `replay` sends: each is recorded by itself, and all must be before the command's own end is given up.
const AT_ONCE: usize = 200;

/// How long between two looks at a whole list.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries that were answered 2xx, and looked for.
    pub answered: usize,
    /// Deliveries in the archive, those included whose answer the sender never saw.
    pub stored: usize,
}

/// Waits until everything that was answered is stored, then looks at each delivery.
///
/// # Panics
/// If one is missing after `limit`, stored twice, out of order or not what was sent.
pub fn audit(who: &str, agent: &Agent, plan: &Plan, answered: &[Answered], limit: Duration) -> Tally {
    let wanted: BTreeMap<&str, &Answered> = answered.iter().map(|a| (a.id.as_str(), a)).collect();
    assert_eq!(wanted.len(), answered.len(), "the relay gave an id twice");
    let stored = all_stored(who, agent, &wanted, limit);

    // Ids grow in the order in which the relay took them.
    let ids: Vec<&str> = stored.iter().map(|s| s.id.as_str()).collect();
    assert!(ids.is_sorted(), "{who}: the archive does not list by id");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{who}: one is stored twice");
    let mut next: BTreeMap<usize, u64> = BTreeMap::new();
    for one in &stored {
        let at = next.entry(one.sender).or_default();
        if let Some(sent) = wanted.get(one.id.as_str()) {
            assert_eq!((sent.sender, sent.number), (one.sender, one.number), "{who}: {} is another", one.id);
            assert_eq!(*at, one.number, "{who}: sender {} is out of order at {}", one.sender, one.id);
            *at += 1;
        } else {
            // Stored, and the answer got lost: the sender sent it again.
            assert!(one.number <= *at, "{who}: {} of sender {} was not sent yet", one.id, one.sender);
        }
    }
    bytes(who, agent, plan, &stored);
    Tally { answered: answered.len(), stored: stored.len() }
}

struct Stored {
    id: String,
    sender: usize,
    number: u64,
}

fn all_stored(who: &str, agent: &Agent, wanted: &BTreeMap<&str, &Answered>, limit: Duration) -> Vec<Stored> {
    let end = std::time::Instant::now() + limit;
    loop {
        let stored: Vec<Stored> = agent.events(&["--reverse"]).iter().map(stored).collect();
        let there: BTreeSet<&str> = stored.iter().map(|s| s.id.as_str()).collect();
        let missing: Vec<_> = wanted.iter().filter(|(id, _)| !there.contains(**id)).collect();
        if missing.is_empty() {
            return stored;
        }
        let (count, first) = (missing.len(), missing[0]);
        assert!(std::time::Instant::now() < end, "{who}: {count} lost of {}, first {first:?}", wanted.len());
        pass(LOOK_AGAIN);
    }
}

fn stored(event: &Value) -> Stored {
    let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {event}")).to_owned();
    let (sender, number) = Plan::of_target(&text("target")).unwrap_or_else(|| panic!("nobody sent {event}"));
    Stored { id: text("id"), sender, number }
}

/// Has the archive send all of them again, and compares what comes out with what went in.
fn bytes(who: &str, agent: &Agent, plan: &Plan, stored: &[Stored]) {
    let handler = Handler::start();
    let url = handler.url();
    for some in stored.chunks(AT_ONCE) {
        let already = handler.received().len();
        let ids = some.iter().map(|s| s.id.as_str());
        agent.run(&["replay", "--json", "--to", &url].into_iter().chain(ids).collect::<Vec<_>>()).ok();
        let came = handler.received().after(already);
        assert_eq!(came.len(), some.len(), "{who}: not one request for each delivery");
        for (one, got) in some.iter().zip(&came) {
            let Stored { id, sender, number } = one;
            assert_eq!(got.message.target(), Plan::target(*sender, *number), "{who}: {id}");
            assert_eq!(got.message.method(), "POST", "{who}: {id}");
            // Not shown: it may be long and is no text.
            assert!(got.message.body == plan.body(*sender, *number), "{who}: the body of {id} is not what was sent");
        }
    }
}

/// The longest body that travels in one piece; a longer one goes in several, and what is shorter may overtake it.
const IN_ONE_PIECE: u64 = 32 * 1024;

/// The ids of the deliveries that an agent told of as they were stored, run after run.
///
/// # Panics
/// If one is told of twice: then it was stored twice.
pub fn told(who: &str, runs: &[Log<Value>]) -> Vec<Value> {
    let lines = runs.iter().flat_map(Log::all).filter(|line| line["type"] == "delivery");
    let lines: Vec<Value> = lines.collect();
    let mut seen = BTreeSet::new();
    for line in &lines {
        assert!(seen.insert(line["id"].as_str()), "{who}: stored twice: {line}");
    }
    lines
}

/// Sees that an agent took deliveries in the order in which the relay had taken them: none that was answered before another was sent comes
/// after that one. Long ones aside.
///
/// # Panics
/// With one that came too late.
pub fn in_order(who: &str, told: &[Value], answered: &[Answered]) {
    let answered: BTreeMap<&str, &Answered> = answered.iter().map(|a| (a.id.as_str(), a)).collect();
    let short = told.iter().filter(|line| line["body_len"].as_u64() <= Some(IN_ONE_PIECE));
    let mut latest: Option<&Answered> = None;
    for one in short.filter_map(|line| answered.get(line["id"].as_str()?).copied()) {
        if let Some(before) = latest.filter(|before| before.sent > one.at) {
            panic!("{who}: {one:?} was taken after {before:?}, which was sent when that one was answered");
        }
        latest = latest.into_iter().chain([one]).max_by_key(|a| a.sent);
    }
}
