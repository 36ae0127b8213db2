//! Requests as steps of a script for any POSIX shell, each one curl that sends the same bytes. Nothing from a request can end a comment, a
//! word or a here-document: that is what a script from somebody else's deliveries stands or falls with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Written;
use super::curl_line::request_words;
use crate::safe_text::{SafeText, acts};

/// The longest body that is written as a word; the system takes 128 KiB for one.
const MOST_WORD: usize = 24 * 1024;
/// Characters of base64 in a line.
const LINE: usize = 76;

/// What a script begins with. Arguments of the script are given to each curl.
pub const SCRIPT_HEAD: &str = "#!/bin/sh\n\
    # Each step sends one delivery again as it was sent, and prints the status of the answer.\n\
    # Arguments are given to every curl, such as: sh FILE --max-time 5\n";

/// What ends a body in base64, in which it cannot occur: base64 has no dash.
const END: &str = "END-OF-BODY";

/// One step: a comment that says which it is, and the command.
pub fn script_step(about: &str, url: &str, request: &Written) -> String {
    let body = &request.body;
    let mut words = request_words(url, &request.method, &request.headers, body, &word);
    let plain = std::str::from_utf8(body).ok().filter(|text| body.len() <= MOST_WORD && readable(text));
    let mut document = String::new();
    match plain {
        _ if body.is_empty() => {}
        Some(text) => words.push(format!("--data-raw {}", single(text))),
        None => {
            words.push("--data-binary @-".to_owned());
            for line in STANDARD.encode(body).as_bytes().chunks(LINE) {
                document.push_str(&String::from_utf8_lossy(line));
                document.push('\n');
            }
        }
    }
    let words = words.join(" \\\n  ");
    let curl = format!("curl -sS -o /dev/null -w '%{{http_code}}\\n' \"$@\" \\\n  {words}\n");
    let about = SafeText::new(about);
    match document.is_empty() {
        true => format!("\n# {about}\n{curl}"),
        false => format!("\n# {about}\nbase64 -d <<'{END}' | {curl}{document}{END}\n"),
    }
}

/// Whether a text can stand in a script as it is: line ends and blanks, and nothing else that acts on whoever looks at it.
fn readable(text: &str) -> bool {
    !text.chars().any(|c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// A word of the shell that stands for these bytes.
fn word(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if readable(text) && !text.contains('\n') => single(text),
        // printf's octal escapes are POSIX; what they make must not be read as a format again, and a line end at its end would be lost.
        _ => {
            let text: String = bytes
                .iter()
                .map(|b| match b {
                    b'%' => "%%".to_owned(),
                    b' '..=b'~' if !b"\\'\"$`!".contains(b) => char::from(*b).to_string(),
                    b => format!("\\{b:03o}"),
                })
                .collect();
            format!("\"$(printf '{text}')\"")
        }
    }
}

/// In single quotes, in which everything stands for itself but the quote.
fn single(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:._-=,@+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use tunnel_delivery::Headers;

    use super::super::Form;

    /// The arguments and the standard input that a stand-in for curl gets when sh runs the script.
    fn run(script: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let fake = "curl() { for a in \"$@\"; do printf '%s\\0' \"$a\" >> args; done; case \"$*\" in *@-*) cat > body;; esac; }\n";
        let mut sh = Command::new("sh").current_dir(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
        sh.stdin.take().unwrap().write_all(format!("{fake}{script}").as_bytes()).unwrap();
        assert!(sh.wait().unwrap().success(), "{script}");
        let args = std::fs::read(dir.path().join("args")).unwrap();
        let mut args: Vec<Vec<u8>> = args.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        args.pop();
        (args, std::fs::read(dir.path().join("body")).unwrap_or_default())
    }

    fn request(value: &[u8], body: &[u8]) -> Written {
        let mut headers = Headers::default();
        headers.push("X-Value", value.to_vec());
        Written {
            form: Form::Http,
            method: "POST".into(),
            target: "/hook".into(),
            headers,
            body: body.to_vec().into(),
            origin: None,
        }
    }

    /// What curl would send: the value of the header, and the body.
    fn sent(about: &str, value: &[u8], body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let step = script_step(about, "http://h/hook", &request(value, body));
        let (args, input) = run(&format!("{SCRIPT_HEAD}{step}"));
        let after = |flag: &[u8]| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1));
        let header = after(b"-H").unwrap();
        let header = header.strip_prefix(b"X-Value: ").or(header.strip_prefix(b"X-Value;")).unwrap();
        let body = if args.iter().any(|a| a == b"--data-binary") { Some(&input) } else { after(b"--data-raw") };
        (header.to_vec(), body.cloned().unwrap_or_default())
    }

    #[test]
    fn what_is_hostile_stays_data() {
        let said = "x\nrm -rf . #\u{1b}[2J";
        for (value, body) in [
            (&b"it's $(id) `id` \\ % %s \"x\" !"[..], &b"{\"a\": \"it's $HOME\"}\n"[..]),
            (b"\xff\x80 %d $(id) '", b"\0\xff"),
            (b"\x1b[31m", b"line\r\nline\r\n"),
            (b"", b""),
            (b"x", b"@/etc/passwd"),
            (b"x", &STANDARD.decode("BODY").unwrap()),
            (b"x", &[0xff; 100_000]),
        ] {
            assert_eq!(sent(said, value, body), (value.to_vec(), body.to_vec()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_byte_arrives(about in ".{0,20}", value in "[ -~\u{80}-\u{ff}]{0,30}", body: Vec<u8>) {
            let value = value.trim().as_bytes().to_vec();
            prop_assert_eq!(sent(&about, &value, &body), (value, body));
        }
    }
}
