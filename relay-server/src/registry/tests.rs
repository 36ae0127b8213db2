//! The registry as two processes use it, and what is refused.

use std::path::Path;

use super::*;
use crate::tokens::{Token, work_of};

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
    let admit = || relay.snapshot().admit(Some(token.expose()), None, at(3));
    assert!(matches!(admit(), Admission::Open(pass, name) if pass.token == token.id() && name == team));
    command.revoke_token(&token.id()).unwrap();
    relay.reload().unwrap();
    assert_eq!(admit(), Admission::No);
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
    assert!(matches!(registry.retire_tunnel(&team, at(1), false, at(1)), Err(RegistryError::NoTunnel(_))));
    registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    let again = registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1)));
    assert!(matches!(again, Err(RegistryError::TunnelExists(_))));
    let token = registry.create_token(&team, at(1)).unwrap();
    let id = token.id();
    assert!(matches!(registry.grant(&id, &"other".parse().unwrap()), Err(RegistryError::NoTunnel(_))));
    registry.retire_tunnel(&team, at(1), false, at(1)).unwrap();
    assert!(matches!(registry.withdraw(&id, &team), Err(RegistryError::NotGranted { .. })));
    registry.revoke_token(&id).unwrap();
    assert!(matches!(registry.revoke_token(&id), Err(RegistryError::NoToken(_))));
    assert!(matches!(registry.rotate_token(&id, at(9), at(1)), Err(RegistryError::NoToken(_))));
}

#[test]
fn a_damaged_or_newer_file_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.json");
    for (text, newer) in [("{", false), (r#"{"version":3,"shape":"other"}"#, true)] {
        fs::write(&path, text).unwrap();
        match Registry::open(dir.path()) {
            Err(RegistryError::Damaged { .. }) if !newer => {}
            Err(RegistryError::TooNew { found: 3, .. }) if newer => {}
            other => panic!("{text}: {:?}", other.err()),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

/// A registry with tunnels `team` and `other`.
fn two_tunnels(dir: &Path) -> (Registry, TunnelName, TunnelName) {
    let registry = Registry::open(dir).unwrap();
    let (team, other): (TunnelName, TunnelName) = ("team".parse().unwrap(), "other".parse().unwrap());
    for name in [&team, &other] {
        registry.add_tunnel(name.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    }
    (registry, team, other)
}

/// What a token opens.
fn opened(registry: &Registry, token: &str, wanted: Option<&TunnelName>, second: i64) -> Admission {
    registry.reload().unwrap();
    registry.snapshot().admit(Some(token), wanted, at(second))
}

fn pass(admission: Admission) -> Pass {
    match admission {
        Admission::Open(pass, _) => pass,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_opens_several_tunnels_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, team, other) = two_tunnels(dir.path());
    let token = registry.create_token(&team, at(1)).unwrap();
    assert!(registry.grant(&token.id(), &other).unwrap());
    assert!(!registry.grant(&token.id(), &other).unwrap(), "it did already");
    let open = |wanted: Option<&TunnelName>| opened(&registry, token.expose(), wanted, 2);
    assert_eq!(open(None), Admission::Which(vec![other.clone(), team.clone()]));
    let in_team = pass(open(Some(&team)));
    let in_other = pass(open(Some(&other)));
    let third: TunnelName = "third".parse().unwrap();
    assert_eq!(open(Some(&third)), Admission::No, "none of that name");
    registry.add_tunnel(third.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    assert_eq!(open(Some(&third)), Admission::No, "somebody else's");
    registry.withdraw(&token.id(), &other).unwrap();
    registry.reload().unwrap();
    let all = registry.snapshot();
    assert!(all.ends(&in_other, &other, at(2)).unwrap().contains("withdrawn"));
    assert_eq!(all.ends(&in_team, &team, at(2)), None);
    assert!(matches!(open(None), Admission::Open(..)), "one is left");
}

#[test]
fn a_rotated_token_has_two_secrets_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, team, _) = two_tunnels(dir.path());
    let first = registry.create_token(&team, at(1)).unwrap();
    let open = |token: &Token, second| opened(&registry, token.expose(), None, second);
    let session = pass(open(&first, 2));
    let second = registry.rotate_token(&first.id(), at(10), at(5)).unwrap();
    assert_eq!(second.id(), first.id());
    assert!(matches!((open(&first, 9), open(&second, 9)), (Admission::Open(..), Admission::Open(..))));
    assert_eq!(open(&first, 10), Admission::No);
    let all = registry.snapshot();
    assert_eq!(all.ends(&session, &team, at(9)), None);
    assert!(all.ends(&session, &team, at(10)).unwrap().contains("replaced"));
    assert!(all.something_ended(at(9), at(10)) && !all.something_ended(at(10), at(11)));
    // Only the newest and the one before it.
    let third = registry.rotate_token(&first.id(), at(10), at(6)).unwrap();
    let works = [&first, &second, &third].map(|token| matches!(open(token, 7), Admission::Open(..)));
    assert_eq!(works, [false, true, true]);
    // At once, without `--keep-old`.
    registry.rotate_token(&first.id(), at(7), at(7)).unwrap();
    assert_eq!((open(&second, 7), open(&third, 7)), (Admission::No, Admission::No));
}

#[test]
fn a_token_s_time_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, team, _) = two_tunnels(dir.path());
    let new = NewToken { tunnels: [team.clone()].into(), expires_at: Some(at(10)), ..NewToken::default() };
    let token = registry.issue_token(new, at(1)).unwrap();
    let session = pass(opened(&registry, token.expose(), None, 9));
    assert_eq!(opened(&registry, token.expose(), None, 10), Admission::No);
    assert!(registry.snapshot().ends(&session, &team, at(10)).unwrap().contains("expired"));
    assert!(registry.snapshot().something_ended(at(9), at(12)));
    assert!(matches!(registry.rotate_token(&token.id(), at(20), at(11)), Err(RegistryError::Expired(_))));
}

#[test]
fn a_removed_name_is_kept_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, team, other) = two_tunnels(dir.path());
    let owner = registry.create_token(&team, at(1)).unwrap().id();
    let looks = NewToken { access: Access::ReadOnly, tunnels: [team.clone()].into(), ..NewToken::default() };
    let looks = registry.issue_token(looks, at(1)).unwrap().id();
    let stranger = registry.create_token(&other, at(1)).unwrap().id();
    registry.retire_tunnel(&team, at(100), false, at(10)).unwrap();
    let add = |owners: &[TokenId], take, second| {
        registry.add_tunnel_for(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(second)), owners, take)
    };
    for owners in [&[][..], std::slice::from_ref(&stranger), &[looks], &[owner.clone(), stranger.clone()]] {
        let refused = add(owners, false, 99).unwrap_err();
        assert!(
            matches!(refused, RegistryError::Reserved { .. })
                && refused.to_string().contains(owner.to_string().as_str())
        );
    }
    add(std::slice::from_ref(&owner), false, 11).unwrap();
    registry.reload().unwrap();
    let all = registry.snapshot();
    assert!(all.tokens[&owner].tunnels.contains(&team) && all.reserved.is_empty());
    assert_eq!(all.tokens_of(&team).count(), 1, "who only looked is to be granted anew");
    // Whoever takes it all the same, or comes later.
    registry.retire_tunnel(&team, at(100), false, at(12)).unwrap();
    add(std::slice::from_ref(&stranger), true, 13).unwrap();
    registry.retire_tunnel(&team, at(100), false, at(14)).unwrap();
    add(&[], false, 100).unwrap();
    // And one that is not kept, with the tokens that open nothing else.
    registry.grant(&stranger, &team).unwrap();
    let only = registry.create_token(&team, at(100)).unwrap().id();
    let (other_too, idle) = (stranger, registry.retire_tunnel(&team, at(200), true, at(100)).unwrap());
    assert_eq!(idle, std::slice::from_ref(&only));
    registry.reload().unwrap();
    let all = registry.snapshot();
    assert!(!all.tokens.contains_key(&only) && all.tokens.contains_key(&other_too));
    assert_eq!(all.reserved[&team].owners, [other_too.clone()].into());
    add(&[other_too], false, 101).unwrap();
    registry.retire_tunnel(&team, at(101), false, at(101)).unwrap();
    add(&[], false, 102).unwrap();
}

