//! Verifiers to paste: source text for one reading in one language, made of the templates beside this file. Owns the templates'
//! little language; the strings themselves are those of base.rs, to which the tests hold every emitted verifier.
//!
//! In a template a line that begins with `%if NAME`, `%if !NAME`, `%else` or `%end` chooses lines, `%about PREFIX` becomes a comment
//! on the reading, and `{{reading}}` and `{{join}}` are filled in. A name is a profile's, a deviation's (of the string) or the form
//! of the signature's (`bare-hex`, `colon-hex`, `base64`).

use std::fmt;
use std::str::FromStr;

use crate::signature_field::Encoding;
use crate::{Error, Part, Profile, Reading, Twist};

/// A language that a verifier is emitted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// JavaScript for Node, with `node:crypto`.
    Node,
    /// Python 3, standard library.
    Python,
    /// Ruby 3, with its own `openssl`.
    Ruby,
    /// Go, standard library.
    Go,
    /// Rust, with the crates `hmac`, `sha2` and `base64`.
    Rust,
    /// PHP 8, without extensions that can be missing.
    Php,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 6] =
        [Language::Node, Language::Python, Language::Ruby, Language::Go, Language::Rust, Language::Php];

    /// `node`, `python`, `ruby`, `go`, `rust` or `php`.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Node => "node",
            Language::Python => "python",
            Language::Ruby => "ruby",
            Language::Go => "go",
            Language::Rust => "rust",
            Language::Php => "php",
        }
    }

    /// How a file of it ends, such as `py`.
    pub fn extension(self) -> &'static str {
        match self {
            Language::Node => "js",
            Language::Python => "py",
            Language::Ruby => "rb",
            Language::Go => "go",
            Language::Rust => "rs",
            Language::Php => "php",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Language::Node => include_str!("node.tmpl"),
            Language::Python => include_str!("python.tmpl"),
            Language::Ruby => include_str!("ruby.tmpl"),
            Language::Go => include_str!("go.tmpl"),
            Language::Rust => include_str!("rust.tmpl"),
            Language::Php => include_str!("php.tmpl"),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(s: &str) -> Result<Language, Error> {
        Language::ALL
            .into_iter()
            .find(|language| language.as_str() == s)
            .ok_or_else(|| Error::UnknownLanguage(s.chars().take(80).collect()))
    }
}

/// A verifier for that reading: one function (method, target, headers, raw body, secret) that compares in constant time, needs
/// nothing but the language's own library (Rust: three crates) and refuses whatever is missing or malformed.
///
/// It takes one signature and, in `rfc9421`, needs Signature-Input written without needless blanks.
pub fn emit(language: Language, reading: Reading) -> String {
    filled(language.template(), reading)
}

fn filled(template: &str, reading: Reading) -> String {
    let name = reading.to_string();
    let join = match () {
        () if reading.has(Twist::BackslashN) => r"\\n",
        () if reading.has(Twist::TwoBackslashesN) => r"\\\\n",
        () => r"\n",
    };
    let mut out = String::with_capacity(template.len());
    // Whether the lines of each `%if` that is open are wanted.
    let mut wanted: Vec<bool> = Vec::new();
    for line in template.lines() {
        let shown = wanted.iter().all(|wanted| *wanted);
        match line.strip_prefix('%').map(|directive| directive.split_once(' ').unwrap_or((directive, ""))) {
            Some(("if", condition)) => wanted.push(match condition.strip_prefix('!') {
                Some(condition) => !holds(condition, reading),
                None => holds(condition, reading),
            }),
            Some(("else", _)) => {
                if let Some(last) = wanted.last_mut() {
                    *last = !*last;
                }
            }
            Some(("end", _)) => drop(wanted.pop()),
            Some(("about", prefix)) if shown => {
                for text in about(reading) {
                    out.push_str(&format!("{prefix} - {text}\n"));
                }
            }
            _ if shown => {
                out.push_str(&line.replace("{{reading}}", &name).replace("{{join}}", join));
                out.push('\n');
            }
            _ => {}
        }
    }
    out
}

/// Whether a template's condition holds. A name that is none does not; a test reads all templates for such.
fn holds(condition: &str, reading: Reading) -> bool {
    let encoding = match reading.encoding() {
        Encoding::BareHex => "bare-hex",
        Encoding::ColonHex => "colon-hex",
        Encoding::Base64 => "base64",
    };
    let deviates = |twist: Twist| {
        let row = twist.documented();
        row.part != Part::Encoding && row.name == condition
    };
    condition == reading.profile().as_str() || condition == encoding || reading.variant().twists().any(deviates)
}

/// What the reading is, in a few lines.
fn about(reading: Reading) -> Vec<&'static str> {
    let plain = match reading.profile() {
        Profile::Guide => "what is signed is: method, path, query, digest, content type and length, one blank between",
        Profile::Scribe => "what is signed is six lines, from \"@method\" to \"content-length\"",
        Profile::Rfc9421 => "what is signed is what RFC 9421 says",
    };
    let string = reading.variant().twists().map(Twist::documented).filter(|row| row.part != Part::Encoding);
    let encoding = match reading.encoding() {
        Encoding::BareHex => "the signature is an HMAC-SHA256 in hex",
        Encoding::ColonHex => "the signature is an HMAC-SHA256 in hex between colons",
        Encoding::Base64 => "the signature is an HMAC-SHA256 in base64 between colons",
    };
    [plain].into_iter().chain(string.map(|row| row.what)).chain([encoding]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_only_what_there_is_and_close_what_they_open() {
        let mut names: Vec<_> =
            Reading::all().flat_map(|r| r.variant().twists()).map(|t| t.documented().name).collect();
        names.extend(Profile::ALL.map(Profile::as_str));
        for language in Language::ALL {
            let mut open = 0;
            for line in language.template().lines().filter_map(|line| line.strip_prefix('%')) {
                match line.split_once(' ').unwrap_or((line, "")) {
                    ("if", name) => {
                        assert!(names.contains(&name.trim_start_matches('!')), "{language}: {name}");
                        open += 1;
                    }
                    ("end", "") => open -= 1,
                    (directive, _) => assert!(["else", "about"].contains(&directive), "{language}: {line}"),
                }
                assert!(open >= 0, "{language}: too many %end");
            }
            assert_eq!(open, 0, "{language}");
        }
    }

    #[test]
    fn every_reading_gives_a_text_of_its_own_without_leftovers() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(language));
            let mut texts: Vec<_> = Reading::all().map(|reading| emit(language, reading)).collect();
            for text in &texts {
                assert!(!text.contains("{{") && !text.contains("\n%"), "{text}");
                assert!(text.lines().count() < 130, "{} lines are too many to paste", text.lines().count());
            }
            let all = texts.len();
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), all, "{language}");
        }
        assert!("cobol".parse::<Language>().unwrap_err().to_string().contains("node, python"));
    }
}
