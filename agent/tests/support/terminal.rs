//! A program on a real terminal: a pseudo terminal with the screen that it makes.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::io::{Read as _, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the program wrote so far, as the terminal shows it.
struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
    ended: bool,
}

/// A program and its terminal.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    modes: String,
}

impl Terminal {
    /// Starts a program on a terminal of that size, in a folder, with nothing of this process's environment but the path.
    pub fn start(columns: u16, rows: u16, folder: &Path, words: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let modes = format!("{:?}", pair.master.get_termios().unwrap());
        let mut command = CommandBuilder::new(words[0]);
        command.args(&words[1..]);
        command.env_clear();
        command.cwd(folder);
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("HOME", folder);
        command.env("TERM", "xterm-256color");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let shown = Shown { parser: vt100::Parser::new(rows, columns, 0), bytes: Vec::new(), ended: false };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let to = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                // A terminal whose program has gone fails to be read.
                let n = reader.read(&mut buffer).unwrap_or(0);
                let mut shown = to.0.lock().unwrap();
                shown.parser.process(&buffer[..n]);
                shown.bytes.extend_from_slice(&buffer[..n]);
                shown.ended = n == 0;
                to.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Terminal { master: pair.master, child, keys, shown, modes }
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.process_id().unwrap()).unwrap()
    }

    /// Waits until the screen is so, and gives its text.
    pub fn until(&self, what: &str, is: impl Fn(&vt100::Screen) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let screen = shown.parser.screen();
            if is(screen) {
                return screen.contents();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {what}; the screen is\n{}", screen.contents());
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits until the screen has this text.
    pub fn shows(&self, text: &str) -> String {
        self.until(&format!("{text:?}"), |screen| screen.contents().contains(text))
    }

    /// Whether the terminal is as a full-screen program has it.
    pub fn is_taken(screen: &vt100::Screen) -> bool {
        screen.alternate_screen() && screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }

    /// Waits until the terminal is as it was before the program: screen, cursor, mouse, pasting, and the modes of its line.
    pub fn is_given_back(&self) {
        self.until("the screen to be given back", |screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
        let deadline = Instant::now() + PATIENCE;
        // The modes are set after the last byte that is seen here.
        while self.modes() != self.modes {
            assert!(Instant::now() < deadline, "the terminal's modes are {}, and were {}", self.modes(), self.modes);
            std::thread::yield_now();
        }
    }

    /// Whether keys come as they are pressed.
    pub fn is_raw(&self) -> bool {
        self.modes() != self.modes
    }

    fn modes(&self) -> String {
        format!("{:?}", self.master.get_termios().unwrap())
    }

    /// Waits for the program's end; its exit code.
    pub fn ended(&mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            let shown = self.shown.0.lock().unwrap();
            assert!(Instant::now() < deadline, "it does not end; the screen is\n{}", shown.parser.screen().contents());
            drop(self.shown.1.wait_timeout(shown, Duration::from_millis(20)).unwrap());
        }
    }

    /// All that was written.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.0.lock().unwrap().bytes).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
