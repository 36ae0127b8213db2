//! `replay`: sends stored deliveries again.

use super::arguments::{self, Data, Gather, Secrets};
use super::style::{Tone, duration};
use super::{Context, Failure};
use crate::control::Replay;
use crate::forward::TargetUrl;
use crate::safe_text::SafeText;
use crate::signing::ForwardAs;

/// Send stored deliveries again; exit 1 if one is not answered 2xx
///
/// They go where they would be forwarded to, or to --to, and nowhere else. Each try is recorded as an attempt.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, ids, or beginnings or ends of ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Where to: a port, host:port or a URL
    #[arg(long, value_name = "TARGET")]
    to: Option<TargetUrl>,
    /// The signature of the copies: `sent`, or `resigned` for the path that the handler sees
    #[arg(long, value_name = "HOW")]
    forward_as: Option<ForwardAs>,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings =
        Gather::default().one("data", &args.data.data).many("secret", &args.secrets.secrets).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let mut failed = 0;
    let mut ended: Result<(), Failure> = Ok(());
    for id in &args.ids {
        let replay = Replay { id: id.clone(), to: args.to.clone(), forward_as: args.forward_as, ..Replay::default() };
        let done = match control.replay(&replay).await {
            Ok(done) => done,
            Err(e) => {
                ended = Err(e.into());
                break;
            }
        };
        let a = &done.attempt;
        failed += usize::from(!a.succeeded());
        if args.json {
            context.out.json(&done)?;
        } else {
            let style = context.out.style;
            let came_to = match (a.status, &a.error) {
                (_, Some(e)) => style.paint(Tone::Bad, SafeText::new(&e.message)),
                (Some(status), None) => style.paint(if a.succeeded() { Tone::Good } else { Tone::Bad }, status),
                (None, None) => "nothing".into(),
            };
            let took = duration(u64::try_from(a.duration.as_micros()).unwrap_or(u64::MAX));
            let again = if a.resigned { "  signed again" } else { "" };
            let event = SafeText::new(done.event_type.as_deref().unwrap_or("(no event)")).cut(60).to_string();
            context.out.line(&format!(
                "{}  {event}  {}  {came_to}  {took}{again}",
                done.id,
                SafeText::new(&a.target)
            ))?;
        }
        context.out.flush()?;
    }
    control.close().await;
    ended?;
    if failed > 0 {
        return Err(Failure::negative(format!("{failed} of {} were not answered 2xx", args.ids.len())));
    }
    Ok(())
}
