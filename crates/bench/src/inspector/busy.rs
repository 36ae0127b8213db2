//! Keys while deliveries come: an agent with its inspector on a terminal, a relay, and senders that post at a fixed rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_testkit::{AnswerMode, Binary, Stage};

use super::screen::Screen;
use super::{DOWN, Frames};
use crate::error::BenchError;
use crate::load::{Connections, Door, Limit, load};
use crate::programs::{Programs, Running};
use crate::rig::{DOMAIN, finish};
use crate::table::{Printer, Table};
use crate::{Arguments, machine};

const ABOUT: &str = "from a key to the frame that it changed, in an agent that takes deliveries in meanwhile";
const TUNNEL: &str = "bench";

/// Deliveries that come in a second, and how many of them at once.
const RATES: [u64; 3] = [0, 500, 2000];
const AT_ONCE: u64 = 100;
const SENDERS: usize = 8;

/// Two keys are this far apart.
const APART: Duration = Duration::from_millis(50);

/// Measures, and prints a table.
pub(super) async fn measure(programs: &Programs, arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let stage = Stage::new();
    let data = stage.data("relay");
    let relay = |words: &[&str]| {
        let mut command = programs.command(&stage, Binary::Relay);
        command.args(words).arg("--data").arg(&data);
        command
    };
    finish(relay(&["tunnel", "add", TUNNEL, "--answer", AnswerMode::Ack.as_str()]))?;
    let token = finish(relay(&["token", "create", "--tunnel", TUNNEL]))?;
    let mut server = Running::start(
        "relay",
        &stage,
        relay(&["serve", "--http", "127.0.0.1:0", "--domain", DOMAIN, "--address-rate", "0", "--tunnel-rate", "0"]),
    )?;
    let file = data.join("addresses.json");
    let address: SocketAddr = server.wait(|_| {
        let addresses: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        addresses["http"].as_str()?.parse().ok()
    })?;
    let mut command = programs.command(&stage, Binary::Tunnel);
    command.args(["listen", "--no-forward", "--ui", "tui", "--relay", &format!("http://{address}")]);
    command.env("HEALTHIE_TUNNEL_TOKEN", token).arg("--data").arg(stage.data("agent"));
    let mut screen = Screen::start(&command)?;
    screen.wait("a connection", |s| s.shows("connected"))?;
    let door = Door { address, host: format!("{TUNNEL}.{DOMAIN}") };

    let columns = ["p50 ms", "p99 ms", "max ms", "keys", "over 16.7 ms", "never", "came a second", "resident MiB"];
    let mut table = Table::new("inspector", ABOUT, columns);
    let numbers = Arc::new(AtomicU64::new(1));
    // One load for all, so that the list has lines to walk through.
    load(&door, Connections::Kept, SENDERS, Limit { time: Duration::from_secs(5), count: 2000 }, &numbers).await?;
    for rate in RATES {
        let end = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn(send(door.clone(), rate, Arc::clone(&numbers), Arc::clone(&end)));
        // At least two seconds of the time that a figure takes.
        let time = Duration::from_secs_f64(arguments.seconds.max(1.0) * 3.0);
        let frames = tokio::task::block_in_place(|| press(&mut screen, time))?;
        end.store(true, Ordering::Relaxed);
        let came = sending.await.map_err(crate::error::wrong)??;
        let resident = screen.pid().and_then(machine::resident_mib);
        let [p50, p99, max, keys, late, never] = frames.figures();
        table.row(format!("{rate} a second"), [p50, p99, max, keys, late, never, Some(came), resident]);
    }
    printer.print(&table)
}

/// Sends at that rate until the end; how many were answered in a second.
async fn send(door: Door, rate: u64, numbers: Arc<AtomicU64>, end: Arc<AtomicBool>) -> Result<f64, BenchError> {
    let (began, mut answered) = (Instant::now(), 0);
    let every = Duration::from_secs_f64(AT_ONCE as f64 / rate.max(1) as f64);
    let mut ticks = tokio::time::interval(every.min(Duration::from_millis(200)));
    while !end.load(Ordering::Relaxed) {
        ticks.tick().await;
        if rate > 0 {
            let limit = Limit { time: Duration::from_secs(1), count: AT_ONCE };
            let outcome = load(&door, Connections::Kept, SENDERS, limit, &numbers).await?;
            answered += outcome.answered.len();
            // The senders each took a number more than they sent.
            numbers.fetch_add(SENDERS as u64, Ordering::Relaxed);
        }
    }
    Ok(answered as f64 / began.elapsed().as_secs_f64())
}

/// Walks down the list: the selection stays on its delivery while others come above it.
fn press(screen: &mut Screen, time: Duration) -> Result<Frames, BenchError> {
    screen.pass(Duration::from_secs(1))?;
    let (mut frames, began) = (Frames::default(), Instant::now());
    while began.elapsed() < time {
        frames.press(screen, DOWN, APART)?;
    }
    Ok(frames)
}
