//! How `listen` reports: as a log for people or as JSON lines for scripts. A thread of its own writes, so that a slow terminal never holds
//! the agent up; what does not fit between the two is counted and said.

use std::io::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tunnel_delivery::{Answer, AnswerClass, Cause, Timestamp};

use super::Failure;
use super::style::{Style, Tone, clock, duration, resource, short_id};
use crate::notice::{Connection, Notice, Sink};
use crate::safe_text::SafeText;

/// How many notices may wait for the writer.
const WAITING: usize = 8192;
/// How many are written at once, and how long the writer then rests: waking it for each notice would cost more than the notice.
const AT_ONCE: usize = 512;
const REST: Duration = Duration::from_millis(10);

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The inspector; it does not write through here.
    Tui,
    Log,
    Json,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(s: &str) -> Result<Form, String> {
        match s {
            "log" => Ok(Form::Log),
            "json" => Ok(Form::Json),
            "tui" => Ok(Form::Tui),
            _ => Err(format!("{s:?} is none of tui, log and json")),
        }
    }
}

/// The writer.
pub(crate) struct Ui {
    queue: SyncSender<Arc<Notice>>,
    left_out: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// The end of it that the agent has.
struct Writer {
    queue: SyncSender<Arc<Notice>>,
    left_out: Arc<AtomicU64>,
}

impl Sink for Writer {
    fn notice(&self, notice: Arc<Notice>) {
        if self.queue.try_send(notice).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ui {
    pub(crate) fn start(form: Form, style: Style) -> Result<Ui, Failure> {
        let (queue, notices) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&left_out);
        let thread = std::thread::Builder::new()
            .name("ui".into())
            .spawn(move || write(&notices, &count, form, style))
            .map_err(|e| Failure::unreachable(format!("no thread for the output: {e}")))?;
        Ok(Ui { queue, left_out, thread })
    }

    pub(crate) fn sink(&self) -> impl Sink + 'static {
        Writer { queue: self.queue.clone(), left_out: Arc::clone(&self.left_out) }
    }

