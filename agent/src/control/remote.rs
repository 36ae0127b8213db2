//! Asking a running agent over its local interface: which path and parameters an operation has, and what comes back.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tunnel_protocol::AnswerMode;

use super::follow::{Follow, Told};
use super::operations::LIMIT;
use super::{
    AgentFile, ControlError, Export, Exported, Filter, Found, Group, Grouped, Hello, Kind, Marking, PageAsk, PageFound,
    Remove, RemoveDone, StatsAsk,
};
use crate::api::{AnswerBody, Forwarding, MOST_LINES, VERSION, problem, sse};
use crate::query::Query;
use crate::stats::{By, Stats};

/// The longest answer: a delivery at the protocol's cap with its attempts, in JSON.
const MOST: usize = 512 * 1024 * 1024;
/// The longest line of a stream of events.
const MOST_LINE: usize = 1024 * 1024;
/// How long a running agent may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it may look for a page of a list before it answers with what it has.
const LOOK: Duration = Duration::from_secs(10);

/// A running agent.
#[derive(Debug)]
pub struct Remote {
    /// Where it keeps what it stores.
    pub(super) data: std::path::PathBuf,
    file: AgentFile,
    /// Why it cannot be asked, if it is of another version.
    stranger: Option<ControlError>,
}

/// Why a question has no answer.
pub(super) enum Asked {
    /// The agent is not there, or went away.
    Lost(ControlError),
    /// It says why.
    Refused(ControlError),
}

impl From<Asked> for ControlError {
    fn from(asked: Asked) -> ControlError {
        match asked {
            Asked::Lost(e) | Asked::Refused(e) => e,
        }
    }
}

fn lost(why: impl std::fmt::Display) -> Asked {
    Asked::Lost(unreachable(why))
}

fn unreachable(why: impl std::fmt::Display) -> ControlError {
    ControlError::new(Kind::Unreachable, format!("the running agent does not answer: {why}"))
}

/// Why an agent cannot be asked that says this of itself.
fn stranger(hello: &Hello) -> Option<ControlError> {
    (hello.api != VERSION).then(|| {
        let message = format!(
            "the running agent (process {}, {}) speaks version {} of the local interface and this program ({}) version {VERSION}",
            hello.pid,
            hello.software,
            hello.api,
            crate::listen::SOFTWARE
        );
        ControlError::new(Kind::Unreachable, message).hint("stop it and start it again with this program")
    })
}

/// The path of a delivery, or of something below it.
pub(super) fn delivery(id: &str, below: &str) -> String {
    format!("/v1/deliveries/{}{below}", encoded(id))
}

/// What is asked about a delivery, less the id: that is in the path.
pub(super) fn but_id(asked: &impl Serialize) -> Result<Value, ControlError> {
    let mut value = serde_json::to_value(asked).map_err(unreachable)?;
    if let Some(object) = value.as_object_mut() {
        object.shift_remove("id");
    }
    Ok(value)
}

/// A text as a part of a path or of a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_~".contains(&b) {
            all.push(char::from(b));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{b:02X}");
        }
    }
    all
}

/// Parameters of a question; those that are empty are left out.
type Params<'a> = &'a [(&'a str, &'a str)];

fn with_params(path: &str, params: Params<'_>) -> String {
    let mut all = path.to_owned();
    for (name, value) in params.iter().filter(|(_, value)| !value.is_empty()) {
        let before = if all.contains('?') { '&' } else { '?' };
        let _ = write!(all, "{before}{name}={}", encoded(value));
    }
    all
}

fn order(oldest_first: bool) -> &'static str {
    if oldest_first { "oldest" } else { "newest" }
}

impl Remote {
    /// The agent that holds the data folder, if it answers.
    pub async fn find(data: &Path) -> Option<Remote> {
        let mut remote = Remote { file: AgentFile::read(data)?, data: data.to_owned(), stranger: None };
        let hello: Hello = tokio::time::timeout(PATIENCE, remote.get("/v1/hello", &[])).await.ok()?.ok()?;
        remote.stranger = stranger(&hello);
        // Another process may have got the port, and another agent may have got the process's number.
        (hello.pid == remote.file.pid).then_some(remote)
    }

    /// The agent's file.
    pub fn file(&self) -> &AgentFile {
        &self.file
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        more: Option<(&str, &str)>,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, Asked> {
        if let Some(e) = &self.stranger {
            return Err(Asked::Refused(e.clone()));
        }
        let stream = TcpStream::connect(self.file.addr).await.map_err(lost)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", self.file.addr.to_string())
            .header("Authorization", format!("Bearer {}", self.file.token))
            .header("User-Agent", concat!("healthie-tunnel/", env!("CARGO_PKG_VERSION")));
        if let Some((name, value)) = more {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(lost)?;
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = collect(response.into_body()).await.map_err(Asked::Lost)?;
        // The token of the file was shown, so this is not the agent that wrote it.
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Asked::Refused(unreachable(format!("it says {status}"))));
        }
        Err(Asked::Refused(problem::read(&text).unwrap_or_else(|| unreachable(format!("it says {status}")))))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ControlError> {
        let answer = collect(self.send(method, path, None, body).await?.into_body()).await?;
        serde_json::from_slice(&answer).map_err(unreachable)
    }

    /// What there is at a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, params: Params<'_>) -> Result<T, ControlError> {
        self.answer(Method::GET, &with_params(path, params), None).await
    }

