//! Keys pressed and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use tunnel_delivery::{Attempt, Cause};

use super::super::edit::Draft;
use super::super::message::{Batch, Effect, FixtureTo, Message, Scrub};
use super::super::model::{Focus, Tab};
use super::super::sample;
use super::super::standing::Whose;
use super::Bench;
use crate::control::{ControlError, Kind, Missed, Replayed, Status};
use crate::notice::{Notice, Tried};

fn bench() -> Bench {
    Bench::new((120, 40), true, 60)
}

fn attempt(n: u32, status: u16) -> Attempt {
    Attempt {
        status: Some(status),
        error: None,
        ..sample::stored(n).attempts.first().cloned().unwrap_or_else(|| sample::stored(0).attempts[0].clone())
    }
}

#[test]
fn the_newest_is_shown_with_its_details() {
    let b = bench();
    assert_eq!(b.m.list.selected().unwrap().id, sample::id(59));
    assert_eq!(b.m.detail.as_ref().unwrap().id, sample::id(59));
    assert!(b.shows("goal.created") && b.shows("one was created in Healthie"), "{}", b.text());
    assert!(b.shows("https://relay.example.com/t/team") && b.shows("● connected"));
    assert!(b.shows("heard 4 s ago"), "{}", b.text());
}

#[test]
fn a_filter_works_with_each_key_and_shows_a_mistake_at_its_place() {
    let mut b = bench();
    b.press("/status:5xx");
    assert_eq!(b.m.list.len(), 12);
    b.press(" event:goal.*<enter>");
    assert!(b.m.filter.input.is_none());
    assert!(b.m.list.len() == 0 && b.shows("nothing matches the filter"), "{}", b.text());
    b.press("<esc>");
    assert_eq!((b.m.filter.text.as_str(), b.m.list.len()), ("", 60));
    // A word that may become the name of a condition is looked for with Enter.
    b.press("/Type");
    assert_eq!(b.m.filter.text, "Type");
    b.press("<ctrl-u>type");
    assert_eq!(b.m.filter.text, "");
    b.press("<enter>");
    assert_eq!((b.m.filter.text.as_str(), b.m.list.len()), ("type", 60));
    b.press("<esc>/sig:vald");
    let line = b.line("choose of valid");
    assert_eq!(line.find('^'), Some(8 + 4), "{line}");
    // What was found last stays, and a filter with a mistake is not left by Enter.
    b.press("<enter>");
    assert!(b.m.filter.input.is_some());
    b.press("<esc>");
    assert!(b.m.filter.error.is_none() && b.m.filter.text.is_empty());
    // What was looked for is remembered.
    b.press("/<up><up>");
    assert_eq!(b.m.filter.text, "status:5xx event:goal.*");
}

#[test]
fn what_comes_is_put_in_only_if_it_fits() {
    let mut b = bench();
    b.press("/type:Goal<enter>");
    let before = b.m.list.len();
    b.put(sample::stored(60));
    assert_eq!(b.m.list.len(), before);
    b.put(sample::stored(64));
    assert_eq!((b.m.list.len(), b.m.list.selected().unwrap().id), (before + 1, sample::id(64)));
}

#[test]
fn after_a_replay_the_new_attempt_is_shown() {
    let mut b = bench();
    // This one has two attempts, and the first of them is looked at.
    b.press("j5<<>");
    let id = b.m.list.selected().unwrap().id;
    assert!(b.shows("1 of 2"), "{}", b.text());
    b.press("1r");
    assert!(matches!(b.wanted.pop(), Some(Effect::Replay(which, again)) if which == id && again.to.is_none()));
    assert!(b.shows("sending again"));
    let attempt = attempt(58, 200);
    b.all.get_mut(&id).unwrap().attempts.push(attempt.clone());
    let done = Replayed { id, event_type: None, attempt };
    b.happens(Message::Replayed(id, Ok(Box::new(done))));
    assert_eq!(b.m.tab, Tab::Attempts);
    let n = b.all[&id].attempts.len();
    assert!(b.shows(&format!("{n} of {n}")), "{}", b.text());
    assert!(b.shows("sent again: 200") && !b.shows("sending again"));
    assert_eq!(b.m.list.selected().unwrap().id, id);
}

