//! The project's own bench: what it asks to be measured, and the order in which it is. One file per part does the measuring.
//!
//! No figure stands alone. Each is taken beside a baseline that does the least that could do (a bare HMAC, a copy of the bytes, one
//! write and sync, a direct call), in turns of a fraction of the time asked for, and what counts is the median of the turns' ratios: that
//! carries over to another machine, and a neighbour that takes the processor for a moment disturbs both sides.
//!
//! Everything is bounded in time and count, stays on loopback and in a temporary folder, and leaves nothing behind.

mod agents;
mod archive;
mod crowd;
mod error;
mod figures;
mod floor;
mod handler;
mod inspector;
mod lists;
mod load;
mod machine;
mod outage;
mod path;
mod programs;
mod protocol;
mod rig;
mod sample;
mod sealing;
mod signature;
mod spool;
mod stand;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use tunnel_vault::UserKey;

use crate::error::BenchError;
use crate::table::Printer;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Checking signatures, beside a bare HMAC of the same bytes.
    Signature,
    /// Frames between relay and agent, beside a copy and JSON of the same.
    Protocol,
    /// Sealing deliveries to devices and opening them, beside a copy and beside AES-GCM alone.
    Sealing,
    /// What the relay keeps, beside one write and sync of the same bytes.
    Spool,
    /// What the agent keeps, beside one write and sync of the same bytes.
    Archive,
    /// From sender to handler through both programs, beside a direct call.
    Path,
    /// After an outage: the first delivery, draining a backlog, memory and disk meanwhile.
    Outage,
    /// The inspector on a terminal over a large archive, as one waits for it; not among `all`, because it takes minutes.
    Inspector,
    /// Thousands of idle agents over TLS: memory, and how soon all are back after a restart; not among `all`, because it takes minutes.
    Agents,
    /// All of these but `inspector` and `agents`, each in a process of its own.
    All,
}

impl Part {
    const EACH: [(Part, &str); 7] = [
        (Part::Signature, "signature"),
        (Part::Protocol, "protocol"),
        (Part::Sealing, "sealing"),
        (Part::Spool, "spool"),
        (Part::Archive, "archive"),
        (Part::Path, "path"),
        (Part::Outage, "outage"),
    ];
}

/// Measures healthie-tunnel on this machine; every figure is a ratio to a baseline of the same run.
///
/// Temporary files go where TMPDIR says: point it at the disk that matters.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tunnel-bench", version)]
pub struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value_t = Part::All)]
    pub part: Part,
    /// How long each figure is measured, in seconds (0.05 to 60).
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// JSON lines instead of tables.
    #[arg(long)]
    pub json: bool,
    /// For `path`: this many more deliveries through each tunnel, for the memory that the programs hold afterwards.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub deliveries: u64,
    /// For `outage`: how many deliveries wait for the agent.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    pub backlog: u64,
    /// For `archive` and `spool`: with a key, so that what is stored is encrypted.
    #[arg(long)]
    pub encrypted: bool,
    /// For `inspector`: how many deliveries its archive has.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(5_000..=10_000_000))]
    pub stored: u64,
    /// For `agents`: how many there are.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=19_000))]
    pub agents: u32,
    /// For `inspector`: a data folder that is kept, to be filled once and measured often.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// For `path`, `outage`, `inspector` and `agents`: the folder with healthie-relay and healthie-tunnel, instead of building them.
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Leave the head line out: somebody else printed it.
    #[arg(long, hide = true)]
    pub headless: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.05 to 60".to_owned()),
    }
}

impl Arguments {
    /// The key that stores have, where they have one. It guards nothing.
    fn key(&self) -> Result<Option<UserKey>, BenchError> {
        let key = || UserKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "the bench").map_err(error::wrong);
        self.encrypted.then(key).transpose()
    }

    /// How long one turn takes, where `turns` of them make a figure.
    fn turn(&self, turns: usize) -> Duration {
        Duration::from_secs_f64(self.seconds / turns as f64)
    }
}

/// Measures, and prints what came of it: exit code 0, or 1 if it could not be measured or a delivery went missing.
pub fn run(arguments: &Arguments) -> ExitCode {
    match measure(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where an error becomes words")]
fn complain(error: &BenchError) {
    eprintln!("tunnel-bench: {error}");
}

fn measure(arguments: &Arguments) -> Result<(), BenchError> {
    let printer = Printer { json: arguments.json };
    if !arguments.headless {
        printer.head(&machine::head())?;
    }
    match arguments.part {
        Part::All => Part::EACH.iter().try_for_each(|(_, name)| alone(arguments, name)),
        Part::Signature => printer.print(&signature::measure(arguments)?),
        Part::Protocol => printer.print(&protocol::measure(arguments)?),
        Part::Sealing => printer.print(&sealing::measure(arguments)?),
        Part::Spool => in_runtime(spool::measure(arguments, printer)),
        Part::Archive => in_runtime(archive::measure(arguments, printer)),
        Part::Path => in_runtime(path::measure(arguments, printer)),
        Part::Outage => in_runtime(outage::measure(arguments, printer)),
        Part::Agents => in_runtime(agents::measure(arguments, printer)),
        Part::Inspector => in_runtime(inspector::measure(arguments, printer)),
    }
}

/// Measures one part in a fresh process, so that no part inherits another's memory.
fn alone(arguments: &Arguments, part: &str) -> Result<(), BenchError> {
    let program = std::env::current_exe().map_err(error::io("find this program"))?;
    let mut command = Command::new(program);
    command.args([part, "--headless", "--seconds", &arguments.seconds.to_string()]);
    command.args(["--backlog", &arguments.backlog.to_string()]);
    command.args(["--deliveries", &arguments.deliveries.to_string()]).args(arguments.json.then_some("--json"));
    if let Some(folder) = &arguments.programs {
        command.arg("--programs").arg(folder);
    }
    let status = command.status().map_err(error::io("start a part of the bench"))?;
    if status.success() { Ok(()) } else { Err(BenchError::Part(part.to_owned())) }
}

/// Runs a part to its end or to the first Ctrl-C; what it started and wrote goes with it in either case.
fn in_runtime(part: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(error::io("start the runtime"))?;
    runtime.block_on(async {
        tokio::select! {
            // First, so that it is heard of from the beginning, also while the part blocks.
            biased;
            _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
            done = part => done,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_command_line_is_what_the_readme_says() {
        let plain = Arguments::parse_from(["tunnel-bench"]);
        assert_eq!((plain.part, plain.seconds, plain.json, plain.deliveries), (Part::All, 2.0, false, 0));
        let asked = ["tunnel-bench", "path", "--seconds", "0.5", "--json", "--deliveries", "100000"];
        let asked = Arguments::parse_from(asked);
        assert_eq!((asked.part, asked.json, asked.deliveries), (Part::Path, true, 100_000));
        assert_eq!(asked.turn(5), Duration::from_millis(100));
        for bad in [
            ["--seconds", "0"],
            ["--seconds", "NaN"],
            ["--seconds", "61"],
            ["--deliveries", "1000001"],
            ["--backlog", "0"],
        ] {
            assert!(Arguments::try_parse_from([&["tunnel-bench"], &bad[..]].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_part_goes_by_the_name_it_is_started_with() {
        for (part, name) in Part::EACH {
            assert_eq!(Arguments::parse_from(["tunnel-bench", name]).part, part);
        }
    }
}
