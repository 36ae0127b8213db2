//! What came of a check: the types that are printed, as JSON too.

use serde::Serialize;

/// What a case came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It was as it should be.
    Pass,
    /// It was not run: the handler had ended or answered no more.
    NotRun,
    /// It works, and there is something to mend.
    Warn,
    /// It was wrong.
    Fail,
}

/// How a request was answered, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// 2xx.
    Accepted,
    /// 3xx.
    Redirected,
    /// 4xx.
    Refused,
    /// 5xx, or what is no final status.
    Failed,
    /// Not within the time limit.
    TimedOut,
    /// The connection was closed, or what came is not HTTP.
    Closed,
    /// Nothing accepted the connection.
    Unreachable,
}

/// One request and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Which of the case's requests; empty where it has one.
    pub label: String,
    /// In a word.
    pub class: Class,
    /// The status.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The beginning of the answer's body as text.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// One case and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The case's name.
    pub case: &'static str,
    /// What it sends.
    pub sends: &'static str,
    /// `accept` or `refuse`.
    pub right: &'static str,
    /// The verdict.
    pub mark: Mark,
    /// What was wrong, in sentences.
    pub why: Vec<String>,
    /// What a wrong answer means and what to do; only where something was wrong.
    pub advice: Option<&'static str>,
    /// How it was answered; the worst where there are several.
    pub class: Option<Class>,
    /// The slowest answer, in milliseconds.
    pub slowest_ms: f64,
    /// Whether the handler was gone afterwards.
    pub crashed: bool,
    /// Every request.
    pub requests: Vec<Answered>,
}

/// A fault that one or more cases show, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Its name, which does not change.
    pub name: &'static str,
    /// `warn` or `fail`.
    pub mark: Mark,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// The cases that show it.
    pub cases: Vec<&'static str>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The URL that was sent to.
    pub target: String,
    /// The path that was signed.
    pub signed_path: String,
    /// The signature's profile, with its variant.
    pub profile: String,
    /// Whether nothing failed.
    pub ok: bool,
    /// How many cases passed.
    pub passed: usize,
    /// How many have something to mend.
    pub warned: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were not run.
    pub not_run: usize,
    /// How many requests were sent, those that look for the cause included.
    pub requests: usize,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The faults, gravest first.
    pub findings: Vec<Diagnosis>,
    /// Every case.
    pub cases: Vec<Line>,
}
