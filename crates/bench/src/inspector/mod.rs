//! Measures `inspector`: the real program on a terminal of 200 columns and 60 lines over a large archive, as somebody sees it who presses keys:
//! from the start to the first page, from a key to the frame that it changed, from a filter to the first line that fits and to the end of the
//! search; and from a key to its frame while deliveries come in (`busy`).
//!
//! Unlike the other parts it has no baseline: what counts is what a person waits, and the aims are absolute. It takes minutes for a million
//! deliveries, so it is not among `all`; `--stored 10000` is the short form.

mod busy;
mod filling;
mod screen;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tunnel_delivery::SignatureStatus;
use tunnel_testkit::{Binary, Stage};

use crate::error::BenchError;
use crate::figures::{micros, percentile_ms};
use crate::programs::Programs;
use crate::table::{Printer, Table};
use crate::{Arguments, machine};

use filling::{ABSENT, COMMON, Facts, Filled, RARE, RARER};
use screen::Screen;

/// One frame at 60 a second.
const FRAME: Duration = Duration::from_micros(16_667);

/// A key that changed nothing within this time changes nothing.
const NEVER: Duration = Duration::from_millis(1000);

/// How many keys are pressed for one figure.
const KEYS: usize = 600;

/// A page has no more lines than the terminal.
const PAGE: usize = 60;

/// Keys as a terminal sends them.
const DOWN: &str = "j";
const PAGE_DOWN: &str = "\x1b[6~";
const UP: &str = "k";
const FIRST: &str = "g";
const LAST: &str = "G";
const BACK: &str = "\x1b";
const ENTER: &str = "\r";

/// Measures, and prints three tables.
pub(crate) async fn measure(arguments: &Arguments, printer: Printer) -> Result<(), BenchError> {
    let programs = Programs::find(arguments.programs.as_deref())?;
    let stage = Stage::new();
    let data = arguments.data.clone().unwrap_or_else(|| stage.data("inspector"));
    let filled = filling::fill(&data.join("archive"), arguments.stored).await?;
    let stored = arguments.stored;
    let look = || tokio::task::block_in_place(|| over_an_archive(&programs, &stage, &data, stored, filled, printer));
    look()?;
    busy::measure(&programs, arguments, printer).await
}

/// The inspector's command line on a store.
fn inspect(programs: &Programs, stage: &Stage, data: &Path) -> Command {
    let mut command = programs.command(stage, Binary::Tunnel);
    command.arg("inspect").arg("--data").arg(data);
    command
}

fn over_an_archive(
    programs: &Programs,
    stage: &Stage,
    data: &Path,
    stored: u64,
    filled: Filled,
    printer: Printer,
) -> Result<(), BenchError> {
    let mut table = Table::new("inspector", "how long one waits, over that many deliveries", ["ms", "deliveries"]);
    table.row("storing them", [Some(ms(filled.stored)), Some(stored as f64)]);
    table.row("until the rest is sketched", [Some(ms(filled.sketched)), Some(stored as f64)]);
    let newest = Facts::of(stored - 1);
    let mut screen = None;
    // The first may find the file system's cache cold.
    for name in ["start to the first page", "the same again", "and again"] {
        drop(screen.take());
        let mut started = Screen::start(&inspect(programs, stage, data))?;
        let shown = started.wait("the newest delivery", |s| shows_first(s, newest))?;
        table.row(name, [Some(ms(shown - started.started())), Some(stored as f64)]);
        screen = Some(started);
    }
    let Some(mut screen) = screen else { return Ok(()) };
    screen.pass(Duration::from_secs(1))?;
    // Before anything was looked for, and after all of it.
    let resident = |screen: &Screen| screen.pid().and_then(machine::resident_mib);
    let first = resident(&screen);

    let mut keys = Table::new(
        "inspector",
        "from a key to the frame that it changed, at most 60 keys a second",
        ["p50 ms", "p99 ms", "max ms", "keys", "over 16.7 ms", "never"],
    );
    // Half of the list at most: a key at its end changes nothing.
    let pages = KEYS.min(usize::try_from(stored).unwrap_or(KEYS) / 2 / PAGE);
    held(&mut keys, &mut screen, "held-down j", DOWN, KEYS)?;
    held(&mut keys, &mut screen, "held-down PageDown", PAGE_DOWN, pages)?;
    held(&mut keys, &mut screen, "held-down k", UP, KEYS)?;

    let at = screen.press(LAST)?;
    let oldest = clock(Facts::of(0));
    let shown = screen.wait("the oldest delivery", |s| s.selected().is_some_and(|line| line.contains(&oldest)))?;
    table.row("to the oldest (End)", [Some(ms(shown - at)), None]);
    held(&mut keys, &mut screen, "held-down k at the oldest", UP, KEYS)?;
    let at = screen.press(FIRST)?;
    let shown = screen.wait("the newest delivery", |s| shows_first(s, newest))?;
    table.row("to the newest (Home)", [Some(ms(shown - at)), None]);
    printer.print(&keys)?;

    let mut filters = Table::new(
        "inspector",
        "from the last character of a filter to the first line that fits, and to the end of the search",
        ["first ms", "end ms", "fit"],
    );
    for (filter, fits) in filters_to_try(stored) {
        look_for(&mut filters, &mut screen, stored, &filter, &*fits)?;
    }
    printer.print(&filters)?;
    let mut held = Table::new("inspector", "the memory of the program, in MiB", ["resident MiB"]);
    held.row("at its first page", [first]);
    held.row("after all of this", [resident(&screen)]);
    let mut disk = Table::new("inspector", "the length of the store's file for each delivery, in bytes", ["bytes"]);
    disk.row("as it was filled", [Some(filled.disk_bytes as f64 / stored as f64)]);
    printer.print(&table)?;
    printer.print(&held)?;
    printer.print(&disk)
}

