//! An agent that never reaches its relay, and data folders with deliveries in them.

use std::sync::Arc;

use healthie_tunnel::control::{AgentFile, Local};
use healthie_tunnel::dial::{Peer, Trust};
use healthie_tunnel::forward::HostHeader;
use healthie_tunnel::listen::{self, ListenConfig};
use healthie_tunnel::notice::Notice;
use healthie_tunnel::policy::Policy;
use healthie_tunnel::settings::{RelayUrl, Token};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tunnel_archive::{Archive, Intake, Keep, Options};
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict};
use tunnel_protocol::Start;
use tunnel_signature::{Profile, Reading, Request, Secret};

use super::{Server, patiently};

pub const SECRET: &str = "whsec_test";

/// An agent that never reaches its relay: the store and the interface are there all the same.
pub struct Agent {
    pub data: tempfile::TempDir,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Agent {
    pub async fn start(data: tempfile::TempDir) -> Agent {
        Agent::keeping(data, Keep::default()).await.0
    }

    /// With everything that it tells after its first notice.
    pub async fn keeping(data: tempfile::TempDir, keep: Keep) -> (Agent, UnboundedReceiver<Arc<Notice>>) {
        let (agent, _, told) = Agent::run(data, keep, 0).await;
        (agent, told)
    }

    /// With its interface at a port, and its first notice.
    pub async fn at(data: tempfile::TempDir, port: u16) -> (Agent, Arc<Notice>) {
        let (agent, first, _) = Agent::run(data, Keep::default(), port).await;
        (agent, first)
    }

    async fn run(
        data: tempfile::TempDir,
        keep: Keep,
        inspector_port: u16,
    ) -> (Agent, Arc<Notice>, UnboundedReceiver<Arc<Notice>>) {
        let nobody = Server::closed().port;
        let config = ListenConfig {
            store_key: None,
            relay: RelayUrl(Peer { tls: false, host: "127.0.0.1".into(), port: nobody }),
            token: Token::new("tok".into()).unwrap(),
            tunnel: None,
            device: None,
            start: Start::Now,
            data: data.path().to_owned(),
            keep,
            secrets: vec![Secret::new(SECRET).unwrap()],
            policy: Policy::default(),
            concurrency: 4,
            host_header: HostHeader::Sent,
            trust: Trust::default(),
            inspector_port,
            last_attempts: std::time::Duration::ZERO,
            traces: tunnel_telemetry::Traces::none(),
        };
        let (end, ended) = oneshot::channel();
        let (tx, mut told) = tokio::sync::mpsc::unbounded_channel();
        let sink = move |n: Arc<Notice>| drop(tx.send(n));
        let task = tokio::spawn(async {
            listen::run(config, Arc::new(sink), async { drop(ended.await) }).await.unwrap();
        });
        // The first notice comes after the interface is there.
        let first = patiently("the agent's first notice", told.recv()).await.unwrap();
        (Agent { data, end, task }, first, told)
    }

    pub fn file(&self) -> AgentFile {
        AgentFile::read(self.data.path()).unwrap()
    }

    pub async fn stop(self) -> tempfile::TempDir {
        drop(self.end);
        patiently("the agent's end", self.task).await.unwrap();
        self.data
    }
}

pub fn local(data: &tempfile::TempDir, secrets: &[&str]) -> Local {
    Local {
        store_key: None,
        data: data.path().to_owned(),
        secrets: secrets.iter().map(|s| Secret::new(*s).unwrap()).collect(),
        policy: Policy::default(),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    }
}

/// A data folder with signed deliveries in it.
pub async fn stored(n: i64) -> tempfile::TempDir {
    stored_with(n, "").await
}

/// The same, where the body of each has this text in it too.
pub async fn stored_with(n: i64, more: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("archive");
    std::fs::create_dir_all(&dir).unwrap();
    let archive = Archive::open(&dir, Options::default()).unwrap();
    for i in 0..n {
        let body = format!(
            r#"{{"event_type":"appointment.created","resource_id":"{i}","resource_id_type":"Appointment","more":"{more}"}}"#
        );
        let request =
            Request { method: "POST", target: "/hook", content_type: "application/json", body: body.as_bytes() };
        let signed =
            tunnel_signature::sign(Reading::plain(Profile::Guide), &Secret::new(SECRET).unwrap(), &request).unwrap();
        let mut headers = Headers::default();
        for (name, value) in signed.lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        let at = Timestamp::from_micros(1_763_714_000_000_000 + i * 1_000_000);
        let delivery = Delivery {
            id: DeliveryId::first_at(at),
            received_at: at,
            tunnel: "team".parse().unwrap(),
            source_ip: "127.0.0.1".parse().unwrap(),
            environment: Environment::Unknown,
            method: "POST".parse().unwrap(),
            target: "/hook".parse().unwrap(),
            prefix_len: 0,
            http_version: HttpVersion::Http11,
            headers,
            body: body.clone().into(),
            lost: Vec::new(),
        };
        let intake = Intake {
            body_sha256: tunnel_signature::sha256(&delivery.body),
            event: tunnel_catalogue::read(&delivery.body),
            signature: Verdict::bare(SignatureStatus::NoSecret),
            queued: false,
            delivery: Arc::new(delivery),
        };
        archive.insert(intake).await.unwrap();
    }
    archive.close().await.unwrap();
    data
}
