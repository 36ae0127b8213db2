//! Measures `agents`: a relay that many idle agents hold sessions with, over TLS: its memory and processor time at rest, and what a restart (kill -9, and as
//! a service manager does it) costs: how soon it listens, how soon all are back, what deliveries meet meanwhile.
//!
//! The agents are not the real program, of which some hundred fit on a machine, but `member`: the same library, the same hello, heartbeat and pauses. They live
//! in the bench's process, so the relay's figures are its own. Like `inspector` it has no baseline, and is not among `all`.

mod member;
mod street;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use crate::error::{BenchError, wrong};
use crate::figures::{micros, percentile_ms};
use crate::load::{Connections, Sender};
use crate::programs::Programs;
use crate::sample::{self, SECRET};
use crate::table::{Printer, Table};
use crate::{Arguments, machine};

use member::{Company, Pass, stay};
use street::{Ending, Street};

/// Agents of one tunnel; the relay allows 32.
const OF_ONE_TUNNEL: usize = 20;

/// How long the relay is left alone before its memory and its processor time at rest are read: a few heartbeats.
const REST: Duration = Duration::from_secs(12);

/// How often one looks how many there are.
const LOOK: Duration = Duration::from_millis(20);

/// How long all may take to come, and to come back.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two deliveries.
const PACE: Duration = Duration::from_millis(20);

/// After an answer that is not 2xx, or none. Healthie waits far longer; what is measured is when it could come again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long deliveries are sent before a restart and after all are back: what is quiet is measured here.
const QUIET: Duration = Duration::from_secs(5);

/// Measures, and prints three tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    raise_open_files();
    let programs = Programs::find(arguments.programs.as_deref())?;
    let count = arguments.agents as usize;
    let tunnels = count.div_ceil(OF_ONE_TUNNEL);
    let mut street = tokio::task::block_in_place(|| Street::start(&programs, tunnels))?;
    let before = machine::resident_mib(street.pid());

    let company = Arc::new(Company::new(street.https(), street::NAME, street.trust()?));
    let began = Instant::now();
    let mut members = JoinSet::new();
    for at in 0..count {
        let (tunnel, token) = street.tunnel(at % tunnels);
        members.spawn(stay(Arc::clone(&company), Pass { at, tunnel, token }));
    }
    wait_for(&company, count, "come").await?;
    let came = began.elapsed();
    let used = machine::processor_time(street.pid());
    let resting = Instant::now();
    tokio::time::sleep(REST).await;
    let busy = machine::processor_time(street.pid()).zip(used).map(|(now, then)| (now - then).as_secs_f64());
    let busy = busy.map(|busy| 100.0 * busy / resting.elapsed().as_secs_f64());
    let held = machine::resident_mib(street.pid());
    let mut holding = Table::new(
        "agents",
        "a relay with that many idle agents over TLS",
        ["agents", "all there s", "MiB before", "MiB", "KiB each", "% of a core"],
    );
    let each = held.zip(before).map(|(held, before)| (held - before) * 1024.0 / count as f64);
    holding.row("at rest", [Some(count as f64), Some(came.as_secs_f64()), before, held, each, busy]);
    printer.print(&holding)?;

    let mut restarts = Table::new(
        "agents",
        "a restart with all of them; times from the relay's end",
        ["listens ms", "half back s", "all back s", "broken or failed tries", "MiB after"],
    );
    let mut met = Table::new(
        "agents",
        "deliveries meanwhile, 50 a second, until their 2xx; and copies of them that agents should have",
        ["sent", "p50 ms", "p99 ms", "max ms", "refused tries", "copies", "missing copies", "again"],
    );
    let mut first = 0;
    for ending in [Ending::Killed, Ending::Asked] {
        let was = company.copies();
        let sending = Sending::start(&street, tunnels, first)?;
        tokio::time::sleep(QUIET).await;
        let gone = Instant::now();
        let failures = company.failures();
        tokio::task::block_in_place(|| street.restart(ending))?;
        let listens = gone.elapsed();
        // Those that have not heard yet that the relay is gone count as connected for a moment; a look too early would find all of them.
        wait_until(|| company.failures() - failures >= count as u64, "hear of the end", &company).await?;
        wait_for(&company, count / 2, "come back").await?;
        let half = gone.elapsed();
        wait_for(&company, count, "come back").await?;
        let all = gone.elapsed();
        let tries = company.failures() - failures;
        tokio::time::sleep(QUIET).await;
        let sent = sending.stop(gone, all).await?;
        let wanted = sent.count * (count / tunnels) as u64;
        let copies = || company.copies().0 - was.0;
        // What is missing after this long counts as lost.
        let patience = Instant::now() + REST;
        while copies() < wanted && Instant::now() < patience {
            tokio::time::sleep(LOOK).await;
        }
        let name = ending.name();
        let secs = |time: Duration| Some(time.as_secs_f64());
        let memory = machine::resident_mib(street.pid());
        restarts.row(name, [secs(listens).map(|s| s * 1000.0), secs(half), secs(all), Some(tries as f64), memory]);
        for (when, micros) in [("quiet", &sent.quiet), ("until all are back", &sent.meanwhile)] {
            let max = percentile_ms(micros, 100.0);
            let [p50, p99] = [50.0, 99.0].map(|p| percentile_ms(micros, p));
            met.row(format!("{name}: {when}"), [Some(micros.len() as f64), p50, p99, max, None, None, None, None]);
        }
        let missing = wanted.saturating_sub(copies());
        let (refused, came, again) = (sent.refused as f64, copies() as f64, (company.copies().1 - was.1) as f64);
        let all =
            [Some(sent.count as f64), None, None, None, Some(refused), Some(came), Some(missing as f64), Some(again)];
        met.row(format!("{name}: in all"), all);
        if missing > 0 {
            return Err(BenchError::Missing(usize::try_from(missing).unwrap_or(usize::MAX)));
        }
        first += 1_000_000;
    }
    printer.print(&restarts)?;
    printer.print(&met)?;
    company.end();
    while members.join_next().await.is_some() {}
    Ok(())
}

