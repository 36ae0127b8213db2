//! What a session sends when, over a spool of its own and no socket.

use std::path::Path;
use std::sync::Mutex;

use tokio::sync::oneshot;
use tunnel_protocol::{AnswerBody, AnswerFailure, Answers, Hello, SetAnswer, Start, Window};
use tunnel_spool::{Limits, RedbSpool};

use super::opening::window;
use super::*;
use crate::attempts::Attempts;
use crate::audit::Audit;
use crate::config::Config;
use crate::ground::{Clock, Offload};
use crate::hub::{Hub, Offer};
use crate::ids::Ids;
use crate::incarnations::Incarnations;
use crate::registry::{Admission, Registry};
use crate::shared::Ports;
use crate::store::Store;
use crate::tokens::TokenId;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn shared(dir: &Path) -> Arc<Shared> {
    let registry = Registry::open(dir).unwrap();
    let spool = RedbSpool::open(&dir.join("spool"), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
    let clock = Clock::new(|| NOW);
    Arc::new(Shared {
        wishes: std::sync::OnceLock::new(),
        handshakes: crate::handshakes::Handshakes::new(crate::rates::Rate { per_second: 0, burst: 0 }, 0),
        names: crate::http::host::Names::default(),
        domain: None,
        admission: crate::admission::Admission::new(crate::admission::Most {
            connections: 9,
            per_address: 9,
            agents: 9,
            agents_per_tunnel: 9,
        }),
        rates: crate::rates::Rates::new(crate::rates::Rate { per_second: 0, burst: 0 }),
        bodies: crate::bodies::Bodies::new(1 << 20),
        spool: Store::new(spool),
        metrics: crate::metrics::Metrics::new(),
        traces: tunnel_telemetry::Traces::none(),
        hub: Hub::new(clock.clone()),
        ids: Ids::default(),
        lines: Default::default(),
        attempts: Attempts::new(std::num::NonZeroU32::MIN),
        audit: Audit::none(),
        used: Mutex::default(),
        incarnations: Incarnations::load(&dir.join("spool"), &registry.snapshot()),
        registry,
        whose: Arc::new(crate::whose::Whose::load(&dir.join("spool"))),
        taking: Arc::default(),
        reloading: tokio::sync::Mutex::new(()),
        started: NOW,
        clock,
        offload: Offload::InPlace,
        stream: Bytes::from_static(b"stream"),
        stopping: Flag::default(),
        end_sessions: Flag::default(),
        tls: None,
        ports: Ports::default(),
        config: Config::loopback(dir.to_owned()),
    })
}

fn delivery(number: u8) -> Arc<Delivery> {
    crate::sample::delivery(number, NOW, "{}")
}

async fn session(shared: &Arc<Shared>, device: &str) -> Session {
    let (tunnel, name): (TunnelName, DeviceName) = ("team".parse().unwrap(), device.parse().unwrap());
    let place = shared.spool.join(&tunnel, &name, tunnel_spool::Start::Now, NOW).await.unwrap();
    let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::Full);
    session_with(shared, device, pass, place)
}

fn session_with(shared: &Arc<Shared>, device: &str, pass: Pass, place: tunnel_spool::Place) -> Session {
    let (tunnel, device): (TunnelName, DeviceName) = ("team".parse().unwrap(), device.parse().unwrap());
    let seat = shared.hub.seat(&tunnel, &device, &pass, 9).unwrap();
    let caller = Caller { tunnel: tunnel.clone(), pass, from: [127, 0, 0, 1].into(), public_urls: Vec::new() };
    let limits = &shared.config.limits;
    Session {
        tunnel,
        device,
        heartbeat: Heartbeat::new(Instant::now().into_std(), limits.heartbeat, limits.dead_after),
        shared: Arc::clone(shared),
        seat,
        ledger: Ledger::new(Window::new(9, 999), place.after, 9),
        backlog: VecDeque::new(),
        reading: None,
        caller,
        sealed: false,
        has_key: false,
        told: AnswerMode::Ack,
        changing: None,
        change_after: Instant::now(),
    }
}

