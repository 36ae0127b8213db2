//! The door of `tunnel-bench`: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    tunnel_bench::run(&tunnel_bench::Arguments::parse())
}
