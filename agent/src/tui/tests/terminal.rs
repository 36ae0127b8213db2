//! The terminal after a panic, which no key of the program can cause: this test's own program draws and panics on a pseudo terminal.

use super::super::guard::Guard;

#[path = "../../../tests/support/terminal.rs"]
mod support;

use support::Terminal;

/// Not a test of its own: what the one below runs on a terminal.
#[test]
#[ignore = "it panics with the terminal taken; the test below runs it"]
fn takes_the_terminal_and_panics() {
    let _guard = Guard::take().unwrap();
    panic!("drawn too far");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let this = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let name = "tui::tests::terminal::takes_the_terminal_and_panics";
    let words = [this.to_str().unwrap(), "--exact", name, "--ignored", "--nocapture"];
    let mut terminal = Terminal::start(80, 24, folder.path(), &words, &[]);
    assert_ne!(terminal.ended(), 0);
    // On the screen that stays, not on the one that is gone.
    terminal.shows("drawn too far");
    terminal.is_given_back();
    assert!(terminal.written().contains("\x1b[?1049h"), "it was never taken: {}", terminal.written());
}
