//! Bodies of every kind, set out, folded and drawn.

use super::*;
use proptest::prelude::*;

fn doc(text: &str, form: Form, width: usize) -> Doc {
    Doc::new(Bytes::copy_from_slice(text.as_bytes()), form, width)
}

fn rows(doc: &Doc, folded: &[usize], width: usize) -> Vec<String> {
    let folded: HashSet<usize> = folded.iter().copied().collect();
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let row = doc.draw(at, &folded, width);
        out.push(row.iter().map(Run::text).collect::<String>());
        let next = doc.below(at, 1, &folded);
        if next == at {
            return out;
        }
        assert_eq!(doc.above(next, 1, &folded), at);
        at = next;
    }
}

#[test]
fn json_is_set_out_with_its_own_bytes() {
    let doc = doc(r#"{"a" : 1.0,"b":[{"c":"\u00e9"} ,2],"d":{ },"a":1e5}"#, Form::Pretty, 80);
    assert_eq!(
        rows(&doc, &[], 80),
        [
            "{",
            "  \"a\": 1.0,",
            "  \"b\": [",
            "    {",
            "      \"c\": \"\\u00e9\"",
            "    },",
            "    2",
            "  ],",
            "  \"d\": {},",
            "  \"a\": 1e5",
            "}"
        ]
    );
    assert_eq!(rows(&doc, &[2], 80)[2], "  \"b\": [ … 2 ],");
    assert_eq!(rows(&doc, &[0], 80), ["{ … 4 }"]);
    assert_eq!(doc.foldable(6), Some(2));
    assert_eq!(doc.shown(4, &HashSet::from([2])), 2);
}

#[test]
fn long_values_are_broken_and_other_bodies_are_raw() {
    let long = format!(r#"{{"text":"{}"}}"#, "z".repeat(50));
    let set = rows(&doc(&long, Form::Pretty, 30), &[], 30);
    assert_eq!(set.len(), 5, "{set:?}");
    assert_eq!(set.concat().matches('z').count(), 50);
    assert_eq!(rows(&doc("plain\ntext", Form::Pretty, 30), &[], 30), ["plain", "text"]);
    assert_eq!(doc("", Form::Pretty, 30).len(), 1);
    let bytes = Doc::new(Bytes::from_static(b"ab\xff\x00"), Form::Hex, 80);
    assert_eq!(rows(&bytes, &[], 80), [format!("{:59}ab··", "00000000  61 62 ff 00")]);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_set_out_and_folds(value in json(), width in 16_usize..90, pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let doc = doc(&text, Form::Pretty, width);
        rows(&doc, &[], width);
        if value.is_object() || value.is_array() {
            prop_assert_eq!(doc.form, Form::Pretty);
            let wide = Doc::new(Bytes::from(text.clone()), Form::Pretty, 1_000_000);
            if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                let back: serde_json::Value = serde_json::from_str(&rows(&wide, &[], 1_000_000).concat()).unwrap();
                prop_assert_eq!(back, value);
            }
        }
        let all: Vec<usize> = doc.all_foldable().into_iter().collect();
        rows(&doc, &all, width);
    }

    #[test]
    fn any_bytes_are_shown_within_their_width(bytes in proptest::collection::vec(any::<u8>(), 0..300), width in 16_usize..60) {
        for form in [Form::Pretty, Form::Raw] {
            let doc = Doc::new(Bytes::from(bytes.clone()), form, width);
            for row in 0..doc.len() {
                let drawn = doc.draw(row, &HashSet::new(), width);
                prop_assert!(drawn.iter().map(Run::columns).sum::<usize>() <= width, "{drawn:?}");
            }
        }
    }
}
