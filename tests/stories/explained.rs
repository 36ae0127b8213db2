//! Signatures explained: why a delivery is invalid, asked of the running agent and of the store; a sender that changes; copies as curl lines.

use serde_json::Value;
use tunnel_stories::{SECRET, Sender, TUNNEL, World, signed};
use tunnel_testkit::AnswerMode;

const BODY: &str = r#"{"resource_id":7,"resource_id_type":"Task","event_type":"task.updated","note":"für später"}"#;

/// Sends a delivery; the agent has forwarded it when its id is given.
fn delivered(world: &World, sender: &mut Sender, job: &Value, already: usize) -> String {
    let answer = sender.send(job);
    assert_eq!(answer["status"], 200, "{answer}");
    let line = world.agent.wait_lines("delivery", already + 1).remove(already);
    world.agent.wait_lines("attempt", already + 1);
    line["id"].as_str().expect("a delivery has an id").to_owned()
}

#[test]
fn an_invalid_delivery_says_what_would_make_it_valid() {
    let mut world = World::connected(AnswerMode::Ack);
    let (mut sender, to) = (Sender::python(), world.relay.http());
    let mut slash = signed(to, "guide", "/hook/", BODY);
    slash["signed_target"] = "/hook".into();
    let mut spaced = signed(to, "rfc9421", "/hook", BODY);
    spaced["sent_body"] = BODY.replace(':', ": ").replace(',', ", ").into();
    let mut foreign = signed(to, "scribe", "/hook", BODY);
    foreign["secret"] = "whsec_of_production".into();
    let ids: Vec<String> =
        [&slash, &spaced, &foreign].iter().enumerate().map(|(n, job)| delivered(&world, &mut sender, job, n)).collect();

    // The running agent has the secret, so nobody has to give it.
    let hint = |id: &str| world.agent.show(id)["signature"]["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint(&ids[0]).contains("slash at its end"), "{}", hint(&ids[0]));
    assert!(hint(&ids[1]).contains("written differently"), "{}", hint(&ids[1]));
    assert!(hint(&ids[2]).contains("a secret that is not at hand"), "{}", hint(&ids[2]));
    let human = world.agent.run(&["events", "show", &ids[0]]).ok().out();
    assert!(human.contains("slash at its end"), "{human}");
    let listed = world.agent.run(&["events", "list"]).ok().out();
    assert!(!listed.contains("slash at its end"), "a list is not held up by explanations: {listed}");

    for running in [true, false] {
        let secret = if running { &[][..] } else { &["--secret", SECRET] };
        let verify = |id: &str, more: &[&str]| -> Value {
            world.agent.run(&[&["verify", id, "--json"][..], secret, more].concat()).exits(1).json()
        };
        assert_eq!(verify(&ids[0], &[])["findings"][0]["causes"][0], "trailing-slash");
        assert_eq!(verify(&ids[1], &[])["findings"][0]["causes"][0], "body-serialised-again");
        let other = verify(&ids[2], &["--other-secret", "production=whsec_of_production"]);
        assert_eq!((&other["status"], &other["findings"][0]["causes"][0]), (&"invalid".into(), &"other-secret".into()));
        assert_eq!(other["findings"][0]["secret"], "production");
        // What is shown can be kept, and is explained as well from the file.
        let file = world.agent.data().with_file_name("shown.json");
        std::fs::write(&file, world.agent.run(&["events", "show", &ids[0], "--json"]).ok().out()).expect("a file");
        let again = verify(&file.display().to_string(), &[]);
        assert_eq!((&again["source"], &again["hint"]), (&"json".into(), &verify(&ids[0], &[])["hint"]));
        if running {
            world.agent.terminate();
        }
    }
}

#[test]
fn a_secret_that_is_given_is_the_one_that_is_asked_about() {
    let mut world = World::connected(AnswerMode::Ack);
    let (mut sender, to) = (Sender::python(), world.relay.http());
    let id = delivered(&world, &mut sender, &signed(to, "guide", "/hook", BODY), 0);
    for running in [true, false] {
        let status =
            |secret: &str| world.agent.run(&["verify", &id, "--secret", secret, "--json"]).json()["status"].clone();
        assert_eq!((status("whsec_another"), status(SECRET)), ("invalid".into(), "valid".into()), "running: {running}");
        if running {
            world.agent.terminate();
        }
    }
}

#[test]
fn a_sender_that_signs_otherwise_is_pointed_out_once() {
    let mut world = World::connected(AnswerMode::Ack);
    let (mut sender, to) = (Sender::python(), world.relay.http());
    let mut ids = Vec::new();
    for (n, profile) in ["guide", "guide", "scribe", "scribe", "guide"].into_iter().enumerate() {
        ids.push(delivered(&world, &mut sender, &signed(to, profile, "/hook", &BODY.replace('7', &n.to_string())), n));
    }
    let told = world.agent.wait_lines("warning", 2);
    for (line, id, words) in [
        (&told[0], &ids[2], "signed as guide and this one as scribe"),
        (&told[1], &ids[4], "signed as scribe and this one as guide"),
    ] {
        let message = line["message"].as_str().unwrap_or_default();
        assert!(message.contains(words) && message.contains(id.as_str()), "{line}");
    }
    let notes = |id: &str| world.agent.run(&["verify", id, "--json"]).ok().json()["notes"].to_string();
    assert_eq!((notes(&ids[0]), notes(&ids[3])), ("[]".to_owned(), "[]".to_owned()));
    assert!(notes(&ids[2]).contains("signed as guide and this one as scribe"), "{}", notes(&ids[2]));

    // What was learnt survives the agent.
    world.agent.terminate();
    world.agent.start();
    delivered(&world, &mut sender, &signed(to, "rfc9421", "/hook", BODY), 0);
    let line = world.agent.wait_line("warning");
    assert!(line.to_string().contains("signed as guide and this one as rfc9421"), "{line}");
}

#[test]
fn a_copy_as_a_curl_line_is_the_delivery_and_can_be_signed_for_the_handler_s_path() {
    let world = World::connected(AnswerMode::Ack);
    let (mut sender, to) = (Sender::python(), world.relay.http());
    for (n, profile) in ["guide", "scribe", "rfc9421"].into_iter().enumerate() {
        let mut job = signed(to, profile, &format!("/t/{TUNNEL}/hook?a=1"), BODY);
        job["host"] = to.to_string().into();
        let id = delivered(&world, &mut sender, &job, n);
        let file = world.agent.data().with_file_name("line.sh");
        let copied = |more: &[&str]| -> String {
            let line = world.agent.run(&[&["curl", &id][..], more].concat()).ok().out();
            std::fs::write(&file, &line).expect("a file");
            line
        };
        let name = file.display().to_string();
        let line = copied(&[]);
        assert!(line.starts_with(&format!("curl 'http://{to}/t/{TUNNEL}/hook?a=1'")), "{line}");
        let told = world.agent.run(&["verify", &name, "--json"]).ok().json();
        assert_eq!((&told["profile"], &told["source"]), (&profile.into(), &"curl".into()), "{told}");

        let line = copied(&["--to", "3000"]);
        assert!(line.starts_with("curl 'http://localhost:3000/hook?a=1'"), "{line}");
        let told = world.agent.run(&["verify", &name, "--json"]).exits(1).json();
        assert_eq!(told["findings"][0]["causes"][0], "path-prefix", "{told}");
        assert!(world.agent.run(&["curl", &id, "--to", "3000"]).ok().err().contains("--resign"));

        copied(&["--to", "3000", "--resign"]);
        let told = world.agent.run(&["verify", &name, "--json"]).ok().json();
        assert_eq!(told["profile"], profile, "{told}");
    }
    let unsigned = world.accepted(&format!("/t/{TUNNEL}/x"), b"{}");
    world.agent.wait_lines("delivery", 4);
    let refused = world.agent.run(&["curl", &unsigned, "--to", "localhost:3000/y", "--resign"]).exits(1);
    assert!(refused.err().contains("not signed again"), "{}", refused.err());
}
