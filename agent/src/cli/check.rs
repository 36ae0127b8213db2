//! `check`: the developer's handler under the battery, as a table, JSON or JUnit.

use std::path::PathBuf;
use std::time::Duration;

use tunnel_signature::{Profile, Reading};

use super::arguments::{self, Gather};
use super::output::Output;
use super::style::{Tone, duration};
use super::{Context, Failure};
use crate::check::{self, CheckError, Class, Diagnosis, Line, Mark, Plan, Report};
use crate::forward::TargetUrl;
use crate::safe_text::SafeText;

/// Check a handler with valid and with forged deliveries; exit 1 if it fails, 3 if nobody is there
///
/// Sends a battery of signed deliveries to TARGET and nowhere else: valid ones of many kinds, which it must answer 2xx, and ones that
/// Healthie cannot have sent, which it must refuse with 4xx. Faults are called by name. Point it at a handler that may be tried out: what
/// it accepts, it acts on. Nothing is stored, no agent and no relay is needed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The handler: a port, host:port or a URL
    #[arg(required_unless_present = "list")]
    target: Option<TargetUrl>,
    /// The profile that it verifies in: guide, scribe or rfc9421, with a variant as guide:VARIANT. Further ones get a valid delivery each
    #[arg(long, value_name = "PROFILE", value_parser = reading)]
    profile: Vec<Reading>,
    /// The path that is signed: that of the URL registered with Healthie [default: TARGET's]
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: Option<String>,
    /// Only these cases, by name or as a pattern such as '*-changed'
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Without these cases
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    skip: Vec<String>,
    /// How long one answer may take [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = arguments::span)]
    timeout: Option<Duration>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write the report to this file as JUnit's XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// List the cases
    #[arg(long)]
    list: bool,
    /// The signing secret that the handler knows. @FILE reads it from a file, HEALTHIE_WEBHOOK_SECRET sets it too
    #[arg(long, value_name = "SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Trust the certificates in this PEM file, besides the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let Some(target) = args.target.clone().filter(|_| !args.list) else { return list(&args, context) };
    let settings = Gather::default().one("secret", &args.secret).one("ca", &args.ca).load(context)?;
    let secret = settings.secrets()?.into_iter().next().ok_or_else(|| {
        Failure::usage("there is no secret to sign with")
            .hint("give the one that the handler knows, with --secret or HEALTHIE_WEBHOOK_SECRET")
    })?;
    let plan = Plan {
        target,
        profiles: if args.profile.is_empty() { vec![Reading::plain(Profile::Guide)] } else { args.profile.clone() },
        secret,
        path: args.path.clone(),
        only: args.only.clone(),
        skip: args.skip.clone(),
        limit: args.timeout.filter(|t| !t.is_zero()).unwrap_or(check::LIMIT),
        trust: arguments::trust(&settings)?,
        seed: getrandom::u64().unwrap_or(0),
    };
    let mut printed = Ok(());
    let report = check::run(&plan, |line| {
        if !args.json && printed.is_ok() {
            printed = print_line(&mut context.out, line);
        }
    })
    .await
    .map_err(failure)?;
    if let Some(file) = &args.junit {
        std::fs::write(file, check::junit(&report))
            .map_err(|e| Failure::usage(format!("{} cannot be written: {e}", file.display())))?;
    }
    if args.json {
        context.out.json(&report)?;
    } else {
        printed?;
        print_end(&mut context.out, &report)?;
    }
    context.out.flush()?;
    if report.ok {
        return Ok(());
    }
    let names: Vec<_> = report.findings.iter().filter(|d| d.mark == Mark::Fail).map(|d| d.name).collect();
    let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    Err(Failure::negative(format!("{} of {} cases failed{named}", report.failed, report.cases.len())))
}

fn failure(e: CheckError) -> Failure {
    match e {
        CheckError::Unreachable(_) => Failure::unreachable(e.to_string()).hint("start the handler first"),
        _ => Failure::usage(e.to_string()),
    }
}

fn mark(mark: Mark) -> (&'static str, Tone) {
    match mark {
        Mark::Pass => ("✓", Tone::Good),
        Mark::Warn => ("!", Tone::Doubtful),
        Mark::Fail => ("✗", Tone::Bad),
        Mark::NotRun => ("-", Tone::Dim),
    }
}

