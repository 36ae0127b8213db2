//! What stands on loopback while outages are measured: a handler, a relay with one tunnel that answers at once, and an agent, each of which
//! comes and goes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_testkit::{AnswerMode, Binary, Proxy, Stage};

use crate::error::{self, BenchError};
use crate::handler::Handler;
use crate::load::Door;
use crate::programs::{Programs, Running};
use crate::rig::{DOMAIN, finish};

const TUNNEL: &str = "bench";

/// All of it; it ends and is removed when dropped.
pub(crate) struct Stand<'p> {
    programs: &'p Programs,
    agent: Option<Running>,
    relay: Option<Running>,
    /// What the agent connects to: it leads to the relay wherever that listens now.
    link: Proxy,
    handler: Handler,
    at: SocketAddr,
    token: String,
    stage: Stage,
}

impl<'p> Stand<'p> {
    /// A running relay and no agent.
    pub(crate) fn start(programs: &'p Programs) -> Result<Stand<'p>, BenchError> {
        let stage = Stage::new();
        let handler = Handler::start().map_err(error::io("listen on loopback"))?;
        let relay = |arguments: &[&str]| {
            let mut command = programs.command(&stage, Binary::Relay);
            command.args(arguments).arg("--data").arg(stage.data("relay"));
            finish(command)
        };
        relay(&["tunnel", "add", TUNNEL, "--answer", AnswerMode::Ack.as_str()])?;
        let token = relay(&["token", "create", "--tunnel", TUNNEL])?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let link = Proxy::start(nowhere);
        let mut stand = Stand { programs, agent: None, relay: None, link, handler, at: nowhere, token, stage };
        stand.start_relay()?;
        Ok(stand)
    }

    /// Starts the relay; gives how long it took until it listened.
    pub(crate) fn start_relay(&mut self) -> Result<Duration, BenchError> {
        let data = self.stage.data("relay");
        let file = data.join("addresses.json");
        // From the last run. It may not be there.
        let _ = std::fs::remove_file(&file);
        let mut command = self.programs.command(&self.stage, Binary::Relay);
        command
            .args(["serve", "--http", "127.0.0.1:0", "--domain", DOMAIN, "--address-rate", "0", "--tunnel-rate", "0"])
            .arg("--data")
            .arg(&data);
        let begin = Instant::now();
        let relay = self.relay.insert(Running::start("relay", &self.stage, command)?);
        self.at = relay.wait(|_| {
            let addresses: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            addresses["http"].as_str()?.parse().ok()
        })?;
        self.link.lead_to(self.at);
        Ok(begin.elapsed())
    }

    /// Kills the relay.
    pub(crate) fn kill_relay(&mut self) {
        self.relay = None;
    }

    /// Starts the agent; it is not waited for.
    pub(crate) fn start_agent(&mut self, through: Through) -> Result<(), BenchError> {
        let mut command = self.agent_command();
        match through {
            Through::Archive => command.arg("--no-forward"),
            Through::Handler => command.arg(format!("http://{}", self.handler.address())),
        };
        // A proxy would be measured too; while the relay comes and goes there is no other way.
        let relay = if self.relay.is_some() { format!("http://{}", self.at) } else { self.link.url() };
        command.args(["--ui", "json", "--relay", &relay, "--device", "bench"]);
        self.agent = Some(Running::start("agent", &self.stage, command)?);
        Ok(())
    }

    fn agent_command(&self) -> Command {
        let mut command = self.programs.command(&self.stage, Binary::Tunnel);
        command.arg("listen").env("HEALTHIE_TUNNEL_TOKEN", &self.token).arg("--data").arg(self.agent_data());
        command
    }

    /// Waits until the agent is connected.
    pub(crate) fn agent_ready(&mut self) -> Result<(), BenchError> {
        let is_ready = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["type"] == "ready");
        self.agent.as_mut().map_or(Ok(()), |agent| agent.wait_line(is_ready))
    }

    /// Kills the agent.
    pub(crate) fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// How many deliveries the agent has told of since it started.
    pub(crate) fn told(&self) -> u64 {
        self.agent.as_ref().map_or(0, Running::told)
    }

    /// Where a sender posts.
    pub(crate) fn door(&self) -> Door {
        Door { address: self.at, host: format!("{TUNNEL}.{DOMAIN}") }
    }

    /// The handler at the end.
    pub(crate) fn handler(&self) -> &Handler {
        &self.handler
    }

    /// The process ids of relay and agent.
    pub(crate) fn pids(&self) -> [Option<u32>; 2] {
        [&self.relay, &self.agent].map(|running| running.as_ref().map(Running::pid))
    }

    /// The relay's data folder.
    pub(crate) fn relay_data(&self) -> PathBuf {
        self.stage.data("relay")
    }

    /// The agent's data folder.
    pub(crate) fn agent_data(&self) -> PathBuf {
        self.stage.data("agent")
    }
}

/// How far a delivery goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// Until the agent has it.
    Archive,
    /// On to the handler.
    Handler,
}
