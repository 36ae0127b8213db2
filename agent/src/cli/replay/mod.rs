//! `replay`: sends stored deliveries again.

mod bar;
mod report;

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::time::Duration;

use super::arguments::{self, Data, Gather, Secrets};
use super::events::filters::{self, Filters};
use super::{Context, Failure, editor, inspect, signals};
use crate::control::{Control, ControlError, Kind};
use crate::forward::TargetUrl;
use crate::replay::draft::Draft;
use crate::replay::{self, Chaos, Copy, Manner, Pace, Plan, Rate, Selection, Summary, UntilSuccess};
use crate::signing::ForwardAs;
use bar::Bar;
use report::Report;

/// Where a pace is asked for it must not be that of the slowest answer.
const AT_ONCE: usize = 32;
/// More than that are asked about first, where somebody sits there.
const MANY: u64 = 100;
/// How long is counted before it begins.
const COUNTING: Duration = Duration::from_secs(2);

/// Send stored deliveries again; exit 1 if one is not answered 2xx
///
/// They go where they would be forwarded to, or to --to, and nowhere else, oldest first. Each try is recorded as an attempt; a delivery that
/// still waits to be forwarded is forwarded all the same. One is sent after the answer to the one before, unless --concurrency, --rate or
/// --original-timing says otherwise. What comes in meanwhile is not sent. Deliveries from Healthie's production environment are sent to other
/// machines only with --allow-production.
///
/// SELECTOR is `latest`, ids, beginnings or ends of ids, or else words in the language of the inspector's filter
/// (`healthie-tunnel inspect --help`), such as: status:failed since:24h event:appointment.*
///
/// Ctrl-C stops sending, waits for what is under way, and says how to go on; the second one ends at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which deliveries; instead of it the options below may say so
    #[arg(
        value_name = "SELECTOR",
        conflicts_with_all = ["event", "resource", "signature", "status", "since", "until", "tunnel", "text"]
    )]
    selector: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// At most so many deliveries, the oldest that fit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only those behind this delivery: goes on where a replay was stopped
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Where to: a port, host:port or a URL
    #[arg(long, value_name = "TARGET", help_heading = "What is sent")]
    to: Option<TargetUrl>,
    /// The signature of the copies: `sent`, or `resigned` for the path that the handler sees
    #[arg(long, value_name = "HOW", help_heading = "What is sent")]
    forward_as: Option<ForwardAs>,
    /// Make digest and signature anew, also where they were not valid
    #[arg(long, conflicts_with = "forward_as", help_heading = "What is sent")]
    resign: bool,
    /// Edit the request in $EDITOR and send that, signed again; the stored delivery stays as it is
    #[arg(long, conflicts_with_all = ["forward_as", "resign"], help_heading = "What is sent")]
    edit: bool,
    /// Send what was edited with digest and signature as they stand there
    #[arg(long, requires = "edit", help_heading = "What is sent")]
    no_resign: bool,
    /// Deliveries from production too, to any machine
    #[arg(long, help_heading = "What is sent")]
    allow_production: bool,
    /// Send each so many times, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "How")]
    times: u32,
    /// So many may be under way at once [default: 1, or 32 with --rate or --original-timing]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "How")]
    concurrency: Option<u16>,
    /// At most so many requests, evenly: 5/s, 300/m, 1000/h
    #[arg(long, value_name = "N/s", help_heading = "How")]
    rate: Option<Rate>,
    /// With the gaps between them that they were received with
    #[arg(long, help_heading = "How")]
    original_timing: bool,
    /// So many times as fast as they were received
    #[arg(long, value_name = "FACTOR", requires = "original_timing", value_parser = speed, help_heading = "How")]
    speed: Option<f64>,
    /// Try each again until it is answered 2xx; it keeps its place of --concurrency meanwhile
    #[arg(long, help_heading = "How")]
    until_success: bool,
    /// How long after an answer the next try is
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "until_success", value_parser = arguments::span, help_heading = "How")]
    pause: Duration,
    /// Give one up after so many tries
    #[arg(long, value_name = "N", default_value_t = 10, requires = "until_success", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    tries: u32,
    /// Give one up so long after its first try
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "until_success", value_parser = arguments::span, help_heading = "How")]
    within: Duration,
    /// Disorder, separated by commas: `twice` sends each once more, with up to 8 other deliveries between (twice=20%: a fifth of them); `shuffle`
    /// mixes their order; `late=10m` holds a fifth of them back, each for up to ten minutes (late=10m:50%: half of them; --speed counts here too); `drop=5%`
    /// leaves some out
    #[arg(long, value_name = "WHAT", help_heading = "How")]
    chaos: Option<Chaos>,
    /// Decides what --chaos does: the same seed and the same deliveries give the same requests in the same order [default: another one each
    /// time, which is printed]
    #[arg(long, value_name = "N", requires = "chaos", help_heading = "How")]
    seed: Option<u64>,
    /// Leave out the first so many requests of --chaos: goes on where one was stopped
    #[arg(long, value_name = "N", requires = "seed", default_value_t = 0, help_heading = "How")]
    skip: u64,
    /// Print what would be sent when and where, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before more than 100 are sent; without a terminal nothing is asked
    #[arg(long)]
    yes: bool,
    /// Print JSON: an object for each try and, unless one delivery was named and sent once, one with a summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('x').parse::<f64>().ok();
    number.filter(|n| (0.001..=1e6).contains(n)).ok_or_else(|| format!("{text:?} is not a speed; write 10 or 0.5"))
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).many("secret", &args.secrets.secrets).load(context)?;
    let (dry_run, json, yes, edit, sign) = (args.dry_run, args.json, args.yes, args.edit, !args.no_resign);
    let (mut plan, after) = plan(args)?;
    if let Selection::Query(query) = &mut plan.selection {
        *query = filters::check(query, &inspect::saved(&settings)?.0)?;
    }
    let control = arguments::local(&settings)?.connect().await?;
    let done = on(&control, plan, after, Wish { dry_run, json, yes, edit, sign }, context).await;
    control.close().await;
    done
}

