//! The agent's audit log: what was done with stored deliveries, by whom, beyond receiving and forwarding them. One JSON object a line, in `audit.jsonl`
//! of the data folder, readable by its user only: `at`, `what`, `by` (`command`, `agent`, or `api` for whoever asked a running agent), `uid`, and what
//! belongs to it. The relay's own log has the same form.
//!
//! It names deliveries, targets and files; never a body, a header, a secret, the query of a target, or what a filter looks for within deliveries: it is
//! legible beside an encrypted store, and outlives what is purged, because it is what tells that it was. A line is written before the thing is done, and a thing that
//! cannot be noted is not done, but for what makes room on the disk. Lines are not synced one by one: a power cut may cost the last seconds. How they get into
//! files and out again is crates/journal's.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};
use tunnel_delivery::{DeliveryId, Environment, Summary, Timestamp};
use tunnel_journal::{Found, Journal};

use crate::control::{ControlError, Filter, Kind};
use crate::data_folder;
use crate::query::Query;

/// The length at which a file is put aside, in bytes: some 20,000 lines.
const FILE_MAX: u64 = 4 << 20;
/// How many files are kept, the one that is written included.
const FILES: usize = 5;
/// The most of one text that is noted, in characters.
const TEXT_MAX: usize = 300;

tokio::task_local! {
    /// Who asked the local interface, as he calls himself.
    static ASKED_BY: String;
}

/// Does what somebody asked the local interface for, with `who` in the lines that it writes.
pub(crate) async fn asked_by<T>(who: String, work: impl Future<Output = T>) -> T {
    ASKED_BY.scope(who, work).await
}

/// The same for work that goes on in a task of its own.
pub(crate) fn still_asked_by<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let who = ASKED_BY.try_with(Clone::clone).ok();
    async move {
        match who {
            Some(who) => ASKED_BY.scope(who, work).await,
            None => work.await,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A stored delivery is sent again.
    Replayed,
    /// A changed copy of one is sent.
    EditedReplayed,
    /// Deliveries are written out.
    Exported,
    /// Deliveries are saved as fixtures with everything that is in them.
    SavedUnscrubbed,
    /// Deliveries are going to be removed. `Removed` follows, unless the process ends before.
    RemovalBegan,
    /// Deliveries were removed.
    Removed,
    /// All that a tunnel brought is going to be removed, and its bytes with it. `Purged` follows, unless the process ends before.
    PurgeBegan,
    /// All that a tunnel brought was removed.
    Purged,
    /// A delivery that did not come from the relay is stored.
    Loaded,
    /// The tunnel is to answer its senders otherwise.
    AnswerChanged,
    /// Forwarding is paused, or goes on.
    ForwardingSteered,
    /// This device's keys, private halves and all, are written out.
    KeysExported,
    /// This device has another key that is sealed to.
    KeyChanged,
    /// The store has another key, or its encryption is turned on or off.
    StoreRekeyed,
}

/// One line, before it is written.
#[derive(Clone, Debug)]
pub struct Line {
    what: What,
    more: Map<String, Value>,
}

impl Line {
    /// That this is done.
    pub fn new(what: What) -> Line {
        Line { what, more: Map::new() }
    }

    /// With which delivery; and whether it is from production, which is when it is about patients.
    #[must_use]
    pub fn of(self, line: &Summary) -> Line {
        self.delivery(line.id).with("production", line.environment == Environment::Production)
    }

    /// With which delivery.
    #[must_use]
    pub fn delivery(self, id: DeliveryId) -> Line {
        self.with("delivery", id.to_string())
    }

    /// Where it goes to. Its query stays out: there may be secrets in it.
    #[must_use]
    pub fn target(self, url: &str) -> Line {
        let bare = url.split(['?', '#']).next().unwrap_or_default();
        // A name and a password may stand before the host.
        let bare = match bare.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
            Some((scheme, rest)) => format!("{scheme}://{rest}"),
            None => bare.to_owned(),
        };
        self.with("target", bare)
    }

    /// With what a filter means, less what it looks for within deliveries.
    #[must_use]
    pub fn filter(self, filter: &Filter) -> Line {
        self.with("filter", Query::outline_of(filter, Timestamp::from_system(SystemTime::now())))
    }

    /// With one more thing that is worth knowing.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Line {
        let value = match value.into() {
            Value::String(text) if text.chars().count() > TEXT_MAX => {
                Value::String(text.chars().take(TEXT_MAX).chain(['…']).collect())
            }
            other => other,
        };
        self.more.insert(name.to_owned(), value);
        self
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A command that has the store open itself.
    Command,
    /// The running agent, unless somebody asked it.
    Agent,
}

