//! A relay's beginning and end.

use super::*;

/// Can be seen by root only.
#[tokio::test]
async fn what_a_relay_of_root_s_makes_belongs_to_the_folder_s_owner() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    if !crate::ownership::is_given_away(dir.path()) {
        return;
    }
    let relay = Relay::start(Config::loopback(dir.path().to_owned())).await.unwrap();
    let settings = crate::registry::TunnelSettings::new(crate::registry::AnswerMode::Ack, relay.shared.now());
    relay.registry().add_tunnel("late".parse().unwrap(), settings).unwrap();
    assert_eq!(relay.reload().await, [] as [&str; 0]);
    // Made when the first device comes.
    let (late, token) = ("late".parse().unwrap(), crate::tokens::TokenId::parse("0123456789ab").unwrap());
    relay.shared.device_came(&late, &"laptop".parse().unwrap(), &token).await;
    // Its file is made and handed over by a thread of its own, in two steps.
    relay.shared.audit.flush();
    // And so is this one's, with the first look at what is too old.
    let sign = dir.path().join("spool/alive");
    let noted = async {
        while !sign.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noted).await.expect("it notes that it is at work");
    let mut names = vec![dir.path().to_owned()];
    for folder in [dir.path().to_owned(), dir.path().join("spool")] {
        names.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert!(names.len() > 6, "{names:?}");
    for path in names {
        let found = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (4242, 4343), "{}", path.display());
    }
    relay.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_have_the_time_of_their_listener() {
    let time = Duration::from_millis(12_345);
    let bound = bind("127.0.0.1:0".parse().unwrap(), None, time).await.unwrap();
    let (_near, far) =
        tokio::join!(tokio::net::TcpStream::connect(bound.addr), async { bound.listener.accept().await });
    assert_eq!(rustix::net::sockopt::tcp_user_timeout(&far.unwrap().0).unwrap(), 12_345);
}

#[tokio::test]
async fn a_start_that_fails_at_its_end_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("addresses.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let config = Config::loopback(dir.path().to_owned());
    assert!(matches!(Relay::start(config.clone()).await, Err(StartError::Write { .. })));
    std::fs::remove_dir(in_the_way).unwrap();
    Relay::start(config).await.expect("the spool is free again").stop().await;
}

/// Without waiting for the next look at the file, which is up to half a second away.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_command_changed_is_in_force_when_it_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(Config::loopback(dir.path().to_owned())).await.unwrap();
    let command = Registry::open(dir.path()).unwrap();
    for n in 0..20 {
        let name: tunnel_delivery::TunnelName = format!("t{n}").parse().unwrap();
        let settings = crate::registry::TunnelSettings::new(crate::registry::AnswerMode::Ack, relay.shared.now());
        command.add_tunnel(name.clone(), settings).unwrap();
        let told = control::ask_running(dir.path(), &control::Question::Changed).unwrap();
        assert_eq!(told, Some(control::Told::Taken));
        assert!(relay.registry().snapshot().tunnels.contains_key(&name), "{n}");
    }
    relay.stop().await;
    assert_eq!(control::ask_running(dir.path(), &control::Question::Changed).unwrap(), None);
}

#[tokio::test]
async fn agents_from_before_a_start_are_let_in_before_strangers() {
    use crate::audit::{Entry, What, Who, append};
    let dir = tempfile::tempdir().unwrap();
    let now = crate::session::wall_clock();
    let agent = || Who::Agent { with_token: crate::tokens::TokenId::parse("0123456789ab").unwrap() };
    let line = |days: u64, last| {
        let at = now.earlier(Duration::from_secs(days * 24 * 3600));
        Entry::new(at, What::AgentConnected, agent()).from([192, 0, 2, last].into())
    };
    append(dir.path(), &[line(31, 1), line(29, 2)]).unwrap();
    let relay = Relay::start(Config::loopback(dir.path().to_owned())).await.unwrap();
    while !relay.shared.handshakes.knows([192, 0, 2, 2].into()) {
        tokio::task::yield_now().await;
    }
    assert!(!relay.shared.handshakes.knows([192, 0, 2, 1].into()), "that is too long ago");
    relay.stop().await;
}