    /// What comes of posting this to a path.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ControlError> {
        let body = serde_json::to_vec(body).map_err(unreachable)?;
        self.answer(Method::POST, path, Some(body)).await
    }

    /// What comes of putting this at a path.
    async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ControlError> {
        let body = serde_json::to_vec(body).map_err(unreachable)?;
        self.answer(Method::PUT, path, Some(body)).await
    }

    /// Lines of a list: as many as the agent finds within `patience`, and where to go on.
    pub(super) async fn page(&self, ask: &PageAsk, patience: Duration) -> Result<PageFound, ControlError> {
        let params = [
            ("query", &*ask.query),
            ("order", order(ask.oldest_first)),
            ("limit", &ask.limit.clamp(1, MOST_LINES).to_string()),
            ("cursor", ask.cursor.as_deref().unwrap_or_default()),
            ("patience_ms", &patience.as_millis().to_string()),
        ];
        self.get("/v1/deliveries", &params).await
    }

    /// A list, in pages.
    pub(super) async fn list(&self, filter: &Filter) -> Result<Found, ControlError> {
        let limit = filter.limit.unwrap_or(LIMIT);
        let mut ask = PageAsk {
            query: Query::text_of(filter),
            oldest_first: filter.oldest_first,
            cursor: filter.cursor.clone(),
            limit: 0,
        };
        let mut found = Found { items: Vec::new(), next: ask.cursor.clone() };
        while found.items.len() < limit {
            ask.limit = (limit - found.items.len()).min(MOST_LINES);
            let page = self.page(&ask, LOOK).await?;
            found.items.extend(page.items);
            ask.cursor.clone_from(&page.next);
            found.next = page.next;
            if found.next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// A list in which repeats stand with what they repeat.
    pub(super) async fn groups(&self, filter: &Filter) -> Result<Grouped, ControlError> {
        let limit = filter.limit.unwrap_or(LIMIT);
        let query = Query::text_of(filter);
        let mut met = HashSet::new();
        let of = |group: &Group| match (&group.first, &group.repeats[..]) {
            (Some(first), _) => Some(first.id),
            (None, repeats) => repeats.first().and_then(|repeat| repeat.duplicate_of),
        };
        let mut found = Grouped { groups: Vec::new(), next: filter.cursor.clone() };
        while found.groups.len() < limit {
            let params = [
                ("query", &*query),
                ("order", order(filter.oldest_first)),
                ("limit", &(limit - found.groups.len()).min(MOST_LINES).to_string()),
                ("cursor", found.next.as_deref().unwrap_or_default()),
            ];
            let page: Grouped = self.get("/v1/groups", &params).await?;
            // A page does not know what the one before had.
            found.groups.extend(page.groups.into_iter().filter(|group| met.insert(of(group))));
            found.next = page.next;
            if found.next.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Pins, unpins, writes a note.
    pub(super) async fn mark(&self, marking: &Marking) -> Result<(), ControlError> {
        let mut change = but_id(marking)?;
        if let Some(object) = change.as_object_mut() {
            // What is not to be changed is not named.
            object.retain(|_, value| !value.is_null());
        }
        let body = serde_json::to_vec(&change).map_err(unreachable)?;
        self.answer::<Value>(Method::PATCH, &delivery(&marking.id.to_string(), ""), Some(body)).await.map(drop)
    }

    /// Pauses forwarding, or goes on with it; whether it was otherwise before.
    pub(super) async fn pause(&self, paused: bool) -> Result<bool, ControlError> {
        let done: Forwarding = self.put("/v1/forwarding", &json!({ "paused": paused })).await?;
        Ok(done.changed)
    }

    /// Has the tunnel answer in that way from now on.
    pub(super) async fn answer_mode(&self, mode: AnswerMode) -> Result<(), ControlError> {
        let asked = AnswerBody { mode: mode.as_str().to_owned() };
        self.put::<AnswerBody>("/v1/answer", &asked).await.map(drop)
    }

    /// Removes deliveries, or tells what it would remove.
    pub(super) async fn remove(&self, remove: &Remove) -> Result<RemoveDone, ControlError> {
        let mut body = serde_json::to_value(remove).map_err(unreachable)?;
        if let Some(object) = body.as_object_mut() {
            object.shift_remove("filter");
            object.insert("query".to_owned(), remove.filter.as_ref().map(all_or_some).into());
        }
        self.post("/v1/removals", &body).await
    }

    /// Figures about what a filter means.
    pub(super) async fn stats(&self, ask: &StatsAsk) -> Result<Stats, ControlError> {
        let params = [
            ("query", &*Query::text_of(&ask.filter)),
            ("by", ask.by.map(By::as_str).unwrap_or_default()),
            ("buckets", &ask.buckets.clamp(1, 1000).to_string()),
        ];
        self.get("/v1/stats", &params).await
    }

    /// What is told, as it comes; the channel ends where the agent goes away.
    pub(super) async fn follow(&self, follow: &Follow) -> Result<mpsc::Receiver<Told>, Asked> {
        let path = with_params("/v1/events", &[("query", &Query::text_of(&follow.filter))]);
        let place = follow.from.map(sse::show_place);
        let from = place.as_deref().map(|place| ("Last-Event-ID", place));
        let mut events = sse::Reader::default();
        let parse = move |line: &[u8]| {
            let read = std::str::from_utf8(line).map_err(unreachable);
            let read = read.and_then(|line| events.line(line).map_err(unreachable));
            read.unwrap_or_else(|e| Some(Told::Failed(e)))
        };
        let ended = |told: &Told| matches!(told, Told::Failed(_));
        self.lines(&path, from, (256, MOST_LINE), parse, Told::Failed, ended, None).await
    }

    /// What is stored, as it comes; the channel ends with what says how it went.
    pub(super) async fn export(&self, export: &Export) -> Result<mpsc::Receiver<Exported>, Asked> {
        let path = with_params("/v1/store/export", &[("query", &Query::text_of(&export.filter))]);
        let parse =
            |line: &[u8]| Some(serde_json::from_slice(line).unwrap_or_else(|e| Exported::Failed(unreachable(e))));
        let ended = |part: &Exported| !matches!(part, Exported::Delivery { .. });
        let gone = Exported::Failed(unreachable("it went away before it had told everything"));
        self.lines(&path, None, (4, MOST), parse, Exported::Failed, ended, Some(gone)).await
    }

    /// What the lines of an answer say, of which so many may wait, each of at most so many bytes. `gone` is told where the agent goes away before
    /// what ends it.
    #[expect(clippy::too_many_arguments, reason = "two callers, and each argument is one way in which they differ")]
    async fn lines<T: Send + 'static>(
        &self,
        path: &str,
        more: Option<(&str, &str)>,
        (waiting, longest): (usize, usize),
        mut parse: impl FnMut(&[u8]) -> Option<T> + Send + 'static,
        failed: fn(ControlError) -> T,
        ended: fn(&T) -> bool,
        gone: Option<T>,
    ) -> Result<mpsc::Receiver<T>, Asked> {
        let mut body = self.send(Method::GET, path, more, None).await?.into_body();
        let (tx, rx) = mpsc::channel(waiting);
        tokio::spawn(async move {
            let mut rest = BytesMut::new();
            // What was looked through for an end already.
            let mut looked = 0;
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = tx.closed() => return,
                };
                let Some(Ok(frame)) = frame else {
                    if let Some(gone) = gone {
                        let _ = tx.send(gone).await;
                    }
                    return;
                };
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = rest[looked..].iter().position(|b| *b == b'\n') {
                    let line = rest.split_to(looked + end + 1);
                    looked = 0;
                    let Some(read) = parse(line.trim_ascii_end()) else { continue };
                    let last = ended(&read);
                    if tx.send(read).await.is_err() || last {
                        return;
                    }
                }
                looked = rest.len();
                if rest.len() > longest {
                    let _ = tx.send(failed(unreachable("it sent a line that is too long"))).await;
                    return;
                }
            }
        });
        Ok(rx)
    }
}

