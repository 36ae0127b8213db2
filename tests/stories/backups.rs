//! A backup is made while deliveries go on; the server is lost; what was acknowledged before the backup began reaches the agents from the restored one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tunnel_stories::{HOST, SECRET, TUNNEL, World};
use tunnel_testkit::{AnswerMode, Handler, Load, Plan, Stage, eventually};

fn ids(world: &World) -> Vec<String> {
    world.agent.events(&[]).iter().map(|e| e["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_was_acknowledged_before_the_backup_reaches_an_agent_after_the_restore() {
    let mut world = World::new(AnswerMode::Ack);
    // An agent that has some, and is away while more comes: the backup knows how far it got.
    world.agent.start();
    let first = world.accepted("/hook", b"{}");
    eventually("the first delivery", || ids(&world).contains(&first).then_some(()));
    assert!(world.agent.terminate().success());

    let plan = Plan { seed: 7, host: HOST.to_owned(), senders: 3, rest: Duration::from_millis(2) };
    let load: Load = plan.start(world.relay.http());
    load.goes_on(60);
    let before: Vec<String> = load.answered().all().into_iter().map(|a| a.id).collect();
    let file = world.stage.folder().join("relay.tar.zst");
    let shown = file.display().to_string();
    let said = world.relay.run(&["backup", &shown]).ok().err();
    load.goes_on(60);
    assert!(said.contains("read back and whole"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    world.relay.run(&["restore", "--check", &shown]).ok();
    world.relay.run(&["backup", &shown]).exits(1);
    let piped = world.relay.run(&["restore", &shown]).exits(2).err();
    assert!(piped.contains("a relay runs on this folder"), "{piped}");
    load.stop();

    // The server is lost with all that came after the backup.
    world.relay.kill();
    fs::rename(world.relay.data(), world.stage.folder().join("lost")).unwrap();
    let said = world.relay.run(&["restore", &shown]).ok().err();
    assert!(said.contains("restored"), "{said}");
    world.relay.run(&["restore", &shown]).exits(2);
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    let there = eventually("everything acknowledged before the backup", || {
        let there = ids(&world);
        before.iter().all(|id| there.contains(id)).then_some(there)
    });
    assert_eq!(there.len(), there.iter().collect::<BTreeSet<_>>().len(), "each once");
    // And the restored relay goes on: new deliveries reach the same agent.
    let next = world.accepted("/hook", b"{}");
    eventually("a new delivery", || ids(&world).contains(&next).then_some(()));
}

#[test]
fn an_agent_that_is_ahead_of_the_restored_relay_stores_nothing_twice() {
    let mut world = World::connected(AnswerMode::Ack);
    let old: Vec<_> = (0..5).map(|n| world.accepted("/hook", n.to_string().as_bytes())).collect();
    // What nobody has taken yet at the backup's moment is sent again; so the agent is kept from taking.
    eventually("the first five", || (ids(&world).len() == old.len()).then_some(()));
    assert!(world.agent.terminate().success());
    let waiting: Vec<_> = (5..10).map(|n| world.accepted("/hook", n.to_string().as_bytes())).collect();
    let file = world.stage.folder().join("b.tar.zst").display().to_string();
    world.relay.run(&["backup", &file]).ok();
    world.agent.start();
    eventually("all ten", || (ids(&world).len() == 10).then_some(()));
    // It is ahead of the backup now, by what waited then and what comes after it.
    let after: Vec<_> = (10..13).map(|n| world.accepted("/hook", n.to_string().as_bytes())).collect();
    eventually("all thirteen", || (ids(&world).len() == 13).then_some(()));
    assert!(world.relay.terminate().success());
    assert!(world.agent.terminate().success());

    fs::remove_dir_all(world.relay.data()).unwrap();
    world.relay.run(&["restore", &file]).ok();
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    let next = world.accepted("/hook", b"next");
    let there = eventually("the next", || Some(ids(&world)).filter(|there| there.contains(&next)));
    let wanted: BTreeSet<_> = old.iter().chain(&waiting).chain(&after).chain([&next]).cloned().collect();
    assert_eq!(there.len(), 14, "nothing twice");
    // What came again is here and waits nowhere, whether it was stored a second time or not.
    let status = world.agent.run(&["status", "--json"]).ok().json();
    assert_eq!(status["waiting"]["at_relay"], 0, "{status}");
    assert_eq!(there.into_iter().collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn without_a_relay_the_folder_is_backed_up_itself() {
    let mut world = World::new(AnswerMode::Ack);
    let id = world.accepted("/hook", b"{}");
    assert!(world.relay.terminate().success());
    let file = world.stage.folder().join("b.tar.zst").display().to_string();
    let said = world.relay.run(&["backup", &file]).ok().err();
    assert!(said.contains("1 deliveries"), "{said}");
    fs::remove_dir_all(world.relay.data()).unwrap();
    world.relay.run(&["restore", &file]).ok();
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    eventually("the delivery", || ids(&world).contains(&id).then_some(()));
}

/// What is sealed and encrypted is so in the backup; with the key, and the agent's own, all of it is there again.
#[test]
fn an_encrypted_spool_of_a_sealed_tunnel_comes_back_with_its_audit_log() {
    let (stage, handler) = (Stage::new(), Handler::start());
    let key = stage.folder().join("relay.key");
    let text: String = (0..32_u8).map(|n| format!("{:02x}", n.wrapping_mul(37) ^ 0x5a)).collect();
    fs::write(&key, text).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut relay = stage.relay().with_arguments(&["--data-key-file", &key.display().to_string()]);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.run(&["tunnel", "set", TUNNEL, "--seal"]).ok();
    relay.start();
    let agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    let mut world = World { agent, relay, handler, token, stage };
    world.agent.start();
    assert!(world.agent.terminate().success());
    let id = world.accepted("/hook", b"for one pair of eyes");
    let inside = world.relay.data().join("relay.tar.zst").display().to_string();
    let told = world.relay.run(&["backup", &inside]).exits(2).err();
    assert!(told.contains("name a file elsewhere"), "{told}");
    let file = world.stage.folder().join("b.tar.zst").display().to_string();
    world.relay.run(&["backup", &file]).ok();
    world.relay.kill();
    fs::remove_dir_all(world.relay.data()).unwrap();
    world.relay.run(&["restore", &file]).ok();
    world.relay.start();
    world.agent.change("--relay", &world.relay.url());
    world.agent.start();
    eventually("the delivery", || ids(&world).contains(&id).then_some(()));
    assert_eq!(world.agent.show(&id)["body"]["text"], "for one pair of eyes");
    let audit = world.relay.run(&["audit"]).ok().out();
    let at = |what: &str| audit.find(what).unwrap_or_else(|| panic!("no {what} in {audit}"));
    assert!(at("tunnel-added") < at("device-keyed") && at("device-keyed") < at("restored"), "{audit}");
}
