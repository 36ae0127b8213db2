//! An agent that changes how its tunnel answers.

use super::*;

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
