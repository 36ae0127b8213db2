//! A command's end of the socket: a running relay is asked, or, where there is none, the spool in the folder, which only one process can have open. Blocks.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tunnel_delivery::Timestamp;
use tunnel_spool::{Limits, RedbSpool, SpoolError};
use tunnel_vault::KeySource;

use super::spooled::tell;
use super::words::noted;
use super::{LINE_MAX, Question, Told, WITHIN, path};
use crate::audit::Who;
use crate::backup::BackupError;
use crate::registry::{Registry, RegistryError};
use crate::whose::Whose;

/// How often whoever waits for an answer is told that it is still to come.
const WAITS: Duration = Duration::from_secs(1);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// A relay runs and does not answer.
    #[error("the relay that runs on {} does not answer: {source}", path.display())]
    Silent { path: PathBuf, source: std::io::Error },
    /// Whether a relay runs cannot be found out.
    #[error("cannot reach the relay by {}: {source}; the relay's user and root can", path.display())]
    Closed { path: PathBuf, source: std::io::Error },
    /// No relay runs, and the spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A backup cannot be made.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Asks the relay that runs on this data folder, or, if none does, the spool in it, which may take a key.
pub(crate) fn ask(data: &Path, key: Option<KeySource>, question: &Question) -> Result<Told, AskError> {
    if let Some(told) = ask_running(data, question)? {
        return Ok(told);
    }
    let registry = Registry::open(data)?;
    let key = key.map(|source| source.read()).transpose().map_err(SpoolError::Key)?;
    let spool = RedbSpool::open_with(&data.join("spool"), Limits::default(), key.as_ref())?;
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|source| AskError::Silent { path: path(data), source })?;
    let whose = Whose::load(&data.join("spool"));
    let told = runtime.block_on(tell(question.clone(), &spool, &registry, (&whose, None), now));
    // What was made just now, where this is root, is the relay's all the same.
    if let Err(error) = crate::ownership::hand_over_all(&data.join("spool"), data) {
        tracing::error!(%error, "the spool cannot be given to the data folder's owner");
    }
    if let Some(entry) = noted(question, &told, Who::operator(), now)
        && let Err(error) = crate::audit::append(data, &[entry])
    {
        tracing::error!(%error, "the audit log cannot be written");
    }
    Ok(told)
}

/// Asks the relay that runs on this data folder, if one does.
pub(crate) fn ask_running(data: &Path, question: &Question) -> Result<Option<Told>, AskError> {
    ask_telling(data, question, &mut |_| {})
}

/// The same; who waits for the answer is told now and then for how long already.
pub(crate) fn ask_telling(
    data: &Path,
    question: &Question,
    waits: &mut dyn FnMut(Duration),
) -> Result<Option<Told>, AskError> {
    let Some(stream) = connect(data)? else { return Ok(None) };
    exchange(stream, question, waits).map(Some).map_err(|source| AskError::Silent { path: path(data), source })
}

/// The running relay's socket; nothing where no relay runs, which may have left one behind when it was killed.
pub(super) fn connect(data: &Path) -> Result<Option<Blocking>, AskError> {
    let path = path(data);
    match Blocking::connect(&path) {
        Ok(stream) => Ok(Some(stream)),
        // The last is a path that is too long for a socket's: no relay has one there either.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(source) => Err(AskError::Closed { path, source }),
    }
}

fn exchange(mut stream: Blocking, question: &Question, waits: &mut dyn FnMut(Duration)) -> std::io::Result<Told> {
    let (began, within) = (Instant::now(), question.within());
    stream.set_read_timeout(Some(within.min(WAITS)))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(LINE_MAX));
    // What came before the time was up stays in `line`.
    while let Err(e) = reader.read_until(b'\n', &mut line) {
        let slow = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if !slow || began.elapsed() >= within {
            return Err(if slow { ErrorKind::TimedOut.into() } else { e });
        }
        waits(began.elapsed());
    }
    if !line.ends_with(b"\n") {
        let why = "it ended before it had answered; whether it was done, or goes on with its next start, is not known: ask again once it runs";
        return Err(std::io::Error::new(ErrorKind::UnexpectedEof, why));
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{AnswerMode, TunnelSettings};
    use tunnel_delivery::TunnelName;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    #[test]
    fn without_a_relay_the_folder_itself_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        // Left behind by a relay that was killed.
        drop(std::os::unix::net::UnixListener::bind(path(dir.path())).unwrap());
        let told = ask(dir.path(), None, &Question::Devices { tunnel: None }).unwrap();
        assert_eq!(told, Told::Devices { devices: Vec::new(), without: Vec::new() });
        // What is done so is noted like anything that a running relay does.
        let team: TunnelName = "team".parse().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
        let told = ask(dir.path(), None, &Question::Purge { tunnel: team.clone() }).unwrap();
        assert_eq!(told, Told::Purged { deliveries: 0 });
        let lines = crate::audit::read(dir.path(), Some(&team), None).unwrap().lines;
        assert!(lines.len() == 1 && lines[0]["what"] == "purged", "{lines:?}");
        // Only what was removed is dropped.
        let drop = || ask(dir.path(), None, &Question::Drop { tunnel: team.clone() }).unwrap();
        assert!(matches!(drop(), Told::No { why } if why.contains("there is a tunnel team")));
        registry.retire_tunnel(&team, NOW, false, NOW).unwrap();
        assert_eq!(drop(), Told::Dropped);
        assert_eq!(ask(dir.path(), None, &Question::Tidied).unwrap(), Told::Tidied { whole: true });
    }

    /// It was killed: nobody can say whether what was asked is done.
    #[test]
    fn a_relay_that_ends_before_it_answers_is_told_as_that() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(path(dir.path())).unwrap();
        let relay = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream).read_until(b'\n', &mut Vec::new()).unwrap();
            stream.write_all(b"{\"told\":\"ti").unwrap();
        });
        let why = ask(dir.path(), None, &Question::Tidied).unwrap_err().to_string();
        relay.join().unwrap();
        assert!(why.contains("ended before it had answered") && why.contains("ask again"), "{why}");
    }

    /// A relay that has much to do is waited for, and whoever waits is told.
    #[test]
    fn an_answer_that_comes_late_or_in_pieces_is_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(path(dir.path())).unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        let relay = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream).read_until(b'\n', &mut Vec::new()).unwrap();
            stream.write_all(b"{\"told\":\"ti").unwrap();
            let _: Duration = tell.recv().unwrap();
            stream.write_all(b"died\",\"whole\":false}\n").unwrap();
        });
        let answer = ask_telling(dir.path(), &Question::Tidied, &mut |so_long| told.send(so_long).unwrap());
        assert_eq!(answer.unwrap(), Some(Told::Tidied { whole: false }));
        relay.join().unwrap();
    }

    /// Whoever may not open the socket must not be told that no relay runs, and even less open the spool beside it.
    #[test]
    fn a_socket_that_cannot_be_opened_is_no_missing_relay() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ask_running(dir.path(), &Question::Limits), Ok(None)));
        // Nothing is below a file: as good as a folder that is closed to this user, for root too.
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(ask_running(&file, &Question::Limits), Err(AskError::Closed { .. })));
    }
}
