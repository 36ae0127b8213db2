//! Which lines of two texts differ, with some of what is the same around them.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// Comparing takes no longer; what is found by then is shown.
const WITHIN: Duration = Duration::from_millis(150);
/// Lines of what is the same around what is not.
const AROUND: usize = 3;

/// On which side a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// On both.
    Same,
    /// On the first only.
    Old,
    /// On the second only.
    New,
}

/// Lines that belong together; between two of these there are lines that are the same.
pub type Hunk = Vec<(Mark, String)>;

/// What differs; nothing where the texts are the same.
pub fn hunks(old: &str, new: &str) -> Vec<Hunk> {
    if old == new {
        return Vec::new();
    }
    let diff = TextDiff::configure().timeout(WITHIN).diff_lines(old, new);
    let groups = diff.grouped_ops(AROUND);
    let line = |change: similar::Change<&str>| {
        let mark = match change.tag() {
            ChangeTag::Delete => Mark::Old,
            ChangeTag::Insert => Mark::New,
            ChangeTag::Equal => Mark::Same,
        };
        (mark, change.value().trim_end_matches('\n').to_owned())
    };
    groups.iter().map(|group| group.iter().flat_map(|op| diff.iter_changes(op)).map(line).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_is_told_with_what_is_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        let found = hunks(old, new);
        let text: Vec<String> = found[0].iter().map(|(mark, line)| format!("{mark:?} {line}")).collect();
        assert_eq!(text, ["Same 2", "Same 3", "Same 4", "Old 5", "New five", "Same 6", "Same 7", "Same 8"]);
    }

    proptest! {
        #[test]
        fn each_side_s_lines_are_in_order(old in "([abc]\n){0,12}", new in "([abc]\n){0,12}") {
            let all = hunks(&old, &new).concat();
            let old_lines: Vec<&str> = old.lines().collect();
            let new_lines: Vec<&str> = new.lines().collect();
            let gone = all.iter().filter(|l| l.0 == Mark::Old).count();
            let came = all.iter().filter(|l| l.0 == Mark::New).count();
            prop_assert_eq!(old_lines.len() + came, new_lines.len() + gone);
            let mut rest = old_lines.into_iter();
            prop_assert!(all.iter().filter(|l| l.0 != Mark::New).all(|(_, line)| rest.any(|l| l == *line)));
        }
    }
}