/// An onlooker that had the name first and was not told to go yet takes what it was sent: none of it is taken for the device that has the name now.
#[tokio::test]
async fn what_an_onlooker_has_taken_is_taken_for_no_device_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (team, desk): (TunnelName, DeviceName) = ("team".parse().unwrap(), "desk".parse().unwrap());
    shared.spool.watch(&team, &desk, tunnel_spool::Start::Now, NOW).await.unwrap();
    let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::ReadOnly);
    let mut eye = session_with(&shared, "desk", pass, tunnel_spool::Place { after: Seq(0), new: true, gap: None });
    shared.spool.append(delivery(1)).await.unwrap();
    assert!(eye.fill().is_ok());
    shared.spool.join(&team, &desk, tunnel_spool::Start::Beginning, NOW).await.unwrap();
    assert!(eye.frame(ToRelay::Taken(vec![1]).encode()).is_err(), "it has to go");
    assert_eq!(shared.spool.devices(&team).unwrap()[0].waiting, 1);
}

/// A token's end is the end of what is sealed to its devices, before anybody has come to forget them; and then nothing is kept for them.
#[tokio::test]
async fn a_device_goes_with_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let team: TunnelName = "team".parse().unwrap();
    let settings = crate::registry::TunnelSettings::new(AnswerMode::Ack, NOW);
    shared.registry.add_tunnel(team.clone(), settings).unwrap();
    let mut keys = Vec::new();
    for name in ["stays", "goes", "unknown"] {
        let (token, device) =
            (shared.registry.create_token(&team, NOW).unwrap().id(), name.parse::<DeviceName>().unwrap());
        shared.spool.join(&team, &device, tunnel_spool::Start::Beginning, NOW).await.unwrap();
        let pair = tunnel_envelope::KeyPair::new().unwrap();
        shared.spool.set_key(&team, &device, pair.public()).await.unwrap();
        if name != "unknown" {
            shared.device_came(&team, &device, &token).await;
        }
        keys.push((token, tunnel_envelope::KeyRing::new(pair)));
    }
    shared.registry.reload().unwrap();
    let opens = |sealed: &Delivery| [0, 1, 2].map(|n: usize| tunnel_envelope::open(sealed, &keys[n].1).is_ok());
    let sealed = crate::sealing::seal(delivery(1), &shared).await.ok().unwrap();
    assert_eq!(opens(&sealed), [true, true, true]);
    shared.spool.append(Arc::new(sealed)).await.unwrap();

    shared.registry.revoke_token(&keys[1].0).unwrap();
    shared.registry.reload().unwrap();
    let sealed = crate::sealing::seal(delivery(2), &shared).await.ok().unwrap();
    assert_eq!(opens(&sealed), [true, false, true]);
    shared.forget_lost().await;
    let left: Vec<_> =
        shared.spool.devices(&team).unwrap().into_iter().map(|d| (d.device.to_string(), d.waiting)).collect();
    assert_eq!(left, [("stays".to_owned(), 1), ("unknown".to_owned(), 1)]);
    // It comes again with a token that is good, as a device like any other.
    let goes = "goes".parse::<DeviceName>().unwrap();
    shared.spool.join(&team, &goes, tunnel_spool::Start::Beginning, NOW).await.unwrap();
    shared.device_came(&team, &goes, &keys[0].0).await;
    shared.forget_lost().await;
    assert_eq!(shared.spool.devices(&team).unwrap().len(), 3);

    // Nobody is left whom it is for: it is refused, and what waits stays for who comes first.
    for (token, _) in &keys {
        let _ = shared.registry.revoke_token(token);
    }
    shared.registry.reload().unwrap();
    shared.spool.forget(&team, &"unknown".parse().unwrap()).await.unwrap();
    assert!(matches!(crate::sealing::seal(delivery(3), &shared).await, Err(crate::respond::Problem::NoKey)));
    shared.forget_lost().await;
    assert!(shared.spool.devices(&team).unwrap().is_empty());
    assert_eq!(shared.spool.stats(&team).unwrap().waiting, 1);
}

