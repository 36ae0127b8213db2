//! `curl`: a stored delivery as a curl line.

use super::arguments::{self, Data, Gather, Secrets};
use super::{Context, Failure};
use crate::control::CopyOf;
use crate::forward::TargetUrl;
use crate::request_text::curl_line;

/// Print a stored delivery as a curl line that sends the same bytes
///
/// The line is for bash and zsh. Nothing is sent. Without --to it goes where the delivery was sent to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, an id, or the beginning or end of one
    id: String,
    /// To this handler instead: a port, host:port or a URL; a URL without a path keeps the delivery's, less the relay's /t/NAME
    #[arg(long, value_name = "TARGET")]
    to: Option<TargetUrl>,
    /// Sign it again, as it was signed, for the path that the handler sees
    #[arg(long, requires = "to")]
    resign: bool,
    /// Print JSON: the URL and the curl line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).many("secret", &args.secrets.secrets).load(context)?;
    let secrets = arguments::secret_texts(&settings)?;
    let control = arguments::local(&settings)?.connect().await?;
    let copied = control.copy(&CopyOf { id: args.id, to: args.to, resign: args.resign, secrets }).await;
    control.close().await;
    let copied = copied?;
    let request = &copied.request;
    let line = curl_line(&copied.url, &request.method, &request.headers, &request.body);
    if copied.moved {
        context.out.message(
            "note: the handler sees another path than the one that was signed, so it will not find the signature valid; --resign signs \
             it again",
        );
    }
    if args.json {
        return context.out.json(&serde_json::json!({ "url": copied.url, "resigned": copied.resigned, "curl": line }));
    }
    context.out.line(&line)
}
