//! The bodies that a body may have been: the same JSON written again, and the same bytes with other ends. Each is made, shown and
//! thrown away; which is the right one the caller tells by its digest.

use std::ops::ControlFlow;

use crate::doctor::cause::{BodyForm, Newline, Signed};
use crate::doctor::json::{self, Escapes, Layout, Style};

/// The longest body that is written again, in bytes. A longer one is only tried with other ends.
pub const MAX_REWRITTEN: usize = 1024 * 1024;

/// The longest body that is made by writing one again, in bytes.
const MAX_WRITTEN: usize = 2 * MAX_REWRITTEN;

/// The most bodies that are made of one.
pub const MAX_BODIES: usize = 8 + LAYOUTS.len() * ESCAPES.len() * 2 * 2;

const LAYOUTS: [Layout; 4] = [Layout::Compact, Layout::Spaced, Layout::Indent2, Layout::Indent4];
const ESCAPES: [Escapes; 6] =
    [Escapes::AsSent, Escapes::Bare, Escapes::NonAscii, Escapes::NonAsciiAndSlash, Escapes::Slash, Escapes::Html];
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Shows every body that this one may have been, likelier ones first, until the caller breaks.
pub(crate) fn each(
    body: &[u8],
    content_length: Option<usize>,
    mut show: impl FnMut(BodyForm, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if let Some(rest) = body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(b"\n")) {
        show(BodyForm::TrailingNewline(Signed::Without), rest)?;
    }
    show(BodyForm::TrailingNewline(Signed::With), &[body, b"\n"].concat())?;
    match body.strip_prefix(BOM) {
        Some(rest) => show(BodyForm::ByteOrderMark(Signed::Without), rest)?,
        None => show(BodyForm::ByteOrderMark(Signed::With), &[BOM, body].concat())?,
    }
    if body.trim_ascii().len() < body.len() {
        show(BodyForm::Trimmed, body.trim_ascii())?;
    }
    if body.contains(&b'\n') {
        let without = body.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines: Vec<_> = without.collect();
        show(BodyForm::CarriageReturns(Signed::Without), &lines.join(&b"\n"[..]))?;
        show(BodyForm::CarriageReturns(Signed::With), &lines.join(&b"\r\n"[..]))?;
    }
    if let Some(start) = content_length.filter(|length| *length > 0).and_then(|length| body.get(..length)) {
        show(BodyForm::CutToContentLength, start)?;
    }
    if !body.is_empty() {
        show(BodyForm::Empty, b"")?;
    }
    if body.len() <= MAX_REWRITTEN {
        rewritten(body.strip_prefix(BOM).unwrap_or(body), show)?;
    }
    ControlFlow::Continue(())
}

fn rewritten(body: &[u8], mut show: impl FnMut(BodyForm, &[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let Some(node) = std::str::from_utf8(body).ok().and_then(json::read) else { return ControlFlow::Continue(()) };
    let mut out = String::with_capacity(body.len() + body.len() / 4);
    let sortable = body.contains(&b',');
    for sorted in if sortable { &[false, true][..] } else { &[false] } {
        for escapes in ESCAPES.into_iter().filter(|escapes| can_matter(*escapes, body)) {
            for layout in LAYOUTS {
                let style = Style { layout, escapes, sorted: *sorted };
                out.clear();
                if !json::write(&node, style, MAX_WRITTEN, &mut out) || out.as_bytes() == body {
                    continue;
                }
                show(BodyForm::Json(style, Newline::No), out.as_bytes())?;
                out.push('\n');
                show(BodyForm::Json(style, Newline::Yes), out.as_bytes())?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Whether escaping in that way can give something else than leaving strings as they are, or than a plainer way.
fn can_matter(escapes: Escapes, body: &[u8]) -> bool {
    let has = |wanted: &[u8]| body.iter().any(|b| wanted.contains(b));
    match escapes {
        Escapes::AsSent => true,
        Escapes::Bare => has(b"\\"),
        Escapes::NonAscii => has(b"\\") || !body.is_ascii(),
        Escapes::NonAsciiAndSlash => has(b"/") && (has(b"\\") || !body.is_ascii()),
        Escapes::Slash => has(b"/"),
        Escapes::Html => has(b"<>&\\") || !body.is_ascii(),
    }
}

/// The JSON of a body in the two layouts that senders count, for lengths that are not the body's.
pub(crate) fn compact(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_REWRITTEN)?;
    let mut out = String::with_capacity(text.len());
    let style = Style { layout: Layout::Compact, escapes: Escapes::Bare, sorted: false };
    json::write(&json::read(text)?, style, MAX_WRITTEN, &mut out).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms_of(body: &[u8], wanted: &[u8]) -> Vec<BodyForm> {
        let mut found = Vec::new();
        let _ = each(body, None, |form, made| {
            if made == wanted {
                found.push(form);
            }
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn each_form_is_made() {
        let python = r#"{"name": "\u00c4", "url": "a/b"}"#.as_bytes();
        let php = r#"{"name":"\u00c4","url":"a\/b"}"#.as_bytes();
        let javascript = r#"{"name":"Ä","url":"a/b"}"#.as_bytes();
        for (arrived, signed) in [(javascript, python), (javascript, php), (python, javascript), (php, python)] {
            let found = forms_of(arrived, signed);
            assert!(matches!(found[0], BodyForm::Json(_, Newline::No)), "{found:?}");
        }
        assert_eq!(forms_of(b"{}\r\n", b"{}")[0], BodyForm::TrailingNewline(Signed::Without));
        assert_eq!(forms_of(b"a\nb", b"a\r\nb"), [BodyForm::CarriageReturns(Signed::With)]);
        assert_eq!(forms_of(b"\xef\xbb\xbf{}", b"{}")[0], BodyForm::ByteOrderMark(Signed::Without));
    }

    #[test]
    fn a_long_body_is_not_written_again() {
        let body = format!("[{}1]", "1, ".repeat(MAX_REWRITTEN / 3));
        assert!(forms_of(body.as_bytes(), body.replace(' ', "").as_bytes()).is_empty());
    }

    #[test]
    fn blanks_do_not_make_it_long_without_bound() {
        let body = format!("{}{}1{}", "[".repeat(60), "1,".repeat(100_000), "]".repeat(60));
        let mut most = 0;
        let _ = each(body.as_bytes(), None, |_, made| {
            most = most.max(made.len());
            ControlFlow::Continue(())
        });
        assert!(most <= MAX_WRITTEN + 1, "{most}");
    }

    proptest! {
        #[test]
        fn the_bound_holds(bytes: Vec<u8>, text in r#"[\[\]{}:,"\\a0-9ue/ä<\n -]{0,40}"#, length: Option<u8>) {
            let busy = b"{\"b\": \"\\u00e4/<\", \"a\": \"\xc3\xa4\"}\r\n".to_vec();
            for body in [bytes, text.into_bytes(), busy] {
                let mut made = 0;
                let _ = each(&body, length.map(usize::from), |_, _| { made += 1; ControlFlow::Continue(()) });
                prop_assert!(made <= MAX_BODIES);
            }
        }
    }
}
