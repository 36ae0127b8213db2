//! `store export`: everything that is stored, as JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure, Output};
use crate::control::{Export, Exported, Saved, data_flag};
use crate::settings::Moment;

/// Write out every delivery with its attempts, a JSON object a line, oldest first
///
/// The objects are those of `events show --json`. Of a damaged store everything is written that can be read; what is lost is said, and the exit
/// code is 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write to, which only you can read; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Received since then: 24h, 2026-11-21T09:30:00Z
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    since: Option<Moment>,
    /// Received before then
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    until: Option<Moment>,
    /// Print how it went as JSON; with --out FILE
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

impl Args {
    fn to_stdout(&self) -> bool {
        self.out == Path::new("-")
    }
}

/// How many lost ids a message names.
const NAMED: usize = 5;

/// How an export went, in JSON.
#[derive(serde::Serialize)]
struct Outcome<'a> {
    deliveries: u64,
    out: &'a Path,
    /// Where the store is damaged.
    rescued: Option<&'a Saved>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().one("data", &args.data.data).load(context)?;
    let local = arguments::local(&settings)?;
    let now = arguments::now();
    let export = Export { since: args.since.map(|m| m.timestamp(now)), until: args.until.map(|m| m.timestamp(now)) };
    let mut parts = local.export(export, context.out.progress()).await?;
    // Now that there is something to write, and before any of it was read.
    let mut file = if args.to_stdout() { None } else { Some(Target::create(&args.out, args.force)?) };
    let mut count = 0_u64;
    let rescued = loop {
        match parts.recv().await {
            Some(Exported::Delivery { stored, .. }) => {
                match &mut file {
                    Some(file) => file.line(&stored)?,
                    None => context.out.line(stored.get())?,
                }
                count += 1;
            }
            Some(Exported::End) => break None,
            Some(Exported::Rescued(saved)) => break Some(saved),
            Some(Exported::Failed(e)) => {
                context.out.end_progress();
                let failure = Failure::from(e);
                let message = format!("{} (after {count} deliveries)", failure.message);
                return Err(Failure { message, ..failure });
            }
            None => return Err(Failure::unreachable("the export ended before its end")),
        }
    };
    context.out.end_progress();
    if let Some(file) = file {
        file.finish()?;
    }
    told(&args, count, rescued.as_ref(), &data_flag(&local.data), &mut context.out)
}

fn told(args: &Args, count: u64, rescued: Option<&Saved>, flag: &str, out: &mut Output) -> Result<(), Failure> {
    let to_stdout = args.to_stdout();
    if args.json && !to_stdout {
        out.json(&Outcome { deliveries: count, out: &args.out, rescued })?;
    }
    out.flush()?;
    if !to_stdout && !args.json {
        out.message(&format!("{count} deliveries are in {}", args.out.display()));
    }
    let Some(saved) = rescued else { return Ok(()) };
    let mut text =
        format!("the store is damaged: {} deliveries with {} attempts could be read", saved.deliveries, saved.attempts);
    for (what, ids) in [("are lost", &saved.lost), ("lack an attempt or a note that they had", &saved.incomplete)] {
        if ids.count > 0 {
            let first: Vec<String> = ids.first.iter().take(NAMED).map(ToString::to_string).collect();
            text.push_str(&format!("; {} {what}: {}", ids.count, first.join(", ")));
            text.push_str(if ids.count > first.len() as u64 { " …" } else { "" });
        }
    }
    if let Some(stopped) = &saved.stopped {
        text.push_str(&format!("; not everything could be looked at: {stopped}"));
    }
    Err(Failure::negative(text)
        .hint(format!("`healthie-tunnel store compact --rescue {flag}` builds the store anew from what is readable")))
}

/// The file that is written; with --force another one, which takes its place when it is whole.
struct Target {
    file: BufWriter<File>,
    /// Where it is written, if not in its own place yet.
    beside: Option<PathBuf>,
    path: PathBuf,
    whole: bool,
}

impl Target {
    fn create(path: &Path, force: bool) -> Result<Target, Failure> {
        let there = std::fs::metadata(path).ok().filter(|_| force);
        let mut options = OpenOptions::new();
        options.write(true);
        let (mut beside, mut real) = (None, path.to_owned());
        match there {
            // A pipe or a device is written to; another file in its place would be its end.
            Some(there) if !there.is_file() => {}
            Some(_) => {
                // Where it is a link, what that leads to is replaced.
                real = path.canonicalize().map_err(|e| failed(path, &e))?;
                let mut name = real.file_name().unwrap_or_default().to_owned();
                name.push(format!(".{}.new", std::process::id()));
                beside = Some(real.with_file_name(name));
                options.create_new(true);
            }
            None => drop(options.create_new(true)),
        }
        // Deliveries may be about patients.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(beside.as_deref().unwrap_or(path)) {
            Ok(file) => Ok(Target { file: BufWriter::new(file), beside, path: real, whole: false }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::usage(format!("{} is there already", path.display()))
                    .hint("--force replaces it, or name another file"))
            }
            Err(e) => Err(failed(path, &e)),
        }
    }

    fn line(&mut self, stored: &RawValue) -> Result<(), Failure> {
        writeln!(self.file, "{}", stored.get()).map_err(|e| failed(&self.path, &e))
    }

    fn finish(mut self) -> Result<(), Failure> {
        let synced = |file: &File| match file.metadata()?.is_file() {
            true => file.sync_all(),
            // A pipe has nothing to be synced.
            false => Ok(()),
        };
        let done = self.file.flush().and_then(|()| synced(self.file.get_ref())).and_then(|()| match &self.beside {
            Some(beside) => std::fs::rename(beside, &self.path),
            None => Ok(()),
        });
        self.whole = done.is_ok();
        done.map_err(|e| failed(&self.path, &e))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Half a file beside the old one is of no use; half a file where none was is what could be had, and the message says so.
        if let (false, Some(beside)) = (self.whole, &self.beside) {
            let _ = std::fs::remove_file(beside);
        }
    }
}

fn failed(path: &Path, e: &io::Error) -> Failure {
    Failure::unreachable(format!("{} cannot be written: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, force: bool) -> Result<(), Failure> {
        let mut target = Target::create(path, force)?;
        target.line(&RawValue::from_string("{}".to_owned()).unwrap())?;
        target.finish()
    }

    #[cfg(unix)]
    #[test]
    fn only_files_are_replaced_and_links_lead_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(write(&link, false).unwrap_err().exit_code(), 2);
        write(&link, true).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink(), "the link is gone");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "something is left beside it");

        let null = dir.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write(&null, true).unwrap();
        assert!(!std::fs::metadata(&null).unwrap().is_file(), "a device was replaced");
        assert!(write(dir.path(), true).is_err(), "a folder is no file");
        assert!(dir.path().is_dir());
    }
}