/// A token's end must not take what was accepted and was given to nobody else.
#[tokio::test]
async fn what_no_other_device_was_given_stays_when_a_token_ends() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let team: TunnelName = "team".parse().unwrap();
    shared.registry.add_tunnel(team.clone(), crate::registry::TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
    let [old, new] = [0, 1].map(|_| shared.registry.create_token(&team, NOW).unwrap().id());
    let [early, late] = ["early", "late"].map(|name| name.parse::<DeviceName>().unwrap());
    shared.spool.join(&team, &early, tunnel_spool::Start::Now, NOW).await.unwrap();
    shared.device_came(&team, &early, &old).await;
    shared.spool.append(delivery(1)).await.unwrap();
    shared.spool.join(&team, &late, tunnel_spool::Start::Now, NOW).await.unwrap();
    shared.device_came(&team, &late, &new).await;
    shared.registry.revoke_token(&old).unwrap();
    shared.registry.reload().unwrap();
    for _ in 0..2 {
        shared.forget_lost().await;
        shared.spool.flush().await.unwrap();
        let places = shared.spool.devices(&team).unwrap();
        assert_eq!(places.iter().map(|place| place.waiting).collect::<Vec<_>>(), [1, 0], "{places:?}");
    }
    // It comes with a token that is good, and takes it; then the end of that token is the end of its place.
    shared.device_came(&team, &early, &new).await;
    shared.forget_lost().await;
    assert_eq!(shared.spool.devices(&team).unwrap().len(), 2);
    shared.spool.taken(&team, &early, Seq(1));
    shared.registry.revoke_token(&new).unwrap();
    shared.registry.reload().unwrap();
    shared.forget_lost().await;
    assert_eq!(shared.spool.devices(&team).unwrap(), []);
}

/// What is sealed to the last device of a tunnel nobody else can open: the next one to come must not use it up.
#[tokio::test]
async fn what_is_sealed_to_the_last_device_stays_its_when_its_token_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut shared = shared(dir.path());
    // It runs for long: who is not there is away.
    Arc::get_mut(&mut shared).unwrap().started = Timestamp::from_micros(0);
    let team: TunnelName = "team".parse().unwrap();
    let mut settings = crate::registry::TunnelSettings::new(AnswerMode::Ack, NOW);
    settings.seal = true;
    shared.registry.add_tunnel(team.clone(), settings).unwrap();
    let [old, new] = [0, 1].map(|_| shared.registry.create_token(&team, NOW).unwrap().id());
    let [desk, laptop] = ["desk", "laptop"].map(|name| name.parse::<DeviceName>().unwrap());
    let comes = async |device: &DeviceName, token: &TokenId| {
        let long_ago = Timestamp::from_micros(0);
        let place = shared.spool.join(&team, device, tunnel_spool::Start::Now, long_ago).await.unwrap();
        shared.device_came(&team, device, token).await;
        let key = tunnel_envelope::KeyPair::new().unwrap().public();
        shared.spool.set_key(&team, device, key).await.unwrap();
        place
    };
    let waiting = async || {
        shared.forget_lost().await;
        shared.spool.flush().await.unwrap();
        let places = shared.spool.devices(&team).unwrap();
        places.into_iter().map(|place| (place.device.to_string(), place.waiting)).collect::<Vec<_>>()
    };
    comes(&desk, &old).await;
    shared.registry.reload().unwrap();
    let sealed = crate::sealing::seal(delivery(1), &shared).await.ok().unwrap();
    shared.spool.append(Arc::new(sealed)).await.unwrap();
    shared.registry.revoke_token(&old).unwrap();
    shared.registry.reload().unwrap();
    assert_eq!(waiting().await, [("desk".to_owned(), 1)]);
    // It left long before that was sealed to it.
    shared.whose.left(&team, &desk, &old, Timestamp::from_micros(0));
    crate::relay::upkeep::forget_gone(&shared).await;
    assert_eq!(waiting().await, [("desk".to_owned(), 1)]);
    // Another comes: it begins after that, and what comes is sealed to it.
    assert_eq!(comes(&laptop, &new).await.after, Seq(1));
    let sealed = crate::sealing::seal(delivery(2), &shared).await.ok().unwrap();
    shared.spool.append(Arc::new(sealed)).await.unwrap();
    assert_eq!(waiting().await, [("desk".to_owned(), 2), ("laptop".to_owned(), 1)]);
    // The first comes again with a good token, takes that, and stays.
    assert!(!comes(&desk, &new).await.new);
    shared.spool.taken(&team, &desk, Seq(1));
    assert_eq!(waiting().await, [("desk".to_owned(), 1), ("laptop".to_owned(), 1)]);
    // What is left for it was given to the other as well; and where nothing is left the last one goes too.
    shared.device_came(&team, &desk, &old).await;
    assert_eq!(waiting().await, [("laptop".to_owned(), 1)]);
    shared.spool.taken(&team, &laptop, Seq(2));
    shared.registry.revoke_token(&new).unwrap();
    shared.registry.reload().unwrap();
    assert_eq!(waiting().await, []);
}

