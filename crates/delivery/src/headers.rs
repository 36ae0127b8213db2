//! Header lines as they were sent: order, letter case, repetition and bytes.

use bytes::Bytes;
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes_json::Plain;

/// One header line as sent. The name is as sent too (letter case); the value has no surrounding blanks, which HTTP does not count
/// as part of it (RFC 9110, section 5.5), and may be any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLine {
    /// The field's name in the letter case it came in.
    pub name: Bytes,
    /// The field's value without the blanks around it.
    pub value: Bytes,
}

impl HeaderLine {
    /// A line from a name and a value.
    pub fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> HeaderLine {
        HeaderLine { name: name.into(), value: value.into() }
    }

    /// Whether this line has that name, in any letter case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The header lines of a request or response in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<HeaderLine>);

impl Headers {
    /// The first line of that name (any letter case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|line| line.is(name)).map(|line| &*line.value)
    }

    /// The values of all lines of that name (any letter case), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |line| line.is(name)).map(|line| &*line.value)
    }

    /// The lines, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, HeaderLine> {
        self.0.iter()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(HeaderLine::new(name, value));
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a HeaderLine;
    type IntoIter = std::slice::Iter<'a, HeaderLine>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<HeaderLine> for Headers {
    fn from_iter<I: IntoIterator<Item = HeaderLine>>(lines: I) -> Headers {
        Headers(lines.into_iter().collect())
    }
}

impl Serialize for HeaderLine {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut pair = s.serialize_tuple(2)?;
        pair.serialize_element(&Plain::from(&*self.name))?;
        pair.serialize_element(&Plain::from(&*self.value))?;
        pair.end()
    }
}

impl<'de> Deserialize<'de> for HeaderLine {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (name, value) = <(Plain, Plain)>::deserialize(d)?;
        Ok(HeaderLine {
            name: name.into_bytes().map_err(serde::de::Error::custom)?,
            value: value.into_bytes().map_err(serde::de::Error::custom)?,
        })
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Vec::deserialize(d).map(Headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printed_as_pairs_with_base64_only_where_needed() {
        let mut headers = Headers::default();
        headers.push("X-A", "1");
        headers.push("x-a", vec![0xff, 0x00]);
        let json = serde_json::to_string(&headers).unwrap();
        assert_eq!(json, r#"[["X-A","1"],["x-a",{"base64":"/wA="}]]"#);
        assert_eq!(headers.get_all("X-a").count(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_json(lines in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let headers: Headers = lines.into_iter().map(|(n, v)| HeaderLine::new(n, v)).collect();
            let json = serde_json::to_string(&headers).unwrap();
            prop_assert_eq!(serde_json::from_str::<Headers>(&json).unwrap(), headers);
        }
    }
}
