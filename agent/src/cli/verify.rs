//! `verify`: a signature checked now and explained, a stored delivery's or that of a request in a file; `--emit` prints a verifier to paste.

use std::io::Read as _;
use std::path::Path;

use tunnel_delivery::SignatureStatus;
use tunnel_signature::{Language, Part, Reading};

use super::arguments::{self, Data, Gather, Secrets};
use super::style::Tone;
use super::{Context, Failure, Output};
use crate::control::{Examine, Explained, Verify, examine_alone};
use crate::examine::{Difference, Signed};
use crate::request_text::{self, Form, MAX_TEXT, Written};
use crate::safe_text::SafeText;

/// Check a signature and explain it; exit 1 if it is not valid
///
/// Of a stored delivery, or of a request in a file: raw HTTP, a curl command line, or the JSON of `events show`. Uses the secrets of the
/// running agent and those given here. Shows which profile matched and the exact string that was signed, or the smallest change with
/// which the signature would hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, an id, or the beginning or end of one; or a file, `-` for stdin (./NAME for a file whose name could be an id)
    #[arg(value_name = "SELECTOR|FILE", required_unless_present = "profile")]
    what: Option<String>,
    /// Print it as JSON
    #[arg(long, conflicts_with = "emit")]
    json: bool,
    /// Print a verifier for the reading that matched, to paste: node, python, ruby, go, rust or php
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    emit: Option<Language>,
    /// With --emit: for this profile, whatever matched: guide, scribe or rfc9421
    #[arg(long, value_name = "PROFILE", requires = "emit", conflicts_with = "what")]
    profile: Option<String>,
    /// With --profile: a variant of it, such as no-padding+utf16-length
    #[arg(long, value_name = "VARIANT", requires = "profile")]
    variant: Option<String>,
    /// A secret that it should not be signed with, such as the other environment's, NAME=SECRET or NAME=@FILE; may be repeated
    #[arg(long = "other-secret", value_name = "NAME=SECRET", value_parser = named)]
    others: Vec<Named>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
}

/// A secret with its name; its `Debug` has only the name.
#[derive(Clone)]
struct Named(String, String);

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Named({:?})", self.0)
    }
}

fn named(text: &str) -> Result<Named, String> {
    // The text may be nothing but a secret, so no message repeats it.
    let (name, secret) =
        text.split_once('=').filter(|(n, s)| !n.is_empty() && !s.is_empty()).ok_or("write NAME=SECRET")?;
    let secret = crate::settings::from_file(secret)?;
    Ok(Named(name.to_owned(), secret))
}

fn language(text: &str) -> Result<Language, String> {
    text.parse().map_err(|e: tunnel_signature::Error| e.to_string())
}

pub(super) fn reading(profile: &str, variant: Option<&str>) -> Result<Reading, Failure> {
    let text = variant.map_or_else(|| profile.to_owned(), |variant| format!("{profile}:{variant}"));
    text.parse().map_err(|e: tunnel_signature::Error| Failure::usage(e.to_string()))
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    if let (Some(language), Some(profile)) = (args.emit, &args.profile) {
        let reading = reading(profile, args.variant.as_deref())?;
        return context.out.bytes(tunnel_signature::emit(language, reading).as_bytes());
    }
    // clap sees to it that there is one.
    let what = args.what.as_deref().unwrap_or("latest");
    let settings = Gather::default().data(&args.data).many("secret", &args.secrets.secrets).load(context)?;
    let local = arguments::local(&settings)?;
    let secrets = arguments::secret_texts(&settings)?;
    let others: Vec<(String, String)> = args.others.into_iter().map(|Named(name, secret)| (name, secret)).collect();
    let explained = if is_selector(what) {
        let control = local.connect().await?;
        let explained = control.verify(&Verify { id: what.to_owned(), secrets, others }).await;
        control.close().await;
        explained?
    } else {
        let asked = Examine { request: request(what)?, secrets, others };
        // A request needs no store; one that cannot be opened must not keep it from being explained.
        match local.connect_if_any().await {
            Ok(Some(control)) => {
                let explained = control.examine(asked.clone()).await;
                control.close().await;
                explained?
            }
            Ok(None) | Err(_) => examine_alone(&asked)?,
        }
    };
    let out = &mut context.out;
    if let Some(language) = args.emit {
        return emit(&explained, language, out);
    }
    if args.json {
        out.json(&explained)?;
    } else {
        print(&explained, what, out)?;
    }
    out.flush()?;
    if explained.status == SignatureStatus::Valid {
        Ok(())
    } else {
        Err(Failure { message: String::new(), ..Failure::negative("") })
    }
}