/// Whoever guesses must not learn by the time it takes what there is: the same work is done for everything that is wrong. It is counted and not timed: a hash
/// is a tenth of what all of it takes in a build for tests, and a busy processor's moods are more. What real connections see is measured by a story.
#[test]
fn every_refusal_costs_the_same_work() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, team, other) = two_tunnels(dir.path());
    let token = registry.create_token(&team, at(1)).unwrap();
    registry.rotate_token(&token.id(), at(1000), at(2)).unwrap();
    registry.reload().unwrap();
    let all = registry.snapshot();
    let good = token.expose().to_owned();
    let wrong_secret = format!("{}{}", &good[..16], "0".repeat(64));
    let unknown = format!("ht_{}_{}", "a".repeat(12), "0".repeat(64));
    let none: TunnelName = "none".parse().unwrap();
    let cases: [(&str, Option<&str>, Option<&TunnelName>); 6] = [
        ("no token", None, Some(&team)),
        ("no form", Some("ht_nonsense"), Some(&team)),
        ("unknown id", Some(&unknown), Some(&team)),
        ("wrong secret", Some(&wrong_secret), Some(&team)),
        ("another's tunnel", Some(&good), Some(&other)),
        ("no such tunnel", Some(&good), Some(&none)),
    ];
    let good = |secret: &str| all.admit(Some(secret), Some(&team), at(3));
    assert_eq!(work_of(|| assert!(matches!(good(token.expose()), Admission::Open(..)))), (1, 2), "what is right, too");
    for (what, token, wanted) in cases {
        let work = work_of(|| assert_eq!(all.admit(token, wanted, at(3)), Admission::No, "{what}"));
        assert_eq!(work, (1, 2), "{what}: one hash, and one comparison for each secret that a token may have");
    }
}

/// Whoever has the folder may have put a link where the next file is written; a command of root's must not follow it.
#[test]
fn what_is_written_goes_into_the_folder() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = elsewhere.path().join("other");
    fs::write(&other, "stays").unwrap();
    std::os::unix::fs::symlink(&other, dir.path().join("registry.json.new")).unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    registry.add_tunnel("team".parse().unwrap(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    assert_eq!(fs::read_to_string(other).unwrap(), "stays");
    assert!(Registry::open(dir.path()).unwrap().snapshot().tunnels.len() == 1);
}

/// Moved away for a moment, as an editor or a copy back does: what was read before stays in force.
#[test]
fn a_registry_that_is_gone_is_none_without_tunnels() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).unwrap();
    assert!(!registry.reload().unwrap() && !registry.is_there(), "a new folder has none");
    registry.add_tunnel("team".parse().unwrap(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
    assert!(registry.reload().unwrap() && registry.is_there());
    let (file, aside) = (dir.path().join("registry.json"), dir.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    let gone = registry.reload().unwrap_err().to_string();
    assert!(gone.contains("registry.json"), "{gone}");
    assert_eq!(registry.snapshot().tunnels.len(), 1);
    fs::rename(&aside, &file).unwrap();
    registry.reload().unwrap();
    assert_eq!(registry.snapshot().tunnels.len(), 1);
}
