//! What differs between two requests, or between two answers: by meaning (start line, header lines, fields of JSON bodies) and by line. Pure;
//! the inspector and `diff` show the same.
//!
//! Bounded: of a body the first 128 KiB are laid out in lines, comparing lines takes no longer than a limit, and so many fields are told.

mod fields;
mod lines;

use std::collections::HashSet;

use bytes::Bytes;
use serde::Serialize;
use tunnel_delivery::{Attempt, Headers};

pub use fields::{FieldChange, MOST_FIELDS};
pub use lines::{Hunk, Mark, hunks};

use crate::request_text::Written;
use crate::safe_text::bytes_as_text;
use crate::tui::doc::{Doc, Form};

/// More of a body is not laid out in lines.
const BODY: usize = 128 * 1024;
/// A body longer than this is not read as JSON to tell its fields.
const JSON: usize = 4 << 20;
/// Long strings are broken into lines of so many columns.
const COLUMNS: usize = 200;

/// One side: a request or an answer.
#[derive(Clone, Debug)]
pub struct Side {
    /// The start line, or what stands for it.
    pub start: String,
    /// The header lines.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Side {
    /// A request.
    pub fn request(r: &Written) -> Side {
        Side { start: format!("{} {}", r.method, r.target), headers: r.headers.clone(), body: r.body.clone() }
    }

    /// The answer that an attempt got, or why there was none.
    pub fn answer(a: &Attempt) -> Side {
        let start = match (a.status, &a.error) {
            (_, Some(e)) => format!("{}: {}", e.kind.as_str(), e.message),
            (Some(status), None) => status.to_string(),
            (None, None) => "nothing".to_owned(),
        };
        Side { start, headers: a.response_headers.clone(), body: a.response_body.clone() }
    }

    /// Only its body.
    #[must_use]
    pub fn only_body(self) -> Side {
        Side { start: String::new(), headers: Headers::default(), body: self.body }
    }

    /// The whole in lines, JSON indented.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if !self.start.is_empty() || !self.headers.0.is_empty() {
            out.push_str(&self.start);
            out.push('\n');
            for line in &self.headers {
                out.push_str(&format!("{}: {}\n", bytes_as_text(&line.name), bytes_as_text(&line.value)));
            }
            out.push('\n');
        }
        let doc = Doc::new(self.body.slice(..self.body.len().min(BODY)), Form::Pretty, COLUMNS);
        for i in 0..doc.len() {
            for run in doc.draw(i, &HashSet::new(), COLUMNS) {
                out.push_str(run.text());
            }
            out.push('\n');
        }
        if self.body.len() > BODY {
            out.push_str(&format!("({} bytes in all)\n", self.body.len()));
        }
        out
    }
}

/// The lines of a name, where they are not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderChange {
    /// The name, as the first side that has it writes it.
    pub name: String,
    /// The values on one side.
    pub a: Vec<String>,
    /// The values on the other.
    pub b: Vec<String>,
}

/// What differs, by meaning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Whether both are the same to the byte.
    pub same: bool,
    /// Both start lines, where they differ.
    pub start: Option<[String; 2]>,
    /// Header lines that differ, without regard to their order and the letter case of names.
    pub headers: Vec<HeaderChange>,
    /// Whether the bodies are the same to the byte.
    pub body_same: bool,
    /// The fields that differ; `None` where one of the bodies is not JSON, or the bodies are the same.
    pub fields: Option<Vec<FieldChange>>,
}

/// Compares.
pub fn difference(a: &Side, b: &Side) -> Difference {
    let body_same = a.body == b.body;
    let json = |side: &Side| serde_json::from_slice::<serde_json::Value>(&side.body).ok();
    let small = !body_same && a.body.len().max(b.body.len()) <= JSON;
    let both = if small { json(a).zip(json(b)) } else { None };
    Difference {
        same: body_same && a.start == b.start && a.headers == b.headers,
        start: (a.start != b.start).then(|| [a.start.clone(), b.start.clone()]),
        headers: headers(&a.headers, &b.headers),
        body_same,
        fields: both.map(|(a, b)| fields::changes(&a, &b)),
    }
}

fn headers(a: &Headers, b: &Headers) -> Vec<HeaderChange> {
    let mut met = HashSet::new();
    let values = |headers: &Headers, name: &[u8]| -> Vec<String> {
        let same = headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        same.map(|line| bytes_as_text(&line.value)).collect()
    };
    a.iter()
        .chain(b.iter())
        .filter(|line| met.insert(line.name.to_ascii_lowercase()))
        .map(|line| HeaderChange {
            name: bytes_as_text(&line.name),
            a: values(a, &line.name),
            b: values(b, &line.name),
        })
        .filter(|change| change.a != change.b)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(lines: &[(&str, &str)], body: &str) -> Side {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Side { start: "POST /".into(), headers, body: body.to_owned().into() }
    }

    #[test]
    fn headers_are_compared_by_name() {
        let a = side(&[("A", "1"), ("X", "1"), ("x", "2")], "");
        let b = side(&[("X", "1"), ("a", "1"), ("New", "n")], "");
        let found = difference(&a, &b);
        assert!(!found.same && found.body_same && found.start.is_none());
        let told: Vec<(&str, usize, usize)> = found.headers.iter().map(|h| (&*h.name, h.a.len(), h.b.len())).collect();
        assert_eq!(told, [("X", 2, 1), ("New", 0, 1)]);
        let reordered = side(&[("X", "1"), ("x", "2"), ("A", "1")], "");
        let found = difference(&a, &reordered);
        assert!(!found.same && found.headers.is_empty(), "another order is a difference, though of no line");
    }

    #[test]
    fn bodies_are_compared_as_json_where_they_are() {
        let of = |a: &str, b: &str| difference(&side(&[], a), &side(&[], b));
        assert_eq!(of("{\"a\":1}", "{\"a\":1}").fields, None);
        assert_eq!(of("{\"a\":1}", "{ \"a\": 1 }").fields, Some(Vec::new()));
        assert_eq!(of("{\"a\":1}", "no").fields, None);
        assert_eq!(of("{\"a\":1}", "{\"a\":\"1\"}").fields.unwrap()[0].path, "a");
    }

    proptest! {
        #[test]
        fn what_is_the_same_has_no_difference(name in "[a-zA-Z-]{1,8}", value in ".{0,20}", body: Vec<u8>) {
            let mut a = side(&[(&name, &value)], "");
            a.body = body.into();
            let found = difference(&a, &a.clone());
            prop_assert!(found.same && found.headers.is_empty() && found.fields.is_none());
            let text = a.text();
            prop_assert!(hunks(&text, &text).is_empty());
        }
    }
}
