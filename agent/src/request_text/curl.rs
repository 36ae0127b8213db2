//! curl command lines, as browsers, API clients and `healthie-tunnel curl` write them: the request that curl would send. What cannot be told
//! without running the shell or curl is refused by line rather than guessed.
//!
//! Of the lines that curl adds by itself those are added here that a signature can cover: Host, Content-Type, Content-Length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tunnel_delivery::{HeaderLine, Headers};

use super::curl_options::{IDLE, IDLE_WITH_VALUE, LETTERS};
use super::shell::{Token, tokens};
use super::{Form, MAX_LINES, MAX_TEXT, ReadError, Written};

/// Whether a text is one: its first word is curl, or what gives curl its input.
pub(super) fn begins(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"$ ").unwrap_or(text);
    [&b"curl"[..], b"printf", b"echo"].iter().any(|name| {
        text.strip_prefix(*name).is_some_and(|rest| rest.first().is_none_or(|b| b.is_ascii_whitespace() || *b == b'\\'))
    })
}

/// Reads one; `skipped` lines were before it.
pub(super) fn read(
    text: &[u8],
    skipped: usize,
    file: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Written, ReadError> {
    let text = text.strip_prefix(b"$ ").unwrap_or(text);
    let tokens = tokens(text, skipped)?;
    let mut commands: Vec<Vec<(usize, &[u8])>> = vec![Vec::new()];
    for (line, token) in &tokens {
        match (token, commands.last_mut()) {
            (Token::Word(word), Some(last)) => last.push((*line, word)),
            _ => commands.push(Vec::new()),
        }
    }
    let mut input = None;
    let end = skipped + 1;
    let Some((curl, before)) = commands.split_last() else { return Err(ReadError::at(end, "there is no command")) };
    for command in before {
        input = Some(fed(command, input.take(), end)?);
    }
    match curl.first() {
        Some((_, b"curl")) => Curl::default().run(&curl[1..], input, end, file),
        Some((line, _)) => Err(ReadError::at(*line, "the command is not curl")),
        None => Err(ReadError::at(end, "there is no curl after the |")),
    }
}

/// What a command before a pipe writes: `printf %s TEXT`, `echo -n TEXT` or `base64 -d`.
fn fed(command: &[(usize, &[u8])], input: Option<Vec<u8>>, end: usize) -> Result<Vec<u8>, ReadError> {
    let line = command.first().map_or(end, |(line, _)| *line);
    let words: Vec<&[u8]> = command.iter().map(|(_, word)| *word).collect();
    match (&words[..], input) {
        ([b"printf", b"%s", text], None) | ([b"echo", b"-n", text], None) => Ok(text.to_vec()),
        ([b"base64", b"-d" | b"-D" | b"--decode"], Some(input)) => {
            STANDARD.decode(input.trim_ascii()).map_err(|e| ReadError::at(line, format!("that is not base64: {e}")))
        }
        _ => {
            Err(ReadError::at(line, "before a | only `printf %s TEXT`, `echo -n TEXT` and `base64 -d` are understood"))
        }
    }
}

/// What the options have said so far.
#[derive(Default)]
struct Curl {
    method: Option<String>,
    url: Option<String>,
    target: Option<String>,
    headers: Vec<HeaderLine>,
    /// Names that curl is told not to send.
    dropped: Vec<Vec<u8>>,
    data: Option<Vec<u8>>,
    json: bool,
    head: bool,
}

impl Curl {
    fn run(
        mut self,
        words: &[(usize, &[u8])],
        mut input: Option<Vec<u8>>,
        end: usize,
        file: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Written, ReadError> {
        let mut words = words.iter().copied();
        let mut only_urls = false;
        while let Some((line, word)) = words.next() {
            if only_urls || word == b"-" || !word.starts_with(b"-") {
                self.url(line, word)?;
                continue;
            }
            if word == b"--" {
                only_urls = true;
                continue;
            }
            let mut letters = if word.starts_with(b"--") { &b""[..] } else { &word[1..] };
            loop {
                // A long option once, or each letter of a bundle.
                let (name, attached) = match letters.split_first() {
                    None => (String::from_utf8_lossy(word).into_owned(), None),
                    Some((letter, rest)) => {
                        letters = rest;
                        let known = LETTERS.iter().find(|(l, _)| l == letter);
                        let name = known.map_or_else(|| format!("-{}", char::from(*letter)), |(_, n)| (*n).to_owned());
                        (name, (!rest.is_empty()).then_some(rest))
                    }
                };
                let mut value = || {
                    letters = b"";
                    attached
                        .or_else(|| words.next().map(|(_, word)| word))
                        .ok_or_else(|| ReadError::at(line, format!("curl's {name} has no value")))
                };
                match &*name {
                    "--url" => self.url(line, value()?)?,
                    "--request" => self.method = Some(ascii(line, "method", value()?)?),
                    "--request-target" => self.target = Some(ascii(line, "request target", value()?)?),
                    "--head" => self.head = true,
                    "--header" => self.header(line, value()?)?,
                    "--user-agent" => self.headers.push(HeaderLine::new("User-Agent", value()?.to_vec())),
                    "--referer" => self.headers.push(HeaderLine::new("Referer", value()?.to_vec())),
                    "--cookie" => self.headers.push(HeaderLine::new("Cookie", value()?.to_vec())),
                    "--data" | "--data-ascii" | "--data-binary" | "--data-raw" | "--json" => {
                        let value = value()?;
                        self.json |= name == "--json";
                        let part = match value.strip_prefix(b"@").filter(|_| name != "--data-raw") {
                            None => value.to_vec(),
                            Some(path) => {
                                let bytes = if path == b"-" {
                                    input.take().ok_or("it reads its input, and nothing gives it any".to_owned())
                                } else {
                                    file(&String::from_utf8_lossy(path))
                                };
                                let mut bytes = bytes.map_err(|e| ReadError::at(line, e))?;
                                if name.starts_with("--data") && name != "--data-binary" {
                                    // As curl does.
                                    bytes.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
                                }
                                bytes
                            }
                        };
                        self.add(&part, line)?;
                    }
                    idle if IDLE.contains(&idle) => {}
                    idle if IDLE_WITH_VALUE.contains(&idle) => drop(value()?),
                    "--form" | "--form-string" | "--get" | "--upload-file" | "--data-urlencode" | "--user" => {
                        let what =
                            format!("curl's {name} makes a request that is not explained here; write it as raw HTTP");
                        return Err(ReadError::at(line, what));
                    }
                    _ => {
                        let name: String = name.chars().take(40).collect();
                        let what = format!(
                            "curl's {name:?} is not known here; leave it out if it does not change the request"
                        );
                        return Err(ReadError::at(line, what));
                    }
                }
                if letters.is_empty() {
                    break;
                }
            }
        }
        self.end(end)
    }

    fn url(&mut self, line: usize, word: &[u8]) -> Result<(), ReadError> {
        if self.url.is_some() {
            return Err(ReadError::at(line, "there is more than one URL; give one request at a time"));
        }
        self.url = Some(ascii(line, "URL", word)?);
        Ok(())
    }

    fn header(&mut self, line: usize, text: &[u8]) -> Result<(), ReadError> {
        if text.starts_with(b"@") {
            return Err(ReadError::at(line, "headers from a file are not read; write them out"));
        }
        if self.headers.len() == MAX_LINES {
            return Err(ReadError::at(line, format!("there are more than {MAX_LINES} headers")));
        }
        if text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(ReadError::at(line, "a header has no line end or zero byte in it"));
        }
        match text.iter().position(|b| *b == b':') {
            Some(0) | None => match text.strip_suffix(b";") {
                Some(name) if !name.is_empty() => self.headers.push(HeaderLine::new(name.to_vec(), "")),
                _ => return Err(ReadError::at(line, "a header is 'NAME: VALUE'")),
            },
            Some(colon) => match (text[..colon].to_vec(), text[colon + 1..].trim_ascii()) {
                (name, b"") => self.dropped.push(name),
                (name, value) => self.headers.push(HeaderLine::new(name, value.to_vec())),
            },
        }
        Ok(())
    }

    fn add(&mut self, part: &[u8], line: usize) -> Result<(), ReadError> {
        let data = match &mut self.data {
            None => self.data.insert(Vec::new()),
            Some(data) => {
                if !self.json {
                    data.push(b'&');
                }
                data
            }
        };
        data.extend_from_slice(part);
        if data.len() > MAX_TEXT {
            return Err(ReadError::at(
                line,
                format!("the body is longer than the {} MiB that are read", MAX_TEXT >> 20),
            ));
        }
        Ok(())
    }

    fn end(self, end: usize) -> Result<Written, ReadError> {
        let url = self.url.ok_or_else(|| ReadError::at(end, "the command has no URL"))?;
        let rest = url.split_once("://").map_or(&*url, |(_, rest)| rest);
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let path = path.split('#').next().unwrap_or_default();
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let given = |name: &str| self.headers.iter().any(|line| line.is(name));
        let dropped = |name: &str| self.dropped.iter().any(|d| d.eq_ignore_ascii_case(name.as_bytes()));
        let added = |name: &str| !given(name) && !dropped(name);
        let mut headers = Vec::new();
        if added("Host") {
            let host = authority.rsplit('@').next().unwrap_or_default();
            headers.push(HeaderLine::new("Host", host.to_owned()));
        }
        let (mut kind, mut length) = (None, None);
        if let Some(data) = &self.data {
            let usual = if self.json { "application/json" } else { "application/x-www-form-urlencoded" };
            kind = added("Content-Type").then(|| HeaderLine::new("Content-Type", usual));
            let counted = added("Content-Length") && !given("Transfer-Encoding");
            length = counted.then(|| HeaderLine::new("Content-Length", data.len().to_string()));
        }
        let method = match (&self.method, self.head, &self.data) {
            (Some(method), _, _) => method,
            (None, true, _) => "HEAD",
            (None, false, Some(_)) => "POST",
            (None, false, None) => "GET",
        };
        let method = method.to_owned();
        headers.extend(self.headers.into_iter().chain(kind).chain(length));
        Ok(Written {
            form: Form::Curl,
            method,
            target: self.target.unwrap_or(target),
            headers: Headers(headers),
            body: self.data.unwrap_or_default().into(),
            origin: None,
        })
    }
}

fn ascii(line: usize, what: &str, word: &[u8]) -> Result<String, ReadError> {
    let text = std::str::from_utf8(word).ok().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic()));
    text.map(str::to_owned).ok_or_else(|| ReadError::at(line, format!("the {what} is visible ASCII without blanks")))
}