type Answered = oneshot::Receiver<Result<AnswerBody, AnswerFailure>>;

fn offered(shared: &Shared, delivery: &Arc<Delivery>) -> Answered {
    let (reply, answered) = oneshot::channel();
    let until = Instant::now() + std::time::Duration::from_secs(60);
    shared.hub.offer(&delivery.tunnel, Offer { delivery: Arc::clone(delivery), until, reply }).unwrap();
    answered
}

/// The numbers and places of the deliveries in the outbox.
fn sent(session: &mut Session) -> Vec<(u64, Option<u64>)> {
    let frames = std::iter::from_fn(|| session.ledger.outbox.pop());
    let deliveries = frames.filter_map(|frame| match ToAgent::decode(frame).unwrap() {
        ToAgent::Delivery(d) => Some((d.n, d.seq)),
        _ => None,
    });
    deliveries.collect()
}

/// However the session's other work falls: an agent that was given the copy first would forward it, and then again for the sender that waits.
#[tokio::test]
async fn what_is_offered_goes_out_before_its_copy_from_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let _other = session(&shared, "other").await;
    let mut answering = session(&shared, "answering").await;
    for (number, expected) in [(1, [(1, None), (2, Some(1))]), (2, [(3, None), (4, Some(2))])] {
        let delivery = delivery(number);
        let _waits = offered(&shared, &delivery);
        shared.spool.append(delivery).await.unwrap();
        // As after a frame of the agent, before the offer had its turn.
        assert!(answering.fill().is_ok());
        assert_eq!(sent(&mut answering), expected);
    }
}

/// What the session tells the agent, as long as it has something to read for; at most so many reads.
async fn told(session: &mut Session) -> Vec<String> {
    for _ in 0..5 {
        assert!(session.fill().is_ok());
        let Some(reading) = session.reading.take() else {
            let frames = std::iter::from_fn(|| session.ledger.outbox.pop());
            return frames
                .map(|frame| match ToAgent::decode(frame).unwrap() {
                    ToAgent::Delivery(d) => format!("{:?}", d.seq),
                    ToAgent::Gap(gap) => format!("{} to {}: {:?}", gap.from, gap.upto, gap.reason),
                    other => format!("{other:?}"),
                })
                .collect();
        };
        assert!(session.was_read(reading.await).is_ok());
    }
    panic!("it reads on and on")
}

#[tokio::test]
async fn all_that_was_to_come_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let mut slow = session(&shared, "slow").await;
    for number in 1..=3 {
        shared.spool.append(delivery(number)).await.unwrap();
    }
    let later = Timestamp::from_micros(NOW.as_micros() + 73 * 3_600_000_000);
    assert_eq!(shared.spool.expire(later).await.unwrap().len(), 1);
    assert_eq!(told(&mut slow).await, ["1 to 3: Age"]);
    // It may not have reached the agent: it is told again should it come anew.
    assert_eq!(slow.ledger.newly_taken(), None);
    shared.spool.append(delivery(4)).await.unwrap();
    assert_eq!(told(&mut slow).await, ["Some(4)"]);
}

#[test]
fn an_agent_that_allows_anything_is_sent_a_bounded_amount() {
    let hello = |window_deliveries, window_bytes| Hello {
        versions: (1, 1),
        device: "a".parse().unwrap(),
        software: String::new(),
        start: Start::Now,
        resume: None,
        window_deliveries,
        window_bytes,
        device_key: None,
    };
    let fits = |hello: &Hello, len| {
        let mut window = window(hello);
        while window.on_their_way() < 10_000 && window.allows(len) {
            window.sent(len);
        }
        window.on_their_way()
    };
    assert_eq!(fits(&hello(u32::MAX, u64::MAX), 0), 1024);
    assert_eq!(fits(&hello(u32::MAX, u64::MAX), 1 << 20), 16);
    assert_eq!((fits(&hello(7, 3 << 20), 0), fits(&hello(7, 3 << 20), 1 << 20)), (7, 3));
}

