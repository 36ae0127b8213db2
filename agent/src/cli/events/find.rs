//! Lists by a filter in the inspector's language: `events list FILTER`.

use super::super::{Failure, arguments};
use crate::control::{Control, Found, PageAsk};
use crate::query::Saved;
use crate::safe_text::SafeText;

/// What fits, at most `limit` lines.
pub(crate) async fn find(control: &Control, query: &str, limit: usize, oldest_first: bool) -> Result<Found, Failure> {
    let mut found = Found::default();
    loop {
        let room = limit.saturating_sub(found.items.len());
        if room == 0 {
            return Ok(found);
        }
        let ask = PageAsk { query: query.to_owned(), oldest_first, cursor: found.next.take(), limit: room };
        let page = control.page(&ask).await?;
        found.items.extend(page.items);
        found.next = page.next;
        if found.next.is_none() {
            return Ok(found);
        }
    }
}

/// Refuses a filter with a mistake, and shows where that is. Gives it with saved filters written out.
pub(crate) fn check(query: &str, saved: &Saved) -> Result<String, Failure> {
    let e = match saved.read(query, arguments::now()) {
        Ok((_, written_out)) => return Ok(written_out),
        Err(e) => e,
    };
    let before = SafeText::new(query.get(..e.at.start).unwrap_or("")).to_string();
    let mistake = SafeText::new(query.get(e.at.clone()).unwrap_or("")).to_string();
    let marks = "^".repeat(mistake.chars().count().max(1));
    let blanks = " ".repeat(before.chars().count());
    Err(Failure::usage(format!("the filter has a mistake\n  {}\n  {blanks}{marks} {}", SafeText::new(query), e.why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_marked() {
        let mut saved = Saved::default();
        saved.insert("bad", "status:5xx").unwrap();
        assert_eq!(check("@bad env:staging", &saved).unwrap(), "status:5xx env:staging");
        let message = check("a sig:vald", &saved).unwrap_err().message;
        assert_eq!(
            message,
            "the filter has a mistake\n  a sig:vald\n        ^^^^ choose of valid, invalid, unsigned, no-secret"
        );
    }
}
