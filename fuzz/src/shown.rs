//! Text from outside on a terminal, and what is made of bodies and of deliveries as JSON.

use healthie_tunnel::safe_text::{Drawn, SafeText, bytes_as_text, pieces};
use tunnel_delivery::{Event, Stored};

/// Whether a character acts on the terminal or on the order of those around it, by the shortest list that is worth the name.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// No character that acts comes out, in whatever way it is printed, and what is cut is no longer than was asked.
pub(crate) fn safe_text(input: &[u8]) {
    let text = bytes_as_text(input);
    let most = usize::from(input.first().copied().unwrap_or(0) % 64);
    for shown in [
        SafeText::new(&text).to_string(),
        SafeText::new(&text).cut(most).to_string(),
        format!("{:>20}", SafeText::new(&text).cut(most)),
    ] {
        assert!(!shown.chars().any(acts), "{text:?} is shown as {shown:?}");
    }
    assert!(SafeText::new(&text).cut(most).to_string().chars().count() <= most);
    let block = SafeText::block(&text).to_string();
    assert!(!block.chars().any(|c| acts(c) && c != '\n'), "{text:?} is shown as {block:?}");
    assert_eq!(block.matches('\n').count(), text.matches('\n').count());
    for piece in pieces(&text) {
        match piece.text {
            Drawn::Plain(c) => assert!(!acts(c), "{c:?} is drawn"),
            Drawn::Shown(shown) => {
                assert!(shown.is_ascii() && shown.len() == piece.columns && !shown.chars().any(acts));
            }
        }
    }
    // Harmless text is left alone.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        assert_eq!(SafeText::new(&text).to_string(), text);
    }
}

/// What a body says happened is bounded, and survives being stored.
pub(crate) fn event(body: &[u8]) {
    let Some(event) = tunnel_catalogue::read(body) else { return };
    assert!(serde_json::from_slice::<Box<serde_json::value::RawValue>>(body).is_ok(), "no JSON, and {event:?}");
    assert!(event.changed_fields.len() <= 1000 && event.extra.len() <= 256);
    let text = serde_json::to_string(&event).expect("an event is JSON");
    assert_eq!(serde_json::from_str::<Event>(&text).ok().as_ref(), Some(&event), "{text}");
}

/// A stored delivery as JSON, as it is given between processes and to people.
pub(crate) fn stored(input: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(input) else { return };
    let text = serde_json::to_string(&stored).expect("it is JSON");
    let again: Stored =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("what was written is not read: {e}\n{text}"));
    assert_eq!(again, stored, "{text}");
    assert!(stored.delivery.handler_target().starts_with('/'));
}
