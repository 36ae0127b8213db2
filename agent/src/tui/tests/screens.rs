//! What the screens look like, at several sizes, with colour and without. Text first, then the looks of each row.

use super::super::sample;
use super::{Bench, looks};

const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (220, 50), (30, 8)];

/// A snapshot for each size, of colours as well; without colour the text is the same and only the looks are taken.
fn screens(name: &str, keys: &str) {
    for size in SIZES {
        let mut b = Bench::new(size, true, 60);
        b.press(keys);
        let (buffer, name) = (b.buffer(), format!("{name}-{}x{}", size.0, size.1));
        insta::assert_snapshot!(name.clone(), format!("{}\n{}", super::text(&buffer), looks(&buffer)));
        let mut plain = Bench::new(size, false, 60);
        plain.press(keys);
        let plain = plain.buffer();
        assert_eq!(super::text(&plain), super::text(&buffer), "{name}: without colour another text");
        let plain = looks(&plain);
        for colour in ["red", "green", "yellow", "cyan", "magenta", "blue"] {
            assert!(!plain.contains(colour), "{name}: {colour} although colour is unwanted");
        }
        insta::assert_snapshot!(format!("{name}-plain"), plain);
    }
}

#[test]
fn list_and_event() {
    screens("event", "jjj");
}

#[test]
fn headers() {
    screens("headers", "2<tab>");
}

#[test]
fn body() {
    screens("body", "3<enter>jj");
}

#[test]
fn signature() {
    screens("signature", "4jj");
}

#[test]
fn attempts() {
    screens("attempts", "5n");
}

#[test]
fn signature_that_is_valid() {
    screens("valid", "4jjjjj<tab>");
}

#[test]
fn resource() {
    screens("resource", "6<tab>");
}

#[test]
fn timeline() {
    screens("timeline", "o");
}

#[test]
fn saved_filters() {
    screens("filters", "/status:failed env:production<ctrl-s>bad<enter>/type:Goal<ctrl-s>goals<enter>Fj");
}

#[test]
fn fixtures_of_people() {
    screens("fixture", "jyf");
}

#[test]
fn diff_of_attempts() {
    screens("attempt-diff", "5n<tab>d>7");
}

#[test]
fn diff() {
    screens("diff", "d7jjjjj");
}

#[test]
fn help() {
    screens("help", "?");
}

#[test]
fn filter_with_a_mistake() {
    screens("filter", "/event:goal.* sig:vald");
}

#[test]
fn questions() {
    screens("question", "/status:5xx<enter>A");
}

#[test]
fn prompts() {
    screens("prompt", "Rhttp://a?x=1<enter>");
}

#[test]
fn menus() {
    screens("trigger", "tbill<down>");
    screens("copy", "y");
}

#[test]
fn nothing_yet_and_trouble() {
    for size in SIZES {
        let mut b = Bench::new(size, true, 0);
        b.m.standing.connection = Some(crate::notice::Connection::Waiting {
            delay_ms: 4000,
            reason: "relay.example.com did not answer within 10 s".into(),
        });
        b.m.complain(
            "this is wrong; do something else about it, at some length so that it is wrapped over several lines",
        );
        b.happens(super::Message::Tick(b.m.now));
        insta::assert_snapshot!(format!("empty-{}x{}", size.0, size.1), b.text());
    }
    assert_eq!(sample::line(0).attempts, 1);
}
