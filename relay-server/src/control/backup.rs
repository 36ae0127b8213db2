//! A backup from the relay that runs: it writes it to the socket behind its answer, for as long as it takes. Without a relay the folder is copied by
//! the command itself. What is in a backup is `backup`'s.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tunnel_delivery::Timestamp;
use tunnel_spool::{Copied, CopySink, RedbSpool};

use super::asking::connect;
use super::{AskError, Question, Told, WITHIN, path};
use crate::audit::{Entry, What, Who};
use crate::backup::{self, BackupError};
use crate::flag::Flag;
use crate::shared::Shared;

/// How long whoever takes a backup may take nothing of it, and how long whoever gives it may give nothing.
const STALLS: Duration = Duration::from_secs(60);

/// How often whoever waits for the other end looks whether the relay stops.
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
        let mut line = serde_json::to_vec(&Told::Begun).unwrap_or_default();
        line.push(b'\n');
        let mut to = std::io::BufWriter::with_capacity(1 << 20, UntilStop { stopping, to: &mut stream });
        let mut source = |sink: &mut dyn CopySink| spool.copy(sink);
        let written = to.write_all(&line).map_err(|source| BackupError::Stream { doing: "written", source });
        match written.and_then(|()| backup::write(&data, &mut source, now, &mut to)) {
            Ok(held) => tracing::info!(deliveries = held.deliveries, bytes = held.bytes, "a backup was made"),
            Err(error) => tracing::warn!(%error, "a backup broke off"),
        }
    }));
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

/// Writes a backup, uncompressed: by the relay that runs on this data folder, or, if none does, from the folder itself.
pub(crate) fn back_up(data: &Path, to: &mut dyn std::io::Write) -> Result<(), AskError> {
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
        let mut line = Vec::new();
        // Byte by byte: what comes behind the line is the backup.
        while !line.ends_with(b"\n") && line.len() < 1 << 16 {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.extend(byte);
        }
        Ok(serde_json::from_slice::<Told>(&line)?)
    })();
    match told.map_err(silent)? {
        Told::Begun => {}
        Told::No { why } => return Err(silent(std::io::Error::other(why))),
        other => return Err(silent(std::io::Error::other(format!("it answered something else: {other:?}")))),
    }
    // Whether it is whole says its reading.
    std::io::copy(&mut stream, to).map(drop).map_err(|source| BackupError::Stream { doing: "written", source }.into())
}
