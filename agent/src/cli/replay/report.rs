//! What a replay prints: a line for each try where deliveries were named, failures only where there are many, and the summary.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::json;

use super::super::style::{Tone, clock, duration, span};
use super::super::{Failure, Output};
use super::bar::Bar;
use crate::control::{Aimed, ControlError, Replayed};
use crate::replay::{Left, Plan, Shot, Summary, Told, Tried};
use crate::safe_text::SafeText;

/// So many failures are printed where there are many deliveries.
const FAILURES: u64 = 20;

/// Prints as it goes.
pub(super) struct Report {
    json: bool,
    /// Whether those that were answered 2xx are printed too.
    each: bool,
    bar: Option<Bar>,
    ok: u64,
    failed: u64,
    printed: Result<(), Failure>,
}

impl Report {
    pub(super) fn new(json: bool, each: bool, bar: Bar) -> Report {
        Report { json, each, bar: Some(bar), ok: 0, failed: 0, printed: Ok(()) }
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) -> Option<Bar> {
        self.bar.take()
    }

    /// Whether everything could be printed.
    pub(super) fn failed(&mut self) -> Result<(), Failure> {
        std::mem::replace(&mut self.printed, Ok(()))
    }

    pub(super) fn told(&mut self, told: &Told<'_>, out: &mut Output) -> ControlFlow<()> {
        let printed = match told {
            Told::Counted(requests) => {
                if let Some(bar) = &self.bar {
                    bar.counted(*requests);
                }
                Ok(())
            }
            Told::Stopping(under_way) => {
                let text = format!("stopping: waiting for {under_way} under way; Ctrl-C again ends at once");
                self.aside(|| out.message(&text));
                Ok(())
            }
            Told::Tried(tried) => self.tried(tried, out),
        };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                self.printed = Err(e);
                ControlFlow::Break(())
            }
        }
    }

    fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.aside(print),
            None => print(),
        }
    }

    fn tried(&mut self, tried: &Tried<'_>, out: &mut Output) -> Result<(), Failure> {
        let good = tried.done.as_ref().is_ok_and(|d| d.attempt.succeeded());
        if !tried.again {
            *(if good { &mut self.ok } else { &mut self.failed }) += 1;
            if let Some(bar) = &self.bar {
                bar.done(self.ok, self.failed);
            }
        }
        if self.json {
            return match tried.done {
                Ok(done) => out.json(done),
                Err(e) => out.json(&json!({ "id": tried.shot.id, "not_sent": e.message })),
            };
        }
        let shown = self.each || (!good && !tried.again && self.failed <= FAILURES);
        if !shown {
            return Ok(());
        }
        let line = line(tried, out);
        self.aside(|| {
            out.line(&line)?;
            if !self.each && self.failed == FAILURES {
                out.line("(what fails from here on is only counted)")?;
            }
            out.flush()
        })
    }
}

/// One try in one line.
fn line(tried: &Tried<'_>, out: &Output) -> String {
    let style = out.style;
    match tried.done {
        Ok(Replayed { id, event_type, attempt: a, .. }) => {
            let came_to = match (a.status, &a.error) {
                (_, Some(e)) => style.paint(Tone::Bad, SafeText::new(&e.message)),
                (Some(status), None) => style.paint(if a.succeeded() { Tone::Good } else { Tone::Bad }, status),
                (None, None) => "nothing".into(),
            };
            let took = duration(u64::try_from(a.duration.as_micros()).unwrap_or(u64::MAX));
            let resigned = if a.resigned { "  signed again" } else { "" };
            let again = if tried.again { "  to be tried again" } else { "" };
            let event = SafeText::new(event_type.as_deref().unwrap_or("(no event)")).cut(60).to_string();
            format!("{id}  {event}  {}  {came_to}  {took}{resigned}{again}", SafeText::new(&a.target))
        }
        Err(e) => {
            format!("{}  not sent: {}", tried.shot.id, style.paint(Tone::Bad, SafeText::new(&e.message)))
        }
    }
}

