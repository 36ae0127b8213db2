//! What is known of devices, and what is left of it in the file.

use super::*;
use crate::registry::{AnswerMode, NewToken, Registry, TunnelSettings};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

impl Whose {
    /// Whether it is known to be there with that token.
    fn is_noted(&self, tunnel: &TunnelName, device: &DeviceName, token: &TokenId) -> bool {
        self.known().get(tunnel, device).is_some_and(|came| came.token == *token && came.left.is_none())
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn a_device_is_lost_with_its_token_and_is_found_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    let new = || NewToken { tunnels: [team.clone()].into(), ..NewToken::default() };
    let stays = registry.issue_token(new(), at(1)).unwrap().id();
    let ends = registry.issue_token(NewToken { expires_at: Some(at(10)), ..new() }, at(1)).unwrap().id();
    let whose = Whose::load(dir.path());
    let why = |whose: &Whose, second| {
        registry.reload().unwrap();
        let all = registry.snapshot();
        let one = whose.lost(&team, &laptop, &all, at(second));
        let listed: Vec<_> = whose.all_lost(&all, at(second)).into_iter().map(|(_, _, why)| why).collect();
        assert_eq!(listed, one.into_iter().collect::<Vec<_>>());
        one
    };
    assert_eq!(why(&whose, 2), None, "one that is not known is nobody's business here");
    whose.came(&team, &laptop, &ends);
    assert_eq!(why(&whose, 9), None);
    assert!(why(&whose, 10).unwrap().contains("expired"));
    whose.came(&team, &laptop, &stays);
    assert_eq!(why(&whose, 10), None);
    registry.withdraw(&stays, &team).unwrap();
    assert!(why(&whose, 10).unwrap().contains("withdrawn"));
    registry.grant(&stays, &team).unwrap();
    assert_eq!(why(&whose, 10), None);
    registry.revoke_token(&stays).unwrap();
    // As another process sees it.
    whose.write();
    let later = Whose::load(dir.path());
    assert!(why(&later, 10).unwrap().contains("revoked"));
    assert_eq!(later.came_with(&stays), [(team.clone(), laptop.clone())]);
    assert_eq!(later.came_with(&ends), []);
    later.forgotten(&team, &laptop);
    later.write();
    assert_eq!(why(&later, 10), None);
    assert_eq!(why(&Whose::load(dir.path()), 10), None);
    assert_eq!(std::fs::metadata(dir.path().join("devices.jsonl")).unwrap().mode() & 0o777, 0o600);
}

/// Sessions of one device come and go beside each other, in any order.
#[test]
fn who_goes_does_not_write_over_who_came() {
    let dir = tempfile::tempdir().unwrap();
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    let [old, new] = ["0123456789ab", "ba9876543210"].map(|id| TokenId::parse(id).unwrap());
    let whose = Whose::load(dir.path());
    whose.came(&team, &laptop, &old);
    whose.came(&team, &laptop, &new);
    whose.left(&team, &laptop, &old, at(1));
    whose.is_back(&team, &laptop, &old);
    assert!(whose.is_noted(&team, &laptop, &new));
    whose.left(&team, &laptop, &new, at(2));
    assert_eq!(whose.last_seen(&team, &laptop), Some(at(2)));
    whose.is_back(&team, &laptop, &new);
    whose.write();
    for whose in [whose, Whose::load(dir.path())] {
        assert!(whose.is_noted(&team, &laptop, &new), "it is there");
        assert!(whose.tells_of(&team, &laptop) && !whose.tells_of(&team, &laptop));
    }
}

#[test]
fn the_file_is_read_as_far_as_it_goes_and_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.jsonl");
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    let token = TokenId::parse("0123456789ab").unwrap();
    let whose = Whose::load(dir.path());
    for n in 0..3 * book::SPARE {
        whose.came(&team, &laptop, &token);
        whose.left(&team, &laptop, &token, at(n as i64));
        whose.left(&team, &laptop, &token, at(0));
        whose.write();
    }
    let text = std::fs::read(&path).unwrap();
    assert!(text.iter().filter(|byte| **byte == b'\n').count() < 2 * book::SPARE, "{} bytes", text.len());
    let again = Whose::load(dir.path());
    assert_eq!(again.last_seen(&team, &laptop), Some(at(3 * book::SPARE as i64 - 1)));
    // Cut by a crash, and written on.
    std::fs::write(&path, [&text[..], b"nonsense\n{\"tunnel\":\"te"].concat()).unwrap();
    let again = Whose::load(dir.path());
    assert_eq!(again.last_seen(&team, &laptop), Some(at(3 * book::SPARE as i64 - 1)));
    again.came(&team, &laptop, &token);
    again.write();
    assert!(Whose::load(dir.path()).is_noted(&team, &laptop, &token));
}

