//! Every event of the catalogue in every profile, signed by programs that share no code with ours: all are stored, valid, and
//! forwarded.

use std::collections::BTreeMap;

use tunnel_catalogue::IdStyle;
use tunnel_stories::{Sender, World, signed};
use tunnel_testkit::{AnswerMode, eventually};

const PROFILES: [&str; 3] = ["guide", "scribe", "rfc9421"];

/// Sends every `step`th event in every profile and looks at what became of each.
fn all_arrive(mut sender: Sender, step: usize) {
    let world = World::connected(AnswerMode::Ack);
    let mut sent = BTreeMap::new();
    for (n, event) in tunnel_catalogue::all().iter().enumerate().step_by(step) {
        for (m, profile) in PROFILES.into_iter().enumerate() {
            let style = if (n + m) % 2 == 0 { IdStyle::Text } else { IdStyle::Integer };
            let seed = u64::try_from(n * PROFILES.len() + m).unwrap();
            let body = tunnel_catalogue::synthetic(event, seed, style).to_string();
            let answer = sender.send(&signed(world.relay.http(), profile, &format!("/hook/{profile}"), &body));
            assert_eq!(answer["status"], 200, "{}: {answer}", event.name);
            let pairs = answer["headers"].as_array().unwrap().iter();
            let id = pairs.clone().find(|p| p[0] == "healthie-tunnel-delivery").map(|p| p[1].to_string());
            sent.insert(id.expect("the relay names the delivery"), (event.name, profile, body));
        }
    }
    let attempts = world.agent.wait_lines("attempt", sent.len());
    assert!(attempts.iter().all(|a| a["status"] == 200), "{attempts:#?}");

    let stored = eventually("all attempts to be recorded", || {
        let stored = world.agent.events(&[]);
        stored.iter().all(|s| s["attempts"] == 1).then_some(stored)
    });
    assert_eq!(stored.len(), sent.len());
    for summary in &stored {
        let (event, profile, _) = &sent[&summary["id"].to_string()];
        let seen = (&summary["event_type"], &summary["signature"], &summary["profile"], &summary["answer"]["class"]);
        assert_eq!(seen, (&(*event).into(), &"valid".into(), &(*profile).into(), &"2xx".into()), "{summary}");
    }
    let mut bodies: Vec<_> = sent.values().map(|(_, _, body)| body.clone()).collect();
    let mut got: Vec<_> = world.handler.wait_for(sent.len()).iter().map(|r| r.message.text()).collect();
    bodies.sort();
    got.sort();
    assert_eq!(got, bodies);
}

#[test]
fn all_events_in_all_profiles_from_python() {
    assert_eq!(tunnel_catalogue::all().len(), 182);
    all_arrive(Sender::python(), 1);
}

#[test]
fn a_sample_of_events_from_node() {
    all_arrive(Sender::node(), 9);
}