/// What the device `laptop` is told that comes to that tunnel with a token of its own and has got so far.
async fn welcomed(
    shared: &Arc<Shared>,
    tunnel: &TunnelName,
    resume: Option<(&Bytes, u64)>,
) -> tunnel_protocol::Welcome {
    let token = shared.registry.create_token(tunnel, NOW).unwrap();
    shared.registry.reload().unwrap();
    let Admission::Open(pass, tunnel) = shared.registry.snapshot().admit(Some(token.expose()), Some(tunnel), NOW)
    else {
        panic!("it is good")
    };
    let caller = Caller { tunnel, pass, from: [127, 0, 0, 1].into(), public_urls: Vec::new() };
    let hello = Hello {
        versions: (1, 1),
        device: "laptop".parse().unwrap(),
        software: String::new(),
        start: Start::Beginning,
        resume: resume.map(|(stream, after)| tunnel_protocol::Resume { stream: stream.clone(), after }),
        window_deliveries: 9,
        window_bytes: 1 << 20,
        device_key: None,
    };
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    let mut pump = Pump::server(ours, Vec::new(), 1 << 16).await;
    let mut session = Session::open(&mut pump, hello, &caller, Arc::clone(shared)).await.expect("a session");
    match ToAgent::decode(session.ledger.outbox.pop().unwrap()).unwrap() {
        ToAgent::Welcome(welcome) => welcome,
        other => panic!("{other:?}"),
    }
}

/// A token may be given another tunnel while its agent runs. What the agent says of how far it got is of the tunnel before, and nothing of the new one may be
/// skipped for it.
#[tokio::test]
async fn how_far_an_agent_got_in_one_tunnel_says_nothing_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (team, other): (TunnelName, TunnelName) = ("team".parse().unwrap(), "other".parse().unwrap());
    let add = |name: &TunnelName, at| {
        let settings = crate::registry::TunnelSettings::new(AnswerMode::Ack, at);
        shared.registry.add_tunnel(name.clone(), settings).unwrap();
        shared.registry.reload().unwrap();
    };
    for name in [&team, &other] {
        add(name, NOW);
        for number in 1..=3 {
            let delivery = Delivery { tunnel: name.clone(), ..Delivery::clone(&delivery(number)) };
            shared.spool.append(Arc::new(delivery)).await.unwrap();
        }
    }
    let before = welcomed(&shared, &other, None).await;
    let first = welcomed(&shared, &team, Some((&before.stream, 2))).await;
    assert_eq!((first.after, first.waiting), (0, 3), "all of it is still to come");
    // What it says of this one is believed: the spool's books may be older.
    let again = welcomed(&shared, &team, Some((&first.stream, 2))).await;
    assert_eq!((again.after, again.waiting, &again.stream), (2, 1, &first.stream));
    // One that has taken the name is another tunnel.
    shared.registry.remove_tunnel(&team).unwrap();
    add(&team, Timestamp::from_micros(NOW.as_micros() + 1));
    assert_ne!(welcomed(&shared, &team, None).await.stream, first.stream);
}

