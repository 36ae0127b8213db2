//! From settings to what a relay is told, and everything that is wrong with it that can be found without starting one: the one way for `serve`, for
//! `check-config`, and for a running relay that is told to look again. What the one refuses the others do.

use std::path::Path;

use clap::CommandFactory as _;

use super::Cli;
use super::serve::Serve;
use crate::checkup::{Finding, Look, Weight, checkup};
use crate::config::Config;
use crate::settings::{Settled, Shown, shown};

/// Settings as they are, and what was found.
pub(super) struct Resolved {
    /// As near to the settings as can be. To be used only where nothing is wrong.
    pub(super) config: Config,
    /// Everything that was found, what is in a file in its order.
    pub(super) found: Vec<Finding>,
    /// Every setting and where it came from.
    pub(super) shown: Vec<Shown>,
}

impl Resolved {
    /// Whether a relay would not start so.
    pub(super) fn is_wrong(&self) -> bool {
        self.found.iter().any(|finding| finding.weight == Weight::Wrong)
    }
}

/// Resolves the settings of `serve`, which may be those of `check-config` too.
pub(super) fn resolve(serve: Serve, settled: &Settled, look: Look) -> Resolved {
    let shown = values(settled);
    let mut problems = Vec::new();
    let config = serve.config(&mut problems);
    let path = std::env::var_os("PATH");
    let rest = checkup(&config, settled.file.as_deref(), path.as_deref(), look);
    // What a mistake kept from being set is not missing.
    let meant = |finding: &Finding| !finding.of.iter().any(|of| settled.mistaken.iter().any(|flag| flag == of));
    let rest = problems.into_iter().map(Finding::from).chain(rest).filter(meant);
    let mistakes = settled.mistakes.iter().map(|mistake| {
        let excerpt = mistake.excerpt();
        Finding { excerpt, ..Finding::new(Weight::Wrong, mistake.line()) }
    });
    let found = mistakes.chain(rest.map(|finding| placed(finding, &shown, settled.file.as_deref()))).collect();
    Resolved { config, found, shown }
}

/// Says where its settings stand, defaults left out.
fn placed(finding: Finding, shown: &[Shown], file: Option<&Path>) -> Finding {
    let of = |flag: &&str| shown.iter().find(|one| one.flag == **flag && !matches!(&*one.from, "default" | "unset"));
    let place = |one: &Shown| match file {
        Some(file) if one.from.starts_with(&format!("{}:", file.display())) => format!("{}: {}", one.from, one.setting),
        _ if one.from == "flag" => format!("--{}", one.flag),
        _ => one.from.strip_prefix("env ").unwrap_or(&one.from).to_owned(),
    };
    let from = finding.of.iter().filter_map(of).map(place).collect();
    Finding { from, ..finding }
}

/// Every setting of `serve` and where it came from.
pub(super) fn values(settled: &Settled) -> Vec<Shown> {
    let matches = settled.matches.subcommand().map_or(&settled.matches, |(_, matches)| matches);
    shown(&Cli::command(), "serve", settled, matches)
}

/// A finding for a terminal, with the line of the file, if there is one.
pub(super) fn told(finding: &Finding) -> String {
    let excerpt = finding.excerpt.as_ref().map_or_else(String::new, |excerpt| format!("\n{excerpt}"));
    format!("{}{}{excerpt}", finding.message, from(finding))
}

/// A finding in one line, for a log.
pub(super) fn line(finding: &Finding) -> String {
    format!("{}{}", finding.message, from(finding))
}

fn from(finding: &Finding) -> String {
    if finding.from.is_empty() { String::new() } else { format!(" ({})", finding.from.join(", ")) }
}

#[cfg(test)]
mod tests;
