//! What an agent is told when it comes.

use super::*;

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