/// The filter as a query that says so where it means everything: an empty one is refused where much is at stake.
fn all_or_some(filter: &Filter) -> String {
    Some(Query::text_of(filter)).filter(|text| !text.is_empty()).unwrap_or_else(|| "since:beginning".to_owned())
}

async fn collect(body: Incoming) -> Result<Bytes, ControlError> {
    let body = http_body_util::Limited::new(body, MOST);
    Ok(body.collect().await.map_err(unreachable)?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_id_is_it_stays_one_part_of_the_path() {
        assert_eq!(delivery("latest", "/body"), "/v1/deliveries/latest/body");
        assert_eq!(delivery("../status?a b#ü", ""), "/v1/deliveries/%2E%2E%2Fstatus%3Fa%20b%23%C3%BC");
        assert_eq!(with_params("/v1/x", &[("a", "1&b=2"), ("b", ""), ("c", "+")]), "/v1/x?a=1%26b%3D2&c=%2B");
    }

    #[test]
    fn whoever_removes_everything_says_so() {
        assert_eq!(all_or_some(&Filter::default()), "since:beginning");
        assert_eq!(all_or_some(&Filter { query: "status:2xx".into(), ..Filter::default() }), "status:2xx");
    }

    #[test]
    fn an_agent_of_another_version_is_told_apart() {
        let hello = |api| Hello { pid: 7, software: "healthie-tunnel/9.9".into(), api };
        assert!(stranger(&hello(VERSION)).is_none());
        let e = stranger(&hello(VERSION + 1)).unwrap();
        assert!(e.message.contains("healthie-tunnel/9.9") && e.hint.is_some(), "{e}");
    }
}
