//! A program on a terminal of 200 columns and 60 lines: what it shows, the keys that it is given, and when what it showed changed. It knows how the
//! inspector lays its list out, and nothing of what is in it.

use std::io::{Read as _, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::Parser;

use crate::error::{BenchError, wrong};

/// The terminal's size.
const SIZE: PtySize = PtySize { rows: 60, cols: 200, pixel_width: 0, pixel_height: 0 };

/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in the heading above the list.
const HEADING: &str = "time UTC";

/// A program on its terminal. It is killed when this is dropped.
pub(crate) struct Screen {
    parser: Parser,
    chunks: Receiver<(Instant, Vec<u8>)>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    started: Instant,
    _master: Box<dyn MasterPty + Send>,
}

impl Screen {
    /// Starts a program: its words and its environment, which is all that it gets.
    pub(crate) fn start(command: &std::process::Command) -> Result<Screen, BenchError> {
        let pair = native_pty_system().openpty(SIZE).map_err(wrong)?;
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                builder.env(name, value);
            }
        }
        builder.env("TERM", "xterm-256color");
        if let Some(folder) = command.get_current_dir() {
            builder.cwd(folder);
        }
        let mut out = pair.master.try_clone_reader().map_err(wrong)?;
        let keys = pair.master.take_writer().map_err(wrong)?;
        let (to, chunks) = channel();
        let started = Instant::now();
        let child = pair.slave.spawn_command(builder).map_err(wrong)?;
        drop(pair.slave);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            // At the end of the program the terminal is gone, which is an error or nothing more to read.
            while let Ok(len @ 1..) = out.read(&mut buffer) {
                if to.send((Instant::now(), buffer[..len].to_vec())).is_err() {
                    return;
                }
            }
        });
        let parser = Parser::new(SIZE.rows, SIZE.cols, 0);
        Ok(Screen { parser, chunks, keys, child, started, _master: pair.master })
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.process_id()
    }

    /// Gives it keys; when that was.
    pub(crate) fn press(&mut self, keys: &str) -> Result<Instant, BenchError> {
        let at = Instant::now();
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).map_err(wrong)?;
        Ok(at)
    }

    /// Gives it text at one stroke, as from a clipboard.
    pub(crate) fn paste(&mut self, text: &str) -> Result<Instant, BenchError> {
        self.press(&format!("\x1b[200~{text}\x1b[201~"))
    }

    /// Takes in what is shown until `wanted` holds; when it did, or nothing if it did not within that time.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Screen) -> bool,
    ) -> Result<Option<Instant>, BenchError> {
        let end = Instant::now() + limit;
        if wanted(self) {
            return Ok(Some(Instant::now()));
        }
        loop {
            match self.chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((at, chunk)) => {
                    self.parser.process(&chunk);
                    if wanted(self) {
                        return Ok(Some(at));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(wrong(format!("the inspector ended:\n{}", self.parser.screen().contents())));
                }
            }
        }
    }

    /// The same for what must come within [`PATIENCE`].
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&Screen) -> bool) -> Result<Instant, BenchError> {
        match self.until(PATIENCE, wanted)? {
            Some(at) => Ok(at),
            None => Err(wrong(format!("{what} was not shown:\n{}", self.parser.screen().contents()))),
        }
    }

    /// Takes in what is shown for that long.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), BenchError> {
        self.until(time, |_| false).map(drop)
    }

    /// Whether this text is anywhere.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.lines().any(|line| line.contains(text))
    }

    /// The lines.
    fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.parser.screen().rows(0, SIZE.cols)
    }

    fn heading(&self) -> Option<u16> {
        // Below two lines about the tunnel, and the filter.
        let at = self.parser.screen().rows(0, SIZE.cols).take(12).position(|line| line.contains(HEADING))?;
        u16::try_from(at).ok()
    }

    /// The first line of the list.
    pub(crate) fn top(&self) -> Option<String> {
        self.lines().nth(usize::from(self.heading()?) + 1)
    }

    /// The heading's end, where a search says how far it is.
    pub(crate) fn searches(&self) -> bool {
        let Some(heading) = self.heading() else { return true };
        self.lines().nth(heading.into()).is_some_and(|line| line.contains("looked at"))
            || self.top().is_some_and(|line| line.contains("looking …") || line.contains("opening the store"))
    }

    /// The selected line, which is the one in reverse, as far as it tells deliveries apart.
    pub(crate) fn selected(&self) -> Option<String> {
        let screen = self.parser.screen();
        let mut rows = self.heading()? + 1..SIZE.rows;
        let row = rows.find(|row| screen.cell(*row, 1).is_some_and(vt100::Cell::inverse))?;
        screen.rows(0, 100).nth(row.into())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
