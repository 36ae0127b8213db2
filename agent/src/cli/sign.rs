//! `sign`: a body made a signed request.

use std::path::Path;

use tunnel_delivery::Headers;
use tunnel_signature::Request;

use super::arguments::{Gather, Secrets};
use super::verify::{bounded, file, reading};
use super::{Context, Failure};
use crate::dial::split_url;
use crate::request_text::{MAX_TEXT, curl_line, http_text};

/// Sign a body as Healthie does, and print the request
///
/// Nothing is sent. The body is signed as it is, to the last byte.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file that has the body; `-` for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    body: String,
    /// The signature's profile: guide, scribe or rfc9421
    #[arg(long, value_name = "PROFILE", default_value = "guide")]
    profile: String,
    /// A variant of the profile, such as no-padding+utf16-length
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Where it will be sent; its path and query are signed
    #[arg(long, value_name = "URL", conflicts_with_all = ["path", "query"])]
    url: Option<String>,
    /// The path, where no URL is given
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// The query, without its `?`
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// The body's type
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// What is printed: the headers, a curl line that sends it, or the whole request as raw HTTP
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = As::Headers)]
    form: As,
    /// Print JSON: method, target, headers
    #[arg(long, conflicts_with = "form")]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum As {
    /// The five header lines
    Headers,
    /// A curl line, for which the URL must be given
    Curl,
    /// Raw HTTP/1.1
    Http,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let reading = reading(&args.profile, args.variant.as_deref())?;
    let settings = Gather::default().many("secret", &args.secrets.secrets).load(context)?;
    let secrets = settings.secrets()?;
    let secret = secrets.first().ok_or_else(|| {
        Failure::usage("there is no secret to sign with")
            .hint("give the webhook's with --secret @FILE or HEALTHIE_WEBHOOK_SECRET")
    })?;
    let (origin, host, target) = place(&args)?;
    let shown = if args.body == "-" { "stdin" } else { &args.body };
    let body = match &*args.body {
        "-" => bounded(std::io::stdin().lock()).map_err(|e| e.to_string()),
        name => file(Path::new(name)),
    };
    let body = body.map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
    if body.len() > MAX_TEXT {
        return Err(Failure::usage(format!("{shown}: it is longer than the {} MiB that are read", MAX_TEXT >> 20)));
    }
    let request = Request { method: &args.method, target: &target, content_type: &args.content_type, body: &body };
    let signed = tunnel_signature::sign(reading, secret, &request).map_err(|e| Failure::usage(e.to_string()))?;
    let mut headers = Headers::default();
    if let (Some(host), true) = (&host, args.json || args.form != As::Headers) {
        headers.push("Host", host.clone());
    }
    for (name, value) in signed.lines() {
        headers.push(name, value.as_bytes().to_vec());
    }
    let out = &mut context.out;
    if args.json {
        return out.json(&serde_json::json!({ "method": args.method, "target": target, "headers": headers }));
    }
    match args.form {
        As::Headers => signed.lines().iter().try_for_each(|(name, value)| out.line(&format!("{name}: {value}"))),
        As::Http => out.bytes(&http_text(&args.method, &target, &headers, &body)),
        As::Curl => {
            let origin = origin.ok_or_else(|| Failure::usage("a curl line needs the URL; give it with --url"))?;
            out.line(&curl_line(&format!("{origin}{target}"), &args.method, &headers, &body))
        }
    }
}

/// Where it goes: scheme and host, the Host line, and the target.
fn place(args: &Args) -> Result<(Option<String>, Option<String>, String), Failure> {
    let usage = |e: String| Failure::usage(e);
    match &args.url {
        Some(url) => {
            let (peer, rest) = split_url(url, &["http"], &["https"]).map_err(|e| usage(e.to_string()))?;
            let target = if rest.starts_with('/') { rest } else { format!("/{rest}") };
            let scheme = if peer.tls { "https" } else { "http" };
            Ok((Some(format!("{scheme}://{}", peer.authority())), Some(peer.authority()), target))
        }
        None => {
            let query = args.query.as_deref().map(|q| format!("?{}", q.strip_prefix('?').unwrap_or(q)));
            let target = format!("{}{}", args.path, query.unwrap_or_default());
            let target: tunnel_delivery::Target =
                target.parse().map_err(|e: tunnel_delivery::TargetError| usage(e.to_string()))?;
            Ok((None, None, target.as_str().to_owned()))
        }
    }
}