    /// Writes what waits and ends. All sinks must be gone, or it waits for them no longer than it takes to see that nothing comes.
    pub(crate) fn finish(self) {
        let Ui { queue, thread, .. } = self;
        drop(queue);
        // A terminal that does not read any more must not keep the process.
        let deadline = std::time::Instant::now() + Duration::from_secs(1);
        while !thread.is_finished() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write(notices: &Receiver<Arc<Notice>>, left_out: &AtomicU64, form: Form, style: Style) {
    let mut buffer = String::new();
    while let Ok(first) = notices.recv() {
        buffer.clear();
        let mut last = matches!(*first, Notice::Stopped { .. });
        render(&mut buffer, &first, form, style);
        let mut n = 1;
        while n < AT_ONCE
            && let Ok(next) = notices.try_recv()
        {
            last |= matches!(*next, Notice::Stopped { .. });
            render(&mut buffer, &next, form, style);
            n += 1;
        }
        let count = left_out.swap(0, Ordering::Relaxed);
        if count > 0 {
            render(&mut buffer, &Notice::LeftOut { count }, form, style);
        }
        let mut stdout = io::stdout().lock();
        // Whoever read this has gone; the agent goes on.
        let _ = stdout.write_all(buffer.as_bytes()).and_then(|()| stdout.flush());
        drop(stdout);
        if last {
            return;
        }
        if n > 1 {
            std::thread::sleep(REST);
        }
    }
}

fn render(out: &mut String, notice: &Notice, form: Form, style: Style) {
    match form {
        Form::Json => {
            // A notice has nothing that JSON cannot hold.
            if let Ok(json) = serde_json::to_string(notice) {
                out.push_str(&json);
                out.push('\n');
            }
        }
        Form::Tui => {}
        Form::Log => {
            let now = Timestamp::from_system(std::time::SystemTime::now());
            if let Some(line) = log(notice, now, style) {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
}

/// One line for people; the time is UTC.
fn log(notice: &Notice, now: Timestamp, style: Style) -> Option<String> {
    let at = |t| style.paint(Tone::Dim, clock(t));
    Some(match notice {
        Notice::Ready(r) => {
            let urls: Vec<_> = r.public_urls.iter().map(|u| style.paint(Tone::Strong, SafeText::new(u))).collect();
            let waiting = if r.waiting > 0 { format!(", {} waiting", r.waiting) } else { String::new() };
            let to = r.target.as_deref().map_or_else(String::new, |t| format!(" → {t}"));
            format!(
                "{} ready  {}{to}  (tunnel {}, {}{waiting}, device {})",
                at(now),
                urls.join("  "),
                r.tunnel,
                r.answer,
                r.device
            )
        }
        Notice::Connection(Connection::Connecting { attempt: 1 }) => return None,
        Notice::Connection(c) => {
            let (tone, text) = match c {
                Connection::Connecting { attempt } => (Tone::Dim, format!("connecting, try {attempt}")),
                Connection::Connected => (Tone::Good, "connected".to_owned()),
                Connection::Waiting { delay_ms, reason } => {
                    (Tone::Doubtful, format!("no connection: {}; next try in {delay_ms} ms", SafeText::new(reason)))
                }
                Connection::Refused { reason } => (Tone::Bad, format!("refused: {}", SafeText::new(reason))),
                Connection::Closed => (Tone::Dim, "connection closed".to_owned()),
            };
            format!("{} {}", at(now), style.paint(tone, text))
        }
        Notice::Delivery(s) => {
            let event = s.event_type.as_deref().unwrap_or("(no event)");
            let profile = s.profile.as_deref().map_or_else(String::new, |p| format!(" {}", SafeText::new(p)));
            let repeat =
                if s.duplicate_of.is_some() { style.paint(Tone::Doubtful, "  seen before") } else { String::new() };
            format!(
                "{} --> {}  {}  {}{profile}  {}{repeat}",
                at(s.received_at),
                SafeText::new(event).cut(60),
                SafeText::new(&resource(s)).cut(60),
                style.signature(s.signature, 0),
                style.paint(Tone::Dim, short_id(&s.id.to_string())),
            )
        }
        Notice::Attempt(t) => {
            let class = match (&t.error, t.status) {
                (Some(_), _) | (None, None) => AnswerClass::Error,
                (None, Some(200..=299)) => AnswerClass::Success,
                (None, Some(300..=399)) => AnswerClass::Redirect,
                (None, Some(_)) => AnswerClass::Refused,
            };
            let took = (t.duration_ms * 1000.0) as u64;
            let answer = style.answer(&Answer { class, status: t.status, duration_us: took }, 0);
            let event = t.event_type.as_deref().unwrap_or("(no event)");
            let mut marks = String::new();
            if t.cause == Cause::Replay {
                marks.push_str("  replay");
            }
            if t.resigned {
                marks.push_str("  signed again");
            }
            if let Some(e) = &t.error {
                marks.push_str(&format!("  {}", SafeText::new(&e.message).cut(300)));
            }
            format!(
                "{} <-- {}  {}  {answer}  {}{}  {}",
                at(now),
                SafeText::new(event).cut(60),
                SafeText::new(&resource(&t.summary)).cut(60),
                duration(took),
                marks,
                style.paint(Tone::Dim, short_id(&t.delivery.to_string())),
            )
        }
        Notice::Gap { count, reason } => {
            let text = format!("{count} deliveries are gone from the relay before they could come ({reason})");
            format!("{} {}", at(now), style.paint(Tone::Bad, text))
        }
        Notice::Warning { message } => {
            format!("{} {}", at(now), style.paint(Tone::Doubtful, format!("warning: {}", SafeText::new(message))))
        }
        Notice::LeftOut { count } => {
            format!(
                "{} {}",
                at(now),
                style.paint(Tone::Doubtful, format!("{count} lines left out; everything is stored"))
            )
        }
        Notice::Stopped { reason: None } => format!("{} stopped", at(now)),
        // The command says it on stderr.
        Notice::Stopped { reason: Some(_) } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_one_json_object_each() {
        let mut out = String::new();
        let plain = Style { colour: false };
        let waiting = Connection::Waiting { delay_ms: 250, reason: "gone\u{1b}[2J".into() };
        render(&mut out, &Notice::Connection(waiting), Form::Json, plain);
        render(&mut out, &Notice::Gap { count: 3, reason: "age" }, Form::Json, plain);
        assert_eq!(
            out,
            "{\"type\":\"connection\",\"state\":\"waiting\",\"delay_ms\":250,\"reason\":\"gone\\u001b[2J\"}\n{\"type\":\"gap\",\"count\":3,\"reason\":\"age\"}\n"
        );
    }

    #[test]
    fn the_log_shows_what_a_peer_says_and_does_not_obey_it() {
        let waiting = Connection::Waiting { delay_ms: 250, reason: "gone\u{1b}[2J".into() };
        let line = log(&Notice::Connection(waiting), Timestamp::from_micros(0), Style { colour: false }).unwrap();
        assert_eq!(line, "00:00:00.000 no connection: gone\\u{1b}[2J; next try in 250 ms");
        assert_eq!("tuy".parse::<Form>().unwrap_err(), "\"tuy\" is none of tui, log and json");
    }
}