#[test]
fn an_error_stays_until_it_is_dismissed() {
    let mut b = bench();
    b.press("r");
    let error = ControlError::new(Kind::Usage, "there is no target").hint("name one with R");
    b.happens(Message::Replayed(sample::id(59), Err(error)));
    for _ in 0..500 {
        b.happens(Message::Tick(b.m.now));
    }
    assert!(b.shows("there is no target; name one with R"));
    b.press("<esc>");
    assert!(!b.shows("there is no target"));
}

#[test]
fn a_replay_to_another_host_asks_before_patients_data_leaves() {
    let mut b = bench();
    // Delivery 58 is from production.
    b.press("jR");
    b.press("nonsense:x<enter>");
    assert!(b.shows("Replay to"), "{}", b.text());
    b.press("<ctrl-u>example.com:80<enter>");
    assert!(b.wanted.is_empty() && b.shows("from production"), "{}", b.text());
    b.press("y");
    assert!(
        matches!(b.wanted.pop(), Some(Effect::Replay(id, again)) if id == sample::id(58) && again.allow_production)
    );
    b.press("R4000<enter>");
    let Some(Effect::Replay(_, again)) = b.wanted.pop() else { panic!() };
    assert_eq!(again.to.unwrap().to_string(), "http://localhost:4000");
    assert!(!again.allow_production, "what stays here needs no permission");
}

#[test]
fn an_edited_copy_is_signed_again_unless_that_is_not_wanted() {
    let mut b = bench();
    b.press("e");
    let Some(Effect::Edit(id, draft)) = b.wanted.pop() else { panic!() };
    b.happens(Message::EditorClosed(id, Ok(None)));
    assert!(b.shows("nothing is sent"));
    let mut changed = draft.clone();
    changed.text.extend_from_slice(b" ");
    b.happens(Message::EditorClosed(id, Ok(Some(changed.clone()))));
    b.press("s");
    assert!(matches!(b.wanted.pop(), Some(Effect::Send(_, edited)) if edited.sign));
    b.happens(Message::EditorClosed(id, Ok(Some(changed))));
    b.press("u");
    assert!(matches!(b.wanted.pop(), Some(Effect::Send(_, edited)) if !edited.sign));
    b.happens(Message::EditorClosed(id, Ok(Some(Draft { text: b"rubbish".to_vec() }))));
    b.press("s");
    assert!(b.wanted.is_empty() && b.shows("line 1 must be like"), "{}", b.text());
    b.press("e");
    assert!(matches!(b.wanted.pop(), Some(Effect::Edit(..))));
}

#[test]
fn many_are_replayed_with_options_and_can_be_stopped() {
    let mut b = bench();
    b.press("/status:5xx<enter>A");
    assert!(b.shows("all that match status:5xx") && b.shows("12 deliveries"), "{}", b.text());
    b.press("<esc>");
    assert!(b.wanted.is_empty());
    b.press("A--rat 5<enter>");
    assert!(b.wanted.is_empty() && b.shows("\"--rat\" is none of"), "{}", b.text());
    b.press("<ctrl-u>--rate 5/s --chaos twice<enter>");
    let Some(Effect::ReplayAll(query, how)) = b.wanted.pop() else { panic!() };
    assert_eq!((query.as_str(), how.pace.interval.as_millis()), ("status:5xx", 200));
    b.press("A");
    assert!(b.m.dialog.is_none() && b.shows("a replay is going on"), "{}", b.text());
    b.happens(Message::Batch(Batch { ok: 3, failed: 1, all: Some(24) }));
    assert!(b.shows("3 ✓ 1 ✗ of 24"), "{}", b.text());
    b.press("<ctrl-g>");
    assert!(matches!(b.wanted.pop(), Some(Effect::StopReplay)));
    let left = crate::replay::Left { requests: 19, ..crate::replay::Left::default() };
    let summary = crate::replay::Summary { ok: 4, failed: 1, left: Some(left), seed: Some(7), ..Default::default() };
    b.happens(Message::BatchOver(Ok(Box::new(summary))));
    assert!(b.shows("replay stopped: 4 answered 2xx, 1 not; 19 left; --seed 7 does the same again"), "{}", b.text());
}

