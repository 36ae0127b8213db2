//! `verify`: a stored delivery's signature, checked now and explained.

use tunnel_delivery::SignatureStatus;

use super::arguments::{self, Data, Gather, Secrets};
use super::style::Tone;
use super::{Context, Failure};
use crate::control::Verify;
use crate::safe_text::SafeText;

/// Check a stored delivery's signature; exit 1 if it is not valid
///
/// Uses the secrets of the running agent and those given here, not what was found when the delivery came. Shows which profile matched and
/// the exact string that was signed, or why nothing matches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, an id, or the beginning or end of one
    id: String,
    /// Print it as JSON
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
    let verify = Verify { id: args.id, secrets: arguments::secret_texts(&settings)? };
    let explained = control.verify(&verify).await;
    control.close().await;
    let e = explained?;
    let out = &mut context.out;
    if args.json {
        out.json(&e)?;
    } else {
        let of = [e.profile.as_deref(), e.variant.as_deref()];
        let profile = of.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let label = e.label.as_deref().map_or_else(String::new, |l| format!("  label {}", SafeText::new(l)));
        out.line(&format!("{}  {}  {}{label}", out.style.signature(e.status, 0), e.id, SafeText::new(&profile)))?;
        for text in [&e.reason, &e.hint].into_iter().flatten() {
            out.line(&SafeText::new(text).to_string())?;
        }
        if let Some(signed) = &e.signed {
            out.line(&out.style.paint(Tone::Dim, "the exact string that was signed (· is a blank, ⏎ a line break):"))?;
            out.line(&visible(signed))?;
        }
    }
    out.flush()?;
    if e.status == SignatureStatus::Valid {
        Ok(())
    } else {
        Err(Failure { message: String::new(), ..Failure::negative("") })
    }
}

/// Blanks and line breaks made visible; line breaks are kept too.
fn visible(text: &str) -> String {
    SafeText::block(&text.replace(' ', "·").replace('\n', "⏎\n")).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn blanks_are_seen() {
        assert_eq!(super::visible("post /a  x\ny\u{1b}"), "post·/a··x⏎\ny\\u{1b}");
    }
}
