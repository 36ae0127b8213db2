//! A conformance check of the developer's own handler: a battery of valid deliveries, forged ones, and ones in numbers; each case's verdict;
//! and the faults that they show together, by name.
//!
//! `battery` has the cases as data, `case` makes their requests, `run` sends them, `judge` gives verdicts, `diagnose` names faults with what
//! `probes` found out, `junit` writes them for CI. Requests carry nothing that tells a handler that it is a check: it must not be able to
//! behave for it. They go to the target that was named and nowhere else; no redirect is followed, answers are bounded.

mod battery;
mod bodies;
mod case;
mod diagnose;
mod judge;
mod junit;
mod probes;
mod report;
mod run;
mod slow;

use std::time::Duration;

use tunnel_signature::{Profile, Reading, Secret};

pub use junit::junit;
pub use report::{Answered, Class, Diagnosis, Line, Mark, Report};

use self::case::{Case, Place};
use crate::dial::Trust;
use crate::forward::TargetUrl;

/// How long a handler may take for one answer unless it is said otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The handler.
    pub target: TargetUrl,
    /// The readings that it claims to verify in; the battery is run in the first, the others get a valid delivery each.
    pub profiles: Vec<Reading>,
    /// The secret that it knows.
    pub secret: Secret,
    /// The path that Healthie would sign; where there is none, the one that is sent to.
    pub path: Option<String>,
    /// Only these cases: names or patterns; empty for all.
    pub only: Vec<String>,
    /// Without these.
    pub skip: Vec<String>,
    /// How long one answer may take.
    pub limit: Duration,
    /// Whom to trust.
    pub trust: Trust,
    /// Chooses ids, so that a handler that remembers deliveries has not seen these.
    pub seed: u64,
}

/// Why there was no check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody is there.
    #[error("the handler cannot be checked: {0}")]
    Unreachable(String),
    /// A name that is no case's.
    #[error("no case is called {0:?}; `healthie-tunnel check --list` shows all")]
    NoSuchCase(String),
    /// Every case was left out.
    #[error("no case is left to run; mend --only and --skip")]
    Nothing,
    /// The path cannot be signed.
    #[error(transparent)]
    Signature(#[from] tunnel_signature::Error),
}

/// Checks a handler. `told` hears of each case as it is done.
///
/// # Errors
/// Nobody is there, or the plan names what there is not.
pub async fn run(plan: &Plan, told: impl FnMut(&Line)) -> Result<Report, CheckError> {
    run::run(plan, told).await
}

/// Name, what it sends and what is right (`accept` or `refuse`) of every case.
pub fn cases() -> Vec<(&'static str, &'static str, &'static str)> {
    // Neither has a say in which cases there are.
    let Ok(secret) = Secret::new("whsec_x") else { return Vec::new() };
    let reading = Reading::plain(Profile::Guide);
    let place = Place { reading, secret, host: String::new(), signed: "/".into(), sent: "/".into() };
    let all = battery::battery(&place, &[reading], 0);
    all.iter().map(judge::not_run).map(|line| (line.case, line.sends, line.right)).collect()
}

impl Plan {
    fn place(&self) -> Result<Place, CheckError> {
        let reading = self.profiles.first().copied().unwrap_or(Reading::plain(Profile::Guide));
        let sent = self.target.map(self.path.as_deref().unwrap_or("/"));
        let signed = self.path.clone().unwrap_or_else(|| sent.clone());
        Ok(Place { reading, secret: self.secret.clone(), host: self.target.peer.authority(), signed, sent })
    }

    fn select(&self, all: Vec<Case>) -> Result<Vec<Case>, CheckError> {
        let known = cases();
        for wanted in self.only.iter().chain(&self.skip) {
            if !known.iter().any(|(name, ..)| tunnel_catalogue::matches(wanted, name)) {
                return Err(CheckError::NoSuchCase(wanted.chars().take(80).collect()));
            }
        }
        let among = |list: &[String], case: &Case| list.iter().any(|p| tunnel_catalogue::matches(p, case.name));
        let left: Vec<Case> = all
            .into_iter()
            .filter(|case| (self.only.is_empty() || among(&self.only, case)) && !among(&self.skip, case))
            .collect();
        if left.is_empty() { Err(CheckError::Nothing) } else { Ok(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(target: &str, path: Option<&str>) -> Plan {
        Plan {
            target: target.parse().unwrap(),
            profiles: Vec::new(),
            secret: Secret::new("whsec_x").unwrap(),
            path: path.map(str::to_owned),
            only: Vec::new(),
            skip: Vec::new(),
            limit: LIMIT,
            trust: Trust::default(),
            seed: 1,
        }
    }

    #[test]
    fn what_is_signed_and_what_is_sent() {
        for (target, path, signed, sent) in [
            ("3000", None, "/", "/"),
            ("3000", Some("/hook"), "/hook", "/hook"),
            ("localhost:3000/hook", None, "/hook", "/hook"),
            ("localhost:3000/hook", Some("/api/hook"), "/api/hook", "/hook"),
        ] {
            let place = plan(target, path).place().unwrap();
            assert_eq!((place.signed.as_str(), place.sent.as_str()), (signed, sent), "{target} {path:?}");
        }
    }

    #[test]
    fn cases_are_chosen_by_name_and_pattern() {
        let chosen = |only: &[&str], skip: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let plan = Plan { only: list(only), skip: list(skip), ..plan("1", None) };
            let place = plan.place().unwrap();
            let chosen = plan.select(battery::battery(&place, &[], 1));
            chosen.map(|all| all.iter().map(|c| c.name).collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        assert_eq!(chosen(&["valid", "body-*"], &["*-and-*"]).unwrap(), ["valid", "body-changed"]);
        assert!(chosen(&["vlaid"], &[]).unwrap_err().contains("vlaid"));
        assert!(chosen(&[], &["*"]).unwrap_err().contains("no case is left"));
        assert_eq!(
            chosen(&[], &[]).unwrap().len() + 1,
            cases().len(),
            "other-profiles is there only if there are some"
        );
    }
}
