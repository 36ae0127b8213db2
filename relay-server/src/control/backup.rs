//! A backup from the relay that runs: it writes it to the socket behind its answer, for as long as it takes. Without a relay the folder is copied by
//! the command itself. What is in a backup is `backup`'s.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tunnel_delivery::Timestamp;
use tunnel_spool::{Copied, CopySink, RedbSpool, Spool};

use super::asking::connect;
use super::{AskError, Question, TIDY_WITHIN, Told, WITHIN, path};
use crate::audit::{Entry, What, Who};
use crate::backup::{self, BackupError};
use crate::flag::Flag;
use crate::shared::Shared;

/// How long whoever takes a backup may take nothing of it, and how long whoever is asked for one may say nothing.
const STALLS: Duration = Duration::from_secs(60);

/// How often whoever waits looks whether the relay stops, and says for what it waits.
const LOOK: Duration = Duration::from_millis(500);

/// Has a thread of its own write the backup to whoever asked: it takes as long as it takes.
pub(super) fn begin(stream: UnixStream, shared: &Shared, who: Who) -> std::io::Result<()> {
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(LOOK))?;
    let (data, spool, now) = (shared.config.data.clone(), shared.spool.clone(), shared.now());
    let stopping = shared.stopping.clone();
    shared.audit.note(Entry::new(now, What::BackedUp, who));
    drop(shared.offload.run(move || {
        if let Err(error) = until_it_can_begin(&*spool, &stopping, &mut stream) {
            return tracing::warn!(%error, "a backup was not begun");
        }
        let line = line(&Told::Begun);
        let mut to = std::io::BufWriter::with_capacity(1 << 20, UntilStop { stopping, to: &mut stream });
        let mut source = |sink: &mut dyn CopySink| spool.copy(sink);
        let written = to.write_all(&line).and_then(|()| to.flush());
        let written = written.map_err(|source| BackupError::Stream { doing: "written", source });
        match written.and_then(|()| backup::write(&data, &mut source, now, &mut to)) {
            Ok(held) => tracing::info!(deliveries = held.deliveries, bytes = held.bytes, "a backup was made"),
            Err(error) => tracing::warn!(%error, "a backup broke off"),
        }
    }));
    Ok(())
}

