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
use tunnel_delivery::Summary;

use super::{AgentFile, ControlError, Filter, Kind, Status};

/// The longest answer: a delivery at the protocol's cap with its attempts, in JSON.
const MOST: usize = 512 * 1024 * 1024;
/// The longest line of a stream.
const MOST_LINE: usize = 1024 * 1024;
/// How long a running agent may take to say that it is there.
const HELLO: Duration = Duration::from_secs(3);

/// A running agent.
#[derive(Debug)]
pub struct Remote {
    file: AgentFile,
}

fn unreachable(why: impl std::fmt::Display) -> ControlError {
    ControlError::new(Kind::Unreachable, format!("the running agent does not answer: {why}"))
}

impl Remote {
    /// The agent that holds the data folder, if it answers.
    pub async fn find(data: &Path) -> Option<(Remote, Status)> {
        let remote = Remote { file: AgentFile::read(data)? };
        let status = tokio::time::timeout(HELLO, remote.ask::<Status>("status", &())).await.ok()?.ok()?;
        // Another process may have got the port, and another agent may have got the process's number.
        (status.pid == remote.file.pid).then_some((remote, status))
    }

    /// The agent's file.
    pub fn file(&self) -> &AgentFile {
        &self.file
    }

    async fn send(&self, operation: &str, body: &impl Serialize) -> Result<Response<Incoming>, ControlError> {
        let body = serde_json::to_vec(body).map_err(unreachable)?;
        let stream = TcpStream::connect(self.file.addr).await.map_err(unreachable)?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(unreachable)?;
        tokio::spawn(connection);
        let request = Request::post(format!("/v1/{operation}"))
            .header("Host", self.file.addr.to_string())
            .header("Authorization", format!("Bearer {}", self.file.token))
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(unreachable)?;
        let response = sender.send_request(request).await.map_err(unreachable)?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let text = collect(response.into_body()).await?;
        Err(serde_json::from_slice(&text).unwrap_or_else(|_| unreachable(format!("it says {status}"))))
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

    /// Lines as they come.
    pub(super) async fn follow(
        &self,
        filter: &Filter,
    ) -> Result<mpsc::Receiver<Result<Summary, ControlError>>, ControlError> {
        let mut body = self.send("follow", filter).await?.into_body();
        let (tx, rx) = mpsc::channel(256);
        tokio::spawn(async move {
            let mut rest = BytesMut::new();
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = tx.closed() => return,
                };
                let data = match frame {
                    None => return,
                    Some(Err(e)) => {
                        let _ = tx.send(Err(unreachable(e))).await;
                        return;
                    }
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                };
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                    let line = rest.split_to(end + 1);
                    let item = read_line(&line);
                    if item.pass_on(&tx).await {
                        return;
                    }
                }
                if rest.len() > MOST_LINE {
                    let _ = tx.send(Err(unreachable("it sent a line that is too long"))).await;
                    return;
                }
            }
        });
        Ok(rx)
    }
}

/// A line of a stream: a summary, or why the stream ends. An empty line only says that the agent is there.
struct Line(Option<Result<Summary, ControlError>>);

fn read_line(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Line(None);
    }
    Line(Some(match serde_json::from_slice::<Summary>(line) {
        Ok(summary) => Ok(summary),
        Err(e) => Err(serde_json::from_slice::<ControlError>(line).unwrap_or_else(|_| unreachable(e))),
    }))
}

impl Line {
    /// Passes the line on; gives whether the stream is over.
    async fn pass_on(self, tx: &mpsc::Sender<Result<Summary, ControlError>>) -> bool {
        match self.0 {
            None => false,
            Some(item) => {
                let failed = item.is_err();
                tx.send(item).await.is_err() || failed
            }
        }
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ControlError> {
    let body = http_body_util::Limited::new(body, MOST);
    Ok(body.collect().await.map_err(unreachable)?.to_bytes())
}
