//! `events stats`: figures about what is stored. Counting is `crate::stats`'; here it becomes tables and bars.

use tunnel_delivery::Timestamp;

use super::super::arguments::{self, Data, Gather};
use super::super::style::{Style, Tone, counted, date_time, deliveries};
use super::super::{Context, Failure, Output};
use super::filters::Wanted;
use crate::control::StatsAsk;
use crate::safe_text::SafeText;
use crate::settings::{Environment, show_size};
use crate::stats::{Bucket, By, Counts, MOST_GROUPS, Stats};

/// Rows of the chart.
const BUCKETS: usize = 24;
/// The longest bar.
const BAR: usize = 40;
/// The characters of a group's name in a table of 80 columns.
const NAME: usize = 38;

/// Figures about what is stored: by event, by answer, over time
///
/// Times are UTC. Durations are those of the last attempts that were answered, within 3 %. What waits to be forwarded or was not to be is not
/// counted as failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// In groups by event, answer, signature, environment, resource, tunnel, hour or day
    #[arg(long, value_name = "WHAT", default_value = "event", value_parser = by)]
    by: By,
    /// At most so many groups
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = arguments::at_least_one)]
    limit: usize,
    /// Print JSON, with all groups
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

fn by(text: &str) -> Result<By, String> {
    let all = By::ALL.map(By::as_str);
    By::ALL.into_iter().find(|by| by.as_str() == text).ok_or_else(|| format!("choose of {}", all.join(", ")))
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let any = args.wanted.any();
    let ask = StatsAsk { filter: args.wanted.filter(&settings)?, by: Some(args.by), buckets: BUCKETS };
    let control = arguments::local(&settings)?.connect().await?;
    let stats = control.stats(&ask).await;
    control.close().await;
    let stats = stats?;
    let out = &mut context.out;
    if args.json {
        out.json(&stats)?;
    } else if stats.total.deliveries == 0 {
        out.message("nothing is stored that fits");
    } else {
        print(&stats, args.limit, bar_of(&context.environment), out)?;
    }
    out.flush()?;
    // Without a filter nothing is what there is, and no negative answer.
    if any && stats.total.deliveries == 0 {
        Err(Failure { message: String::new(), ..Failure::negative("") })
    } else {
        Ok(())
    }
}

/// What bars are made of: blocks, unless the terminal is said to know nothing but ASCII.
fn bar_of(environment: &Environment) -> char {
    let language = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| environment.get(name));
    if matches!(language, Some("C" | "POSIX")) { '#' } else { '█' }
}

fn print(stats: &Stats, limit: usize, bar: char, out: &mut Output) -> Result<(), Failure> {
    let (style, total) = (out.style, &stats.total);
    out.line(&format!(
        "{}, {}, {} of bodies{}",
        style.paint(Tone::Strong, deliveries(total.deliveries)),
        counted(total.attempts, "attempt", "attempts"),
        show_size(total.body_bytes),
        match stats.repeats {
            0 => String::new(),
            1 => "; 1 looks like a repeat".to_owned(),
            n => format!("; {n} look like repeats"),
        }
    ))?;
    if let (Some(first), Some(last)) = (stats.first, stats.last) {
        out.line(&format!("received from {} to {} UTC", date_time(first), date_time(last)))?;
    }
    if let (Some(p50), Some(p99), Some(max)) = (total.p50_ms, total.p99_ms, total.max_ms) {
        out.line(&format!("the handler took {} (p50), {} (p99), {} (longest)", took(p50), took(p99), took(max)))?;
    }
    out.line("")?;
    for (class, count) in &total.answers {
        let share = *count as f64 / total.deliveries as f64;
        let about = match class.as_str() {
            "none" => "not forwarded",
            "queued" => "waiting",
            "error" => "no answer",
            other => other,
        };
        let tone = if crate::stats::failed(*class) { Tone::Bad } else { Tone::Good };
        let bar = style.paint(tone, long(bar, share));
        out.line(&format!("{about:<14} {count:>9} {:>6.1} %  {bar}", share * 100.0))?;
    }
    out.line("")?;
    groups(stats, limit, out)?;
    out.line("")?;
    chart(&stats.timeline, bar, style, out)
}

