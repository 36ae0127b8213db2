//! Asking a running agent over its local interface.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::follow::{Follow, Told};
use super::{AgentFile, ControlError, Export, Exported, Hello, Kind};

/// The longest answer: a delivery at the protocol's cap with its attempts, in JSON.
const MOST: usize = 512 * 1024 * 1024;
/// The longest line of a stream.
const MOST_LINE: usize = 1024 * 1024;
/// How long a running agent may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running agent.
#[derive(Debug)]
pub struct Remote {
    file: AgentFile,
}

/// Why a question has no answer.
pub(super) enum Asked {
    /// The agent is not there, or went away.
    Lost(ControlError),
    /// It says why.
    Refused(ControlError),
}

impl From<Asked> for ControlError {
    fn from(asked: Asked) -> ControlError {
        match asked {
            Asked::Lost(e) | Asked::Refused(e) => e,
        }
    }
}

fn lost(why: impl std::fmt::Display) -> Asked {
    Asked::Lost(unreachable(why))
}

fn unreachable(why: impl std::fmt::Display) -> ControlError {
    ControlError::new(Kind::Unreachable, format!("the running agent does not answer: {why}"))
}

impl Remote {
    /// The agent that holds the data folder, if it answers.
    pub async fn find(data: &Path) -> Option<Remote> {
        let remote = Remote { file: AgentFile::read(data)? };
        let hello = tokio::time::timeout(PATIENCE, remote.ask::<Hello>("hello", &())).await.ok()?.ok()?;
        // Another process may have got the port, and another agent may have got the process's number.
        (hello.pid == remote.file.pid).then_some(remote)
    }

    /// The agent's file.
    pub fn file(&self) -> &AgentFile {
        &self.file
    }

    async fn send(&self, operation: &str, body: &impl Serialize) -> Result<Response<Incoming>, Asked> {
        let body = serde_json::to_vec(body).map_err(lost)?;
        let stream = TcpStream::connect(self.file.addr).await.map_err(lost)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        let request = Request::post(format!("/v1/{operation}"))
            .header("Host", self.file.addr.to_string())
            .header("Authorization", format!("Bearer {}", self.file.token))
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(lost)?;
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let text = collect(response.into_body()).await.map_err(Asked::Lost)?;
        Err(Asked::Refused(serde_json::from_slice(&text).unwrap_or_else(|_| unreachable(format!("it says {status}")))))
    }

    /// One question, one answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &impl Serialize,
    ) -> Result<T, ControlError> {
        let answer = collect(self.send(operation, body).await?.into_body()).await?;
        serde_json::from_slice(&answer).map_err(unreachable)
    }

    /// What is told, as it comes; the channel ends where the agent goes away.
    pub(super) async fn follow(&self, follow: &Follow) -> Result<mpsc::Receiver<Told>, Asked> {
        let ended = |told: &Told| matches!(told, Told::Failed(_));
        self.lines("follow", follow, (256, MOST_LINE), Told::Failed, ended, None).await
    }

    /// What is stored, as it comes; the channel ends with what says how it went.
    pub(super) async fn export(&self, export: &Export) -> Result<mpsc::Receiver<Exported>, Asked> {
        let ended = |part: &Exported| !matches!(part, Exported::Delivery { .. });
        let gone = Exported::Failed(unreachable("it went away before it had told everything"));
        self.lines("export", export, (4, MOST), Exported::Failed, ended, Some(gone)).await
    }

    /// The lines of an answer, of which so many may wait, each of at most so many bytes. `gone` is told where the agent goes away before the
    /// line that ends it.
    async fn lines<T: DeserializeOwned + Send + 'static>(
        &self,
        operation: &str,
        body: &impl Serialize,
        (waiting, longest): (usize, usize),
        failed: fn(ControlError) -> T,
        ended: fn(&T) -> bool,
        gone: Option<T>,
    ) -> Result<mpsc::Receiver<T>, Asked> {
        let mut body = self.send(operation, body).await?.into_body();
        let (tx, rx) = mpsc::channel(waiting);
        tokio::spawn(async move {
            let mut rest = BytesMut::new();
            // What was looked through for an end already.
            let mut looked = 0;
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = tx.closed() => return,
                };
                let Some(Ok(frame)) = frame else {
                    if let Some(gone) = gone {
                        let _ = tx.send(gone).await;
                    }
                    return;
                };
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = rest[looked..].iter().position(|b| *b == b'\n') {
                    let line = rest.split_to(looked + end + 1);
                    looked = 0;
                    let line = serde_json::from_slice(&line).unwrap_or_else(|e| failed(unreachable(e)));
                    let last = ended(&line);
                    if tx.send(line).await.is_err() || last {
                        return;
                    }
                }
                looked = rest.len();
                if rest.len() > longest {
                    let _ = tx.send(failed(unreachable("it sent a line that is too long"))).await;
                    return;
                }
            }
        });
        Ok(rx)
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ControlError> {
    let body = http_body_util::Limited::new(body, MOST);
    Ok(body.collect().await.map_err(unreachable)?.to_bytes())
}
