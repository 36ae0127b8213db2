//! The corpus sent straight to a relay, whole and byte by byte, and through nginx, haproxy and caddy. What holds in each case:
//!
//! - the answers are those that are expected, in number and status;
//! - the relay read as many requests as whoever stands before it sent;
//! - what the agent stored is what the sender meant, byte for byte, and nothing else: a smuggled request's path never arrives;
//! - the next request over the same kept connection gets its own answer and no other's.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_testkit::{Agent, AnswerMode, DEADLINE, Relay, Stage, eventually, setting};

use crate::answers::{self, Answer};
use crate::corpus::{Case, Differences, cases};
use crate::fronts::{Front, Program};
use crate::tap::Tap;

/// Notes what proxies answer instead of comparing it.
const BLESS: &str = "HEALTHIE_TUNNEL_BLESS";

/// How long nothing must come until no more is expected, when it is not known how much will come.
const QUIET: Duration = Duration::from_secs(6);

struct World {
    relay: Relay,
    agent: Agent,
    stage: Stage,
}

impl World {
    fn new() -> World {
        let stage = Stage::new();
        // The corpus comes from one address and fast.
        let mut relay = stage.relay().with_arguments(&["--unlimited", "127.0.0.0/8"]);
        let token = relay.add_tunnel("team", AnswerMode::Ack);
        relay.start();
        let mut agent = stage.agent("agent").relay(&relay.url(), &token).with(&["--no-forward"]);
        agent.start();
        World { relay, agent, stage }
    }

    /// What the agent has stored, by id, once it has all of these: it works on several at once, and the last may be the first.
    fn stored(&self, answered: &[&str]) -> HashMap<String, Value> {
        let all = || self.agent.events(&[]).into_iter().map(|e| (e["id"].as_str().unwrap().to_owned(), e)).collect();
        eventually("all that was answered to be stored", || {
            let all: HashMap<String, Value> = all();
            answered.iter().all(|id| all.contains_key(*id)).then_some(all)
        })
    }
}

/// A request that nobody could misread. Its answer must be its own.
fn after(case: &Case) -> String {
    format!("POST /after/{} HTTP/1.1\r\nHost: team.relay.test\r\nContent-Length: 2\r\n\r\n{{}}", case.name)
}

/// What came of a case.
struct Seen {
    answers: Vec<Answer>,
    /// The answer to the request after it.
    after: Answer,
}

/// Compares what the agent stored with what was answered and meant.
fn check_stored(world: &World, seen: &[(&Case, Seen)], straight: bool) -> Vec<String> {
    const ID: &str = "healthie-tunnel-delivery";
    let mut wrong = Vec::new();
    let answers = seen.iter().flat_map(|(_, seen)| seen.answers.iter().chain([&seen.after]));
    let answered: Vec<&str> = answers.filter(|a| a.status == 200).filter_map(|a| a.header(ID)).collect();
    let mut stored = world.stored(&answered);
    let mut take = |id: &str| {
        stored.remove(id)?;
        let shown = world.agent.show(id);
        let target = shown["target"].as_str().unwrap_or_default().to_owned();
        Some((target, shown["body"]["text"].as_str().unwrap_or("not text").to_owned()))
    };
    for (case, seen) in seen {
        let name = &case.name;
        let taken = seen.answers.iter().filter(|a| a.status == 200).filter_map(|a| a.header(ID)).map(str::to_owned);
        let delivered: Vec<_> = taken.filter_map(|id| take(&id)).collect();
        if straight && delivered != case.delivers {
            wrong.push(format!("{name}: delivered {delivered:?} instead of {:?}", case.delivers));
        }
        for (target, body) in delivered.iter().filter(|(target, body)| !case.means(target, body)) {
            wrong.push(format!("{name}: delivered {target} {body:?}, which was not meant"));
        }
        let its_own = seen.after.header(ID).and_then(&mut take);
        if its_own.as_ref().map(|(target, _)| target.as_str()) != Some(&format!("/after/{name}")) {
            wrong.push(format!(
                "{name}: the request after it was answered with {:?}, delivered as {its_own:?}",
                seen.after
            ));
        }
    }
    for (id, event) in stored {
        wrong.push(format!("{id} was stored and answered to nobody: {} {}", event["method"], event["target"]));
    }
    wrong
}

fn settle(wrong: &[String], of: usize) {
    assert!(wrong.is_empty(), "{} of {of} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sends, says that no more comes, and reads to the end.
fn send_straight(to: SocketAddr, bytes: &[u8], step: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("the relay listens");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    for piece in bytes.chunks(step) {
        // It may have answered and gone already.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&block[..read]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("it never ends: {:?}", String::from_utf8_lossy(&all))
            }
            // A reset is an end too.
            Err(_) => return all,
        }
    }
}

fn straight(step: impl Fn(usize) -> usize) {
    let (world, cases) = (World::new(), cases());
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    for case in &cases {
        let bytes = case.bytes();
        let all = send_straight(world.relay.http(), &bytes, step(bytes.len()));
        let answers = answers::read(&all, true, case.is_head());
        let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
        if statuses != case.answers {
            wrong.push(format!("{}: answered {statuses:?} instead of {:?} ({})", case.name, case.answers, case.why));
        }
        let mut last =
            answers::read(&send_straight(world.relay.http(), after(case).as_bytes(), usize::MAX), true, false);
        seen.push((case, Seen { answers, after: last.pop().expect("an answer to the request after it") }));
    }
    wrong.extend(check_stored(&world, &seen, true));
    settle(&wrong, cases.len());
}

#[test]
fn straight_and_whole() {
    straight(|_| usize::MAX);
}

