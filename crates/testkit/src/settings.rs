//! What the environment says about how long and from which seed a story plays. Where it says nothing, stories are short.

use std::hash::{BuildHasher as _, RandomState};

/// Names the seed of all chance in a story, to play one again.
const SEED: &str = "HEALTHIE_TUNNEL_SEED";

/// A number from the environment, such as how many rounds a story plays.
///
/// # Panics
/// If it is set and is no number.
pub fn setting(name: &str, unless_set: u64) -> u64 {
    std::env::var(name).map_or(unless_set, |text| number(name, &text))
}

/// Words from the environment with commas between them, such as the cases to try; none where it says nothing.
pub fn words(name: &str) -> Vec<String> {
    let text = std::env::var(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The seed of a story's chance: `HEALTHIE_TUNNEL_SEED`, else any. The story says it when it fails.
///
/// # Panics
/// If it is set and is no number.
pub fn seed() -> u64 {
    std::env::var(SEED).map_or_else(|_| RandomState::new().hash_one(0), |text| number(SEED, &text))
}

fn number(name: &str, text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_as_it_was_meant() {
        assert_eq!(setting("HEALTHIE_TUNNEL_NEVER_SET", 6), 6);
        assert_eq!(number("X", "12"), 12);
    }

    #[test]
    #[should_panic(expected = "X=many is no number")]
    fn what_is_no_number_is_said() {
        number("X", "many");
    }
}
