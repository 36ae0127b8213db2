//! The readings of Healthie's signature as data: three profiles, and the documented deviations from each as rows of a table.
//! Owns names and which deviations go together; building the strings is base.rs.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::signature_field::Encoding;

/// One document's reading of how Healthie signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// The public developer guide "Webhooks": `method path query digest content-type content-length` with one blank between, the
    /// method in lower case, the query without `?`, the digest as it stands after the first `=` of Content-Digest; hex.
    Guide,
    /// The "API & webhooks guide for AI Scribe": six lines from `"@method": POST` to `"content-length": N`, without
    /// `@signature-params`; `"@query": ?` is followed by the URL's `search`, which itself begins with `?`; hex in colons.
    Scribe,
    /// RFC 9421 as it is written: the component lines that Signature-Input names, then `"@signature-params"`; base64 in colons.
    Rfc9421,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::Guide, Profile::Scribe, Profile::Rfc9421];

    /// `guide`, `scribe` or `rfc9421`.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Guide => "guide",
            Profile::Scribe => "scribe",
            Profile::Rfc9421 => "rfc9421",
        }
    }

    /// How the profile's own document writes the signature.
    fn plain_encoding(self) -> Encoding {
        match self {
            Profile::Guide => Encoding::BareHex,
            Profile::Scribe => Encoding::ColonHex,
            Profile::Rfc9421 => Encoding::Base64,
        }
    }

    /// The profiles in the order in which a signature of that form is likely to be one of theirs.
    pub(crate) fn in_order_for(encoding: Encoding) -> [Profile; 3] {
        match encoding {
            Encoding::BareHex => [Profile::Guide, Profile::Scribe, Profile::Rfc9421],
            Encoding::ColonHex => [Profile::Scribe, Profile::Rfc9421, Profile::Guide],
            Encoding::Base64 => [Profile::Rfc9421, Profile::Scribe, Profile::Guide],
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(s: &str) -> Result<Profile, Error> {
        Profile::ALL
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or_else(|| Error::UnknownProfile(s.chars().take(80).collect()))
    }
}

/// The part of a profile that a deviation changes. A variant has at most one deviation of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// How the digest stands in the signed string.
    Digest,
    /// What is counted for the content length in the signed string.
    Length,
    /// How the query stands in the signed string.
    Query,
    /// What joins the lines of the signed string.
    Join,
    /// How the Signature header writes the MAC; the signed string is the same.
    Encoding,
}

/// One documented deviation from a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Twist {
    /// The digest without its `=` at the end.
    NoPadding,
    /// The body's length in UTF-16 units.
    Utf16Length,
    /// `"@query": ?a=b` with one `?`.
    SingleQuery,
    /// Lines joined with a backslash and an `n`.
    BackslashN,
    /// Lines joined with two backslashes and an `n`.
    TwoBackslashesN,
    /// `sig1=<hex>`.
    BareHex,
    /// `sig1=:<hex>:`.
    ColonHex,
    /// `sig1=:<base64>:`.
    Base64,
}

/// A row of [`DOCUMENTED`].
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// The deviation.
    pub twist: Twist,
    /// Its name, of which variants' names are made.
    pub name: &'static str,
    /// What it changes.
    pub part: Part,
    /// The profiles that it is a deviation of.
    pub profiles: &'static [Profile],
    /// What it means, to follow "the signature matches if".
    pub what: &'static str,
    /// Who says so.
    pub source: &'static str,
}