#[test]
fn pins_and_notes() {
    let mut b = bench();
    b.press("p");
    let Some(Effect::Mark(marking)) = b.wanted.pop() else { panic!() };
    assert_eq!(marking.pinned, Some(true));
    b.happens(Message::Marked(marking, Ok(())));
    assert!(b.line("goal.created").contains('★'), "{}", b.text());
    b.press("mcall Ana<enter>");
    let Some(Effect::Mark(marking)) = b.wanted.pop() else { panic!() };
    assert_eq!(marking.note.as_deref(), Some("call Ana"));
}

#[test]
fn tabs_bodies_and_folds() {
    let mut b = bench();
    b.press("3<enter>");
    assert!(b.shows("\"changed_fields\": ["), "{}", b.text());
    b.press("jjjj ");
    assert!(b.shows("\"changed_fields\": [ … 3 ],"), "{}", b.text());
    b.press(" ");
    assert!(b.shows("\"contact_type\""));
    b.press("z");
    assert!(b.shows("\"extra\": { … 2 }"), "{}", b.text());
    b.press("vv");
    assert!(b.shows("00000000  7b 22"), "{}", b.text());
    b.press("5");
    assert!(b.shows("1 of 1"));
    b.press("<right>");
    assert_eq!(b.m.tab, Tab::Resource);
    b.press("<right>");
    assert_eq!(b.m.tab, Tab::Diff);
    b.press("<right>");
    assert_eq!(b.m.tab, Tab::Event);
}

#[test]
fn two_deliveries_are_compared() {
    let mut b = bench();
    b.press("7d");
    assert!(b.shows("This delivery is marked"), "{}", b.text());
    b.press("jjjjjw");
    assert!(b.shows("-     \"n\": 59,") && b.shows("+     \"n\": 54,"), "{}", b.text());
}

#[test]
fn an_attempt_is_compared_with_any_other() {
    let mut b = bench();
    // Two attempts of one delivery, and then one of another.
    b.press("5n<enter>");
    let marked = b.m.list.selected().unwrap().id;
    assert_eq!(b.all[&marked].attempts.len(), 2);
    b.press("d7");
    assert!(b.shows("This attempt is marked"), "{}", b.text());
    b.press("w<<>");
    assert!(b.shows("- X-Try: 1") && b.shows("+ X-Try: 0") && b.shows("attempt 1 of 2"), "{}", b.text());
    b.press("w<tab>jw");
    assert!(b.shows("- 503") && b.shows("+ 200"), "{}", b.text());
    // The same key takes the mark away, but only on what is marked.
    b.press("w<tab>k5<enter>>d");
    assert!(b.m.marked.is_none(), "{}", b.text());
}

#[test]
fn a_filter_is_saved_used_and_removed() {
    let mut b = bench();
    b.press("F");
    assert!(b.shows("no filter is saved yet; ctrl-s"), "{}", b.text());
    b.press("/status:5xx<ctrl-s>My filter<enter>");
    assert!(b.shows("is no name"), "{}", b.text());
    b.press("<ctrl-u>failing<enter>");
    let Some(Effect::SaveFilter(name, query)) = b.wanted.pop() else { panic!() };
    assert_eq!((name.as_str(), query.as_deref()), ("failing", Some("status:5xx")));
    b.press("<esc><esc>");
    assert_eq!(b.m.list.len(), 60);
    // A name that is being written is no mistake yet; one that stays unknown is.
    b.press("/@fail");
    assert!(b.m.filter.error.is_none(), "{}", b.text());
    b.press("<enter>");
    assert!(b.shows("no filter is saved as fail"), "{}", b.text());
    b.press("ing is:pinned<enter>");
    assert_eq!(b.m.filter.written_out, "status:5xx is:pinned");
    assert!(b.m.list.len() < 12 && b.m.list.len() > 0);
    b.press("<esc>F<enter>");
    assert_eq!((b.m.filter.text.as_str(), b.m.list.len()), ("@failing", 12));
    b.press("Fx");
    assert!(matches!(b.wanted.pop(), Some(Effect::SaveFilter(name, None)) if name == "failing"));
    assert!(b.m.dialog.is_none() && b.m.saved.is_empty());
}

