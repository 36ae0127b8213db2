//! The states of its connection that an agent tells: each follows from the one before, so that at every moment one of them is true.

use serde_json::Value;

/// The states in the order in which they were told.
///
/// # Panics
/// If one does not follow from the one before.
pub fn states(lines: &[Value]) -> Vec<String> {
    let told = lines.iter().filter(|line| line["type"] == "connection");
    let states: Vec<String> = told.map(|line| line["state"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(states.first().is_none_or(|first| first == "connecting"), "{states:?}");
    for pair in states.windows(2) {
        let follows = match pair[0].as_str() {
            "connecting" => ["connected", "waiting", "refused", "closed"].contains(&pair[1].as_str()),
            "connected" => ["waiting", "refused", "closed"].contains(&pair[1].as_str()),
            "waiting" => ["connecting", "closed"].contains(&pair[1].as_str()),
            _ => false,
        };
        assert!(follows, "{} after {}: {states:?}", pair[1], pair[0]);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(states: &[&str]) -> Vec<Value> {
        states.iter().map(|state| serde_json::json!({ "type": "connection", "state": state })).collect()
    }

    #[test]
    fn what_follows_is_told() {
        let told = ["connecting", "waiting", "connecting", "connected", "waiting", "connecting", "connected", "closed"];
        assert_eq!(states(&lines(&told)), told);
    }

    #[test]
    #[should_panic(expected = "connected after waiting")]
    fn what_does_not_follow_is_found() {
        states(&lines(&["connecting", "waiting", "connected"]));
    }
}