/// The documented deviations, in the order of [`Twist`].
///
/// Not in the table because they are no choice: the content length as the header has it (the guide leaves open whether the sender
/// copies the header or counts) is the number of bytes, since a delivery in which the two differ is refused before.
pub static DOCUMENTED: [Documented; 8] = [
    Documented {
        twist: Twist::NoPadding,
        name: "no-padding",
        part: Part::Digest,
        profiles: &[Profile::Guide],
        what: "the digest is what stands between the first and the second `=` of Content-Digest, so without its padding",
        // The sample splits the header on every `=`; integrators report both readings from production.
        source: "developer guide, sample code",
    },
    Documented {
        twist: Twist::Utf16Length,
        name: "utf16-length",
        part: Part::Length,
        profiles: &[Profile::Guide],
        what: "the content length is the body's in UTF-16 units",
        // The sample counts with JavaScript's String length.
        source: "developer guide, sample code",
    },
    Documented {
        twist: Twist::SingleQuery,
        name: "single-query",
        part: Part::Query,
        profiles: &[Profile::Scribe],
        what: "the query has one `?` before it",
        // The sample puts a `?` before URL.search, which already has one; RFC 9421 has one.
        source: "RFC 9421, section 2.2.7",
    },
    Documented {
        twist: Twist::BackslashN,
        name: "backslash-n",
        part: Part::Join,
        profiles: &[Profile::Scribe],
        what: "the lines are joined with a backslash and an n instead of a newline",
        // The sample as printed has one level of escaping too many, or two; this is the reading with one.
        source: "AI-Scribe guide, sample code",
    },
    Documented {
        twist: Twist::TwoBackslashesN,
        name: "two-backslashes-n",
        part: Part::Join,
        profiles: &[Profile::Scribe],
        what: "the lines are joined with two backslashes and an n instead of a newline",
        // What the sample does when it is copied letter by letter.
        source: "AI-Scribe guide, sample code",
    },
    Documented {
        twist: Twist::BareHex,
        name: "bare-hex",
        part: Part::Encoding,
        profiles: &[Profile::Scribe, Profile::Rfc9421],
        what: "the signature is written in hex",
        source: "developer guide, sample code",
    },
    Documented {
        twist: Twist::ColonHex,
        name: "colon-hex",
        part: Part::Encoding,
        profiles: &[Profile::Guide, Profile::Rfc9421],
        what: "the signature is written in hex between colons",
        source: "AI-Scribe guide, sample code",
    },
    Documented {
        twist: Twist::Base64,
        name: "base64",
        part: Part::Encoding,
        profiles: &[Profile::Guide, Profile::Scribe],
        what: "the signature is written in base64 between colons",
        // All of Healthie's documents name RFC 9421, whose signatures are byte sequences.
        source: "RFC 9421, section 4.2",
    },
];

impl Twist {
    /// The deviation's row of [`DOCUMENTED`].
    pub fn documented(self) -> &'static Documented {
        &DOCUMENTED[self as usize]
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// A set of deviations. It prints as their names joined with `+`, or `plain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(u8);

impl Variant {
    /// No deviation.
    pub const PLAIN: Variant = Variant(0);

    /// This variant with one more deviation.
    #[must_use]
    pub fn with(self, twist: Twist) -> Variant {
        Variant(self.0 | twist.bit())
    }

    /// Whether the deviation is in it.
    pub fn has(self, twist: Twist) -> bool {
        self.0 & twist.bit() != 0
    }

    /// Its deviations, in the table's order.
    pub fn twists(self) -> impl Iterator<Item = Twist> {
        DOCUMENTED.iter().map(|row| row.twist).filter(move |twist| self.has(*twist))
    }

    /// The name by which it is stored: `None` for the plain one, otherwise names joined with `+`.
    pub fn name(self) -> Option<String> {
        (self != Variant::PLAIN).then(|| self.to_string())
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.twists().map(|twist| twist.documented().name).collect();
        f.pad(if names.is_empty() { "plain".to_owned() } else { names.join("+") }.as_str())
    }
}

/// A profile with a variant of it: one complete way to sign. It prints as `guide` or `guide:no-padding+utf16-length`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    profile: Profile,
    variant: Variant,
}

impl Reading {
    /// A profile without deviations.
    pub const fn plain(profile: Profile) -> Reading {
        Reading { profile, variant: Variant::PLAIN }
    }

    /// A profile with deviations.
    ///
    /// # Errors
    /// [`Error::UnknownVariant`] if a deviation is not of this profile, or two change the same part.
    pub fn new(profile: Profile, variant: Variant) -> Result<Reading, Error> {
        let of_profile = variant.twists().all(|twist| twist.documented().profiles.contains(&profile));
        let one_each =
            variant.twists().all(|a| variant.twists().all(|b| a == b || a.documented().part != b.documented().part));
        if of_profile && one_each {
            Ok(Reading { profile, variant })
        } else {
            Err(Error::UnknownVariant { profile, variant: variant.to_string() })
        }
    }

    /// The profile.
    pub fn profile(self) -> Profile {
        self.profile
    }

    /// The deviations from it.
    pub fn variant(self) -> Variant {
        self.variant
    }

