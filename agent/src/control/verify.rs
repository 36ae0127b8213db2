//! Signatures explained: a stored delivery's or a request's from a file, with the secrets at hand and what the store knows around it; and
//! copies of stored deliveries to be sent by something else.
//!
//! The doctor's search takes some 10 ms, at worst 300, so it runs where it may block, and never at the intake. What it says depends on the secrets
//! and the deliveries that are known when it is asked, so it is not stored either: `Operations::show` asks it anew.

use serde::{Deserialize, Serialize};
use tunnel_archive::{Archive, ArchiveError, Query};
use tunnel_delivery::{SignatureStatus, Stored, TunnelName};
use tunnel_signature::Secret;
use tunnel_signature::doctor::KnownSecret;

use super::operations::secrets;
use super::{ControlError, Kind, Operations};
use crate::examine::{Explained, Surroundings, examine};
use crate::forward::TargetUrl;
use crate::habit::Habit;
use crate::request_text::{Form, Origin, Written};
use crate::signing::ForwardAs;

/// Lines of the list that are looked through for targets, and how many different ones are wanted.
const LINES: usize = 500;
const TARGETS: usize = 50;
/// A target in a list's line is cut at so many characters.
const CUT: usize = 200;

/// A stored delivery's signature is to be checked.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Verify {
    /// Which: `latest`, an id or a part of one.
    pub id: String,
    /// Secrets besides those that the agent knows.
    pub secrets: Vec<String>,
    /// Secrets that it should not be signed with, each with its name.
    #[serde(default)]
    pub others: Vec<(String, String)>,
}

/// A request's signature is to be checked.
#[derive(Clone, Serialize, Deserialize)]
pub struct Examine {
    /// The request.
    pub request: Written,
    /// Secrets besides those that the agent knows.
    pub secrets: Vec<String>,
    /// Secrets that it should not be signed with, each with its name.
    pub others: Vec<(String, String)>,
}

/// A stored delivery is to be copied.
#[derive(Clone, Serialize, Deserialize)]
pub struct CopyOf {
    /// Which: `latest`, an id or a part of one.
    pub id: String,
    /// Where to, instead of where it was sent.
    pub to: Option<TargetUrl>,
    /// Whether it is signed again where its target changes.
    pub resign: bool,
    /// Secrets besides those that the agent knows.
    pub secrets: Vec<String>,
}

/// A copy of a stored delivery.
#[derive(Clone, Serialize, Deserialize)]
pub struct Copied {
    /// The request.
    pub request: Written,
    /// Where it goes.
    pub url: String,
    /// Whether it was signed again.
    pub resigned: bool,
    /// Whether its signature was valid, and is of another target than the copy's.
    pub moved: bool,
}

/// Secrets with what they are called.
struct Labelled(Vec<(String, Secret, bool)>);

impl Labelled {
    /// The agent's own and those that were given, each once, and others.
    fn new(own: &[Secret], given: &[Secret], others: &[(String, String)]) -> Result<Labelled, ControlError> {
        let name = |name: &str, at: usize, of: usize| match of {
            1 => name.to_owned(),
            _ => format!("{name} {} of {of}", at + 1),
        };
        let mut all: Vec<(String, Secret, bool)> = Vec::new();
        for (at, secret) in given.iter().enumerate() {
            all.push((name("given", at, given.len()), secret.clone(), true));
        }
        for (at, secret) in own.iter().enumerate().filter(|(_, own)| !given.iter().any(|g| g.is(own))) {
            all.push((name("configured", at, own.len()), secret.clone(), true));
        }
        for (label, text) in others {
            let mut secret = secrets(std::slice::from_ref(text))?;
            all.extend(secret.pop().map(|secret| (label.clone(), secret, false)));
        }
        Ok(Labelled(all))
    }

    fn known(&self) -> Vec<KnownSecret<'_>> {
        self.0.iter().map(|(label, secret, expected)| KnownSecret { label, secret, expected: *expected }).collect()
    }
}

/// Examines a request where there is no store and no agent.
///
/// # Errors
/// A secret is empty.
pub fn examine_alone(asked: &Examine) -> Result<Explained, ControlError> {
    let all = Labelled::new(&[], &secrets(&asked.secrets)?, &asked.others)?;
    let around = Surroundings { prefix: prefix_in(&asked.request.target), ..Surroundings::default() };
    Ok(examine(&asked.request, &all.known(), &around))
}

impl Operations {
    /// Checks a stored delivery with the secrets that are known now.
    pub(crate) async fn verify(&self, verify: &Verify) -> Result<Explained, ControlError> {
        let stored = self.get(&verify.id).await?;
        let was = stored.signature.status;
        let request = Written::of(&stored.delivery);
        let explained =
            self.examine(Examine { request, secrets: verify.secrets.clone(), others: verify.others.clone() }).await?;
        Ok(Explained { stored: Some(was), ..explained })
    }

    /// Checks a request from elsewhere. Secrets that are given stand in place of the agent's own: whoever gives some asks about these, and
    /// must be told the same with an agent and without.
    pub(crate) async fn examine(&self, asked: Examine) -> Result<Explained, ControlError> {
        let own = if asked.secrets.is_empty() { self.hand.signing.secrets() } else { &[] };
        let all = Labelled::new(own, &secrets(&asked.secrets)?, &asked.others)?;
        self.read(move |archive| {
            let around = surroundings(archive, &asked.request)?;
            Ok(examine(&asked.request, &all.known(), &around))
        })
        .await
    }

