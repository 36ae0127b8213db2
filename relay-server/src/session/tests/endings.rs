//! What becomes of devices, and of what waits for them, when a token ends.

use super::*;

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
    crate::relay::upkeep::forget_gone(&shared, NOW).await;
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

/// A clock that jumps ahead by days takes neither what waits nor the device it waits for, until it has gone on like that for an hour.
#[tokio::test]
async fn nothing_is_too_old_in_the_moment_in_which_the_clock_jumps() {
    use std::sync::atomic::{AtomicI64, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let ahead = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&ahead);
    let clock = Clock::new(move || Timestamp::from_micros(NOW.as_micros() + clock.load(Ordering::Relaxed)));
    let shared = shared_with(dir.path(), clock);
    let (team, away): (TunnelName, DeviceName) = ("team".parse().unwrap(), "away".parse().unwrap());
    shared.registry.add_tunnel(team.clone(), crate::registry::TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
    shared.registry.reload().unwrap();
    shared.spool.join(&team, &away, tunnel_spool::Start::Now, NOW).await.unwrap();
    shared.spool.append(delivery(1)).await.unwrap();
    let began = Instant::now();
    let mut believed = crate::relay::jumps::Believed::new(shared.now(), began);
    let mut left = async |after: u64| {
        let steady = began + std::time::Duration::from_secs(after);
        crate::relay::upkeep::drop_too_old(&shared, &mut believed, steady).await;
        (shared.spool.stats(&team).unwrap().waiting, shared.spool.devices(&team).unwrap().len())
    };
    ahead.store(4 * 24 * 3600 * 1_000_000, Ordering::Relaxed);
    assert_eq!(left(60).await, (1, 1));
    assert_eq!(left(3600).await, (1, 1));
    assert_eq!(left(3660).await, (0, 0), "it is believed: retention is not put off for ever");
}
