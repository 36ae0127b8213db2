//! The running relay's end of the socket: opened once the spool is held, and every question answered in a task of its own.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::spooled::{self, tell};
use super::words::noted;
use super::{LINE_MAX, Question, Reloaded, TIDY_WITHIN, Told, WITHIN, backup, path};
use crate::audit::Who;
use crate::shared::Shared;

/// Opens the socket. The spool must be held: then one that lies there is left over from a relay that was killed.
pub(crate) fn listen(data: &Path) -> std::io::Result<UnixListener> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket.
pub(crate) fn close(data: &Path) {
    // One that stays is removed by the next relay.
    let _ = std::fs::remove_file(path(data));
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Whoever asked and went away needs no answer.
                    let _ = tokio::time::timeout(TIDY_WITHIN, answer(stream, &shared)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a command could not be listened to");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let who = match stream.peer_cred() {
        Ok(peer) => Who::Operator { uid: peer.uid() },
        Err(_) => Who::Relay,
    };
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(read.take(LINE_MAX));
    // Commands ask at once; whoever does not is no command.
    tokio::time::timeout(WITHIN, reader.read_until(b'\n', &mut line)).await??;
    let told = match serde_json::from_slice(&line) {
        Ok(Question::Backup) => {
            let stream = reader.into_inner().into_inner().reunite(write).map_err(std::io::Error::other)?;
            return backup::begin(stream, shared, who);
        }
        Ok(Question::Changed) => match shared.read_again().await {
            Ok(()) => Told::Taken,
            Err(why) => Told::No { why },
        },
        Ok(Question::LookAgain) => Told::LookedAgain { reloaded: reload(shared).await },
        Ok(Question::Limits) => {
            Told::Limits { max_body: shared.config.limits.body, spool_bytes: shared.config.spool.max_bytes_per_tunnel }
        }
        Ok(Question::Used) => Told::Used { used: shared.used.lock().unwrap_or_else(PoisonError::into_inner).clone() },
        Ok(question @ (Question::Certificates | Question::Reload | Question::Renew)) => {
            let told = tell_of_certificates(&question, shared).await;
            note(&question, &told, who, shared);
            told
        }
        Ok(Question::Waiting { tunnel }) => {
            let shared = Arc::clone(shared);
            let waiting = shared.offload.run(move || spooled::waiting(&tunnel, &*shared.spool, &shared.registry));
            waiting.await.unwrap_or_else(|e| Told::No { why: format!("the relay failed at it: {e}") })
        }
        Ok(Question::Devices { tunnel }) => {
            let (shared, now) = (Arc::clone(shared), shared.now());
            let devices = shared.offload.run({
                let shared = Arc::clone(&shared);
                move || {
                    let known = (&*shared.whose, Some(&shared.hub));
                    spooled::devices(tunnel.as_ref(), &*shared.spool, &shared.registry, known, now)
                }
            });
            devices.await.unwrap_or_else(|e| Told::No { why: format!("the relay failed at it: {e}") })
        }
        Ok(question) => {
            let asked = question.clone();
            let known = (&*shared.whose, Some(&shared.hub));
            let told = tell(question, &*shared.spool, &shared.registry, known, shared.now()).await;
            if let (Question::Forget { tunnel, device }, Told::Forgotten) = (&asked, &told) {
                shared.device_forgotten(tunnel, device).await;
            }
            note(&asked, &told, who, shared);
            told
        }
        Err(e) => {
            Told::No { why: format!("the relay does not understand the question: {e}; is it of another version?") }
        }
    };
    let mut text = serde_json::to_vec(&told)?;
    text.push(b'\n');
    write.write_all(&text).await
}

/// Looks at tunnels, tokens and certificate files again; what cannot be used changes nothing.
pub(crate) async fn look_again(shared: &Arc<Shared>) -> Vec<String> {
    let mut problems: Vec<String> = shared.read_again().await.err().into_iter().collect();
    if let Some(tls) = &shared.tls {
        problems.extend(tls.look(shared.offload).await);
    }
    problems
}

/// The same and the settings, which are somebody else's to know.
async fn reload(shared: &Arc<Shared>) -> Reloaded {
    if let Some(wishes) = shared.wishes.get() {
        let (wish, done) = oneshot::channel();
        if wishes.send(wish).await.is_ok()
            && let Ok(reloaded) = done.await
        {
            return reloaded;
        }
    }
    // Nobody keeps settings, as in a relay within another program, or not any more.
    Reloaded { problems: look_again(shared).await, ..Reloaded::default() }
}

/// Writes into the audit log what was done; looking is not doing.
fn note(question: &Question, told: &Told, who: Who, shared: &Shared) {
    if let Some(entry) = noted(question, told, who, shared.now()) {
        shared.audit.note(entry);
    }
}

async fn tell_of_certificates(question: &Question, shared: &Shared) -> Told {
    let Some(tls) = &shared.tls else { return Told::No { why: "this relay serves no HTTPS".into() } };
    match question {
        Question::Reload => {
            let wrong = tls.look(shared.offload).await;
            if !wrong.is_empty() {
                return Told::No { why: format!("{}; what was read before stays in force", wrong.join("; ")) };
            }
        }
        Question::Renew if !tls.acme => {
            return Told::No {
                why: "this relay gets no certificate by itself; it was started without --acme-name".into(),
            };
        }
        Question::Renew => {
            tls.renew.notify_one();
            return Told::Begun;
        }
        _ => {}
    }
    Told::Certificates { certificates: tls.standing(&shared.clock) }
}