/// A request of a dry run.
pub(super) fn would(
    shot: &Shot,
    at: Duration,
    aimed: Result<&Aimed, &ControlError>,
    json: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let after_ms = at.as_micros() as f64 / 1000.0;
    if json {
        let (target, event, why) = match aimed {
            Ok(aimed) => (Some(&aimed.target), aimed.event_type.as_deref(), None),
            Err(e) => (None, None, Some(&e.message)),
        };
        return out.json(&json!({
            "id": shot.id, "event_type": event, "after_ms": after_ms, "copy": shot.copy, "target": target, "not_sent": why,
        }));
    }
    let when = format!("+{:.3} s", at.as_secs_f64());
    match aimed {
        Ok(aimed) => {
            let event = SafeText::new(aimed.event_type.as_deref().unwrap_or("(no event)")).cut(60).to_string();
            let received = clock(aimed.received_at);
            out.line(&format!("{when:>12}  {}  {received}  {event}  {}", shot.id, SafeText::new(&aimed.target)))
        }
        Err(e) => out.line(&format!("{when:>12}  {}  not sent: {}", shot.id, SafeText::new(&e.message))),
    }
}

/// What came of all.
pub(super) fn summary(s: &Summary, json: bool, out: &mut Output) -> Result<(), Failure> {
    if json {
        return out.json(&json!({ "summary": s }));
    }
    for line in lines(s) {
        out.line(&line)?;
    }
    Ok(())
}

/// The summary for people.
pub(super) fn lines(s: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let mut counts = vec![format!("{} sent: {} 2xx", thousands(s.sent), thousands(s.success))];
    for (count, what) in [(s.redirect, "3xx"), (s.client_error, "4xx"), (s.server_error, "5xx")] {
        counts.extend((count > 0).then(|| format!("{} {what}", thousands(count))));
    }
    if s.errors() > 0 {
        let kinds: Vec<String> = s.errors.iter().map(|(kind, n)| format!("{} {kind}", thousands(*n))).collect();
        let what = if s.errors() == 1 { "error" } else { "errors" };
        counts.push(format!("{} {what} ({})", thousands(s.errors()), kinds.join(", ")));
    }
    let mut line = counts.join(", ");
    if let (Some(p50), Some(p99)) = (s.p50_ms, s.p99_ms) {
        line.push_str(&format!("; p50 {}, p99 {}", duration((p50 * 1e3) as u64), duration((p99 * 1e3) as u64)));
    }
    line.push_str(&format!("; in {}", span(Duration::from_micros((s.duration_ms * 1e3) as u64))));
    lines.push(line);
    if s.dropped > 0 {
        lines.push(format!("{} left out by chaos", thousands(s.dropped)));
    }
    if s.given_up > 0 {
        lines.push(format!("{} given up before they were answered 2xx", thousands(s.given_up)));
    }
    for (why, n) in &s.not_sent {
        lines.push(format!("{} not sent: {}", thousands(*n), SafeText::new(why)));
    }
    lines
}

/// What a replay that was stopped left, and how to go on.
pub(super) fn left(s: &Summary, left: &Left, plan: &Plan) -> String {
    let all = if left.or_more { " or more" } else { "" };
    let what = format!("stopped after {} requests; {}{all} are left", thousands(s.sent), thousands(left.requests));
    if s.sent == 0 && s.given_up == 0 && left.requests == 0 {
        return "stopped before anything was sent".to_owned();
    }
    if left.requests == 0 {
        return what;
    }
    // What the command has already is replaced: an option that stands twice is refused.
    let after = left.after.map(|after| ("--after", after.to_string(), plan.after.is_some()));
    let limit = left.limit.filter(|_| left.after.is_some()).map(|limit| ("--limit", limit.to_string(), true));
    let of = |instead: bool| {
        let those = [&after, &limit].into_iter().flatten().filter(|(_, _, there)| *there == instead);
        those.map(|(name, value, _)| format!("{name} {value}")).collect::<Vec<_>>().join(" ")
    };
    match left.after {
        _ if !plan.manner.is_plain() => format!(
            "{what}; go on with the same command and --seed {} --skip {} (instead of its own, where it has them), as long as the same \
             deliveries fit",
            plan.manner.seed, left.skip
        ),
        Some(_) => match (of(false), of(true)) {
            (more, instead) if instead.is_empty() => format!("{what}; go on with the same command and {more}"),
            (more, instead) if more.is_empty() => {
                format!("{what}; go on with the same command, with {instead} instead")
            }
            (more, instead) => format!("{what}; go on with the same command and {more}, with {instead} instead"),
        },
        None => format!("{what}; go on with the same command"),
    }
}

/// `1,234,567`.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
