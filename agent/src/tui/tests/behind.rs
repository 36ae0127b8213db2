//! What the inspector must not claim, and what happens behind its back: in another process, or to a delivery that it shows.

use tunnel_delivery::Attempt;

use super::super::message::Message;
use super::super::sample;
use super::super::standing::Whose;
use super::Bench;
use crate::control::{ControlError, Kind};

fn bench() -> Bench {
    Bench::new((120, 40), true, 60)
}

fn attempt(status: u16) -> Attempt {
    Attempt { status: Some(status), error: None, ..sample::stored(0).attempts[0].clone() }
}

/// The answer of the only attempt of the delivery that is selected has these bytes, and that of a second one those.
fn answered(b: &mut Bench, first: &[u8], second: &[u8]) {
    let id = b.m.list.selected().unwrap().id;
    let stored = b.all.get_mut(&id).unwrap();
    let mut attempt = attempt(200);
    attempt.response_body = first.to_vec().into();
    stored.attempts = vec![attempt.clone(), attempt];
    stored.attempts[1].response_body = second.to_vec().into();
    b.press("jk57");
}

#[test]
fn nothing_is_called_the_same_that_is_not() {
    let mut b = bench();
    answered(&mut b, b"{\"a\":1}", b"{\"a\":1}");
    assert!(b.shows("no difference"), "{}", b.text());
    answered(&mut b, b"{\"a\":1}", b"{ \"a\": 1 }");
    assert!(!b.shows("no difference") && b.shows("differ in form"), "{}", b.text());
    let long = [b"a".repeat(200_000), b"b".to_vec()].concat();
    answered(&mut b, &long, &[b"a".repeat(200_000), b"c".to_vec()].concat());
    assert!(!b.shows("no difference") && b.shows("behind what is laid out"), "{}", b.text());
}

#[test]
fn what_happens_in_another_process_is_seen_in_the_details_too() {
    let mut b = bench();
    b.m.standing.whose = Whose::Others;
    b.press("5");
    let id = b.m.list.selected().unwrap().id;
    let before = b.all[&id].attempts.len();
    b.all.get_mut(&id).unwrap().attempts.push(attempt(201));
    let line = crate::summary::of_stored(&b.all[&id]);
    b.lines.insert(id, line);
    for _ in 0..20 {
        b.happens(Message::Tick(b.m.now));
    }
    assert!(b.shows(&format!("of {}", before + 1)) && b.shows("201"), "{}", b.text());
}

#[test]
fn what_was_removed_elsewhere_goes_from_the_list() {
    let mut b = bench();
    b.press("jj");
    let id = b.m.list.selected().unwrap().id;
    let gone = ControlError::new(Kind::Negative, "there is no delivery with this id");
    b.press("k");
    b.happens(Message::Loaded(id, Err(gone)));
    assert!(b.m.list.get(id).is_none() && b.m.list.len() == 59);
    assert!(b.shows("is not stored any more"), "{}", b.text());
    assert_eq!(b.m.detail.as_ref().map(|d| d.id), b.m.list.selected().map(|s| s.id));
}

#[test]
fn the_line_that_is_written_is_seen_on_the_smallest_screen() {
    let mut b = Bench::new((40, 10), true, 60);
    b.press("/status:failed event:appointment.*|goal.*<enter>A--rate 7/s --nonsense<enter>");
    assert!(b.shows("--rate 7/s --nonsense") && b.shows("is none of"), "{}", b.text());
}

#[test]
fn an_agent_that_is_gone_is_told_of_once_and_in_one_place() {
    let mut b = bench();
    b.m.standing.whose = Whose::Others;
    let gone = || ControlError::new(Kind::Unreachable, "the running agent does not answer");
    let ask = b.m.list.first_again().unwrap();
    b.happens(Message::Page(ask, Err(gone())));
    assert!(b.m.told.is_none() && b.line("does not answer").starts_with(" healthie-tunnel  ✗"), "{}", b.text());
    // It answers again.
    let status = b.status();
    b.happens(Message::Status(Ok(Box::new(status))));
    assert!(!b.shows("does not answer"), "{}", b.text());
}

#[test]
fn warnings_do_not_cover_each_other() {
    let mut b = bench();
    for text in ["no secret is given", "the disk is nearly full", "no secret is given"] {
        b.happens(Message::Warned(text.into()));
    }
    assert!(b.shows("no secret is given") && b.shows("the disk is nearly full"), "{}", b.text());
    assert_eq!(b.text().matches("no secret is given").count(), 1);
    b.press("<esc>");
    assert!(!b.shows("no secret is given"));
}
