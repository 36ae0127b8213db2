//! `diff`: what differs between two deliveries, two answers, or a delivery and a request in a file. What differs is `compare`'s to say.

use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::arguments::{self, Data, Gather};
use super::style::Tone;
use super::verify::{is_selector, request};
use super::{Context, Failure, Output};
use crate::compare::{Difference, MOST_FIELDS, Mark, Side, difference, hunks};
use crate::control::{Control, Local};
use crate::request_text::Written;
use crate::safe_text::SafeText;

/// From this width of the terminal on both sides stand beside each other.
const BESIDE: usize = 140;

/// Show what differs between two deliveries, or between the answers of two attempts; exit 1 if anything does
///
/// Header lines and the fields of JSON bodies that are not the same, then the lines; on a terminal of 140 columns both sides beside each
/// other. ID#2 is the answer of a delivery's second attempt. A file may be raw HTTP, a fixture, a curl command line, or the JSON of `events
/// show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `latest`, an id, or the beginning or end of one; with #N behind it the answer of its Nth attempt; or a file, `-` for stdin
    a: String,
    /// The other one
    b: String,
    /// Compare the bodies only
    #[arg(long)]
    body: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

/// What is compared, as it was written.
#[derive(Debug, PartialEq)]
enum What<'a> {
    Delivery(&'a str),
    /// And the number of the attempt, from 1.
    Answer(&'a str, usize),
    File(&'a str),
}

fn what(text: &str) -> Result<What<'_>, Failure> {
    if let Some((id, number)) = text.rsplit_once('#').filter(|(id, _)| is_selector(id)) {
        return match number.parse() {
            Ok(number) if number > 0 => Ok(What::Answer(id, number)),
            _ => Err(Failure::usage(format!("{number:?} is not the number of an attempt; write {id}#1"))),
        };
    }
    Ok(if is_selector(text) { What::Delivery(text) } else { What::File(text) })
}

/// One side and what it is called.
struct Named {
    name: String,
    side: Side,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    let wanted = [what(&args.a)?, what(&args.b)?];
    let answers = wanted.iter().filter(|w| matches!(w, What::Answer(..))).count();
    if answers == 1 {
        return Err(Failure::usage("an answer cannot be compared with a request")
            .hint("write #N behind both, for the answers of two attempts, or behind neither"));
    }
    if wanted == [What::File("-"), What::File("-")] {
        return Err(Failure::usage("stdin can only be one of the two"));
    }
    let [a, b] = both(&local, wanted).await?;
    let [a, b] = [a, b].map(|n| if args.body { Named { side: n.side.only_body(), ..n } } else { n });
    let found = difference(&a.side, &b.side);
    let out = &mut context.out;
    if args.json {
        let text = |named: &Named| json!({"name": named.name, "body_bytes": named.side.body.len()});
        let mut value = serde_json::to_value(&found).unwrap_or_default();
        value["a"] = text(&a);
        value["b"] = text(&b);
        out.json(&value)?;
    } else {
        print(&found, &a, &b, out)?;
    }
    out.flush()?;
    if found.same { Ok(()) } else { Err(Failure { message: String::new(), ..Failure::negative("") }) }
}

/// Both sides. The store is opened where one of them is in it.
async fn both(local: &Local, wanted: [What<'_>; 2]) -> Result<[Named; 2], Failure> {
    let stored = wanted.iter().any(|w| !matches!(w, What::File(_)));
    let control = if stored { Some(local.connect().await?) } else { None };
    let [a, b] = wanted;
    let a = named(control.as_ref(), a).await;
    let b = match &a {
        Ok(_) => named(control.as_ref(), b).await,
        Err(e) => Err(e.clone()),
    };
    if let Some(control) = control {
        control.close().await;
    }
    Ok([a?, b?])
}

async fn named(control: Option<&Control>, what: What<'_>) -> Result<Named, Failure> {
    let (id, number) = match what {
        What::File(name) => return Ok(Named { name: name.to_owned(), side: Side::request(&request(name)?) }),
        What::Delivery(id) => (id, None),
        What::Answer(id, number) => (id, Some(number)),
    };
    let Some(control) = control else { return Err(Failure::unreachable("there is no store")) };
    let stored = control.get(id).await?;
    let event = stored.event.as_ref().map_or("(no event)", |e| e.event_type.as_str());
    let name = format!("{event}  {}", stored.delivery.id);
    let Some(number) = number else {
        return Ok(Named { name, side: Side::request(&Written::of(&stored.delivery)) });
    };
    let Some(attempt) = stored.attempts.get(number - 1) else {
        let had = super::style::counted(stored.attempts.len() as u64, "attempt", "attempts");
        return Err(Failure::negative(format!("{id} has {had}, so there is no {number}")));
    };
    Ok(Named { name: format!("{name}  attempt {number}"), side: Side::answer(attempt) })
}

fn print(found: &Difference, a: &Named, b: &Named, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    out.line(&style.paint(Tone::Bad, format!("- {}", SafeText::new(&a.name))))?;
    out.line(&style.paint(Tone::Good, format!("+ {}", SafeText::new(&b.name))))?;
    if found.same {
        return out.line("no difference");
    }
    told(found, out)?;
    let (old, new) = (a.side.text(), b.side.text());
    let all = hunks(&old, &new);
    if all.is_empty() {
        out.line("")?;
        return out.line("the lines that are shown are the same; what differs is behind them, or only in form");
    }
    for hunk in all {
        out.line("")?;
        match out.width.filter(|width| *width >= BESIDE) {
            Some(width) => beside(&hunk, width, out)?,
            None => {
                for (mark, line) in &hunk {
                    let text = format!("{}{}", sign(*mark), SafeText::new(line));
                    out.line(&toned(*mark, text, out))?;
                }
            }
        }
    }
    Ok(())
}

/// What differs by meaning.
fn told(found: &Difference, out: &mut Output) -> Result<(), Failure> {
    /// The most characters of a value.
    const MOST: usize = 60;
    let cut = |text: &str| SafeText::new(text).cut(MOST).to_string();
    let mut lines: Vec<(String, String, String)> = Vec::new();
    if let Some([a, b]) = &found.start {
        lines.push(("the first line".into(), cut(a), cut(b)));
    }
    let values = |all: &[String]| if all.is_empty() { "(absent)".to_owned() } else { cut(&all.join(", ")) };
    lines.extend(found.headers.iter().map(|h| (format!("header {}", cut(&h.name)), values(&h.a), values(&h.b))));
    for field in found.fields.iter().flatten() {
        let value =
            |v: &Option<serde_json::Value>| v.as_ref().map_or_else(|| "(absent)".into(), |v| cut(&v.to_string()));
        let path = if field.path.is_empty() { "the body".to_owned() } else { format!("field {}", cut(&field.path)) };
        lines.push((path, value(&field.a), value(&field.b)));
    }
    if !lines.is_empty() {
        out.line("")?;
    }
    for (what, a, b) in &lines {
        let (a, b) = (out.style.paint(Tone::Bad, a), out.style.paint(Tone::Good, b));
        out.line(&format!("{what}: {a} → {b}"))?;
    }
    match &found.fields {
        Some(fields) if fields.len() >= MOST_FIELDS => {
            out.line(&format!("only the first {MOST_FIELDS} fields are told"))
        }
        Some(fields) if fields.is_empty() => out.line("the bodies say the same in JSON and differ in form"),
        None if !found.body_same => out.line("the bodies differ and are not both JSON"),
        _ if found.body_same && !found.headers.is_empty() => out.line("the bodies are the same"),
        _ => Ok(()),
    }
}

fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Same => "  ",
        Mark::Old => "- ",
        Mark::New => "+ ",
    }
}