/// Whether an argument means a stored delivery: it looks like an id or a part of one.
pub(super) fn is_selector(what: &str) -> bool {
    what == "latest" || (what != "-" && what.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// Reads a request from a file or stdin.
pub(super) fn request(name: &str) -> Result<Written, Failure> {
    let (shown, text) = if name == "-" {
        ("stdin".to_owned(), bounded(std::io::stdin().lock()).map_err(|e| e.to_string()))
    } else {
        (name.to_owned(), file(Path::new(name)))
    };
    let wrong = |e: String| {
        let missing = !Path::new(name).exists() && name != "-";
        let failure = Failure::usage(format!("{shown}: {e}"));
        if missing {
            failure.hint("write a file's name, `-` for stdin, `latest`, or the id of a stored delivery")
        } else {
            failure
        }
    };
    let named = |name: &str| file(Path::new(name)).map_err(|e| format!("the file {name}: {e}"));
    request_text::read(&text.map_err(&wrong)?, &named).map_err(|e| wrong(e.to_string()))
}

/// A file's content, if it is one that ends.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, String> {
    let open = || {
        if std::fs::metadata(path)?.is_dir() {
            return Err(std::io::Error::other("it is a folder"));
        }
        bounded(std::fs::File::open(path)?)
    };
    open().map_err(|e| e.to_string())
}

/// Everything that can be read, up to one byte more than is taken.
pub(super) fn bounded(source: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(MAX_TEXT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn emit(explained: &Explained, language: Language, out: &mut Output) -> Result<(), Failure> {
    let Some(first) = explained.readings.first() else {
        let why = explained.hint.clone().or_else(|| explained.reason.clone()).unwrap_or_default();
        return Err(Failure::negative(format!("no reading matches, so there is none to print a verifier for: {why}"))
            .hint("--profile, and --variant, print one for a reading that you name"));
    };
    let reading: Reading = first.parse().map_err(|e: tunnel_signature::Error| Failure::unreachable(e.to_string()))?;
    if let [_, others @ ..] = &explained.readings[..]
        && !others.is_empty()
    {
        out.message(&format!(
            "note: {} would sign this one just like {first}, which is the documented base, so the verifier is for {first}; a delivery \
             {} tells them apart",
            others.join(" and "),
            apart(others)
        ));
    }
    for note in &explained.notes {
        out.message(&format!("note: {note}"));
    }
    out.bytes(tunnel_signature::emit(language, reading).as_bytes())
}

/// What a delivery must have for these readings to differ from their base.
fn apart(others: &[String]) -> String {
    let readings: Vec<Reading> = others.iter().filter_map(|r| r.parse().ok()).collect();
    let has = |part| readings.iter().any(|r| r.variant().twists().any(|t| t.documented().part == part));
    let of = [(Part::Length, "with letters outside ASCII in its body"), (Part::Query, "with a query")];
    of.into_iter().filter(|(part, _)| has(*part)).map(|(_, with)| with).collect::<Vec<_>>().join(" and ")
}

fn print(e: &Explained, what: &str, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    let id =
        e.id.map_or_else(|| SafeText::new(if what == "-" { "stdin" } else { what }).to_string(), |id| id.to_string());
    let of = [e.profile.as_deref(), e.variant.as_deref()];
    let mut head = format!("{}  {id}", style.signature(e.status, 0));
    for (name, value) in [
        ("", of.into_iter().flatten().collect::<Vec<_>>().join(" ")),
        ("secret: ", e.secret.clone().unwrap_or_default()),
        ("label: ", e.label.clone().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            head.push_str(&format!("  {name}{}", SafeText::new(&value)));
        }
    }
    out.line(&head)?;
    if e.source != Form::Delivery {
        out.line(&style.paint(Tone::Dim, format!("read as {}", e.source.as_str())))?;
    }
    if let Some(hint) = &e.hint {
        out.line("")?;
        out.line(&style.paint(Tone::Strong, SafeText::new(hint)))?;
    }
    for (i, finding) in e.findings.iter().enumerate() {
        if i > 0 {
            out.line("")?;
            out.line(&SafeText::new(&finding.sentence).to_string())?;
        }
        let with = [("as ", &finding.reading), ("secret: ", &finding.secret)];
        let with: Vec<String> =
            with.iter().filter_map(|(name, value)| Some(format!("{name}{}", value.as_ref()?))).collect();
        let with = if with.is_empty() { String::new() } else { format!(" ({})", with.join(", ")) };
        out.line(&style.paint(Tone::Dim, format!("{}{}", finding.certainty_means, SafeText::new(&with))))?;
        if let Some(difference) = &finding.difference {
            out.line("")?;
            compare(difference, out)?;
        }
    }
    out.line("")?;
    if let Some(reason) = &e.reason {
        out.line(&format!("reason  {}", SafeText::new(reason)))?;
    }
    out.line(&format!("digest  {}", digest(&e.digest)))?;
    if let Some(signed) = &e.signed {
        out.line("")?;
        string(signed, out)?;
    }
    if e.readings.len() > 1 {
        out.line("")?;
        let others = e.readings[1..].join(" and ");
        out.line(&format!("This one would be signed just the same as {}.", SafeText::new(&others)))?;
    }
    // The one that nothing was found is the hint already.
    for note in e.notes.iter().filter(|note| Some(*note) != e.hint.as_ref()) {
        out.line("")?;
        out.line(&SafeText::new(note).to_string())?;
    }
    Ok(())
}

fn digest(state: &str) -> &str {
    match state {
        "missing" => "there is no Content-Digest",
        "right" => "Content-Digest is the body's",
        "wrong" => "Content-Digest is not the body's",
        "unreadable" => "Content-Digest cannot be read",
        other => other,
    }
}

fn string(signed: &Signed, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    let title = format!("the exact string that was signed, {} bytes (· is a blank, ⏎ a line end):", signed.len);
    out.line(&style.paint(Tone::Dim, title))?;
    for (i, line) in signed.lines.iter().enumerate() {
        let end = if i + 1 < signed.lines.len() { "⏎" } else { "" };
        out.line(&format!("{}{}", SafeText::new(line), style.paint(Tone::Dim, end)))?;
    }
    out.line(&style.paint(Tone::Dim, "its parts:"))?;
    let width = signed.parts.iter().map(|p| p.component.chars().count()).max().unwrap_or(0).min(40);
    for part in &signed.parts {
        let value = if part.value.is_empty() {
            style.paint(Tone::Dim, "(empty)")
        } else {
            SafeText::new(&part.value).to_string()
        };
        out.line(&format!("  {:width$}  {value}", SafeText::new(&part.component)))?;
    }
    Ok(())
}

/// Both sides, one below the other, with a mark below the first byte that differs.
fn compare(d: &Difference, out: &mut Output) -> Result<(), Failure> {
    let body = d.of == "body";
    let (title, right) = if body { ("the bodies", "hashed") } else { ("the signed strings", "signed") };
    out.line(&format!("{title} first differ at byte {} (· is a blank):", d.at))?;
    let before = SafeText::new(&d.before).to_string();
    let shown = |side: &str| match side {
        "" => "(ends here)".to_owned(),
        side => SafeText::new(side).to_string(),
    };
    out.line(&format!("  arrived  {before}{}", shown(&d.arrived)))?;
    out.line(&format!("  {right:7}  {before}{}", shown(&d.signed)))?;
    out.line(&format!("{}^", " ".repeat(11 + before.chars().count())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_files_are_told_apart() {
        for id in ["latest", "019a0000-0000-7000-8000-000000000000", "1cae", "0000-7"] {
            assert!(is_selector(id), "{id}");
        }
        for file in ["-", "./latest", "a.http", "request", "/tmp/1"] {
            assert!(!is_selector(file), "{file}");
        }
    }

    #[test]
    fn a_secret_in_an_argument_is_never_repeated() {
        assert_eq!(format!("{:?}", named("production=whsec_private").unwrap()), "Named(\"production\")");
        assert!(!named("whsec_private").unwrap_err().contains("private"));
    }
}
