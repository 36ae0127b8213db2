//! `api`: how to ask the running agent oneself.

use serde_json::json;

use super::arguments::{self, Data, Gather};
use super::{Context, Failure};
use crate::api::OPENAPI;
use crate::control::{AgentFile, data_flag};

/// Print how to ask the running agent over its REST API, or the API's description
///
/// The API is on this machine only and needs a token, which is in a file that only you can read. Exit 3 if no agent runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the API's description, OpenAPI 3.1, and nothing else; needs no agent
    #[arg(long, conflicts_with_all = ["token", "header", "json"])]
    openapi: bool,
    /// Print the token and nothing else
    #[arg(long, conflicts_with_all = ["header", "json"])]
    token: bool,
    /// Print the header line that a request needs and nothing else, for `curl -H @-`
    #[arg(long, conflicts_with = "json")]
    header: bool,
    /// Print the address and the token's file as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if args.openapi {
        return context.out.bytes(OPENAPI.as_bytes());
    }
    let settings = Gather::default().data(&args.data).load(context)?;
    let data = settings.data()?;
    let agent = arguments::local(&settings)?.agent().await.ok_or_else(|| {
        Failure::unreachable(format!("no agent runs on the data folder {}", data.display()))
            .hint("start it with `healthie-tunnel listen`; --openapi needs none")
    })?;
    let (file, url) = (agent.file(), format!("http://{}/v1", agent.file().addr));
    let out = &mut context.out;
    if args.token {
        return out.line(&file.token);
    }
    if args.header {
        return out.line(&format!("Authorization: Bearer {}", file.token));
    }
    let held = AgentFile::path(&data);
    if args.json {
        return out.json(&json!({ "url": url, "token_file": held, "pid": file.pid }));
    }
    let this = match &args.data.data {
        Some(_) => format!("healthie-tunnel api {}", data_flag(&data)),
        None => "healthie-tunnel api".to_owned(),
    };
    out.line(&url)?;
    out.line("")?;
    out.line(&format!("The token is in {}; so it appears in no list of processes:", held.display()))?;
    out.line(&format!("  {this} --header | curl -sH @- '{url}/deliveries?query=status:failed&limit=5'"))?;
    out.line(&format!("  {this} --header | curl -sNH @- {url}/events"))?;
    out.line(&format!("  {this} --header | curl -sH @- --json '{{\"to\":\"3000\"}}' {url}/deliveries/latest/replays"))?;
    out.line(&format!("All of it: {this} --openapi"))
}