/// A disk that takes its time is somebody's who waits for it, and nobody's who only asks.
#[tokio::test]
async fn while_it_is_written_whose_a_device_is_can_be_asked_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    let token = TokenId::parse("0123456789ab").unwrap();
    let whose = Arc::new(Whose::load(dir.path()));
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let disk = Arc::clone(&whose);
    let slow = std::thread::spawn(move || {
        let _busy = disk.book.lock().unwrap();
        locked.send(()).unwrap();
        gone.recv().unwrap();
    });
    is_locked.recv().unwrap();
    whose.came(&team, &laptop, &token);
    let mut writes = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let whose = Arc::clone(&whose);
        writes.spawn(async move { whose.keep(Offload::Pool).await });
    }
    // Until one of them waits for the disk, and the others for that one.
    while whose.turn.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(whose.is_noted(&team, &laptop, &token));
    assert_eq!(whose.lost(&team, &laptop, &Snapshot::default(), at(1)), Some("its token was revoked"));
    whose.left(&team, &laptop, &token, at(2));
    assert_eq!(whose.last_seen(&team, &laptop), Some(at(2)));
    assert!(writes.try_join_next().is_none(), "nothing is written yet");
    go.send(()).unwrap();
    slow.join().unwrap();
    let done = tokio::time::timeout(Duration::from_secs(60), writes.join_all()).await;
    assert_eq!(done.unwrap().len(), 3);
    assert_eq!(Whose::load(dir.path()).came_with(&token).len(), 1);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_with_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let team: TunnelName = "team".parse().unwrap();
    let [one, two]: [DeviceName; 2] = ["one", "two"].map(|name| name.parse().unwrap());
    let token = TokenId::parse("0123456789ab").unwrap();
    let whose = Arc::new(Whose::load(dir.path()));
    let in_the_way = dir.path().join("devices.jsonl");
    std::fs::create_dir(&in_the_way).unwrap();
    whose.came(&team, &one, &token);
    whose.keep(Offload::Pool).await;
    assert!(whose.is_noted(&team, &one, &token), "it holds all the same");
    std::fs::remove_dir(in_the_way).unwrap();
    whose.came(&team, &two, &token);
    whose.keep(Offload::Pool).await;
    assert_eq!(Whose::load(dir.path()).came_with(&token).len(), 2);
}

#[test]
fn a_disk_that_does_not_write_costs_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    let token = TokenId::parse("0123456789ab").unwrap();
    let whose = Whose::load(dir.path());
    for n in 0..20_000 {
        whose.came(&team, &laptop, &token);
        whose.left(&team, &laptop, &token, at(n));
    }
    assert!(whose.known().waiting.len() <= WAITING + 1000);
    whose.write();
    assert_eq!(Whose::load(dir.path()).last_seen(&team, &laptop), Some(at(19_999)));
}

#[test]
fn who_was_there_when_a_relay_was_killed_was_there_until_its_last_sign() {
    let dir = tempfile::tempdir().unwrap();
    let (team, laptop): (TunnelName, DeviceName) = ("team".parse().unwrap(), "laptop".parse().unwrap());
    let token = TokenId::parse("0123456789ab").unwrap();
    let whose = Whose::load(dir.path());
    whose.came(&team, &laptop, &token);
    assert_eq!(whose.seen(&team, &laptop), None, "it is there");
    whose.note_alive(at(60));
    assert_eq!(std::fs::metadata(dir.path().join("alive")).unwrap().mode() & 0o777, 0o600);

    let next = Whose::load(dir.path());
    assert_eq!(next.seen(&team, &laptop), Some(Seen::AtLeast(at(60))));
    assert_eq!(next.last_seen(&team, &laptop), None, "that it left is not known");
    // This one is at work for longer, and the device does not come.
    next.note_alive(at(600));
    let later = Whose::load(dir.path());
    assert_eq!(later.seen(&team, &laptop), Some(Seen::AtLeast(at(60))));
    later.came(&team, &laptop, &token);
    assert_eq!(later.seen(&team, &laptop), None);
    assert!(later.is_kept(later.known().changes), "nobody waits for the disk for that");
    later.note_alive(at(700));
    let last = Whose::load(dir.path());
    assert_eq!(last.seen(&team, &laptop), Some(Seen::AtLeast(at(700))));
    last.came(&team, &laptop, &token);
    last.left(&team, &laptop, &token, at(800));
    last.note_alive(at(900));
    assert_eq!(Whose::load(dir.path()).seen(&team, &laptop), Some(Seen::Until(at(800))));
    // Half of it, as after a power cut.
    std::fs::write(dir.path().join("alive"), "\"20").unwrap();
    Whose::load(dir.path()).came(&team, &laptop, &token);
}
