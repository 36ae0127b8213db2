//! Whatever a delivery holds, and whatever is pressed: nothing panics, and nothing gets to the screen that acts on it.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use tunnel_delivery::{HeaderLine, Headers, Stored};

use super::super::message::Message;
use super::super::sample;
use super::Bench;

/// Nothing that acts is in any cell, and no cell is wider than what it is given.
fn check(buffer: &Buffer) -> Result<(), TestCaseError> {
    for y in 0..buffer.area.height {
        for x in 0..buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            for c in symbol.chars() {
                let format = matches!(c,
                    '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                    | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
                prop_assert!(!c.is_control() && !format, "{symbol:?} at {x},{y}");
            }
            prop_assert!(symbol.chars().count() <= 4, "{symbol:?} at {x},{y} is a heap");
            let width = unicode_width::UnicodeWidthStr::width(symbol) as u16;
            prop_assert!(x + width <= buffer.area.width, "{symbol:?} at {x},{y} leaves the screen");
        }
    }
    Ok(())
}

/// Text full of what a hostile sender would put there.
fn nasty() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        any::<String>(),
        prop_oneof![
            Just("\u{1b}[2J\u{1b}]0;owned\u{7}"),
            Just("\u{202e}gnp.exe\u{2066}"),
            Just("a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"),
            Just("👨\u{200d}👩\u{200d}👧 🇩🇪 👍🏽"),
            Just("日本語テキスト"),
            Just("\u{fdfd}\u{1242b}"),
            Just("\r\n\t\u{0}\u{7f}\u{9b}31m"),
            Just("नमस्ते שלום مرحبا"),
        ]
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(parts, 0..5).prop_map(|parts| parts.concat())
}

fn hostile(body: Vec<u8>, texts: [String; 4], header: Vec<u8>) -> Stored {
    let mut s = sample::with_body(60, &body);
    let [event, kind, id, note] = texts;
    s.event = Some(tunnel_delivery::Event {
        changed_fields: vec![note.clone(), event.clone()],
        event_type: event,
        resource_id: Some(id.clone()),
        resource_id_type: Some(kind),
        extra: [(id, serde_json::Value::from(note.clone()))].into_iter().collect(),
    });
    let lines = [HeaderLine::new(header.clone(), header.clone()), HeaderLine::new("X-A", header)];
    s.delivery.headers = lines.into_iter().collect::<Headers>();
    for attempt in &mut s.attempts {
        attempt.target = note.clone();
        attempt.response_headers = s.delivery.headers.clone();
        attempt.response_body = body.clone().into();
    }
    s.signature.reason = Some(note.clone());
    s.note = Some(note);
    s
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_a_delivery_acts_on_the_screen(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            (nasty(), nasty()).prop_map(|(a, b)| serde_json::json!({ a: b, "x": ["y", 1] }).to_string().into_bytes()),
            nasty().prop_map(String::into_bytes),
        ],
        texts in [nasty(), nasty(), nasty(), nasty()],
        header in proptest::collection::vec(any::<u8>(), 0..60),
        size in prop_oneof![Just((80, 24)), Just((160, 45)), (1_u16..200, 1_u16..60)],
        filter in nasty(),
    ) {
        let mut b = Bench::new(size, true, 5);
        b.put(hostile(body, texts, header));
        check(&b.buffer())?;
        b.press("d");
        for tab in ["1", "2", "3", "vv", "v", "4", "5", "6", "j6", "<enter>", "<end>", "<esc>k"] {
            b.press(tab);
            check(&b.buffer())?;
        }
        b.press("/");
        b.happens(Message::Paste(filter.clone()));
        check(&b.buffer())?;
        b.press("<esc>m");
        b.happens(Message::Paste(filter));
        check(&b.buffer())?;
    }

    #[test]
    fn no_keys_are_too_odd(keys in "[ -~]{0,40}", size in (1_u16..160, 1_u16..50), n in 0_u32..30) {
        let mut b = Bench::new(size, false, n);
        // Angle brackets are names of keys here.
        b.press(&keys.replace('<', "j"));
        check(&b.buffer())?;
        b.happens(Message::Resized(size.1 * 3, size.0 / 3));
        check(&b.buffer())?;
    }
}

/// Drawing looks at what is visible only: a body of 10 MB, on one line or as a million values, is drawn about as fast as a small one.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are what is read of it in a release")]
fn a_body_of_megabytes_does_not_slow_a_drawing() {
    let fastest = |b: &Bench| -> Duration {
        let one = || {
            let began = Instant::now();
            b.buffer();
            began.elapsed()
        };
        (0..20).map(|_| one()).min().unwrap()
    };
    let screen = |body: &[u8], keys: &str| {
        let mut b = Bench::new((200, 60), true, 5);
        b.put(sample::with_body(60, body));
        b.press(keys);
        b
    };
    let small = fastest(&screen(b"{\"a\":\"b\"}", "3<enter>"));
    let line = format!("{{\"text\":\"{}\"}}", "lorem ipsum ".repeat(850_000));
    let many = format!("[{}]", "{\"id\":12345,\"name\":\"somebody\"},".repeat(150_000).trim_end_matches(','));
    for (what, body) in [("one line", line), ("many values", many)] {
        for keys in ["3<enter>", "3<enter><end>", "3<enter>vv<end>"] {
            let took = fastest(&screen(body.as_bytes(), keys));
            println!("{what} of {} bytes after {keys}: {took:?}, a small body: {small:?}", body.len());
            // A generous ratio within one run; a drawing that looked at the whole would take a thousand times as long.
            assert!(took < small * 20 + Duration::from_millis(5), "{what} after {keys}: {took:?} against {small:?}");
        }
    }
}