/// The audit log of a data folder.
#[derive(Clone, Debug)]
pub struct Audit {
    data: PathBuf,
    by: By,
}

impl Audit {
    /// The log in this folder.
    pub fn new(data: &Path, by: By) -> Audit {
        Audit { data: data.to_owned(), by }
    }

    /// Notes what is about to be done.
    ///
    /// # Errors
    /// It cannot be noted: then it must not be done.
    pub async fn note(&self, line: Line) -> Result<(), ControlError> {
        let text = self.text(&line);
        let data = self.data.clone();
        let written = tokio::task::spawn_blocking(move || append(&data, &text)).await;
        written.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(|e| self.refused(&e))
    }

    /// The same where nothing else can be done meanwhile. Blocks.
    ///
    /// # Errors
    /// As [`Audit::note`].
    pub fn note_now(&self, line: &Line) -> Result<(), ControlError> {
        append(&self.data, &self.text(line)).map_err(|e| self.refused(&e))
    }

    fn refused(&self, e: &io::Error) -> ControlError {
        let what =
            format!("the audit log {} cannot be written: {e}; nothing was done", journal(&self.data).path().display());
        ControlError::new(Kind::Unreachable, what).hint("make room on that disk, or see to the folder's rights")
    }

    /// Notes what makes room on the disk: it is done all the same where that does not work.
    pub async fn note_if_possible(&self, line: Line) {
        if let Err(e) = self.note(line).await {
            tracing::warn!("{}", e.message.replace("; nothing was done", ""));
        }
    }

    /// Takes the words out of filters that an earlier version noted as they were typed; everything else stays as it was written.
    pub async fn forget_words(&self) {
        let data = self.data.clone();
        let done = tokio::task::spawn_blocking(move || outline_all(&data)).await;
        if let Err(e) = done.unwrap_or_else(|e| Err(io::Error::other(e))) {
            tracing::warn!(
                "words of filters in the audit log {} stay there: {e}",
                journal(&self.data).path().display()
            );
        }
    }

    fn text(&self, line: &Line) -> String {
        let asked = ASKED_BY.try_with(Clone::clone).ok();
        let by = match (&asked, self.by) {
            (Some(_), _) => "api",
            (None, By::Agent) => "agent",
            (None, By::Command) => "command",
        };
        let mut all = Map::new();
        all.insert("at".to_owned(), Timestamp::from_system(SystemTime::now()).to_string().into());
        all.insert("what".to_owned(), serde_json::to_value(line.what).unwrap_or_default());
        all.insert("by".to_owned(), by.into());
        if let Some(program) = asked.filter(|program| !program.is_empty()) {
            all.insert("program".to_owned(), program.into());
        }
        all.insert("uid".to_owned(), rustix::process::getuid().as_raw().into());
        all.insert("pid".to_owned(), std::process::id().into());
        all.extend(line.more.clone());
        let mut text = Value::Object(all).to_string();
        text.push('\n');
        text
    }
}

/// Who asks, from what a request says of itself: short, and nothing in it that could be taken for something else.
pub(crate) fn program(user_agent: &str) -> String {
    user_agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(80).collect()
}

fn journal(data: &Path) -> Journal {
    Journal::new(data, "audit", FILE_MAX, FILES)
}

/// A command may have others do the work (a running agent) and still write this itself: root's would be a file that the agent cannot write to any more.
fn append(data: &Path, text: &str) -> io::Result<()> {
    data_folder::check(data).map_err(io::Error::other)?;
    journal(data).append(text)
}