#[test]
fn forwarding_is_paused_and_the_answer_switched_after_a_question() {
    let mut b = bench();
    b.press("P");
    assert!(matches!(b.wanted.pop(), Some(Effect::Pause(true))));
    b.happens(Message::Paused(true, Ok(true)));
    assert!(b.shows("‖ paused, P goes on"), "{}", b.text());
    b.press("P");
    assert!(matches!(b.wanted.pop(), Some(Effect::Pause(false))));
    b.press("a");
    assert!(b.wanted.is_empty() && b.shows("Switch the tunnel to passthrough?"), "{}", b.text());
    b.press("y");
    let Some(Effect::Answer(mode)) = b.wanted.pop() else { panic!() };
    b.happens(Message::Answers(mode, Ok(())));
    assert!(b.line("relay.example.com").ends_with("passthrough"), "{}", b.text());
    b.press("a");
    assert!(b.shows("Switch the tunnel to ack?"), "{}", b.text());
    b.press("n");
    assert!(b.wanted.is_empty());
}

#[test]
fn a_fixture_of_people_is_scrubbed_unless_that_is_not_wanted() {
    let mut b = bench();
    b.press("s<enter>");
    let Some(Effect::Fixture(_, Scrub::AsItIs, FixtureTo::File(path))) = b.wanted.pop() else { panic!() };
    assert!(path.starts_with("fixtures") && path.extension().is_some_and(|e| e == "fixture"), "{path:?}");
    // Delivery 58 is from production.
    b.press("js<enter>");
    assert!(b.wanted.is_empty() && b.shows("may be about patients"), "{}", b.text());
    b.press("s");
    assert!(matches!(b.wanted.pop(), Some(Effect::Fixture(_, Scrub::Scrubbed, FixtureTo::File(_)))));
    b.press("yfa");
    assert!(matches!(b.wanted.pop(), Some(Effect::Fixture(_, Scrub::AsItIs, FixtureTo::Clipboard))));
    b.happens(Message::FixtureText(Ok("text".into())));
    assert!(matches!(b.wanted.pop(), Some(Effect::Copy(text)) if text == "text"));
    b.happens(Message::FixtureText(Ok("x".repeat(80_000))));
    assert!(b.wanted.is_empty() && b.shows("more than terminals take"), "{}", b.text());
}

#[test]
fn an_agent_elsewhere_is_told_of_by_what_it_says() {
    let mut b = bench();
    b.m.standing = super::super::standing::Standing { whose: Whose::Others, ..Default::default() };
    let status = b.status();
    b.happens(Message::Status(Ok(Box::new(status))));
    let line = b.line("relay.example.com");
    assert!(line.contains("process 42, connected") && line.contains("answers in 12 ms"), "{line}");
    assert!(b.shows("7 to forward  2 at the relay") && !b.shows("never came"), "{}", b.text());
    // What the relay could not give any more, for a day.
    let gap = |hours: u64, count| Missed {
        at: b.m.now.earlier(Duration::from_secs(hours * 3600)),
        tunnel: "team".parse().unwrap(),
        count,
        reason: "age".to_owned(),
    };
    let status = Status { gaps: vec![gap(25, 900), gap(23, 40), gap(1, 2)], ..b.status() };
    b.happens(Message::Status(Ok(Box::new(status))));
    assert!(b.shows(" 42 never came  7 to forward"), "{}", b.text());
    let gone = ControlError::new(Kind::Unreachable, "the agent does not answer");
    b.happens(Message::Status(Err(gone)));
    assert!(b.line("healthie-tunnel").contains("✗ the agent does not answer"), "{}", b.text());
}