/// What is wanted besides the plan.
struct Wish {
    dry_run: bool,
    json: bool,
    yes: bool,
    edit: bool,
    sign: bool,
}

/// The plan, and what --after says.
fn plan(args: Args) -> Result<(Plan, Option<String>), Failure> {
    let selection = match (args.selector.is_empty(), args.filters.any()) {
        (true, false) => {
            return Err(Failure::usage("nothing says which deliveries are meant")
                .hint("name one, `latest`, or conditions such as status:failed; since:beginning means all"));
        }
        (true, true) => Selection::Filter(Box::new(args.filters.filter())),
        (false, _) => Selection::read(&args.selector).map_err(|e| Failure::usage(e.to_string()))?,
    };
    let interval = args.rate.map(Rate::interval).unwrap_or_default();
    let paced = args.rate.is_some() || args.original_timing;
    let chaos = args.chaos.unwrap_or_default();
    // Short enough to be typed.
    let seed = args.seed.unwrap_or_else(|| getrandom::u32().map_or(0, u64::from));
    let mut plan = Plan::new(selection);
    plan.limit = args.limit;
    plan.copy = Copy {
        to: args.to,
        forward_as: args.forward_as,
        resign: args.resign,
        allow_production: args.allow_production,
        edited: None,
    };
    plan.manner = Manner {
        times: args.times,
        speed: args.original_timing.then_some(args.speed.unwrap_or(1.0)),
        interval,
        chaos,
        seed,
        skip: args.skip,
    };
    plan.pace = Pace {
        at_once: args.concurrency.map_or(if paced { AT_ONCE } else { 1 }, usize::from),
        interval,
        until_success: args.until_success.then_some(UntilSuccess {
            pause: args.pause,
            tries: args.tries,
            within: args.within,
        }),
    };
    Ok((plan, args.after))
}

async fn on(
    control: &Control,
    mut plan: Plan,
    after: Option<String>,
    wish: Wish,
    context: &mut Context,
) -> Result<(), Failure> {
    if let Some(after) = after {
        // It may not be stored any more, so that a whole id is taken as it is.
        plan.after = match after.parse() {
            Ok(id) => Some(id),
            Err(_) => Some(control.get(&after).await?.delivery.id),
        };
    }
    if wish.edit {
        let Some(changed) = edited(control, plan, wish.sign, context).await? else {
            context.out.message("nothing was changed, nothing is sent");
            return Ok(());
        };
        plan = changed;
    }
    if wish.dry_run {
        return preview(control, &plan, wish.json, context).await;
    }
    let on_terminal = std::io::stderr().is_terminal();
    let named = matches!(plan.selection, Selection::Ids(_));
    let mut counted = None;
    if on_terminal && !named {
        // Those that are counted are those that are sent.
        plan.until = replay::newest(control).await?;
        let counting = tokio::time::timeout(COUNTING, replay::count(control, &plan, u64::MAX)).await;
        counted = counting.ok().transpose()?;
        let ask = !wish.yes && std::io::stdin().is_terminal() && counted.is_none_or(|n| n > MANY);
        if ask && !confirmed(counted, context).await? {
            return Err(Failure::negative("nothing was sent"));
        }
    }
    let one = matches!(&plan.selection, Selection::Ids(ids) if ids.len() == 1)
        && plan.manner.requests(1) == 1
        && plan.pace.until_success.is_none();
    if plan.manner.chaos.any() && !wish.json {
        context.out.message(&format!("--seed {} does the same again", plan.manner.seed));
    }
    // JSON on the same screen would run into it.
    let shown = on_terminal && !one && !(wish.json && std::io::stdout().is_terminal());
    let bar = Bar::new(shown, counted.map(|n| plan.manner.requests(n)));
    let mut report = Report::new(wish.json, named, bar);
    let summary = {
        let out = &mut context.out;
        replay::run(control, &plan, |told| report.told(&told, out), signals::end()).await
    };
    drop(report.end());
    report.failed()?;
    let summary = summary?;
    if !one {
        report::summary(&summary, wish.json, &mut context.out)?;
    }
    context.out.flush()?;
    ended(&summary, &plan, context)
}