/// Writes those lines anew that hold filters as they were typed: they were noted as JSON once, which no outline begins like.
fn outline_all(data: &Path) -> io::Result<()> {
    let now = Timestamp::from_system(SystemTime::now());
    journal(data).rewrite(|line| {
        let typed = line["filter"].as_str().filter(|filter| filter.starts_with('{'))?;
        // One that was cut is not JSON any more.
        let filter: Option<Filter> = serde_json::from_str(typed).ok();
        let mut new = line.clone();
        new["filter"] = filter.map_or_else(|| "…".to_owned(), |filter| Query::outline_of(&filter, now)).into();
        Some(new)
    })
}

/// Reads the log of a data folder: what was done at `since` or later.
///
/// # Errors
/// A file cannot be read. One that is not there is no error: nothing was done yet.
pub fn read(data: &Path, since: Option<Timestamp>) -> io::Result<Found> {
    journal(data).read(since, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_say_who_did_what_and_nothing_secret() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(dir.path(), By::Agent);
        let line = Line::new(What::Replayed).target("https://user:pass@host.test/hook?token=secret#x");
        audit.note(line).await.unwrap();
        let asked = async {
            tokio::spawn(still_asked_by(async move {
                audit.note(Line::new(What::Removed).with("note", "x".repeat(999))).await
            }))
            .await
        };
        asked_by(program("curl/8\n\u{1b}[2J"), asked).await.unwrap().unwrap();
        let read = read(dir.path(), None).unwrap();
        let [one, two] = &read.lines[..] else { panic!("{read:?}") };
        assert_eq!((one["what"].as_str(), one["by"].as_str()), (Some("replayed"), Some("agent")));
        assert_eq!(one["target"], "https://host.test/hook");
        assert_eq!((two["by"].as_str(), two["program"].as_str()), (Some("api"), Some("curl/8[2J")));
        assert!(two["note"].as_str().unwrap().chars().count() <= TEXT_MAX + 1);
        let later = Timestamp::from_system(SystemTime::now() + std::time::Duration::from_secs(9));
        assert!(super::read(dir.path(), Some(later)).unwrap().lines.is_empty());
    }

    /// Nothing may be lost with a line that the process broke off in.
    #[test]
    fn half_a_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("audit.jsonl"), "{\"n\":1}\n{\"n\"").unwrap();
        Audit::new(dir.path(), By::Command).note_now(&Line::new(What::KeysExported)).unwrap();
        let read = read(dir.path(), None).unwrap();
        assert_eq!((read.lines.len(), read.unreadable), (2, 1), "{read:?}");
        assert_eq!(read.lines[1]["what"], "keys-exported");
    }

    #[tokio::test]
    async fn words_that_were_noted_once_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let old =
            serde_json::json!({ "text": "Musterfrau", "resource_id": "4711", "query": "status:2xx Erika" }).to_string();
        let line =
            |filter: &str| serde_json::json!({ "at": "x", "what": "exported", "filter": filter, "uid": 1 }).to_string();
        let cut = format!("{{\"text\":\"{}…", "Maria".repeat(60));
        let kept = line("text:…");
        let all = format!("{kept}\n{}\n{}\nhalf a li\n", line(&old), line(&cut));
        let files = ["audit.jsonl", "audit.3.jsonl"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, &all).unwrap();
        }
        Audit::new(dir.path(), By::Command).forget_words().await;
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            let expected = [kept.as_str(), &line("resource:… text:… status:2xx text:…"), &line("…"), "half a li", ""];
            assert_eq!(text.split('\n').collect::<Vec<_>>(), expected);
        }
        Audit::new(dir.path(), By::Command).note_now(&Line::new(What::Purged)).unwrap();
        assert_eq!(read(dir.path(), None).unwrap().lines.len(), 7);
    }

    /// As where a running agent does what root asks of it, and root notes it. Can be seen by root only.
    #[test]
    fn root_leaves_no_log_in_another_s_folder() {
        let dir = tempfile::tempdir().unwrap();
        let is_given = data_folder::is_given_away(dir.path());
        let noted = Audit::new(dir.path(), By::Command).note_now(&Line::new(What::Exported));
        assert_eq!(noted.is_err(), is_given, "{noted:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count() == 0, is_given);
    }

    #[tokio::test]
    async fn what_cannot_be_noted_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("audit.jsonl")).unwrap();
        let refused = Audit::new(dir.path(), By::Command).note(Line::new(What::Exported)).await.unwrap_err();
        assert!(refused.message.contains("nothing was done"), "{refused}");
    }
}