async fn wait_for(company: &Company, count: usize, what: &str) -> Result<(), BenchError> {
    wait_until(|| company.connected() >= count, what, company).await
}

async fn wait_until(done: impl Fn() -> bool, what: &str, company: &Company) -> Result<(), BenchError> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            let (there, last) = (company.connected(), company.last_words());
            return Err(wrong(format!(
                "the agents did not {what} within {PATIENCE:?}: {there} are there; the last failure: {last}"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// A sender at its pace, one delivery after the other whatever becomes of those before.
struct Sending {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<Result<Posted, BenchError>>,
}

/// When each began and how long its 2xx took, and how many tries were not answered so.
type Posted = (Vec<(Instant, Duration)>, u64);

/// What became of them.
struct Sent {
    count: u64,
    /// Tries that were not answered 2xx.
    refused: u64,
    /// Microseconds until the 2xx of those that began before the end of the relay or after all were back, and of the others; sorted.
    quiet: Vec<u32>,
    meanwhile: Vec<u32>,
}

impl Sending {
    fn start(street: &Street<'_>, tunnels: usize, first: u64) -> Result<Sending, BenchError> {
        let secret = sample::secret(SECRET)?;
        let doors: Vec<_> = (0..tunnels).map(|at| street.door(at)).collect();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut posts = JoinSet::new();
            let mut tick = tokio::time::interval(PACE);
            for number in 0_u64.. {
                tokio::select! {
                    biased;
                    _ = &mut stopped => break,
                    _ = tick.tick() => {}
                }
                let at = usize::try_from(number).unwrap_or(0);
                let door = doors[at % doors.len()].clone();
                let mut sender = Sender::new(door, Connections::New, secret.clone(), at)?;
                posts.spawn(async move {
                    let (began, mut refused) = (Instant::now(), 0);
                    while !(200..300).contains(&sender.post(first + number).await?) {
                        refused += 1;
                        if began.elapsed() > PATIENCE {
                            return Err(wrong("a delivery was not answered 2xx in five minutes"));
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                    Ok::<_, BenchError>((began, began.elapsed(), refused))
                });
            }
            let (mut times, mut refused) = (Vec::new(), 0);
            while let Some(post) = posts.join_next().await {
                let (began, took, tries) = post.map_err(wrong)??;
                times.push((began, took));
                refused += tries;
            }
            Ok((times, refused))
        });
        Ok(Sending { stop, task })
    }

    /// Stops, and waits until all that was sent is answered.
    async fn stop(self, gone: Instant, all_back: Duration) -> Result<Sent, BenchError> {
        // It may have ended with an error, which comes now.
        let _ = self.stop.send(());
        let (times, refused) = self.task.await.map_err(wrong)??;
        let back = gone + all_back;
        let side = |inside: bool| {
            let chosen = times.iter().filter(|(began, took)| (*began < back && *began + *took > gone) == inside);
            let mut micros: Vec<u32> = chosen.map(|(_, took)| micros(*took)).collect();
            micros.sort_unstable();
            micros
        };
        Ok(Sent { count: times.len() as u64, refused, quiet: side(false), meanwhile: side(true) })
    }
}

/// Each member is a connection.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    // Where it does not suffice, connecting says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}
