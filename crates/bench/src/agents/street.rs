//! What stands on loopback while agents are measured: a relay with TLS and many tunnels, which can be restarted at its addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tunnel_testkit::{Authority, Binary, ServerCertificate, Stage};

use crate::error::{BenchError, wrong};
use crate::load::Door;
use crate::programs::{Programs, Running};
use crate::rig::{DOMAIN, finish};

/// The relay's name on its certificate.
pub(crate) const NAME: &str = DOMAIN;

/// How the relay ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As by kill -9.
    Killed,
    /// As a service manager asks for it.
    Asked,
}

impl Ending {
    /// As it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ending::Killed => "kill -9",
            Ending::Asked => "SIGTERM",
        }
    }
}

/// All of it; it ends and is removed when dropped.
pub(crate) struct Street<'p> {
    programs: &'p Programs,
    relay: Running,
    http: SocketAddr,
    https: SocketAddr,
    tokens: Vec<Arc<str>>,
    authority: Authority,
    certificate: ServerCertificate,
    stage: Stage,
}

impl<'p> Street<'p> {
    /// A relay with so many tunnels. Blocks until it listens.
    pub(crate) fn start(programs: &'p Programs, tunnels: usize) -> Result<Street<'p>, BenchError> {
        let stage = Stage::new();
        let authority = Authority::new("tunnel-bench");
        let certificate = authority.server(stage.folder(), &[NAME]);
        let data = stage.data("relay");
        let run = |arguments: &[&str]| {
            let mut command = programs.command(&stage, Binary::Relay);
            command.args(arguments).arg("--data").arg(&data);
            finish(command)
        };
        let mut tokens = Vec::with_capacity(tunnels);
        for at in 0..tunnels {
            let name = tunnel(at);
            run(&["tunnel", "add", &name])?;
            tokens.push(run(&["token", "create", "--tunnel", &name])?.into());
        }
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (relay, http, https) = serve(programs, &stage, &certificate, [anywhere, anywhere])?;
        Ok(Street { programs, relay, http, https, tokens, authority, certificate, stage })
    }

    /// Ends the relay and starts it at the same addresses; blocks until it listens.
    pub(crate) fn restart(&mut self, ending: Ending) -> Result<(), BenchError> {
        match ending {
            Ending::Killed => self.relay.kill(),
            Ending::Asked => self.relay.terminate()?,
        }
        (self.relay, _, _) = serve(self.programs, &self.stage, &self.certificate, [self.http, self.https])?;
        Ok(())
    }

    /// The relay's process.
    pub(crate) fn pid(&self) -> u32 {
        self.relay.pid()
    }

    /// Where it listens for agents.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https
    }

    /// A tunnel and a token for it.
    pub(crate) fn tunnel(&self, at: usize) -> (String, Arc<str>) {
        (tunnel(at), Arc::clone(&self.tokens[at]))
    }

    /// Where one posts for a tunnel.
    pub(crate) fn door(&self, at: usize) -> Door {
        Door { address: self.http, host: format!("{}.{DOMAIN}", tunnel(at)) }
    }

    /// How members know the relay.
    pub(crate) fn trust(&self) -> Result<ClientConfig, BenchError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).map_err(wrong)?;
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

fn tunnel(at: usize) -> String {
    format!("t{at}")
}

fn serve(
    programs: &Programs,
    stage: &Stage,
    certificate: &ServerCertificate,
    [http, https]: [SocketAddr; 2],
) -> Result<(Running, SocketAddr, SocketAddr), BenchError> {
    let data = stage.data("relay");
    let file = data.join("addresses.json");
    // From the last run. It may not be there.
    let _ = std::fs::remove_file(&file);
    let mut command = programs.command(stage, Binary::Relay);
    command.args(["serve", "--http", &http.to_string(), "--https", &https.to_string(), "--domain", DOMAIN]);
    // All agents come from one machine here.
    command.args(["--address-handshakes", "0"]);
    command.arg("--cert").arg(&certificate.certificate).arg("--key").arg(&certificate.key).arg("--data").arg(&data);
    let mut relay = Running::start("relay", stage, command)?;
    let (http, https) = relay.wait(|_| {
        let addresses: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        let read = |name: &str| addresses[name].as_str()?.parse().ok();
        Some((read("http")?, read("https")?))
    })?;
    Ok((relay, http, https))
}