fn print_line(out: &mut Output, line: &Line) -> Result<(), Failure> {
    let style = out.style;
    let (sign, tone) = mark(line.mark);
    let (came_to, took) = match line.mark {
        Mark::NotRun => ("not run".to_owned(), String::new()),
        _ => (statuses(line), duration((line.slowest_ms * 1000.0) as u64)),
    };
    let text = format!("{:<24} {:<7} {came_to:<16} {took:>9}", line.case, line.right);
    out.line(&format!("{} {}", style.paint(tone, sign), text.trim_end()))?;
    for why in &line.why {
        out.line(&format!("    {}", style.paint(tone, SafeText::new(why).cut(400))))?;
    }
    // A long case must not look like nothing.
    out.flush()
}

/// `200`, `200 ×62`, `200 ×49, closed`.
fn statuses(line: &Line) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for a in &line.requests {
        let word = match (&a.error, a.status) {
            (None, Some(status)) => status.to_string(),
            _ => serde_json::to_value(a.class).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        };
        match counts.iter_mut().find(|(w, _)| *w == word) {
            Some((_, n)) => *n += 1,
            None => counts.push((word, 1)),
        }
    }
    let shown = counts.into_iter().map(|(word, n)| if n == 1 { word } else { format!("{word} ×{n}") });
    shown.collect::<Vec<_>>().join(", ")
}

fn print_end(out: &mut Output, report: &Report) -> Result<(), Failure> {
    let style = out.style;
    if !report.findings.is_empty() {
        out.line("")?;
    }
    for Diagnosis { name, mark: graveness, what, todo, cases } in &report.findings {
        let (sign, tone) = mark(*graveness);
        let shown = match cases.len() {
            0..=4 => cases.join(", "),
            n => format!("{} and {} more", cases[..3].join(", "), n - 3),
        };
        out.line(&format!("{} {}  ({shown})", style.paint(tone, sign), style.paint(Tone::Strong, name)))?;
        out.line(&format!("    {}.", SafeText::new(what).cut(600)))?;
        out.line(&format!("    {}.", SafeText::new(todo).cut(600)))?;
    }
    let mut notes = Vec::new();
    let mut valid = report.cases.iter().filter(|l| l.right == "accept" && l.class.is_some()).peekable();
    if valid.clone().any(|l| l.class == Some(Class::Refused)) {
        notes.push("A valid delivery that is answered 4xx may be lost for good; where the fault is the handler's own, 5xx is the answer.");
    }
    if valid.peek().is_some() && valid.all(|l| l.class != Some(Class::Accepted)) {
        notes.push("It accepts nothing, so that what it refuses says little: mend that first and check again.");
    }
    if !notes.is_empty() {
        out.line("")?;
    }
    for note in notes {
        out.line(note)?;
    }
    out.line("")?;
    let not_run = if report.not_run > 0 { format!(", {} not run", report.not_run) } else { String::new() };
    out.line(&format!(
        "{} in {}: {} passed, {} to mend, {} failed{not_run}; {} requests in {}",
        SafeText::new(&report.target),
        report.profile,
        report.passed,
        report.warned,
        report.failed,
        report.requests,
        duration((report.duration_ms * 1000.0) as u64)
    ))?;
    if !report.target.ends_with(&report.signed_path) {
        out.line(&format!("signed for the path {}", SafeText::new(&report.signed_path)))?;
    }
    Ok(())
}

fn list(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let cases = check::cases();
    if args.json {
        let all: Vec<_> = cases
            .iter()
            .map(|(case, sends, right)| serde_json::json!({ "case": case, "sends": sends, "right": right }))
            .collect();
        return context.out.json(&all);
    }
    for (case, sends, right) in cases {
        context.out.line(&format!("{case:<24} {right:<7} {sends}"))?;
    }
    Ok(())
}

fn reading(text: &str) -> Result<Reading, String> {
    text.parse().map_err(|e: tunnel_signature::Error| e.to_string())
}

fn path(text: &str) -> Result<String, String> {
    match text {
        _ if text.contains('?') => Err("give the path without a query; the cases have their own".into()),
        _ => text.parse::<tunnel_delivery::Target>().map(|t| t.as_str().to_owned()).map_err(|e| e.to_string()),
    }
}
