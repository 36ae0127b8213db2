//! Real proxies before the relay: nginx, haproxy, caddy, each on a socket in the story's own folder, set up as their manuals have it, with connections to the
//! relay that are kept and used again, which is what smuggling needs. Their time limits for who sends are short, so that a request that never ends is
//! given up soon; for the relay they are long, since its disk may be busy.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tunnel_testkit::{Process, Stage, eventually, skipped};

/// A program that stands before the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Nginx,
    Haproxy,
    Caddy,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Haproxy => "haproxy",
            Program::Caddy => "caddy",
        }
    }

    /// What it calls its version; nothing if it is not installed.
    fn version(self) -> Option<String> {
        let argument = if self == Program::Caddy { "version" } else { "-v" };
        let said = Command::new(self.name()).arg(argument).env("HOME", "/nonexistent").output().ok()?;
        let all = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&all).into_owned();
        let number = |word: &str| {
            word.trim_start_matches(|c: char| !c.is_ascii_digit()).split(['-', '+']).next().map(str::to_owned)
        };
        text.split_whitespace().filter_map(number).find(|word| word.contains('.'))
    }

    fn arguments(self, file: &Path) -> Vec<String> {
        let file = file.display().to_string();
        match self {
            Program::Nginx => vec!["-c".into(), file],
            Program::Haproxy => vec!["-db".into(), "-f".into(), file],
            Program::Caddy => vec!["run".into(), "--adapter".into(), "caddyfile".into(), "--config".into(), file],
        }
    }

    fn settings(self, folder: &Path, listen: &Path, relay: &Path) -> String {
        let (folder, listen, relay) = (folder.display(), listen.display(), relay.display());
        match self {
            Program::Nginx => {
                let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
                    .concat();
                format!(
                    "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr crit;\nevents {{ worker_connections 256; }}\n\
                     http {{\n  access_log off;\n{folders}  client_header_timeout 1s;\n  client_body_timeout 1s;\n  keepalive_timeout 1s;\n  client_max_body_size 10m;\n\
                     \x20 upstream relay {{ server unix:{relay}; keepalive 4; }}\n\
                     \x20 server {{\n    listen unix:{listen};\n    location / {{\n      proxy_pass http://relay;\n      proxy_http_version 1.1;\n\
                     \x20     proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      add_header X-From $upstream_addr always;\n    }}\n  }}\n}}\n"
                )
            }
            Program::Haproxy => format!(
                "defaults\n  mode http\n  timeout connect 30s\n  timeout server 30s\n  timeout client 1s\n  timeout http-request 1s\n  timeout http-keep-alive 1s\n\
                 \x20 http-reuse always\nfrontend door\n  bind unix@{listen}\n  default_backend relay\nbackend relay\n\
                 \x20 http-response set-header X-From relay\n  server relay unix@{relay}\n"
            ),
            Program::Caddy => format!(
                "{{\n  admin off\n  auto_https off\n  storage file_system {folder}/storage\n  log {{\n    level ERROR\n  }}\n\
                 \x20 servers {{\n    timeouts {{\n      read_header 1s\n      read_body 1s\n      idle 1s\n    }}\n  }}\n}}\n\
                 http:// {{\n  bind unix/{listen}\n  reverse_proxy unix/{relay} {{\n    header_down X-From relay\n  }}\n}}\n"
            ),
        }
    }
}

/// A running proxy.
pub(crate) struct Front {
    pub(crate) version: String,
    listen: PathBuf,
    _process: Process,
}

impl Front {
    /// Starts one that hands on to the socket `relay`; nothing, and a loud word, where it is not installed.
    pub(crate) fn start_or_skip(stage: &Stage, program: Program, relay: &Path) -> Option<Front> {
        let name = program.name();
        let Some(version) = program.version() else {
            skipped(&format!(
                "there is no {name} here (Debian: apt-get install {name}), so NOTHING IS TRIED THROUGH {}",
                name.to_uppercase()
            ));
            return None;
        };
        let folder = stage.folder().join(name);
        std::fs::create_dir(&folder).unwrap();
        let (listen, file) = (folder.join("door"), folder.join("settings"));
        std::fs::write(&file, program.settings(&folder, &listen, relay)).unwrap();
        let mut command = stage.command(name);
        command.args(program.arguments(&file));
        if program == Program::Nginx {
            command.arg("-p").arg(&folder);
        }
        let mut process = Process::spawn(name, &mut command);
        eventually(&format!("{name} to listen"), || {
            assert!(!process.has_ended(), "{name} ended: {}", String::from_utf8_lossy(&process.printed()));
            UnixStream::connect(&listen).ok()
        });
        Some(Front { version, listen, _process: process })
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.listen).expect("it listens")
    }
}