type Fits = Box<dyn Fn(Facts) -> bool>;

/// Filters, and what fits each.
fn filters_to_try(stored: u64) -> Vec<(String, Fits)> {
    let middle = Facts::of(stored / 2).resource;
    let by = |filter: &str, fits: Fits| (filter.to_owned(), fits);
    let mut all = vec![
        by("event:appointment.updated", Box::new(|f| f.event == "appointment.updated")),
        by("event:goal.created", Box::new(|f| f.event == "goal.created")),
        by("event:goal.*", Box::new(|f| f.event.starts_with("goal."))),
        by("event:nothing.*", Box::new(|_| false)),
        by(&format!("resource:{middle}"), Box::new(move |f| f.resource == middle)),
        by("env:production", Box::new(|f| f.production)),
        by("env:unknown", Box::new(|_| false)),
        by("tunnel:demo", Box::new(|f| f.demo)),
        by("tunnel:nobody", Box::new(|_| false)),
        by("status:5xx", Box::new(|f| f.answer == Some(503))),
        by("sig:invalid", Box::new(|f| f.signature == SignatureStatus::Invalid)),
        by("env:production status:5xx", Box::new(|f| f.production && f.answer == Some(503))),
    ];
    for word in [COMMON, RARE, RARER, ABSENT] {
        all.push(by(word, Box::new(move |f| f.says(word))));
    }
    all.push(by(&format!("event:goal.created {RARE}"), Box::new(|f| f.event == "goal.created" && f.says(RARE))));
    all
}

/// Presses a key so many times, at most once a frame.
fn held(table: &mut Table<6>, screen: &mut Screen, name: &str, key: &str, keys: usize) -> Result<(), BenchError> {
    let mut frames = Frames::default();
    for _ in 0..keys {
        frames.press(screen, key, FRAME)?;
    }
    table.row(name, frames.figures());
    Ok(())
}

/// How long it took from keys to the frames that showed another line selected.
#[derive(Default)]
struct Frames {
    micros: Vec<u32>,
    late: usize,
    never: usize,
}

impl Frames {
    /// Presses a key and waits for its frame, and for the next key's time.
    fn press(&mut self, screen: &mut Screen, key: &str, apart: Duration) -> Result<(), BenchError> {
        let before = screen.selected();
        let at = screen.press(key)?;
        let changed = |s: &Screen| s.selected().is_some_and(|now| Some(&now) != before.as_ref());
        match screen.until(NEVER, changed)? {
            Some(shown) => {
                let waited = shown.saturating_duration_since(at);
                self.late += usize::from(waited > FRAME);
                self.micros.push(micros(waited));
            }
            None => self.never += 1,
        }
        screen.pass(apart.saturating_sub(at.elapsed()))
    }

    /// p50, p99 and the longest in milliseconds, keys, those later than a frame, those without one.
    fn figures(mut self) -> [Option<f64>; 6] {
        self.micros.sort_unstable();
        let percentile = |p| percentile_ms(&self.micros, p);
        let keys = self.micros.len() + self.never;
        let counts = [keys, self.late, self.never].map(|n| Some(n as f64));
        [percentile(50.0), percentile(99.0), percentile(100.0), counts[0], counts[1], counts[2]]
    }
}

fn look_for(
    table: &mut Table<3>,
    screen: &mut Screen,
    stored: u64,
    filter: &str,
    fits: &dyn Fn(Facts) -> bool,
) -> Result<(), BenchError> {
    let newest = (0..stored).rev().map(Facts::of).find(|facts| fits(*facts));
    let fit = (0..stored).filter(|n| fits(Facts::of(*n))).count();
    screen.press("/")?;
    screen.wait("the line for a filter", |s| s.shows(" filter "))?;
    screen.pass(Duration::from_millis(100))?;
    let at = screen.paste(filter)?;
    let first = match newest {
        Some(newest) => Some(screen.wait(filter, |s| shows_first(s, newest))?),
        None => None,
    };
    let ended = screen.wait(filter, |s| !s.searches() && (newest.is_some() || s.shows("nothing matches")))?;
    let first = first.map(|first| ms(first.saturating_duration_since(at)));
    table.row(filter, [first, Some(ms(ended.saturating_duration_since(at))), Some(fit as f64)]);
    screen.press(ENTER)?;
    screen.pass(Duration::from_millis(100))?;
    screen.press(BACK)?;
    screen.wait("everything again", |s| shows_first(s, Facts::of(stored - 1)))?;
    screen.pass(Duration::from_millis(200))
}

/// Whether the list begins with this delivery.
fn shows_first(screen: &Screen, facts: Facts) -> bool {
    let clock = clock(facts);
    screen.top().is_some_and(|line| line.contains(&clock) && line.contains(facts.event))
}

/// When it came, as the list shows it.
fn clock(facts: Facts) -> String {
    facts.at().to_string().get(11..19).unwrap_or_default().to_owned()
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
