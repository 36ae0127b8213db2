//! A relay as its operator meets it: a data folder, commands, and a server that can be started, stopped and killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;

use crate::{Binary, Namespace, Process, Ran, ServerCertificate, Stage, eventually, setting};

/// What a tunnel answers Healthie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerMode {
    /// 200 as soon as the delivery is spooled.
    Ack,
    /// The handler's own answer.
    Passthrough,
}

impl AnswerMode {
    /// As the command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerMode::Ack => "ack",
            AnswerMode::Passthrough => "passthrough",
        }
    }
}

/// Stories send as fast as they can, and all from one address; those about rates set their own.
const FAST: [(&str, &str); 2] = [("HEALTHIE_RELAY_ADDRESS_RATE", "0"), ("HEALTHIE_RELAY_TUNNEL_RATE", "0")];

/// A relay with its data folder.
pub struct Relay {
    stage: Stage,
    data: PathBuf,
    domain: String,
    listen: String,
    prefix: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    server: Option<Process>,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
}

impl Relay {
    /// The domain below which tunnels have host names, unless the story says otherwise.
    pub const DOMAIN: &str = "relay.test";

    pub(crate) fn new(stage: Stage) -> Relay {
        let data = stage.data("relay");
        Relay {
            stage,
            data,
            domain: Relay::DOMAIN.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            prefix: vec![],
            arguments: vec![],
            environment: FAST.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            server: None,
            http: None,
            https: None,
        }
    }

    /// Starts it with another domain.
    pub fn with_domain(mut self, domain: &str) -> Relay {
        domain.clone_into(&mut self.domain);
        self
    }

    /// Starts the server in that namespace and listening on its line.
    pub fn within(mut self, namespace: &Namespace) -> Relay {
        self.listen = format!("{}:0", namespace.address());
        self.prefix = namespace.prefix().map(str::to_owned).to_vec();
        self
    }

    /// Listens there from the next start on. A port other than 0 only in a namespace of the story's own.
    pub fn listen_at(&mut self, at: &str) {
        at.clone_into(&mut self.listen);
    }

    /// Starts it with HTTPS as well.
    pub fn with_tls(mut self, files: &ServerCertificate) -> Relay {
        let certificate = files.certificate.display().to_string();
        let key = files.key.display().to_string();
        self.arguments.extend(["--https", "127.0.0.1:0", "--cert", &certificate, "--key", &key].map(str::to_owned));
        self
    }

    /// Starts it with one more variable in its environment.
    pub fn with_environment(mut self, name: &str, value: &str) -> Relay {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it with more arguments.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Relay {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Where it keeps its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs one of its commands to its end, with the data folder added.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.stage.program(Binary::Relay);
        command.args(arguments).arg("--data").arg(&self.data);
        Process::run("healthie-relay", &mut command)
    }

    /// Adds a tunnel and gives a token for it.
    ///
    /// # Panics
    /// If one of the commands fails.
    #[track_caller]
    pub fn add_tunnel(&self, name: &str, answer: AnswerMode) -> String {
        let mut add = vec!["tunnel", "add", name, "--answer", answer.as_str()];
        // Any story can be played over sealed tunnels, but those in which deliveries come before an agent ever did: they are refused then.
        if setting("HEALTHIE_TUNNEL_SEALED", 0) > 0 {
            add.push("--seal");
        }
        self.run(&add).ok();
        self.token(name)
    }

    /// Creates one more token for a tunnel.
    ///
    /// # Panics
    /// If the command fails or prints anything else.
    #[track_caller]
    pub fn token(&self, tunnel: &str) -> String {
        let out = self.run(&["token", "create", "--tunnel", tunnel]).ok().out();
        let token = out.trim_end_matches('\n').to_owned();
        assert!(!token.is_empty() && !token.contains(char::is_whitespace), "not a token and nothing else: {out:?}");
        token
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Panics
    /// If it does not within the deadline.
    pub fn start(&mut self) -> &mut Relay {
        self.start_only();
        let file = self.data.join("addresses.json");
        let server = self.server.as_mut().expect("it was just started");
        let addresses: Value = eventually("the relay's addresses.json", || {
            assert!(!server.has_ended(), "the relay ended: {}", String::from_utf8_lossy(&server.printed()));
            serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
        });
        let read = |name: &str| addresses[name].as_str().and_then(|text| text.parse().ok());
        (self.http, self.https) = (read("http"), read("https"));
        assert!(self.http.is_some(), "no address for HTTP in {addresses}");
        self
    }

    /// Starts the server without waiting; for stories in which it is to fail.
    pub fn start_only(&mut self) -> &mut Process {
        // From the last run: its addresses are not this one's. It may not be there.
        let _ = std::fs::remove_file(self.data.join("addresses.json"));
        let mut command = self.stage.program_behind(&self.prefix, Binary::Relay);
        command.args(["serve", "--http", &self.listen, "--domain", &self.domain]);
        command.args(&self.arguments).arg("--data").arg(&self.data);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.server.insert(Process::spawn("healthie-relay serve", &mut command))
    }

    /// Its address for HTTP.
    ///
    /// # Panics
    /// If it was not started.
    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        self.http.expect("the relay was started")
    }

    /// Its address for HTTPS.
    ///
    /// # Panics
    /// If it was not started with TLS.
    #[track_caller]
    pub fn https(&self) -> SocketAddr {
        self.https.expect("the relay was started with TLS")
    }

    /// Its address for HTTP as a URL.
    #[track_caller]
    pub fn url(&self) -> String {
        format!("http://{}", self.http())
    }

    /// The running server.
    ///
    /// # Panics
    /// If it was not started.
    pub fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("the relay was started")
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.server().kill();
    }

    /// Asks it to end and waits for it.
    pub fn terminate(&mut self) -> ExitStatus {
        self.server().terminate()
    }
}
