//! Signature-Input (RFC 9421, section 4.1): which components each label covers, in which order, with which parameters.

use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, KeyRef, ListEntry, Parser};

use crate::Reason;

/// The longest Signature-Input that is read, in bytes.
const MAX_FIELD: usize = 8 * 1024;
/// The most labels in one message, as for Signature.
const MAX_LABELS: usize = 8;
/// The most components of one signature; Healthie's documents name six.
const MAX_COMPONENTS: usize = 64;

/// What Signature-Input says about a signature besides what it covers. Reported and never judged: this room has no clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureParams {
    /// What the signature covers, in its order.
    pub components: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// The key's name.
    pub keyid: Option<String>,
    /// The algorithm's name.
    pub alg: Option<String>,
    /// A value to be used once.
    pub nonce: Option<String>,
    /// The application's tag.
    pub tag: Option<String>,
}

/// One label of Signature-Input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) label: String,
    pub(crate) params: SignatureParams,
    /// The member as RFC 9651 serialises it: the value of the `@signature-params` line (RFC 9421, section 2.3).
    pub(crate) serialized: String,
    /// The component that has parameters (`;sf`, `;key`, `;bs`, `;req`, `;tr`, `;name`), if one has: none of them is supported.
    pub(crate) parameterized: Option<String>,
}

impl Input {
    pub(crate) fn covers(&self, component: &str) -> bool {
        self.params.components.iter().any(|c| c == component)
    }
}

/// Reads the header.
pub(crate) fn inputs(field: &[u8]) -> Result<Vec<Input>, Reason> {
    if field.len() > MAX_FIELD {
        return Err(Reason::MalformedSignatureInput("it is longer than 8192 bytes"));
    }
    let malformed = Reason::MalformedSignatureInput;
    let dictionary: Dictionary =
        Parser::new(field).parse().map_err(|_| malformed("it is not a dictionary of RFC 9651"))?;
    // The library lets the last one of a repeated key win. Two meanings for one label are an attack or a fault.
    let keys = Parser::new(field).parse_dictionary_with_visitor(KeyCount(0)).unwrap_or(0);
    if keys != dictionary.len() {
        return Err(malformed("one label is there twice"));
    }
    if keys == 0 || keys > MAX_LABELS {
        return Err(malformed("there must be between 1 and 8 labels"));
    }
    dictionary
        .into_iter()
        .map(|(label, entry)| match entry {
            ListEntry::InnerList(list) => input(label.as_str().to_owned(), list),
            ListEntry::Item(_) => Err(malformed("a label has no list of components in parentheses")),
        })
        .collect()
}

fn input(label: String, list: InnerList) -> Result<Input, Reason> {
    let malformed = Reason::MalformedSignatureInput;
    let mut params = SignatureParams::default();
    let mut parameterized = None;
    if list.items.len() > MAX_COMPONENTS {
        return Err(malformed("more than 64 components are covered"));
    }
    for item in &list.items {
        let name = item.bare_item.as_string().ok_or(malformed("a component is not a string in quotes"))?.as_str();
        let plain = name.strip_prefix('@').unwrap_or(name);
        if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b':') {
            return Err(malformed("a component is not a header's name in lower case"));
        }
        if !item.params.is_empty() {
            parameterized.get_or_insert_with(|| name.to_owned());
        } else if params.components.iter().any(|other| other == name) {
            // RFC 9421, section 2.5: every identifier occurs once.
            return Err(malformed("one component is there twice"));
        }
        params.components.push(name.to_owned());
    }
    for (key, value) in &list.params {
        let number = || match value {
            BareItem::Integer(n) => Ok(Some(i64::from(*n))),
            _ => Err(malformed("created and expires must be integers")),
        };
        let text = || match value {
            BareItem::String(text) => Ok(Some(text.as_str().to_owned())),
            _ => Err(malformed("keyid, alg, nonce and tag must be strings")),
        };
        match key.as_str() {
            "created" => params.created = number()?,
            "expires" => params.expires = number()?,
            "keyid" => params.keyid = text()?,
            "alg" => params.alg = text()?,
            "nonce" => params.nonce = text()?,
            "tag" => params.tag = text()?,
            _ => {} // a parameter that is not known is signed like the others
        }
    }
    let list: sfv::List = vec![ListEntry::InnerList(list)];
    let serialized = list.serialize().ok_or(malformed("it cannot be written again"))?;
    Ok(Input { label, params, serialized, parameterized })
}

/// Counts the keys of a dictionary, repeated ones too.
struct KeyCount(usize);

impl<'de> DictionaryVisitor<'de> for KeyCount {
    type Out = usize;
    type Error = std::convert::Infallible;

    fn entry(&mut self, _key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        self.0 += 1;
        Ok(Ignored)
    }

    fn finish(self) -> Result<usize, Self::Error> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_read_and_kept_in_their_order() {
        let field =
            br#"sig1=("@method"  "content-digest");created=1618884473;x=?1;keyid="k\"";alg="hmac-sha256", b=()"#;
        let read = inputs(field).unwrap();
        assert_eq!(read[0].params.created, Some(1_618_884_473));
        assert_eq!(read[0].params.keyid.as_deref(), Some("k\""));
        assert_eq!(
            read[0].serialized,
            r#"("@method" "content-digest");created=1618884473;x;keyid="k\"";alg="hmac-sha256""#
        );
        assert!(read[0].covers("content-digest") && !read[1].covers("content-digest"));
        assert_eq!((read[1].label.as_str(), read[1].serialized.as_str()), ("b", "()"));
    }

    #[test]
    fn malformed_ones_are_refused() {
        for field in [
            "",
            "sig1",
            "sig1=",
            "sig1=1",
            "sig1=(@method)",
            "sig1=(method)",
            r#"sig1=("@method"), sig1=("@path")"#,
            r#"sig1=("@method" "@method")"#,
            r#"sig1=("Content-Type")"#,
            r#"sig1=("")"#,
            r#"sig1=("@method");created="now""#,
            r#"sig1=("@method");keyid=1"#,
            r#"sig1=("@method""#,
        ] {
            assert!(inputs(field.as_bytes()).is_err(), "{field:?}");
        }
        let many: Vec<_> = (0..65).map(|n| format!("\"h{n}\"")).collect();
        assert!(inputs(format!("sig1=({})", many.join(" ")).as_bytes()).is_err());
    }

    #[test]
    fn a_component_with_parameters_is_noticed() {
        let read = inputs(br#"sig1=("content-digest";req "@method")"#).unwrap();
        assert_eq!(read[0].parameterized.as_deref(), Some("content-digest"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in r#"[a-z=()";@:0-9, -]{0,80}"#) {
            let _ = (inputs(&bytes), inputs(text.as_bytes()));
        }
    }
}
