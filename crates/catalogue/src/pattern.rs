//! Patterns of event names, as `--events` and `--forward PATTERN=URL` take them.

/// Whether a name is of the pattern. `*` stands for any text, also none and also with dots; everything else for itself.
///
/// Takes at most the product of the two lengths in time, whatever the pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: after that `*`, with one more byte of the name given to it.
    let mut last_star = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p + 1, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            p += 1;
            n += 1;
        } else if let Some((after, given)) = last_star {
            last_star = Some((after, given + 1));
            p = after;
            n = given + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without regard to time.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|at| slow(rest, &name[at..])),
            [first, rest @ ..] => name.first() == Some(first) && slow(rest, &name[1..]),
        }
    }

    #[test]
    fn examples() {
        assert!(matches("appointment.*", "appointment.created"));
        assert!(matches("*", "") && matches("*", "anything") && matches("", ""));
        assert!(matches("*.created", "goal_history.created"));
        assert!(matches("*_history.*ed", "goal_history.created"));
        assert!(!matches("appointment.*", "appointments.created"));
        assert!(!matches("appointment", "appointment.created"));
        assert!(!matches("", "a"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }

    proptest! {
        #[test]
        fn as_defined(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_name_is_its_own_pattern(name in "[^*]{0,40}", at: prop::sample::Index) {
            prop_assert!(matches(&name, &name));
            let cut = at.index(name.chars().count() + 1);
            let (head, tail): (String, String) = (name.chars().take(cut).collect(), name.chars().skip(cut).collect());
            let starred = [head.as_str(), "*", tail.as_str()].concat();
            prop_assert!(matches(&starred, &name));
        }
    }
}