    /// Everything about one delivery, with what would make its signature valid.
    pub(crate) async fn show(&self, id: &str) -> Result<Stored, ControlError> {
        let mut stored = self.get(id).await?;
        if stored.signature.status == SignatureStatus::Invalid && stored.signature.hint.is_none() {
            let request = Written::of(&stored.delivery);
            let said = self.examine(Examine { request, secrets: Vec::new(), others: Vec::new() }).await?;
            stored.signature.hint = match said.status {
                SignatureStatus::Valid => Some("with the secrets that are at hand now it is valid".into()),
                _ => said.hint,
            };
        }
        Ok(stored)
    }

    /// A copy of a stored delivery, for something else to send.
    pub(crate) async fn copy(&self, copy: &CopyOf) -> Result<Copied, ControlError> {
        let stored = self.get(&copy.id).await?;
        let signing = self.hand.signing.with(&secrets(&copy.secrets)?);
        let mut request = Written::of(&stored.delivery);
        let Some(to) = &copy.to else {
            let url = own_url(&request);
            return Ok(Copied { request, url, resigned: false, moved: false });
        };
        let matched = signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
        let forward_as = if copy.resign { ForwardAs::Resigned } else { ForwardAs::Sent };
        let out = signing.outgoing(&stored.delivery, matched.as_ref(), to, Some(forward_as));
        let moved = out.target != request.target;
        if copy.resign && moved && !out.resigned {
            let message = if matched.is_some() {
                format!("its signature cannot be made again for {}", out.target)
            } else {
                format!("{} is not signed again, because its signature is not valid with the secrets at hand", copy.id)
            };
            return Err(ControlError::new(Kind::Negative, message)
                .hint("`healthie-tunnel verify` explains why; `healthie-tunnel sign` signs a body anew"));
        }
        (request.target, request.headers) = (out.target, out.headers);
        let url = to.url(&request.target);
        Ok(Copied { request, url, resigned: out.resigned, moved: moved && matched.is_some() && !out.resigned })
    }
}

/// Where a request was sent, as its Host line has it. Whether that was TLS is not in it: it is, but on this machine.
pub(crate) fn own_url(request: &Written) -> String {
    let host = String::from_utf8_lossy(request.headers.get("Host").unwrap_or(b"localhost")).into_owned();
    let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
    let here = name == "localhost" || name.ends_with(".localhost") || name.starts_with("127.") || name == "[::1]";
    format!("{}://{host}{}", if here { "http" } else { "https" }, request.target)
}

/// What the store knows around a request.
fn surroundings(archive: &Archive, request: &Written) -> Result<Surroundings, ArchiveError> {
    let origin = request.origin.as_ref();
    let query = Query { limit: LINES, tunnel: origin.map(|o| o.tunnel.clone()), ..Query::default() };
    let lines = archive.list(&query)?.items;
    // A request from a file is most likely one of the tunnel that was heard from last.
    let tunnel = origin.map(|o| &o.tunnel).or_else(|| lines.first().map(|line| &line.tunnel)).cloned();
    let mut other_targets: Vec<String> = Vec::new();
    for line in lines {
        if other_targets.len() == TARGETS {
            break;
        }
        let whole = line.target.chars().count() < CUT;
        if whole && line.target != request.target && !other_targets.contains(&line.target) {
            other_targets.push(line.target);
        }
    }
    let id = origin.filter(|_| request.form == Form::Delivery).map(|o| o.id);
    Ok(Surroundings {
        prefix: prefix(request, tunnel.as_ref()),
        other_targets,
        // Where a request from a file came from is not known, so nothing can be said of earlier ones.
        habit: match origin {
            Some(origin) => Habit::before(archive, &origin.tunnel, id)?,
            None => Habit::default(),
        },
    })
}

/// What the relay puts, or would put, before the path.
fn prefix(request: &Written, tunnel: Option<&TunnelName>) -> Option<String> {
    let of_origin = |o: &Origin| request.target.get(..o.prefix_len).filter(|p| !p.is_empty()).map(str::to_owned);
    let own = request.origin.as_ref().and_then(of_origin);
    own.or_else(|| prefix_in(&request.target)).or_else(|| tunnel.map(|tunnel| format!("/t/{tunnel}")))
}

/// The relay's `/t/NAME` at the beginning of a target.
fn prefix_in(target: &str) -> Option<String> {
    let name = target.strip_prefix("/t/")?.split(['/', '?']).next()?;
    name.parse::<TunnelName>().ok().map(|name| format!("/t/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_called_by_where_they_came_from() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let labels = |own: &[Secret], given: &[Secret]| -> Vec<String> {
            let others = [("production".to_owned(), "p".to_owned())];
            let all = Labelled::new(own, given, &others).unwrap();
            all.known().iter().map(|k| format!("{}{}", k.label, if k.expected { "" } else { " (other)" })).collect()
        };
        assert_eq!(labels(&[secret("a")], &[]), ["configured", "production (other)"]);
        assert_eq!(
            labels(&[secret("a"), secret("b")], &[secret("b"), secret("c")]),
            ["given 1 of 2", "given 2 of 2", "configured 1 of 2", "production (other)"]
        );
    }

    #[test]
    fn a_prefix_is_seen_in_a_target() {
        assert_eq!(prefix_in("/t/team/a?b").as_deref(), Some("/t/team"));
        assert_eq!(prefix_in("/t/team?b").as_deref(), Some("/t/team"));
        assert_eq!(prefix_in("/t/"), None);
        assert_eq!(prefix_in("/tea/m"), None);
    }
}
