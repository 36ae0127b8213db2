//! `healthie-relay completions SHELL` and `healthie-relay man`: what a package puts into the system's folders, made from the command line's own
//! definitions.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::{Cli, Failure, print, tell};

#[derive(Args)]
pub(super) struct Completions {
    /// The shell to complete in
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(&self) {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "healthie-relay", &mut text);
        print(&String::from_utf8_lossy(&text));
    }
}

#[derive(Args)]
pub(super) struct Man {
    /// Write a page for each command into this folder instead of printing the first one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure { code: 3, message: format!("cannot write the manual: {e}") };
        if let Some(dir) = self.dir {
            std::fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
                .map_err(failed)?;
            tell(&format!("the manual is in {}", dir.display()));
            return Ok(());
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
        print(&String::from_utf8_lossy(&page));
        Ok(())
    }
}