/// What the command ends with.
fn ended(summary: &Summary, plan: &Plan, context: &mut Context) -> Result<(), Failure> {
    if let Some(left) = summary.left {
        context.out.message(&report::left(summary, &left, plan));
    }
    if let Some(e) = &summary.broke {
        return Err(e.clone().into());
    }
    let s = summary;
    if s.deliveries + s.dropped == 0 && s.left.is_none() {
        return Err(Failure::negative("nothing is stored that fits; nothing was sent"));
    }
    if let (0, Some(e)) = (s.sent, &s.refused) {
        return Err(none_sent(e));
    }
    let of = report::thousands(s.ok + s.failed);
    if s.sent > 0 && s.unreachable == s.sent {
        return Err(Failure::unreachable(format!("none of {of} could be delivered: nobody is there")));
    }
    if s.failed > 0 {
        return Err(Failure::negative(format!("{} of {of} were not answered 2xx", report::thousands(s.failed))));
    }
    if s.left.is_some() {
        return Err(Failure { message: String::new(), ..Failure::negative("") });
    }
    Ok(())
}

/// The plan for what the user makes of the request; `None` where that is what it was.
async fn edited(control: &Control, plan: Plan, sign: bool, context: &Context) -> Result<Option<Plan>, Failure> {
    let Selection::Ids(ids) = &plan.selection else {
        return Err(Failure::usage("--edit is for one delivery; name it, or `latest`"));
    };
    let [id] = &ids[..] else {
        return Err(Failure::usage(format!("--edit is for one delivery, and these are {}", ids.len())));
    };
    let stored = control.get(id).await?;
    let draft = Draft::of(&stored);
    let text = editor::edit_bytes(&draft.text, "request.http", &context.environment)?;
    if text == draft.text {
        return Ok(None);
    }
    let edited =
        Draft { text }.read(&stored, None, sign).map_err(|why| Failure::usage(why).hint("nothing was sent"))?;
    let selection = Selection::Ids(vec![stored.delivery.id.to_string()]);
    Ok(Some(Plan { selection, copy: plan.copy.edited(edited), ..plan }))
}

async fn preview(control: &Control, plan: &Plan, json: bool, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    if plan.manner.chaos.any() && !json {
        out.message(&format!("--seed {} does the same", plan.manner.seed));
    }
    let mut failed = Ok(());
    let mut refused = Refused::default();
    let previewed = replay::preview(control, plan, |shot, at, aimed| {
        if let Err(e) = aimed {
            refused.count += 1;
            refused.first.get_or_insert_with(|| e.clone());
        }
        match report::would(shot, at, aimed, json, out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failed = Err(e);
                ControlFlow::Break(())
            }
        }
    });
    let (requests, dropped) = previewed.await?;
    failed?;
    out.flush()?;
    let some = |n: u64, what: &str| if n > 0 { format!(", {} {what}", report::thousands(n)) } else { String::new() };
    let (left_out, could_not) = (some(dropped, "left out"), some(refused.count, "would be refused"));
    let would = report::thousands(requests - refused.count);
    out.message(&format!("{would} would be sent{could_not}{left_out}; nothing was"));
    if requests + dropped == 0 {
        return Err(Failure::negative("nothing is stored that fits"));
    }
    refused.end(requests)
}

/// What a dry run found that could not be sent.
#[derive(Default)]
struct Refused {
    count: u64,
    first: Option<ControlError>,
}

impl Refused {
    /// What it ends with: the same as sending them would, so far as that is known before.
    fn end(self, requests: u64) -> Result<(), Failure> {
        match self.first {
            None => Ok(()),
            Some(e) if self.count == requests => Err(none_sent(&e)),
            Some(_) => Err(Failure::negative(format!(
                "{} of {} could not be sent",
                report::thousands(self.count),
                report::thousands(requests)
            ))),
        }
    }
}

/// The end where nothing could be sent at all; `e` is why the first could not.
fn none_sent(e: &ControlError) -> Failure {
    let kind = if e.kind == Kind::Negative { Kind::Negative } else { Kind::Usage };
    Failure { kind: Some(kind), message: e.message.clone(), hint: e.hint.clone() }
}

/// Whether the user wants that many.
async fn confirmed(counted: Option<u64>, context: &mut Context) -> Result<bool, Failure> {
    let many = counted.map_or_else(|| "very many".to_owned(), report::thousands);
    context.out.ask(&format!("{many} deliveries fit. Send them all? [y/N] "));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = answer.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests;