#[test]
fn straight_and_byte_by_byte() {
    // Long ones in pieces that fit nothing.
    straight(|length| if length < 4000 { 1 } else { 997 });
}

/// Reads from a connection through a proxy, after what was read before, until there are so many answers, or it ends; without a number, until nothing more
/// comes.
fn read_some(stream: &mut UnixStream, all: &mut Vec<u8>, wanted: Option<usize>, head: bool) -> Vec<Answer> {
    let begun = Instant::now();
    let mut block = [0; 4096];
    stream.set_read_timeout(Some(wanted.map_or(QUIET, |_| DEADLINE))).unwrap();
    loop {
        let answers = answers::read(all, false, head);
        if wanted.is_some_and(|wanted| wanted > 0 && answers.len() >= wanted) || begun.elapsed() > 2 * DEADLINE {
            return answers;
        }
        if wanted.is_none() && !answers.is_empty() {
            stream.set_read_timeout(Some(QUIET / 25)).unwrap();
        }
        match stream.read(&mut block) {
            Ok(read @ 1..) => all.extend_from_slice(&block[..read]),
            _ => return answers::read(all, true, head),
        }
    }
}

fn from_relay(answers: &[Answer]) -> usize {
    answers.iter().filter(|a| a.header("x-from").is_some()).count()
}

/// Whether these are the answers that were noted. Where the relay refuses a request before all of it has passed the proxy, it closes, and whether the proxy
/// goes on with what its sender sent behind it or ends that connection too depends on which of them is faster: what follows a refusal may be missing.
fn is_as_noted(statuses: &[u16], noted: &[u16]) -> bool {
    statuses == noted || (statuses.last() == Some(&400) && noted.starts_with(statuses))
}

#[test]
fn only_what_follows_a_refusal_may_be_missing() {
    assert!(is_as_noted(&[400, 200], &[400, 200]) && is_as_noted(&[400], &[400, 200]));
    assert!(!is_as_noted(&[200], &[200, 200]) && !is_as_noted(&[], &[400, 200]) && !is_as_noted(&[400, 200], &[400]));
}

fn through(program: Program) {
    let world = World::new();
    let socket = world.stage.folder().join("tap");
    let tap = Tap::listen(&socket, world.relay.http());
    let Some(front) = Front::start_or_skip(&world.stage, program, &socket) else { return };
    let bless = setting(BLESS, 0) == 1;
    let noted = Differences::read(program.name());
    // Another version may refuse other things; what must never happen is the same with each.
    let compare = !bless && noted.version == front.version;
    if !compare && !bless {
        tunnel_testkit::skipped(&format!(
            "{} is {} here and its answers were noted with {}: they are not compared, all else is",
            program.name(),
            front.version,
            noted.version
        ));
    }
    let all = cases();
    let mut fresh = Differences { version: front.version.clone(), ..Differences::default() };
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    let (mut owed, mut owed_before) = (0, 0);
    for case in &all {
        let before = tap.answers();
        let expected = noted.answers.get(&case.name).unwrap_or(&case.answers);
        let mut stream = front.connect();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let _ = stream.write_all(&case.bytes());
        let (mut read, head) = (Vec::new(), case.is_head());
        let mut answers = read_some(&mut stream, &mut read, compare.then_some(expected.len()), head);
        let mut next = front.connect();
        next.set_write_timeout(Some(DEADLINE)).unwrap();
        next.write_all(after(case).as_bytes()).unwrap();
        let mut last = read_some(&mut next, &mut Vec::new(), Some(1), false);
        eventually("the relay's last words to what the proxy gave up", || tap.is_settled().then_some(()));
        // One more is that to the request after it.
        let by_relay = tap.answers() - before - usize::from(from_relay(&last) > 0);
        // A request that the proxy gave up half-way is answered by itself or not at all; the relay's answer to its half may come a little later, where the
        // proxy tells its sender before it lets the relay know.
        let own = |answers: &[Answer]| (answers.len() - from_relay(answers)).max(usize::from(answers.is_empty()));
        let may_be_owed = |own: usize| (owed + own).min(own + owed_before);
        // Where it was not known how many would come, the relay may know.
        let missing = by_relay.saturating_sub(from_relay(&answers) + may_be_owed(own(&answers)));
        if !compare && missing > 0 {
            answers = read_some(&mut stream, &mut read, Some(answers.len() + missing), head);
        }
        let statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
        if statuses != case.answers {
            fresh.answers.insert(case.name.clone(), statuses.clone());
        }
        if compare && !is_as_noted(&statuses, expected) {
            wrong.push(format!("{}: answered {statuses:?} instead of {expected:?}", case.name));
        }
        let (from_relay, own) = (from_relay(&answers), own(&answers));
        owed = may_be_owed(own);
        match by_relay.checked_sub(from_relay) {
            Some(more) if more <= owed => owed -= more,
            _ => wrong.push(format!(
                "{}: the relay read {by_relay} requests, {} sent {from_relay} ({statuses:?})",
                case.name,
                program.name()
            )),
        }
        owed_before = own;
        let Some(after) = last.pop() else {
            wrong.push(format!("{}: the request after it got no answer", case.name));
            continue;
        };
        seen.push((case, Seen { answers, after }));
    }
    wrong.extend(check_stored(&world, &seen, false));
    if bless {
        fresh.write(program.name());
    }
    settle(&wrong, all.len());
}

#[test]
fn through_nginx() {
    through(Program::Nginx);
}

#[test]
fn through_haproxy() {
    through(Program::Haproxy);
}

#[test]
fn through_caddy() {
    through(Program::Caddy);
}
