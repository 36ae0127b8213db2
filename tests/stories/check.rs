//! `check` finds the faults of handlers in Python and Node by their names, and nothing in those that are right.

use std::process::Command;

use serde_json::Value;
use tunnel_stories::{ForeignHandler, SECRET};
use tunnel_testkit::{Binary, ClosedPort, Handler, Process, Ran, Reply, Stage};

/// Where Healthie would send: behind a prefix that mounted handlers do not see.
const PATH: &str = "/api/hooks/healthie";

fn command(stage: &Stage, target: &str, arguments: &[&str]) -> Command {
    let mut command = stage.program(Binary::Tunnel);
    command.args(["check", target, "--secret", SECRET]).args(arguments);
    command
}

fn check(target: &str, arguments: &[&str]) -> Ran {
    Process::run("check", &mut command(&Stage::new(), target, arguments))
}

/// The names of what was found, sorted.
fn found(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    let mut names: Vec<_> = findings.iter().map(|d| d["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

/// Checks a handler with that fault; it must be found, and nothing else.
fn finds(script: &str, profile: &str, fault: &str, expected: &[&str]) {
    let handler = ForeignHandler::start_with(script, &[profile, fault]);
    let path = if fault == "trailing-slash" { "/hooks/" } else { PATH };
    // One of them never answers; the others have time, however busy the machine is.
    let timeout = if fault == "large-bodies" { "8s" } else { "20s" };
    let ran = check(&handler.url(), &["--profile", profile, "--path", path, "--timeout", timeout, "--json"]);
    let report = ran.json();
    assert_eq!(found(&report), expected, "{script} {profile} {fault}: {:#}", report["findings"]);
    let fails = report["findings"].as_array().unwrap().iter().any(|d| d["mark"] == "fail");
    assert_eq!((ran.code, &report["ok"]), (Some(i32::from(fails)), &(!fails).into()), "{script} {profile} {fault}");
}

fn right(script: &str) {
    for profile in ["guide", "scribe", "rfc9421"] {
        let handler = ForeignHandler::start_with(script, &[profile, "right"]);
        let report = check(&handler.url(), &["--profile", profile, "--path", PATH, "--json"]).ok().json();
        assert_eq!(found(&report), [""; 0], "{script} {profile}: {:#}", report["findings"]);
        assert_eq!((&report["failed"], &report["warned"]), (&0.into(), &0.into()), "{report:#}");
        assert_eq!(report["passed"].as_u64(), report["cases"].as_array().map(|c| c.len() as u64));
    }
}

#[test]
fn nothing_is_found_in_a_right_handler_in_python() {
    right("checked.py");
}

#[test]
fn nothing_is_found_in_a_right_handler_in_node() {
    right("checked.mjs");
}

#[test]
fn faults_of_verification_in_python() {
    for (profile, fault, expected) in [
        ("guide", "digest-only", &["digest-only"][..]),
        ("scribe", "digest-only", &["digest-only"]),
        // What parses before it verifies stumbles over an empty body.
        ("guide", "no-verification", &["no-verification", "refuses-with-5xx"]),
        ("scribe", "accepts-unsigned", &["accepts-unsigned"]),
        ("guide", "body-unchecked", &["body-unchecked"]),
        ("rfc9421", "partial-signature", &["partial-signature"]),
        ("guide", "method-unchecked", &["method-unchecked"]),
        ("guide", "refuses-with-5xx", &["refuses-with-5xx"]),
    ] {
        finds("checked.py", profile, fault, expected);
    }
}

#[test]
fn faults_of_verification_in_node() {
    for (profile, fault, expected) in [
        ("guide", "digest-only", &["digest-only"][..]),
        ("rfc9421", "accepts-unsigned", &["accepts-unsigned"]),
        ("scribe", "body-unchecked", &["body-unchecked"]),
        ("guide", "digest-unchecked", &["digest-unchecked"]),
        ("guide", "partial-signature", &["partial-signature"]),
        // What parses before it verifies stumbles over an empty body.
        ("guide", "no-verification", &["no-verification", "refuses-with-5xx"]),
        ("guide", "crash", &["crash"]),
    ] {
        finds("checked.mjs", profile, fault, expected);
    }
}

#[test]
fn faults_of_bytes_and_paths_in_python() {
    for (profile, fault, expected) in [
        ("guide", "re-serialises", &["re-serialises", "refuses-with-5xx"][..]),
        ("rfc9421", "re-serialises", &["re-serialises", "refuses-with-5xx"]),
        ("guide", "counts-characters", &["counts-characters"]),
        ("guide", "strips-padding", &["strips-padding"]),
        ("guide", "mounted-path", &["mounted-path"]),
        ("scribe", "trailing-slash", &["trailing-slash"]),
        ("guide", "header-letter-case", &["header-letter-case"]),
        ("guide", "large-bodies", &["large-bodies"]),
        ("guide", "redirects", &["redirects"]),
        // It signs no query, so it also takes one that was added.
        ("rfc9421", "drops-query", &["drops-query", "query-unchecked"]),
    ] {
        finds("checked.py", profile, fault, expected);
    }
}

#[test]
fn faults_of_bytes_and_paths_in_node() {
    for (profile, fault, expected) in [
        ("guide", "re-serialises", &["re-serialises"][..]),
        ("guide", "counts-characters", &["counts-characters"]),
        ("scribe", "mounted-path", &["mounted-path"]),
        ("guide", "strips-padding", &["strips-padding"]),
        // It never answers.
        ("guide", "large-bodies", &["large-bodies"]),
        // A large body comes in pieces by itself.
        ("guide", "partial-bodies", &["large-bodies", "partial-bodies"]),
    ] {
        finds("checked.mjs", profile, fault, expected);
    }
}

#[test]
fn faults_of_what_is_done_with_events_in_python() {
    for (fault, expected) in [
        ("integer-ids", &["integer-ids"][..]),
        ("string-ids", &["string-ids"]),
        ("needs-changed-fields", &["needs-changed-fields"]),
        // It knows two kinds of events.
        ("unknown-events-500", &["resource-types", "unknown-events-500"]),
        ("unknown-events-refused", &["unknown-events-refused"]),
        ("refuses-repeats", &["refuses-repeats"]),
        ("order-dependent", &["order-dependent"]),
    ] {
        finds("checked.py", "guide", fault, expected);
    }
}

#[test]
fn faults_of_what_is_done_with_events_in_node() {
    for (fault, expected) in [
        // The process ends; what comes after is not run.
        ("integer-ids", &["crash", "integer-ids"][..]),
        ("empty-changed-fields", &["empty-changed-fields", "needs-changed-fields"]),
        ("unknown-events-500", &["resource-types", "unknown-events-500"]),
        ("refuses-repeats", &["refuses-repeats"]),
    ] {
        finds("checked.mjs", "guide", fault, expected);
    }
}

#[test]
fn another_profile_is_called_by_its_name() {
    let handler = ForeignHandler::start("scribe.py");
    let report = check(&handler.url(), &["--json", "--skip", "burst"]).exits(1).json();
    assert_eq!(found(&report), ["other-profile"]);
    assert!(report["findings"][0]["todo"].as_str().unwrap().contains("--profile scribe"), "{report:#}");
    // A handler that was written after the guide's sample counts what it wrote again.
    let handler = ForeignHandler::start("guide.mjs");
    assert_eq!(found(&check(&handler.url(), &["--json"]).exits(1).json()), ["re-serialises"]);
}

#[test]
fn a_crash_is_named_with_the_case_that_did_it() {
    let handler = ForeignHandler::start_with("checked.mjs", &["guide", "integer-ids"]);
    let ran = check(&handler.url(), &["--path", PATH]).exits(1);
    let (out, err) = (ran.out(), ran.err());
    assert!(
        out.contains("crash  (integer-id)") && out.contains("--skip integer-id") && out.contains("not run"),
        "{out}"
    );
    assert!(err.contains("crash") && err.contains("integer-ids"), "{err}");
    let handler = ForeignHandler::start_with("checked.mjs", &["guide", "integer-ids"]);
    let report = check(&handler.url(), &["--path", PATH, "--skip", "integer-id", "--json"]).ok().json();
    assert_eq!(found(&report), [""; 0]);
}

#[test]
fn a_handler_that_says_nothing_is_not_waited_for_in_every_case() {
    let handler = Handler::answering(|_| Reply::Never);
    // Long enough to be sent on a busy machine.
    let report = check(&handler.url(), &["--timeout", "2s", "--json"]).exits(1).json();
    handler.wait_for(3);
    let run = report["cases"].as_array().unwrap().iter().filter(|c| c["mark"] != "not-run").count();
    assert_eq!((run, handler.received().len()), (3, 3), "{report:#}");
    assert!(found(&report).contains(&"no-answers".to_owned()), "{:#}", report["findings"]);
}

#[test]
fn nobody_there_is_exit_3_and_wrong_use_exit_2() {
    let closed = ClosedPort::new();
    check(&closed.address().to_string(), &["--json"]).exits(3);
    let handler = Handler::start();
    for wrong in [&["--only", "no-such-case"][..], &["--profile", "stripe"], &["--path", "/a?b"], &["--skip", "*"]] {
        check(&handler.url(), wrong).exits(2);
    }
    assert!(handler.received().is_empty(), "nothing is sent where the command is wrong");
    let without_secret = Process::run("check", Stage::new().program(Binary::Tunnel).args(["check", &handler.url()]));
    assert!(without_secret.exits(2).err().contains("--secret"));
}

#[test]
fn only_the_named_cases_are_sent_and_no_redirect_is_followed() {
    let elsewhere = Handler::start();
    let to = format!("{}/stolen", elsewhere.url());
    let handler = Handler::answering(move |_| Reply::Answer {
        status: 302,
        headers: vec![(b"Location".to_vec(), to.clone().into_bytes())],
        body: Vec::new(),
    });
    let report = check(&handler.url(), &["--json", "--only", "valid", "unsigned"]).exits(1).json();
    assert_eq!(report["cases"].as_array().map(Vec::len), Some(2));
    assert_eq!(found(&report), ["redirects", "refuses-with-5xx"]);
    assert_eq!((handler.received().len(), elsewhere.received().len()), (2, 0));
    // Nothing tells a handler that it is checked.
    let request = handler.wait_for(1).remove(0).message;
    let text = String::from_utf8_lossy(&request.raw).to_lowercase();
    assert!(!text.contains("check") && !text.contains("tunnel"), "{text}");
}

#[test]
fn junit_is_written_and_hostile_text_stays_text() {
    let stage = Stage::new();
    let handler = Handler::answering(|_| Reply::status(500, "]]></failure><script>&\u{1b}[31m\u{0}"));
    let file = stage.work().join("report.xml");
    let arguments = ["--only", "valid", "--only", "unsigned", "--junit", file.to_str().unwrap()];
    let out = Process::run("check", &mut command(&stage, &handler.url(), &arguments)).exits(1).out();
    assert!(!out.contains('\x1b'), "{out:?}");
    let parse = "import sys, xml.etree.ElementTree as t\nfor e in t.parse(sys.argv[1]).iter(): print(e.tag)";
    let tags = Process::run("python3", stage.command("python3").args(["-c", parse]).arg(&file)).ok().out();
    assert_eq!(tags.lines().filter(|l| *l == "testcase").count(), 2, "{tags}");
    assert_eq!(tags.lines().filter(|l| *l == "failure").count(), 1, "{tags}");
    assert!(!tags.contains("script"), "{tags}");
}

#[test]
fn the_cases_are_listed() {
    let list = Process::run("check", Stage::new().program(Binary::Tunnel).args(["check", "--list"])).ok().out();
    for case in ["valid ", "body-and-digest-changed", "burst"] {
        assert!(list.contains(case), "{list}");
    }
}