/// A tunnel and two sessions of it, opened with a token that the registry knows.
async fn two_sessions(shared: &Arc<Shared>) -> (Session, Session) {
    let team: TunnelName = "team".parse().unwrap();
    shared.registry.add_tunnel(team.clone(), crate::registry::TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
    let token = shared.registry.create_token(&team, NOW).unwrap();
    shared.registry.reload().unwrap();
    let Admission::Open(pass, _) = shared.registry.snapshot().admit(Some(token.expose()), None, NOW) else {
        panic!("it is good")
    };
    let (mut asking, mut other) = (session(shared, "asking").await, session(shared, "other").await);
    for session in [&mut asking, &mut other] {
        session.caller.pass = pass.clone();
    }
    (asking, other)
}

/// Has the session's agent ask, and does what the session does when the change is done.
async fn ask(session: &mut Session, mode: tunnel_protocol::AnswerMode) -> Answers {
    session.frame(ToRelay::SetAnswer(SetAnswer { asked: 5, mode }).encode()).unwrap();
    let changed = session.changing.as_mut().unwrap().done().await;
    session.was_changed(changed);
    mode_told(session).expect("an answer")
}

fn mode_told(session: &mut Session) -> Option<Answers> {
    match ToAgent::decode(session.ledger.outbox.pop()?).unwrap() {
        ToAgent::Answers(answers) => Some(answers),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_agent_changes_how_its_tunnel_answers_and_the_others_are_told() {
    use tunnel_protocol::AnswerMode as Mode;
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (mut asking, mut other) = two_sessions(&shared).await;
    let told = ask(&mut asking, Mode::Passthrough).await;
    assert_eq!(told, Answers { asked: 5, mode: Mode::Passthrough, refused: None });
    // Both are rung for; whoever asked knows already.
    for (session, expected) in
        [(&mut asking, None), (&mut other, Some(Answers { asked: 0, mode: Mode::Passthrough, refused: None }))]
    {
        tokio::time::timeout(std::time::Duration::from_secs(10), session.seat.changed.notified()).await.unwrap();
        session.settings_changed();
        assert_eq!(mode_told(session), expected);
    }
    let tunnel = |registry: &Registry| registry.snapshot().tunnels[&"team".parse().unwrap()].answer;
    assert_eq!(tunnel(&shared.registry), AnswerMode::Passthrough, "in force");
    assert_eq!(tunnel(&Registry::open(dir.path()).unwrap()), AnswerMode::Passthrough, "durable");
    // As it is already.
    assert_eq!(ask(&mut asking, Mode::Passthrough).await.refused, None);
}

#[tokio::test]
async fn who_may_not_and_who_asks_twice_is_refused() {
    use tunnel_protocol::AnswerMode as Mode;
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (mut asking, _other) = two_sessions(&shared).await;
    for asked in [1, 2] {
        asking.frame(ToRelay::SetAnswer(SetAnswer { asked, mode: Mode::Passthrough }).encode()).unwrap();
    }
    let told = mode_told(&mut asking).unwrap();
    assert_eq!((told.asked, told.refused.is_some()), (2, true), "one change at a time");
    let changed = asking.changing.as_mut().unwrap().done().await;
    asking.was_changed(changed);
    assert_eq!(mode_told(&mut asking).unwrap(), Answers { asked: 1, mode: Mode::Passthrough, refused: None });
    // Revoked by a command, and this relay has not looked yet.
    let command = Registry::open(dir.path()).unwrap();
    command.revoke_token(&asking.caller.pass.token).unwrap();
    let told = ask(&mut asking, Mode::Ack).await;
    assert_eq!((told.mode, told.refused.is_some()), (Mode::Passthrough, true));
    // The name belongs to somebody else now.
    let team: TunnelName = "team".parse().unwrap();
    command.remove_tunnel(&team).unwrap();
    command.add_tunnel(team.clone(), crate::registry::TunnelSettings::new(AnswerMode::Passthrough, NOW)).unwrap();
    assert!(ask(&mut asking, Mode::Ack).await.refused.is_some());
    assert_eq!(Registry::open(dir.path()).unwrap().snapshot().tunnels[&team].answer, AnswerMode::Passthrough);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_changes_its_mind_without_end_is_slowed_down() {
    use tunnel_protocol::AnswerMode as Mode;
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (mut asking, _other) = two_sessions(&shared).await;
    let began = Instant::now();
    for n in 0..9 {
        let mode = if n % 2 == 0 { Mode::Passthrough } else { Mode::Ack };
        assert_eq!(ask(&mut asking, mode).await.refused, None);
    }
    assert!(began.elapsed() >= std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_only_looks_changes_nothing() {
    use tunnel_protocol::AnswerMode as Mode;
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (mut looks, _other) = two_sessions(&shared).await;
    looks.caller.pass.access = Access::ReadOnly;
    looks.frame(ToRelay::SetAnswer(SetAnswer { asked: 5, mode: Mode::Passthrough }).encode()).unwrap();
    let told = mode_told(&mut looks).unwrap();
    assert_eq!((told.asked, told.mode), (5, Mode::Ack));
    assert!(told.refused.unwrap().contains("read-only") && looks.changing.is_none());
    // Nor by the registry, whatever a session were to ask of it.
    let team: TunnelName = "team".parse().unwrap();
    let refused = shared.registry.set_answer(&team, Some(&looks.caller.pass), AnswerMode::Passthrough, NOW);
    assert!(refused.is_err());
}