    /// Every reading there is: each profile with every set of deviations that go together, plainest first.
    pub fn all() -> impl Iterator<Item = Reading> {
        Profile::ALL.into_iter().flat_map(Reading::all_of)
    }

    /// Every reading of one profile, plainest first.
    pub fn all_of(profile: Profile) -> impl Iterator<Item = Reading> {
        let mut readings: Vec<_> = (0..=u8::MAX).filter_map(|bits| Reading::new(profile, Variant(bits)).ok()).collect();
        readings.sort_by_key(|reading| reading.variant.0.count_ones());
        readings.into_iter()
    }

    pub(crate) fn has(self, twist: Twist) -> bool {
        self.variant.has(twist)
    }

    pub(crate) fn encoding(self) -> Encoding {
        if self.has(Twist::BareHex) {
            Encoding::BareHex
        } else if self.has(Twist::ColonHex) {
            Encoding::ColonHex
        } else if self.has(Twist::Base64) {
            Encoding::Base64
        } else {
            self.profile.plain_encoding()
        }
    }

    /// The same signed string, with the signature written in that way.
    pub(crate) fn encoded_as(self, encoding: Encoding) -> Reading {
        const ENCODINGS: u8 = 1 << Twist::BareHex as u8 | 1 << Twist::ColonHex as u8 | 1 << Twist::Base64 as u8;
        let variant = Variant(self.variant.0 & !ENCODINGS);
        let twist = match encoding {
            _ if encoding == self.profile.plain_encoding() => return Reading { variant, ..self },
            Encoding::BareHex => Twist::BareHex,
            Encoding::ColonHex => Twist::ColonHex,
            Encoding::Base64 => Twist::Base64,
        };
        Reading { variant: variant.with(twist), ..self }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            Variant::PLAIN => write!(f, "{}", self.profile),
            variant => write!(f, "{}:{variant}", self.profile),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reading {
    type Err = Error;

    /// Reads `guide`, `guide:plain` or `guide:no-padding+utf16-length`.
    fn from_str(s: &str) -> Result<Reading, Error> {
        let (profile, names) = s.split_once(':').unwrap_or((s, "plain"));
        let profile = profile.parse()?;
        let mut variant = Variant::PLAIN;
        if names != "plain" {
            for name in names.split('+') {
                let row = DOCUMENTED.iter().find(|row| row.name == name);
                let unknown = || Error::UnknownVariant { profile, variant: name.chars().take(80).collect() };
                variant = variant.with(row.ok_or_else(unknown)?.twist);
            }
        }
        Reading::new(profile, variant)
    }
}

/// The names of a profile's deviations, for messages.
pub(crate) fn names_for(profile: Profile) -> String {
    let names: Vec<_> = DOCUMENTED.iter().filter(|row| row.profiles.contains(&profile)).map(|row| row.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_names_are_unique() {
        for (at, row) in DOCUMENTED.iter().enumerate() {
            assert_eq!(row.twist as usize, at);
            assert!(DOCUMENTED.iter().filter(|other| other.name == row.name).count() == 1, "{}", row.name);
        }
    }

    #[test]
    fn every_reading_has_a_name_that_is_read_back() {
        let all: Vec<_> = Reading::all().collect();
        // guide: digest 2 × length 2 × encoding 3; scribe: query 2 × join 3 × encoding 3; rfc9421: encoding 3.
        assert_eq!(all.len(), 12 + 18 + 3);
        for reading in all {
            assert_eq!(reading.to_string().parse(), Ok(reading));
            for encoding in [Encoding::BareHex, Encoding::ColonHex, Encoding::Base64] {
                assert_eq!(reading.encoded_as(encoding).encoding(), encoding);
                assert!(Reading::new(reading.profile, reading.encoded_as(encoding).variant).is_ok());
            }
        }
    }

    #[test]
    fn wrong_names_say_what_there_is() {
        let error = "guide:single-query".parse::<Reading>().unwrap_err().to_string();
        assert!(error.contains("no-padding, utf16-length, colon-hex, base64"), "{error}");
        assert!("scribe:backslash-n+two-backslashes-n".parse::<Reading>().is_err());
        assert!("stripe".parse::<Reading>().unwrap_err().to_string().contains("rfc9421"));
    }
}