/// What was accepted for a tunnel and comes into the spool behind its removal would lie there for whoever gets the name next.
#[tokio::test]
async fn a_removed_tunnel_is_dropped_behind_all_that_is_being_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(Config::loopback(dir.path().to_owned())).await.unwrap();
    let (team, now): (tunnel_delivery::TunnelName, _) = ("team".parse().unwrap(), relay.shared.now());
    let settings = crate::registry::TunnelSettings::new(crate::registry::AnswerMode::Ack, now);
    relay.registry().add_tunnel(team.clone(), settings).unwrap();
    relay.shared.read_again().await.unwrap();
    let taking = relay.shared.taking().await;
    assert!(relay.registry().snapshot().tunnels.contains_key(&team), "it was there when somebody looked");
    relay.registry().retire_tunnel(&team, now, false, now).unwrap();
    let shared = Arc::clone(&relay.shared);
    let removing = tokio::spawn(async move { shared.read_again().await });
    while relay.registry().snapshot().tunnels.contains_key(&team) {
        tokio::task::yield_now().await;
    }
    let laptop = "laptop".parse().unwrap();
    relay.shared.spool.join(&team, &laptop, tunnel_spool::Start::Now, now).await.unwrap();
    assert!(!removing.is_finished());
    drop(taking);
    removing.await.unwrap().unwrap();
    assert_eq!(relay.shared.spool.devices(&team).unwrap(), [], "nothing of it is left");
    relay.stop().await;
}

/// Were it another one, no agent would be believed how far it got, and each would be told again of what it has been told is gone.
#[tokio::test]
async fn a_spool_that_was_purged_is_the_same_stream_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::loopback(dir.path().to_owned());
    let relay = Relay::start(config.clone()).await.unwrap();
    let (stream, spool) = (relay.shared.stream.clone(), &relay.shared.spool);
    let file = dir.path().join("spool/spool.redb");
    let number = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&file).unwrap());
    let before = number();
    let delivery = crate::sample::delivery(1, relay.shared.now(), "{}");
    let team = delivery.tunnel.clone();
    spool.append(delivery).await.unwrap();
    spool.purge(&team).await.unwrap();
    assert!(spool.tidied().await.unwrap());
    assert_ne!(number(), before, "the file is another");
    relay.stop().await;
    let relay = Relay::start(config).await.unwrap();
    assert_eq!(relay.shared.stream, stream);
    relay.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_who_still_holds_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::loopback(dir.path().to_owned());
    let relay = Relay::start(config.clone()).await.unwrap();
    // As a look at the registry does on a machine that has much to do.
    let held = Arc::clone(&relay.shared);
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || {
        let _ = gone.recv();
        drop(held);
    });
    let stopping = tokio::spawn(relay.stop());
    let addresses = dir.path().join("addresses.json");
    while addresses.exists() {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    stopping.await.unwrap();
    Relay::start(config).await.expect("the spool is free again").stop().await;
    holding.await.unwrap();
}

/// A folder that somebody put together by hand, and forgot the registry.
#[tokio::test]
async fn without_its_registry_a_spool_is_not_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::loopback(dir.path().to_owned());
    let relay = Relay::start(config.clone()).await.expect("a new folder has none of both");
    let settings = crate::registry::TunnelSettings::new(crate::registry::AnswerMode::Ack, relay.shared.now());
    relay.registry().add_tunnel("team".parse().unwrap(), settings).unwrap();
    assert_eq!(relay.reload().await, [] as [&str; 0]);
    relay.stop().await;
    let (file, aside) = (dir.path().join("registry.json"), dir.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    match Relay::start(config.clone()).await {
        Err(StartError::Config(why)) => assert!(why.contains("registry.json is not there"), "{why}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    std::fs::rename(&aside, &file).unwrap();
    Relay::start(config).await.expect("it is back").stop().await;
}
