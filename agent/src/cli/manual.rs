//! `completions` and `man`: what a package puts into the system's folders, made from the command line's own definitions.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Cli, Context, Failure};

/// Print completions for a shell
///
/// For bash: healthie-tunnel completions bash > ~/.local/share/bash-completion/completions/healthie-tunnel
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell to complete in
    shell: clap_complete::Shell,
}

pub(crate) fn completions(args: &Completions, context: &mut Context) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "healthie-tunnel", &mut text);
    context.out.line(String::from_utf8_lossy(&text).trim_end())
}

/// Print the manual page
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Write a page for each command into this folder instead of printing the first one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn man(args: Man, context: &mut Context) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::unreachable(format!("the manual cannot be written: {e}"));
    if let Some(dir) = args.dir {
        std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(Cli::command(), &dir)).map_err(failed)?;
        context.out.message(&format!("the manual is in {}", dir.display()));
        return Ok(());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
    context.out.line(String::from_utf8_lossy(&page).trim_end())
}
