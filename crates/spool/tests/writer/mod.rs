//! A process that appends without pause and says what was acknowledged, the ledger of what it said, and the check of a spool against
//! that ledger. For the tests that end the process in some hard way.
//!
//! The process is the test binary itself, started again with [`DIR`] set. It writes to two tunnels: from `taking` a device takes, so
//! that deliveries are deleted all the while; nobody takes from `keeping`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_spool::{Limits, ReadLimit, RedbSpool, Seq, Spool as _, SpoolError, Start};

use crate::sample;

const DIR: &str = "HEALTHIE_TUNNEL_SPOOL_WRITER";
const ROUND: &str = "HEALTHIE_TUNNEL_SPOOL_ROUND";

const LIMITS: Limits = Limits { max_age: Duration::from_secs(3600), max_bytes_per_tunnel: 24 << 20, min_free_bytes: 0 };

/// Long enough for any machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn tunnels() -> [TunnelName; 2] {
    ["taking", "keeping"].map(|name| name.parse().expect("a name"))
}

fn length(n: u64) -> usize {
    if n.is_multiple_of(97) { 200_000 } else { (n * 37 % 9000) as usize }
}

fn say(line: &str) {
    // One write for each line: a kill leaves a whole line or none, up to the pipe's atomic size.
    std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
}

/// In the child: writes until it is killed. In the parent: returns.
pub(crate) fn be_the_writer_if_asked() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let round: u64 = std::env::var(ROUND).expect("set beside it").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("threads");
    runtime.block_on(async {
        let spool = RedbSpool::open(Path::new(&dir), LIMITS).expect("it was opened before");
        let device = "slow".parse().expect("a name");
        let place = spool.join(&tunnels()[0], &device, Start::Now, Timestamp::default()).await.expect("it joins");
        let mut tasks = Vec::new();
        for lane in 0..8u64 {
            let spool = spool.clone();
            tasks.push(tokio::spawn(async move {
                let tunnel = &tunnels()[lane as usize % 2];
                for n in 0.. {
                    let n = round * 1_000_000_000 + lane * 100_000_000 + n;
                    match spool.append(sample::delivery(tunnel, n, n as i64, length(n))).await {
                        Ok(seq) => say(&format!("\nack {tunnel} {seq} {n}\n")),
                        Err(SpoolError::TunnelFull { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                        Err(other) => panic!("{other}"),
                    }
                }
            }));
        }
        // Takes all but the last 20, over and over.
        let mut taken = place.after;
        while tasks.iter().all(|t| !t.is_finished()) {
            let upto = Seq(spool.last(&tunnels()[0]).0.saturating_sub(20));
            if upto > taken {
                say(&format!("\ntaken {} {upto} 0\n", tunnels()[0]));
                spool.taken(&tunnels()[0], &device, upto);
                taken = upto;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    panic!("a writer ended");
}

/// A running writer. Dropping it kills it.
pub(crate) struct Writer {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Writer {
    /// Starts the test named `test` of this binary as a writer.
    pub(crate) fn start(test: &str, dir: &Path, round: u64) -> Writer {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", test, "--nocapture"])
            .env(DIR, dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts again");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Writer { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `count` more deliveries were acknowledged.
    pub(crate) fn wait(&self, ledger: &mut Ledger, count: u64) {
        let until = ledger.acknowledged() + count;
        while ledger.acknowledged() < until {
            let line = self.lines.recv_timeout(PATIENCE);
            ledger.note(&line.unwrap_or_else(|e| panic!("writer {}: {e} after {}", self.pid(), ledger.acknowledged())));
        }
    }

    /// Kills it (signal 9) and notes everything that it had said.
    pub(crate) fn kill(mut self, ledger: &mut Ledger) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was ours");
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            ledger.note(&line);
        }
    }
}

/// What was acknowledged and not taken, and what was taken.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Tunnel and place to the delivery's number.
    kept: BTreeMap<(String, u64), u64>,
    taken: BTreeMap<String, u64>,
    acknowledged: u64,
    /// The greatest place of each tunnel in the rounds before.
    before: BTreeMap<String, u64>,
}

impl Ledger {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [what @ ("ack" | "taken"), tunnel, seq, n] = words[..] else { return };
        let (seq, n): (u64, u64) = (seq.parse().expect("a place"), n.parse().expect("a number"));
        if what == "taken" {
            self.taken.insert(tunnel.to_owned(), seq);
            return;
        }
        assert!(self.before.get(tunnel).is_none_or(|last| *last < seq), "{tunnel} gave {seq} again");
        let earlier = self.kept.insert((tunnel.to_owned(), seq), n);
        assert_eq!(earlier, None, "{tunnel} gave {seq} twice");
        self.acknowledged += 1;
    }

    /// Opens the spool and looks for everything that was acknowledged and not taken. Then takes it all from `keeping`, so that many
    /// rounds need no more room than one. How many were looked for.
    pub(crate) fn check(&mut self, dir: &Path) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let spool = RedbSpool::open(dir, LIMITS).expect("what was killed opens again");
        let mut looked_for = 0;
        for name in tunnels() {
            let taken = self.taken.get(name.as_str()).copied().unwrap_or(0);
            let expected: BTreeMap<u64, u64> = std::mem::take(&mut self.kept)
                .into_iter()
                .filter_map(|((tunnel, seq), n)| {
                    if tunnel != name.as_str() {
                        self.kept.insert((tunnel, seq), n);
                        return None;
                    }
                    (seq > taken).then_some((seq, n))
                })
                .collect();
            let mut there = BTreeMap::new();
            let mut after = Seq::ZERO;
            loop {
                let some = spool.read(&name, after, ReadLimit { count: 100, bytes: 1 << 20 }).expect("it reads");
                let Some((last, _)) = some.last() else { break };
                after = *last;
                there.extend(some);
            }
            for (seq, n) in &expected {
                let found = there.get(&Seq(*seq));
                let whole = found.is_some_and(|d| *d == sample::delivery(&name, *n, *n as i64, length(*n)));
                assert!(whole, "{name} {seq} was acknowledged as number {n}; there is {:?}", found.map(|d| d.id));
            }
            looked_for += expected.len();
            self.before.insert(name.as_str().to_owned(), spool.last(&name).0);
        }
        let (keeping, device) = (&tunnels()[1], "checker".parse().expect("a name"));
        runtime.block_on(async {
            spool.join(keeping, &device, Start::Beginning, Timestamp::default()).await.expect("it joins");
            spool.taken(keeping, &device, spool.last(keeping));
            spool.forget(keeping, &device).await.expect("it is known");
        });
        looked_for
    }
}
