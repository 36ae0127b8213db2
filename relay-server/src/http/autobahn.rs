//! Autobahn's cases for WebSocket servers, by the runner `kosoku` (PyPI), against our way from a connection to a WebSocket: recorder, head, upgrade and
//! the session's socket, with an echo in the session's place.

use std::convert::Infallible;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tunnel_testkit::{skipped, words};

use super::head::{HeadLimits, Refusal};
use super::recorder::{Heads, Recorder};
use super::upgrade;
use crate::accept::Tasks;
use crate::respond::Problem;
use crate::session::pump::socket;

/// The suite's longest message is 16 MiB; a session's are far shorter.
const LONGEST: usize = 32 << 20;

/// Which cases are played, separated by commas, as `kosoku` names them: `1.*`. All, unless it is set.
const CASES: &str = "HEALTHIE_TUNNEL_AUTOBAHN";

async fn echo(stream: TcpStream, read: Vec<u8>) {
    let mut socket = socket(stream, read, LONGEST).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn serve(stream: TcpStream, sessions: Tasks) {
    let heads = Heads::default();
    let recorder = Recorder::new(stream, HeadLimits { bytes: 32 << 10, lines: 100 }, heads.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (head, sessions) = (heads.next(), sessions.clone());
        async move {
            let Some(Ok(head)) = head else {
                return Ok::<_, Infallible>(Problem::Head(Refusal::Malformed("It is no head.")).answer(None));
            };
            Ok(match upgrade::key(&head) {
                Some(key) => upgrade::grant::<TcpStream, _, _>(key, request, &sessions, echo),
                None => Problem::UpgradeRequired.answer(None),
            })
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(recorder, service).with_upgrades().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autobahn_s_cases_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let sessions = Tasks::new();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sessions.clone()));
        }
    });
    let mut command = Command::new("kosoku");
    // Families 12 and 13 are about compression by WebSocket, which is not offered (frames are compressed by themselves).
    command.args(["--exclude", "12.*", "--exclude", "13.*"]);
    let reports = tempfile::tempdir().unwrap();
    command.args([&address, "--parallelism", "4", "--outdir"]).arg(reports.path()).kill_on_drop(true);
    for case in words(CASES) {
        command.args(["--include", &case]);
    }
    let output = match command.output().await {
        Ok(output) => output,
        Err(e) => {
            return skipped(&format!(
                "kosoku cannot be run here ({e}; pip install kosoku), so NONE OF AUTOBAHN'S WEBSOCKET CASES IS TRIED"
            ));
        }
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}