#[test]
fn a_repeat_is_counted_at_what_it_repeats() {
    let mut b = bench();
    let mut repeat = sample::stored(64);
    repeat.duplicate_of = Some(tunnel_delivery::DuplicateOf { id: sample::id(59), reason: "the same body".into() });
    b.put(repeat);
    assert!(b.line("08:34:48").contains("×2"), "{}", b.text());
    b.press("g");
    assert!(b.line("08:34:56").contains('↻') && b.shows("repeat of"), "{}", b.text());
}

#[test]
fn what_is_wanted_before_a_delivery_is_read_is_done_when_it_is() {
    let mut b = bench();
    // Both keys come before the store has answered.
    let key = |c| {
        Message::Key(ratatui::crossterm::event::KeyEvent::new(
            ratatui::crossterm::event::KeyCode::Char(c),
            KeyModifiers::NONE,
        ))
    };
    let mut effects = super::update(&mut b.m, key('j'));
    effects.extend(super::update(&mut b.m, key('y')));
    assert!(b.m.dialog.is_none());
    for effect in effects {
        if let Some(answer) = b.answer(effect) {
            b.happens(answer);
        }
    }
    assert!(b.shows("curl line"), "{}", b.text());
}

#[test]
fn a_filter_s_mistake_is_shown_wholly_on_narrow_screens() {
    for (width, keys) in [(80, "/event:goal.* status:5xx after:yesterdy"), (40, "/event:goal.* status:5xx sig:vald")] {
        let mut b = Bench::new((width, 24), true, 60);
        b.press(keys);
        let error = b.m.filter.error.clone().unwrap();
        let said: String = b.text().split_whitespace().collect();
        let why: String = error.why.split_whitespace().collect();
        assert!(said.contains(&why), "{}\n{}", error.why, b.text());
        assert_eq!(b.line("^^^").find('^'), Some((8 + error.at.start).min(8 + (usize::from(width) - 8) / 2)));
    }
}

#[test]
fn a_timeline_leads_back_to_where_it_was_opened() {
    // More than are read at once, so that the delivery is far from the newest.
    let mut b = Bench::new((120, 40), true, 900);
    for (keys, back) in [("jjj", "o"), ("Gkkkkk", "o"), ("gjjj", "<esc>")] {
        b.press(keys);
        let selected = b.m.list.selected().unwrap().id;
        b.press("o");
        assert!(b.m.filter.before.is_some());
        b.press(back);
        assert!(b.m.filter.before.is_none());
        assert_eq!(b.m.list.selected().unwrap().id, selected, "{keys}: {}", b.text());
        // What is around it is there too.
        b.press("k");
        assert!(b.m.list.selected().unwrap().id > selected, "{keys}");
        b.press("jj");
        assert!(b.m.list.selected().unwrap().id < selected, "{keys}");
    }
    // A list that follows what comes goes on with that.
    b.press("goo");
    assert!(b.m.list.follow && b.m.list.selected().unwrap().id == sample::id(899));
}

#[test]
fn a_resource_has_a_timeline() {
    let mut b = bench();
    let mut later = sample::stored(64);
    later.event.as_mut().unwrap().resource_id = Some("12014".into());
    b.put(later);
    b.press("o");
    assert_eq!(b.m.filter.text, "type:Goal resource:12014");
    assert!(b.line("08:34:56").contains("7.5 s later") && b.line("08:34:48").contains("first"), "{}", b.text());
    b.press("o");
    assert_eq!(b.m.filter.text, "");
    // Another filter ends it: what is shown then is no life of one resource.
    for keys in ["<ctrl-x>", "/<ctrl-u>type:Goal<enter>"] {
        b.press("o");
        assert!(b.shows("timeline"), "{}", b.text());
        b.press(keys);
        assert!(b.m.filter.before.is_none() && !b.shows(" timeline "), "{}", b.text());
    }
}

