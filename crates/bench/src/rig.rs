//! What stands on loopback while the path is measured: a handler, a relay with two tunnels, and an agent on each.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tunnel_testkit::{AnswerMode, Binary, Stage};

use crate::error::{self, BenchError, wrong};
use crate::handler::Handler;
use crate::load::Door;
use crate::programs::{Programs, Running};
use crate::sample::SECRET;

/// The domain below which the tunnels are.
pub(crate) const DOMAIN: &str = "relay.test";

/// How a delivery gets to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight from the sender.
    Direct,
    /// Through both programs, and the answer back the same way.
    Passthrough,
    /// Through both programs, answered when it is spooled.
    Ack,
}

impl Way {
    /// In the order in which they are measured; the first is the baseline.
    pub(crate) const ALL: [Way; 3] = [Way::Direct, Way::Passthrough, Way::Ack];

    /// As it is printed, and the name of the tunnel.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Passthrough => "passthrough",
            Way::Ack => "ack",
        }
    }
}

/// All of it; it ends and is removed when dropped.
pub(crate) struct Rig {
    programs: Vec<(&'static str, Running)>,
    handler: Handler,
    relay: SocketAddr,
    _stage: Stage,
}

impl Rig {
    /// Starts everything and waits until it is ready. Blocks while it does.
    pub(crate) fn start(programs: &Programs) -> Result<Rig, BenchError> {
        let stage = Stage::new();
        let handler = Handler::start().map_err(error::io("listen on loopback"))?;
        let data = stage.data("relay");
        let relay = |arguments: &[&str]| {
            let mut command = programs.command(&stage, Binary::Relay);
            command.args(arguments).arg("--data").arg(&data);
            command
        };
        let mut tokens = Vec::new();
        for (way, answer) in [(Way::Passthrough, AnswerMode::Passthrough), (Way::Ack, AnswerMode::Ack)] {
            finish(relay(&["tunnel", "add", way.name(), "--answer", answer.as_str()]))?;
            tokens.push((way, finish(relay(&["token", "create", "--tunnel", way.name()]))?));
        }
        let serve =
            relay(&["serve", "--http", "127.0.0.1:0", "--domain", DOMAIN, "--address-rate", "0", "--tunnel-rate", "0"]);
        let mut server = Running::start("relay", &stage, serve)?;
        let file = data.join("addresses.json");
        let address: SocketAddr = server.wait(|_| {
            let addresses: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            addresses["http"].as_str()?.parse().ok()
        })?;
        let mut running = vec![("relay", server)];
        for (way, token) in tokens {
            let mut command = programs.command(&stage, Binary::Tunnel);
            command.args(["listen", &format!("http://{}", handler.address()), "--ui", "json"]);
            command.args(["--relay", &format!("http://{address}"), "--tunnel", way.name()]);
            command.env("HEALTHIE_TUNNEL_TOKEN", token).env("HEALTHIE_WEBHOOK_SECRET", SECRET);
            command.arg("--data").arg(stage.data(way.name()));
            let mut agent = Running::start(way.name(), &stage, command)?;
            agent.wait_line(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["type"] == "ready"))?;
            running.push((if way == Way::Ack { "agent, ack" } else { "agent, passthrough" }, agent));
        }
        Ok(Rig { programs: running, handler, relay: address, _stage: stage })
    }

    /// Where a sender posts.
    pub(crate) fn door(&self, way: Way) -> Door {
        match way {
            Way::Direct => Door { address: self.handler.address(), host: self.handler.address().to_string() },
            _ => Door { address: self.relay, host: format!("{}.{DOMAIN}", way.name()) },
        }
    }

    /// The handler at the end.
    pub(crate) fn handler(&self) -> &Handler {
        &self.handler
    }

    /// The programs that run: names and process ids.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.programs.iter().map(|(name, running)| (*name, running.pid()))
    }
}

/// Runs a command to its end; gives what it printed, without the line's end.
pub(crate) fn finish(mut command: Command) -> Result<String, BenchError> {
    let ran = command.output().map_err(error::io("start a program"))?;
    if !ran.status.success() {
        let what = format!("{}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
        return Err(BenchError::Program { name: Binary::Relay.name().to_owned(), what });
    }
    Ok(String::from_utf8(ran.stdout).map_err(wrong)?.trim_end().to_owned())
}
