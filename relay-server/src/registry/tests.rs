//! The registry as two processes use it, and what is refused.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn two_processes_see_each_other_s_changes() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Registry::open(dir.path()).unwrap();
    let command = Registry::open(dir.path()).unwrap();
    let team: TunnelName = "team".parse().unwrap();
    command.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Passthrough, at(1))).unwrap();
    let token = command.create_token(&team, at(2)).unwrap();
    assert!(relay.snapshot().tunnels.is_empty());
    assert!(relay.reload().unwrap());
    assert!(!relay.reload().unwrap());
    assert_eq!(relay.snapshot().tunnel_of(token.expose()), Some((token.id(), team.clone())));
    command.revoke_token(&token.id()).unwrap();
    relay.reload().unwrap();
    assert_eq!(relay.snapshot().tunnel_of(token.expose()), None);
    let file = fs::read_to_string(dir.path().join("registry.json")).unwrap();
    assert!(!file.contains(&token.expose()[16..]), "the secret is in the file");
    assert_eq!(fs::metadata(dir.path().join("registry.json")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_is_not_there_or_there_already_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    let team: TunnelName = "team".parse().unwrap();
    assert!(matches!(registry.create_token(&team, at(1)), Err(RegistryError::NoTunnel(_))));
    assert!(matches!(registry.remove_tunnel(&team), Err(RegistryError::NoTunnel(_))));
    registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    let again = registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1)));
    assert!(matches!(again, Err(RegistryError::TunnelExists(_))));
    let token = registry.create_token(&team, at(1)).unwrap();
    registry.remove_tunnel(&team).unwrap();
    registry.reload().unwrap();
    assert!(registry.snapshot().tokens.is_empty());
    assert!(matches!(registry.revoke_token(&token.id()), Err(RegistryError::NoToken(_))));
}

#[test]
fn a_damaged_or_newer_file_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.json");
    for (text, newer) in [("{", false), (r#"{"version":2,"shape":"other"}"#, true)] {
        fs::write(&path, text).unwrap();
        match Registry::open(dir.path()) {
            Err(RegistryError::Damaged { .. }) if !newer => {}
            Err(RegistryError::TooNew { found: 2, .. }) if newer => {}
            other => panic!("{text}: {:?}", other.err()),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
