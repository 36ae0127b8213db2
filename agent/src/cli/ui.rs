//! How `listen` reports: as a log for people or as JSON lines for scripts. A thread of its own writes, so that a slow terminal never holds
//! the agent up; what does not fit between the two is counted and said.

use std::io::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tunnel_delivery::Timestamp;

use super::Failure;
use super::log::Log;
use super::style::Style;
use crate::notice::{Notice, Sink};

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
    let mut log = Log::new(style);
    while let Ok(first) = notices.recv() {
        buffer.clear();
        let mut last = matches!(*first, Notice::Stopped { .. });
        render(&mut buffer, &first, form, &mut log);
        let mut n = 1;
        while n < AT_ONCE
            && let Ok(next) = notices.try_recv()
        {
            last |= matches!(*next, Notice::Stopped { .. });
            render(&mut buffer, &next, form, &mut log);
            n += 1;
        }
        let count = left_out.swap(0, Ordering::Relaxed);
        if count > 0 {
            render(&mut buffer, &Notice::LeftOut { count }, form, &mut log);
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

fn render(out: &mut String, notice: &Notice, form: Form, log: &mut Log) {
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
            if let Some(line) = log.line(notice, now) {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Connection;

    #[test]
    fn notices_are_one_json_object_each() {
        let mut out = String::new();
        let mut log = Log::new(Style { colour: false });
        let waiting = Connection::Waiting { delay_ms: 250, reason: "gone\u{1b}[2J".into() };
        render(&mut out, &Notice::Connection(waiting), Form::Json, &mut log);
        render(&mut out, &Notice::Gap { count: 3, reason: "age" }, Form::Json, &mut log);
        assert_eq!(
            out,
            "{\"type\":\"connection\",\"state\":\"waiting\",\"delay_ms\":250,\"reason\":\"gone\\u001b[2J\"}\n{\"type\":\"gap\",\"count\":3,\"reason\":\"age\"}\n"
        );
        assert_eq!("tuy".parse::<Form>().unwrap_err(), "\"tuy\" is none of tui, log and json");
    }
}