fn groups(stats: &Stats, limit: usize, out: &mut Output) -> Result<(), Failure> {
    let by = stats.by.map_or("", By::as_str);
    let zone = if stats.by.is_some_and(By::is_time) { " (UTC)" } else { "" };
    let head = format!("{:<NAME$} {:>9} {:>8} {:>9} {:>9}", format!("{by}{zone}"), "count", "failed", "p50", "p99");
    out.line(&out.style.paint(Tone::Dim, head))?;
    let line = |name: &str, c: &Counts| {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), took);
        let name = SafeText::new(name).cut(NAME);
        format!("{name:<NAME$} {:>9} {:>8} {:>9} {:>9}", c.deliveries, c.failed, ms(c.p50_ms), ms(c.p99_ms))
    };
    // Of times the latest are those that are asked about.
    let skipped = if stats.by.is_some_and(By::is_time) { stats.groups.len().saturating_sub(limit) } else { 0 };
    for group in stats.groups.iter().skip(skipped).take(limit) {
        out.line(&line(&group.name, &group.counts))?;
    }
    let more = stats.groups.len().saturating_sub(limit);
    if more > 0 {
        let what = if skipped > 0 { "earlier ones" } else { "others" };
        out.line(&out.style.paint(Tone::Dim, format!("and {more} {what}; --limit shows more than {limit}")))?;
    }
    if let Some(others) = &stats.others {
        out.line(&line(&format!("(groups beyond the first {MOST_GROUPS})"), others))?;
    }
    Ok(())
}

fn chart(timeline: &[Bucket], bar: char, style: Style, out: &mut Output) -> Result<(), Failure> {
    let Some(first) = timeline.first() else { return Ok(()) };
    let most = timeline.iter().map(|b| b.deliveries).max().unwrap_or(1).max(1);
    let failed = if bar == '#' {
        'x'
    } else if style.colour {
        bar
    } else {
        '░'
    };
    let legend = match timeline.iter().any(|b| b.failed > 0) {
        false => String::new(),
        true if style.colour && bar == failed => "; what failed is red".to_owned(),
        true => format!("; what failed is {failed}"),
    };
    let title = format!("over time, {} each, UTC{legend}", length(first.seconds));
    out.line(&style.paint(Tone::Dim, title))?;
    for bucket in timeline {
        let whole = long(bar, bucket.deliveries as f64 / most as f64);
        let len = whole.chars().count();
        // What failed is to be seen, however little it is.
        let bad_len = (len as f64 * bucket.failed as f64 / bucket.deliveries.max(1) as f64).ceil() as usize;
        let bad_len = bad_len.min(len);
        let good: String = whole.chars().take(len - bad_len).collect();
        let bad = if bad_len == 0 { String::new() } else { style.paint(Tone::Bad, failed.to_string().repeat(bad_len)) };
        let count = if bucket.deliveries == 0 { String::new() } else { format!(" {}", bucket.deliveries) };
        out.line(format!("{}  {good}{bad}{count}", at(bucket.from, first.seconds)).trim_end())?;
    }
    Ok(())
}

/// A bar for a share of 1; what is not nothing is seen.
fn long(bar: char, share: f64) -> String {
    let len = (share * BAR as f64).round() as usize;
    bar.to_string().repeat(if share > 0.0 { len.clamp(1, BAR) } else { 0 })
}

/// When a bucket begins, as exactly as its length needs.
fn at(from: Timestamp, seconds: u64) -> String {
    let text = date_time(from);
    text.get(..if seconds < 86_400 { 16 } else { 10 }).unwrap_or("-").to_owned()
}

fn length(seconds: u64) -> String {
    match seconds {
        s if s < 3600 => counted(s / 60, "minute", "minutes"),
        s if s < 86_400 => counted(s / 3600, "hour", "hours"),
        s => counted(s / 86_400, "day", "days"),
    }
}

/// `3.2 ms`, `1.25 s`.
fn took(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_seen_and_fit() {
        assert_eq!(long('#', 0.0), "");
        assert_eq!(long('#', 0.000_1), "#");
        assert_eq!(long('█', 1.0).chars().count(), BAR);
    }

    #[test]
    fn lengths_are_read_easily() {
        assert_eq!(
            [60, 300, 3600, 10_800, 86_400, 604_800].map(length),
            ["1 minute", "5 minutes", "1 hour", "3 hours", "1 day", "7 days"]
        );
    }
}
