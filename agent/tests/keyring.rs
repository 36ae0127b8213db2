//! The key of the store in a real Secret Service: GNOME Keyring on a session bus of the test's own, without a screen. Skips, loudly, where there is none.

#[path = "stage/ran.rs"]
mod ran;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ran::Ran;

/// How long a service may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session bus and what is on it; gone with this.
struct Session {
    home: tempfile::TempDir,
    bus: String,
    daemon: Option<Child>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A keyring ends with its bus.
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The first line that a program prints; it may go on running.
fn first_line(child: &mut Child) -> String {
    let out = child.stdout.take().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(out).read_line(&mut line);
        let _ = tell.send(line);
    });
    let line = told.recv_timeout(PATIENCE).expect("it says where it is");
    line.trim().to_owned()
}

impl Session {
    /// A bus, which starts a keyring that is unlocked for whoever asks for one; or one that has none.
    fn start(keyring: bool) -> Option<Session> {
        for program in ["dbus-daemon", "gnome-keyring-daemon"] {
            if !installed(program) {
                // Past the harness, which keeps what a passing test prints to itself.
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: there is no {program} here (Debian: apt-get install dbus gnome-keyring), so the system's keyring is not tried with a real one"
                );
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        let (config, services, socket) =
            (home.path().join("bus.conf"), home.path().join("services"), home.path().join("bus"));
        std::fs::create_dir(&services).unwrap();
        if keyring {
            let unlocked = "printf password | gnome-keyring-daemon --foreground --components=secrets --unlock";
            let service = format!("[D-BUS Service]\nName=org.freedesktop.secrets\nExec=/bin/sh -c \"{unlocked}\"\n");
            std::fs::write(services.join("org.freedesktop.secrets.service"), service).unwrap();
        }
        // Not the system's configuration: it would start whatever services are installed on the machine.
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><servicedir>{}</servicedir><policy context="default">
            <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#,
            socket.display(),
            services.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut session = Session { home, bus: String::new(), daemon: None };
        let mut daemon = session.command("dbus-daemon");
        daemon.arg(format!("--config-file={}", config.display())).args(["--nofork", "--print-address"]);
        let daemon = session.daemon.insert(daemon.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let address = first_line(daemon);
        session.bus = address;
        Some(session)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let home = self.home.path();
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
        command.env("XDG_RUNTIME_DIR", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home);
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.bus);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_healthie-tunnel"));
        command.current_dir(self.home.path()).args(arguments);
        ran(command)
    }
}

fn ran(mut command: Command) -> Ran {
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    Ran(command.output().unwrap(), arguments.join(" "))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_key_made_in_the_keyring_locks_and_opens() {
    let Some(session) = Session::start(true) else { return };
    let said = session.run(&["store", "new-key", "--keyring"]).exits(0).err();
    assert!(said.contains("--store-key-keyring gives it"), "{said}");
    session.run(&["store", "new-key", "--keyring"]).exits(2).says("there is a key \"store\"");
    let said = session.run(&["store", "new-key", "--keyring=other one"]).exits(0).err();
    assert!(said.contains("--store-key-keyring='other one'"), "{said}");

    let data = session.home.path().join("data");
    let data = data.to_str().unwrap();
    let with = |arguments: &[&str], key: &str| session.run(&[arguments, &["--data", data, key]].concat());
    with(&["key", "new"], "--store-key-keyring").exits(0);
    let file = text(&Path::new(data).join("device.keys"));
    assert!(file.contains("healthie-tunnel-locked-keys-1") && !file.contains("healthie-tunnel-key-1"), "{file}");
    let shown = with(&["key", "show"], "--store-key-keyring").exits(0).out();
    assert!(shown.contains("sealed to now"), "{shown}");
    with(&["key", "show"], "--store-key-keyring=other one").exits(2).says("is encrypted with the key");
    with(&["key", "show"], "--store-key-keyring=none").exits(2).says("it has no key \"none\"");
    session.run(&["key", "show", "--data", data]).exits(2).says("--store-key-keyring");
    // By the environment, as settings have it.
    let mut command = session.command(env!("CARGO_BIN_EXE_healthie-tunnel"));
    command.env("HEALTHIE_TUNNEL_STORE_KEY_KEYRING", "store").args(["key", "show", "--data", data]);
    ran(command).exits(0);
}

#[test]
fn without_a_keyring_the_other_ways_are_named() {
    let Some(session) = Session::start(false) else { return };
    let ways = ["--store-key-file", "HEALTHIE_TUNNEL_STORE_KEY", "--store-key-command"];
    let asked = session.run(&["key", "new", "--data", "data", "--store-key-keyring"]).exits(2).err();
    let made = session.run(&["store", "new-key", "--keyring"]).exits(3).err();
    for way in ways {
        assert!(asked.contains(way) && made.contains(way), "{way}: {asked}{made}");
    }
    // Nor a bus.
    let mut command = session.command(env!("CARGO_BIN_EXE_healthie-tunnel"));
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent").args(["store", "new-key", "--keyring"]);
    ran(command).exits(3).says("the system's keyring took no key");
}
