//! The language of filters.

use healthie_tunnel::query::{Query, Saved};
use tunnel_delivery::Timestamp;

/// When it is.
const NOW: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

/// What is read, written and read again asks the same; a mistake has a place in the text.
pub(crate) fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let query = match Query::read(&text, NOW) {
        Ok(query) => query,
        Err(e) => return assert!(text.get(e.at.clone()).is_some() && !e.why.is_empty(), "{:?} in {text:?}", e.at),
    };
    let filter = query.filter();
    let written = Query::text_of(&filter);
    // What a filter says beyond a query's length cannot be written as one.
    if written.len() > healthie_tunnel::query::LONGEST {
        return;
    }
    let again = Query::read(&written, NOW).unwrap_or_else(|e| panic!("{text:?} became {written:?}: {e}")).filter();
    let plain = |filter| serde_json::to_value(filter).expect("a filter is JSON");
    assert_eq!(plain(&again), plain(&filter), "{text:?} became {written:?}");
    for body in [&b""[..], text.as_bytes()] {
        let fits = query.fits_body(body);
        assert!(!fits || query.texts().all(|(negated, wanted)| negated != holds(body, wanted)));
    }
}

fn holds(body: &[u8], wanted: &str) -> bool {
    let (body, wanted) = (body.to_ascii_lowercase(), wanted.to_ascii_lowercase().into_bytes());
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

/// A file of saved filters, written and read again, has the same; and each stands for what it says.
pub(crate) fn saved(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(saved) = Saved::from_text(&text) else { return };
    let written = saved.to_text();
    assert_eq!(Saved::from_text(&written).as_ref(), Ok(&saved), "{written}");
    for (name, query) in saved.iter() {
        match saved.read(&format!("@{name}"), NOW) {
            Ok((read, plain)) => {
                assert_eq!(Query::read(&plain, NOW).as_ref(), Ok(&read), "{name} stands for {query:?}");
            }
            Err(e) => assert!(e.at.end <= name.len() + 1),
        }
    }
}
