//! An agent that never reaches its relay, and data folders with deliveries in them.

use std::path::Path;
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
use tunnel_archive::Keep;
use tunnel_delivery::SignatureStatus;
use tunnel_protocol::Start;
use tunnel_signature::{Profile, Secret};

use super::deliveries::{self, intake, plain, second, signed};
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

pub fn local(data: impl AsRef<Path>, secrets: &[&str]) -> Local {
    Local {
        store_key: None,
        data: data.as_ref().to_owned(),
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
    let all = (0..n).map(|i| {
        let body = format!(
            r#"{{"event_type":"appointment.created","resource_id":"{i}","resource_id_type":"Appointment","more":"{more}"}}"#
        );
        intake(signed(plain(second(i), body), Profile::Guide, SECRET), SignatureStatus::NoSecret)
    });
    deliveries::store(&data.path().join("archive"), all).await;
    data
}
