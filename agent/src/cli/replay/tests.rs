//! What a replay prints in the end.

use super::Refused;
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
    assert_eq!(
        lines(&mixed()),
        [
            "1,234 sent: 1,200 2xx, 1 3xx, 2 4xx, 20 5xx, 11 errors (10 connect, 1 timeout); p50 3.2 ms, p99 1.25 s; in 1 min",
            "65 left out by chaos",
            "3 not sent: there is no target for task.\\u{1b}[2Jcreated",
        ]
    );
    let one = Summary { sent: 1, success: 1, duration_ms: 4.0, ..Summary::default() };
    assert_eq!(lines(&one), ["1 sent: 1 2xx; in 4 ms"]);
}

#[test]
fn what_is_left_can_be_gone_on_with() {
    let id = DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000));
    let mut plan = Plan::new(Selection::Query("status:5xx".into()));
    let stopped = Left { requests: 66, or_more: true, after: Some(id), ..Left::default() };
    assert_eq!(
        left(&mixed(), &stopped, &plan),
        format!("stopped after 1,234 requests; 66 or more are left; go on with the same command and --after {id}")
    );
    let limited = Left { or_more: false, limit: Some(66), ..stopped };
    assert!(
        left(&mixed(), &limited, &plan)
            .ends_with(&format!("66 are left; go on with the same command and --after {id}, with --limit 66 instead"))
    );
    plan.after = Some(DeliveryId::first_at(Timestamp::from_micros(1_763_713_000_000_000)));
    assert!(
        left(&mixed(), &limited, &plan)
            .ends_with(&format!("go on with the same command, with --after {id} --limit 66 instead"))
    );
    plan.manner.chaos.shuffle = true;
    plan.manner.seed = 7;
    let mixed_up = Left { after: None, skip: 1234, ..limited };
    assert!(left(&mixed(), &mixed_up, &plan).contains("and --seed 7 --skip 1234 (instead of its own"));
}

#[test]
fn a_dry_run_ends_as_the_replay_would() {
    let refused = |count| Refused { count, first: Some(ControlError::new(Kind::Usage, "it is from production")) };
    assert!(Refused::default().end(3).is_ok());
    let all = refused(3).end(3).unwrap_err();
    assert_eq!((all.kind, &*all.message), (Some(Kind::Usage), "it is from production"));
    let some = refused(2).end(3).unwrap_err();
    assert_eq!((some.kind, &*some.message), (Some(Kind::Negative), "2 of 3 could not be sent"));
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
}