fn toned(mark: Mark, text: String, out: &Output) -> String {
    match mark {
        Mark::Same => text,
        Mark::Old => out.style.paint(Tone::Bad, text),
        Mark::New => out.style.paint(Tone::Good, text),
    }
}

/// What is gone on the left, what is new on the right, what is the same on both.
fn beside(hunk: &[(Mark, String)], width: usize, out: &mut Output) -> Result<(), Failure> {
    let room = (width - 3) / 2;
    for (left, right) in pairs(hunk) {
        let cell = |side: Option<&(Mark, String)>| {
            let (mark, line) = side.map_or((Mark::Same, ""), |(mark, line)| (*mark, line.as_str()));
            let text = fitted(&format!("{}{}", sign(mark), SafeText::new(line)), room);
            toned(mark, text, out)
        };
        let line = format!("{} │ {}", cell(left), cell(right));
        out.line(line.trim_end())?;
    }
    Ok(())
}

/// Cut or padded to so many columns.
fn fitted(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let whole = text.width() <= columns;
    for c in text.chars() {
        let wide = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used + wide > if whole { columns } else { columns - 1 } {
            break;
        }
        out.push(c);
        used += wide;
    }
    if !whole {
        out.push('…');
        used += 1;
    }
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

type Pair<'a> = (Option<&'a (Mark, String)>, Option<&'a (Mark, String)>);

/// Lines that stand beside each other.
fn pairs(hunk: &[(Mark, String)]) -> Vec<Pair<'_>> {
    let mut out = Vec::new();
    let mut rest = hunk;
    while let Some((first, _)) = rest.first() {
        if *first == Mark::Same {
            out.push((rest.first(), rest.first()));
            rest = &rest[1..];
            continue;
        }
        let changed = rest.iter().position(|l| l.0 == Mark::Same).unwrap_or(rest.len());
        let (block, after) = rest.split_at(changed);
        rest = after;
        let mut old = block.iter().filter(|l| l.0 == Mark::Old);
        let mut new = block.iter().filter(|l| l.0 == Mark::New);
        loop {
            match (old.next(), new.next()) {
                (None, None) => break,
                pair => out.push(pair),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_answers_and_files_are_told_apart() {
        assert_eq!(what("latest").unwrap(), What::Delivery("latest"));
        assert_eq!(what("1cae#2").unwrap(), What::Answer("1cae", 2));
        assert_eq!(what("a.http").unwrap(), What::File("a.http"));
        assert_eq!(what("odd#name.http").unwrap(), What::File("odd#name.http"));
        assert!(what("1cae#0").is_err() && what("1cae#x").is_err());
    }

    #[test]
    fn what_changed_stands_beside_each_other() {
        let line = |mark, text: &str| (mark, text.to_owned());
        let hunk = [
            line(Mark::Same, "s"),
            line(Mark::Old, "a"),
            line(Mark::Old, "b"),
            line(Mark::New, "c"),
            line(Mark::Same, "t"),
        ];
        let told: Vec<String> =
            pairs(&hunk).iter().map(|(l, r)| [l, r].map(|s| s.map_or("", |(_, t)| t)).join("|")).collect();
        assert_eq!(told, ["s|s", "a|c", "b|", "t|t"]);
    }

    #[test]
    fn a_cell_has_its_width() {
        for text in [
            "",
            "short",
            "as long as twenty ch",
            "much longer than twenty",
            "広い文字がここにあります",
            "aあaあaあaあaあaあaあaあ",
        ] {
            assert_eq!(fitted(text, 20).width(), 20, "{text}");
        }
    }
}