#[test]
fn events_are_searched_and_triggered() {
    let mut b = bench();
    b.press("tappoint upd<enter>");
    let Some(Effect::Trigger(event, path)) = b.wanted.pop() else { panic!() };
    assert_eq!((event.as_str(), path.as_str()), ("appointment.updated", "/"), "a path nobody vouches for is not taken");
    b.press("tgoal /webhooks/healthie cre");
    assert!(b.shows("to /webhooks/healthie"), "{}", b.text());
    b.press("<enter>tgoal upd<enter>");
    let sent: Vec<_> = b.wanted.drain(..).map(|e| format!("{e:?}")).collect();
    assert_eq!(sent[0], r#"Trigger("goal.created", "/webhooks/healthie")"#);
    assert_eq!(sent[1], r#"Trigger("goal.updated", "/webhooks/healthie")"#, "the path is that of the one before");
    b.press("tzzzz<enter>");
    assert!(b.wanted.is_empty());
}

#[test]
fn copies_go_to_the_terminal() {
    let mut b = bench();
    b.press("y");
    assert!(b.shows("curl line"));
    b.press("c");
    assert!(matches!(b.wanted.pop(), Some(Effect::Copy(text)) if text.starts_with("curl ")));
    b.press("s<ctrl-u>requests/a.txt<enter>");
    assert!(b.shows("end the name in .fixture"), "{}", b.text());
    b.press("<ctrl-u>requests/a.http<enter>");
    let Some(Effect::Save(path, bytes)) = b.wanted.pop() else { panic!() };
    assert!(path.starts_with("requests") && bytes.starts_with(b"POST /t/team/hooks HTTP/1.1\r\nHost:"), "{path:?}");
}

#[test]
fn the_mouse_selects_and_scrolls() {
    let mut b = bench();
    let mut mouse = |kind, column, row| {
        b.happens(Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        (b.m.list.selected().unwrap().id, b.m.focus, b.m.tab)
    };
    let click = MouseEventKind::Down(MouseButton::Left);
    assert_eq!(mouse(click, 5, 5).0, sample::id(57));
    mouse(MouseEventKind::ScrollDown, 5, 5);
    let areas = super::super::layout::areas(&b.m);
    let mut mouse = |kind, column, row| {
        b.happens(Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        (b.m.focus, b.m.tab)
    };
    assert_eq!(mouse(click, 30, areas.detail.y), (Focus::Detail, Tab::Signature));
}

#[test]
fn the_figures_count_what_happens() {
    let mut b = bench();
    b.put(sample::stored(60));
    let tried = Tried::new(&sample::line(60), &attempt(60, 503));
    b.happens(Message::Notice(Arc::new(Notice::Attempt(tried))));
    assert!(b.line("localhost:3000").contains("✗ 503 1 in a row"), "{}", b.text());
    assert!(b.line("stored").contains("1 came  attempts ✓0 ✗1"), "{}", b.text());
    // How another target answers says nothing about the handler that the line names.
    for (target, in_a_row) in [
        ("http://localhost:3999/hooks", 1),
        ("http://localhost:30001/hooks", 1),
        ("http://localhost:3000/hooks?again", 2),
        ("http://localhost:3000", 3),
    ] {
        let elsewhere = Attempt { target: target.into(), cause: Cause::Replay, ..attempt(60, 503) };
        let tried = Tried::new(&sample::line(60), &elsewhere);
        b.happens(Message::Notice(Arc::new(Notice::Attempt(tried))));
        assert!(b.line("localhost:3000").contains(&format!("✗ 503 {in_a_row} in a row")), "{target}: {}", b.text());
    }
    assert!(b.line("stored").contains("1 came  attempts ✓0 ✗5"), "{}", b.text());
    b.happens(Message::Notice(Arc::new(Notice::Warning { message: "the disk is nearly full".into() })));
    assert!(b.shows("the disk is nearly full"));
}

#[test]
fn quitting_and_suspending_are_wanted() {
    let mut b = bench();
    b.press("<ctrl-z>q");
    assert!(matches!(b.wanted[..], [Effect::Suspend, Effect::Quit]));
}
