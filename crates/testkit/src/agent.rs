//! An agent as its developer meets it: `listen` in one terminal, the other commands in a second. It knows the JSON that is printed and
//! nothing of the program's inside.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;

use crate::{Binary, Log, Namespace, Process, Ran, Stage, eventually};

/// An agent with its data folder.
pub struct Agent {
    stage: Stage,
    name: String,
    data: PathBuf,
    target: Option<String>,
    prefix: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    listening: Option<Process>,
    lines: Log<Value>,
}

impl Agent {
    pub(crate) fn new(stage: Stage, name: &str) -> Agent {
        let data = stage.data(name);
        let name = format!("healthie-tunnel ({name})");
        Agent {
            stage,
            name,
            data,
            target: None,
            prefix: vec![],
            arguments: vec![],
            variables: vec![],
            listening: None,
            lines: Log::default(),
        }
    }

    /// Connects to this relay with this token.
    pub fn relay(self, url: &str, token: &str) -> Agent {
        self.with(&["--relay", url, "--token", token])
    }

    /// Forwards to this URL.
    pub fn target(mut self, url: &str) -> Agent {
        self.target = Some(url.to_owned());
        self
    }

    /// Knows this secret.
    pub fn secret(self, secret: &str) -> Agent {
        self.with(&["--secret", secret])
    }

    /// Runs everything in that namespace.
    pub fn within(mut self, namespace: &Namespace) -> Agent {
        self.prefix = namespace.prefix().map(str::to_owned).to_vec();
        self
    }

    /// Starts `listen` with more arguments.
    pub fn with(mut self, arguments: &[&str]) -> Agent {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Starts `listen` with one more variable in its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Agent {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the value of an argument for the next start.
    ///
    /// # Panics
    /// If the argument was not given before.
    pub fn change(&mut self, argument: &str, value: &str) {
        let at = self.arguments.iter().position(|a| a == argument).expect("an argument that was given");
        self.arguments[at + 1] = value.to_owned();
    }

    /// Where it keeps its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn listen(&self) -> Command {
        let mut command = self.stage.program_behind(&self.prefix, Binary::Tunnel);
        command.arg("listen").args(&self.target).args(&self.arguments);
        command.args(["--ui", "json", "--data"]).arg(&self.data);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `listen` and waits until it is connected.
    pub fn start(&mut self) -> &mut Agent {
        self.start_only();
        self.wait_line("ready");
        self
    }

    /// Starts `listen` without waiting.
    pub fn start_only(&mut self) -> &mut Agent {
        self.lines = Log::default();
        let process = Process::spawn(&self.name, &mut self.listen());
        let (from, to) = (process.lines().clone(), self.lines.clone());
        std::thread::spawn(move || {
            let mut done = 0;
            loop {
                let (fresh, over) = from.wait_more(done);
                for line in &fresh {
                    let other = || serde_json::json!({ "type": "not-json", "line": line });
                    to.push(serde_json::from_str(line).unwrap_or_else(|_| other()));
                }
                done += fresh.len();
                if over {
                    return to.end();
                }
            }
        });
        self.listening = Some(process);
        self
    }

    /// Runs `listen` to its end; for stories in which it is refused.
    pub fn refused(&self) -> Ran {
        Process::run(&self.name, &mut self.listen())
    }

    /// The running `listen`.
    ///
    /// # Panics
    /// If it was not started.
    pub fn process(&mut self) -> &mut Process {
        self.listening.as_mut().expect("the agent was started")
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Asks it to end and waits for it.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process().terminate()
    }

    /// What `listen` said since it was last started: JSON lines.
    pub fn lines(&self) -> &Log<Value> {
        &self.lines
    }

    /// Waits for the first line of that type.
    pub fn wait_line(&self, kind: &str) -> Value {
        let find = |lines: &[Value]| lines.iter().find(|line| line["type"] == kind).cloned();
        self.lines.wait(&format!("a line of type {kind}"), find)
    }

    /// Waits until `count` lines of that type have come, and gives all of that type.
    pub fn wait_lines(&self, kind: &str, count: usize) -> Vec<Value> {
        self.lines.wait(&format!("{count} lines of type {kind}"), |lines| {
            let found: Vec<Value> = lines.iter().filter(|line| line["type"] == kind).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits until a line of type `connection` in that state comes after the first `already` lines.
    pub fn wait_state(&self, state: &str, already: usize) -> Value {
        self.lines.wait(&format!("the connection to be {state}"), |lines| {
            let mut fresh = lines.iter().skip(already);
            fresh.find(|line| line["type"] == "connection" && line["state"] == state).cloned()
        })
    }

    /// Runs a command in a second terminal on the same data folder.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Process::run("healthie-tunnel", &mut self.command(arguments))
    }

    /// A command for a second terminal, to be changed before it is run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.stage.program_behind(&self.prefix, Binary::Tunnel);
        command.args(arguments).arg("--data").arg(&self.data);
        command
    }

    /// All that is stored, newest or oldest first as the program lists them, as it prints them.
    ///
    /// # Panics
    /// If the command fails.
    #[track_caller]
    pub fn events(&self, filters: &[&str]) -> Vec<Value> {
        let listed = self.run(&[&["events", "list", "--json", "--limit", "100000"], filters].concat()).ok().json();
        match listed {
            Value::Array(events) => events,
            other => panic!("not a list: {other}"),
        }
    }

    /// One stored delivery as JSON.
    ///
    /// # Panics
    /// If the command fails.
    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        self.run(&["events", "show", id, "--json"]).ok().json()
    }

    /// One stored delivery as JSON, once it has that many attempts: they are told about before they are on the disk.
    ///
    /// # Panics
    /// If it has not within the deadline.
    #[track_caller]
    pub fn show_attempted(&self, id: &str, attempts: usize) -> Value {
        eventually(&format!("{attempts} recorded attempts"), || {
            let shown = self.show(id);
            (shown["attempts"].as_array().map(Vec::len) >= Some(attempts)).then_some(shown)
        })
    }
}