#[cfg(test)]
mod tests {
    use super::super::{read, tests::no_files};
    use super::*;

    fn line(text: &str) -> Written {
        read(text.as_bytes(), &no_files).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    fn shown(written: &Written) -> Vec<String> {
        written.headers.iter().map(|l| format!("{}: {}", l.name.escape_ascii(), l.value.escape_ascii())).collect()
    }

    #[test]
    fn a_browser_s_copy_is_understood() {
        let read = line(
            "curl 'https://app.example/hook?a=1&b=2' \\\n  -H 'accept: */*' \\\n  -H 'content-type: application/json' \\\n  \
             --data-raw $'{\"name\":\"J\\u00fcrgen\\u0021\"}' \\\n  --compressed -sSL -o/dev/null\n",
        );
        assert_eq!((&*read.method, &*read.target), ("POST", "/hook?a=1&b=2"));
        assert_eq!(&read.body[..], "{\"name\":\"Jürgen!\"}".as_bytes());
        assert_eq!(
            shown(&read),
            ["Host: app.example", "accept: */*", "content-type: application/json", "Content-Length: 19"]
        );
    }

    #[test]
    fn bodies_are_curl_s() {
        let file = |name: &str| match name {
            "body.json" => Ok(b"{\r\n}\n".to_vec()),
            _ => Err(format!("the file {name} cannot be read")),
        };
        for (text, expected) in [
            ("curl h -d a -d 'b c'", &b"a&b c"[..]),
            ("curl h -d@body.json", b"{}"),
            ("curl h --data-binary @body.json", b"{\r\n}\n"),
            ("curl h --data-raw @body.json", b"@body.json"),
            ("curl h --json '{' --json '}'", b"{}"),
            ("printf %s AAE= | base64 -d | curl h --data-binary @-", b"\0\x01"),
            ("$ curl h -XPUT", b""),
        ] {
            assert_eq!(read(text.as_bytes(), &file).unwrap().body, expected, "{text}");
        }
        let error = read(b"curl h \\\n -d @none", &file).unwrap_err().to_string();
        assert_eq!(error, "line 2: the file none cannot be read");
    }

    #[test]
    fn what_cannot_be_told_is_refused_by_line() {
        for (text, expected) in [
            ("curl", "line 1: the command has no URL"),
            ("curl a b", "more than one URL"),
            ("curl h \\\n -F a=b", "line 2: curl's --form makes"),
            ("curl h \\\n --frobnicate", "line 2: curl's \"--frobnicate\" is not known"),
            ("curl h -H", "has no value"),
            ("curl h -H nothing", "a header is"),
            ("curl h --data-binary @-", "nothing gives it any"),
            ("echo x | curl h", "only `printf"),
            ("printf %s x | wget h", "the command is not curl"),
            ("curl 'h/a b'", "visible ASCII"),
            ("curl h\ncurl h", "line 2: there is more than one command"),
        ] {
            let error = read(text.as_bytes(), &no_files).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn lines_can_be_empty_or_dropped() {
        let read = line("curl http://u@h:1#x -H 'Empty;' -H 'Host:' -H 'Content-Type:' -d ''");
        assert_eq!(shown(&read), ["Empty: ", "Content-Length: 0"]);
        assert_eq!(read.target, "/");
    }
}
