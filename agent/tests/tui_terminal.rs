//! The inspector on a real terminal: one story from the first screen to the last, and the terminal as it was before, however it ends.

#![cfg(unix)]

mod support;

use support::stored::{SECRET, stored};
use support::terminal::Terminal;
use support::{Server, answering};

const PROGRAM: &str = env!("CARGO_BIN_EXE_healthie-tunnel");

/// The inspector on stored deliveries, with a handler that answers.
async fn inspect(columns: u16, rows: u16) -> (Terminal, tempfile::TempDir, Server) {
    let handler = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n").await;
    let data = stored().await;
    let port = handler.port.to_string();
    let environment = [("HEALTHIE_TUNNEL_TARGET", &*port), ("HEALTHIE_WEBHOOK_SECRET", SECRET)];
    let words = [PROGRAM, "inspect", "--data", data.path().to_str().unwrap()];
    let terminal = Terminal::start(columns, rows, data.path(), &words, &environment);
    (terminal, data, handler)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_story_from_the_first_screen_to_the_last() {
    let (mut t, _data, handler) = inspect(80, 24).await;
    t.shows("appointment.created");
    t.until("the terminal to be taken", Terminal::is_taken);
    assert!(t.is_raw());
    // What is looked for is found with each key.
    t.press("/\"no show");
    t.shows("the quotes are not closed");
    t.press("\"\r");
    t.until("five deliveries", |s| s.contents().contains("Thing 200") && !s.contents().contains("Thing 249"));
    // Tabs.
    t.press("2");
    t.shows("Content-Digest: ");
    t.press("3");
    t.shows("\"resource_id\": \"200\"");
    t.press("4");
    t.shows("What was signed");
    t.press("6");
    t.shows("no query for it is known");
    // Sent again, and the attempt is there.
    t.press("r");
    t.shows("sent again: 200");
    t.shows("attempt     1 of 1");
    handler.seen.wait_for(1).await;
    let request = String::from_utf8(handler.seen.all().pop().unwrap()).unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n") && request.contains("No Show"), "{request}");
    // A filter is saved, and the command line knows it.
    t.press("\x13noshow\r");
    t.shows("@noshow stands for");
    t.press("?");
    t.shows("name in [keys]");
    t.press("\x1b");
    t.until("help to close", |s| !s.contents().contains("name in [keys]"));
    t.press("q");
    assert_eq!(t.ended(), 0, "{}", t.written());
    t.is_given_back();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_when_the_process_is_told_to_end() {
    let (mut t, _data, _handler) = inspect(120, 40).await;
    t.until("the inspector", |s| Terminal::is_taken(s) && s.contents().contains("goal.created"));
    let pid = rustix::process::Pid::from_raw(t.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    t.ended();
    t.is_given_back();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_suspended_and_goes_on_as_a_job_of_a_shell() {
    let data = stored().await;
    let script =
        "set -m; \"$0\" inspect --data \"$1\"; echo stopped; read line; fg >/dev/null; echo ended $?; read line";
    let words = ["sh", "-c", script, PROGRAM, data.path().to_str().unwrap()];
    let mut t = Terminal::start(80, 24, data.path(), &words, &[]);
    t.until("the inspector", |s| Terminal::is_taken(s) && s.contents().contains("goal.created"));
    t.press("\x1a");
    t.shows("stopped");
    t.is_given_back();
    t.press("\r");
    t.until("the inspector again", |s| Terminal::is_taken(s) && s.contents().contains("goal.created"));
    assert!(t.is_raw());
    t.press("j5");
    t.shows("no attempt was made");
    t.press("q");
    t.shows("ended 0");
    t.is_given_back();
}
