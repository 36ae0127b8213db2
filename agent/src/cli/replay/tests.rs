//! What a replay prints in the end.

use super::report::{left, lines, thousands};
use crate::control::{ControlError, Kind};
use crate::replay::{Left, Plan, Selection, Summary};
use tunnel_delivery::{DeliveryId, Timestamp};

fn mixed() -> Summary {
    let mut s = Summary { deliveries: 1300, sent: 1234, ok: 1200, failed: 34, success: 1200, ..Summary::default() };
    (s.redirect, s.client_error, s.server_error) = (1, 2, 20);
    s.errors.extend([("connect", 10), ("timeout", 1)]);
    (s.p50_ms, s.p99_ms, s.duration_ms) = (Some(3.25), Some(1_250.0), 61_000.0);
    s.dropped = 65;
    for _ in 0..3 {
        s.refused(&ControlError::new(Kind::Usage, "there is no target for task.\u{1b}[2Jcreated"));
    }
    s
}

#[test]
fn the_summary_says_what_came_of_it() {
    insta::assert_snapshot!(lines(&mixed()).join("\n"), @"");
    let one = Summary { sent: 1, success: 1, duration_ms: 4.0, ..Summary::default() };
    insta::assert_snapshot!(lines(&one).join("\n"), @"");
}

#[test]
fn what_is_left_can_be_gone_on_with() {
    let id = DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000));
    let mut plan = Plan::new(Selection::Query("status:5xx".into()), Timestamp::default());
    let stopped = Left { requests: 66, or_more: true, after: Some(id), skip: 0 };
    let mut told = vec![left(&mixed(), &stopped, &plan)];
    plan.limit = Some(1366);
    told.push(left(&mixed(), &Left { or_more: false, ..stopped }, &plan));
    plan.manner.chaos.shuffle = true;
    plan.manner.seed = 7;
    told.push(left(&mixed(), &Left { after: None, skip: 1234, or_more: false, ..stopped }, &plan));
    insta::assert_snapshot!(told.join("\n"), @"");
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
}