fn line(told: &Told) -> Vec<u8> {
    // Nothing in it can fail to be JSON.
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Waits until the spool can be copied, and tells whoever asked for what.
fn until_it_can_begin(spool: &dyn Spool, stopping: &Flag, to: &mut impl std::io::Write) -> std::io::Result<()> {
    let began = Instant::now();
    while let Some(waits_for) = spool.copy_waits_for() {
        let why = if stopping.is_up() {
            "the relay stops"
        } else if began.elapsed() > TIDY_WITHIN {
            waits_for
        } else {
            to.write_all(&line(&Told::Waits { why: waits_for.to_owned() }))?;
            std::thread::sleep(LOOK);
            continue;
        };
        to.write_all(&line(&Told::No { why: why.to_owned() }))?;
        return Err(std::io::Error::other(why));
    }
    Ok(())
}

/// Writes until the relay stops: it must not wait for a backup, and the spool must be free for the next one.
struct UntilStop<W> {
    stopping: Flag,
    to: W,
}

impl<W: std::io::Write> std::io::Write for UntilStop<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let began = Instant::now();
        loop {
            if self.stopping.is_up() {
                return Err(std::io::Error::other("the relay stops"));
            }
            match self.to.write(bytes) {
                Err(e)
                    if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && began.elapsed() < STALLS => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Writes a backup, uncompressed: by the relay that runs on this data folder, or, if none does, from the folder itself. Where the relay cannot begin yet,
/// `waits` is told for what it waits, twice a second.
pub(crate) fn back_up(data: &Path, to: &mut dyn std::io::Write, waits: &mut dyn FnMut(&str)) -> Result<(), AskError> {
    let path = path(data);
    let Some(mut stream) = connect(data)? else {
        let spool = data.join("spool");
        let mut source = |sink: &mut dyn CopySink| {
            if RedbSpool::is_in(&spool) {
                return tunnel_spool::copy_closed(&spool, sink);
            }
            // Tunnels were added and no relay has run yet.
            sink.begun()?;
            Ok(Copied::default())
        };
        let now = Timestamp::from_system(std::time::SystemTime::now());
        let uid = rustix::process::geteuid().as_raw();
        if let Err(error) = crate::audit::append(data, &[Entry::new(now, What::BackedUp, Who::Operator { uid })]) {
            tracing::warn!(%error, "the audit log cannot be written");
        }
        return backup::write(data, &mut source, now, to).map(drop).map_err(AskError::from);
    };
    let silent = |source| AskError::Silent { path: path.clone(), source };
    let told = (|| {
        stream.set_read_timeout(Some(STALLS))?;
        stream.set_write_timeout(Some(WITHIN))?;
        let mut text = serde_json::to_vec(&Question::Backup)?;
        text.push(b'\n');
        stream.write_all(&text)?;
        loop {
            match serde_json::from_slice(&first_line(&mut stream)?)? {
                Told::Waits { why } => waits(&why),
                told => return Ok(told),
            }
        }
    })();
    match told.map_err(silent)? {
        // The file may have begun to be compacted since the relay looked.
        Told::Begun => stream.set_read_timeout(Some(TIDY_WITHIN)).map_err(silent)?,
        Told::No { why } => return Err(silent(std::io::Error::other(why))),
        other => return Err(silent(std::io::Error::other(format!("it answered something else: {other:?}")))),
    }
    // Whether it is whole says its reading.
    std::io::copy(&mut stream, to).map(drop).map_err(|source| BackupError::Stream { doing: "written", source }.into())
}

/// Byte by byte: what comes behind it may be the backup.
fn first_line(stream: &mut impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < 1 << 16 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::{UnixListener, UnixStream as Blocking};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use tunnel_spool::Limits;

    /// A copy that says when it has begun and ends when it is told to.
    struct Held(Sender<()>, Receiver<()>);

    impl CopySink for Held {
        fn begun(&mut self) -> std::io::Result<()> {
            self.0.send(()).map_err(std::io::Error::other)?;
            self.1.recv().map_err(std::io::Error::other)
        }

        fn part(&mut self, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_cannot_begin_says_for_what_it_waits() {
        let dir = tempfile::tempdir().unwrap();
        let spool = RedbSpool::open(dir.path(), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
        let (has_begun, begun) = channel();
        let (end, may_end) = channel();
        let copying = std::thread::spawn({
            let spool = spool.clone();
            move || spool.copy(&mut Held(has_begun, may_end)).map(drop)
        });
        begun.recv().unwrap();
        let (mut near, far) = Blocking::pair().unwrap();
        far.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let waiting = std::thread::spawn(move || until_it_can_begin(&spool, &Flag::default(), &mut near));
        let mut lines = BufReader::new(far).lines();
        let told = |line: String| serde_json::from_str::<Told>(&line).unwrap();
        let first = told(lines.next().unwrap().unwrap());
        assert_eq!(first, Told::Waits { why: "another copy of it is being made".to_owned() });
        end.send(()).unwrap();
        copying.join().unwrap().unwrap();
        waiting.join().unwrap().unwrap();
        assert!(lines.all(|line| told(line.unwrap()) == first), "nothing is said against it");
    }

    #[test]
    fn a_relay_that_stops_begins_none() {
        let dir = tempfile::tempdir().unwrap();
        let spool = RedbSpool::open(dir.path(), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
        let (has_begun, begun) = channel();
        let (end, may_end) = channel();
        std::thread::scope(|scope| {
            let copying = scope.spawn(|| spool.copy(&mut Held(has_begun, may_end)));
            begun.recv().unwrap();
            let (stopping, mut told) = (Flag::default(), Vec::new());
            stopping.raise();
            let refused = until_it_can_begin(&spool, &stopping, &mut told);
            // First, so that a failure is told instead of waiting for the copy for ever.
            end.send(()).unwrap();
            copying.join().unwrap().unwrap();
            assert!(refused.is_err());
            assert_eq!(told, line(&Told::No { why: "the relay stops".to_owned() }));
        });
    }

    #[test]
    fn a_relay_that_waits_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(path(dir.path())).unwrap();
        let relay = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
            for why in ["one", "one", "two"] {
                stream.write_all(&line(&Told::Waits { why: why.to_owned() })).unwrap();
            }
            stream.write_all(&line(&Told::Begun)).unwrap();
            stream.write_all(b"the backup").unwrap();
        });
        let (mut to, mut waited) = (Vec::new(), Vec::new());
        back_up(dir.path(), &mut to, &mut |why| waited.push(why.to_owned())).unwrap();
        relay.join().unwrap();
        assert_eq!((to.as_slice(), waited), (&b"the backup"[..], ["one", "one", "two"].map(str::to_owned).to_vec()));
    }
}
