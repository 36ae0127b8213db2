//! The audit log's files: how large, how many, whose, and which lines of them somebody wants. The handling of files is crates/journal's. Blocks on the disk.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_journal::{Found, Journal, Part};

use super::Entry;
use crate::ownership::hand_over;

/// The length at which a file is put aside, in bytes: some 40,000 lines.
const FILE_MAX: u64 = 8 << 20;
/// How many files are kept, the one that is written included.
const FILES: usize = 10;

fn journal(data: &Path) -> Journal {
    Journal::new(data, "audit", FILE_MAX, FILES).synced().handing_over(hand_over)
}

/// Whether a file of the data folder is one of the log's.
pub(crate) fn is_part(called: &str) -> bool {
    journal(Path::new("")).is_part(called)
}

/// All files at one moment, oldest first: none is missed or there twice because files are put aside meanwhile.
///
/// # Errors
/// One of them cannot be opened.
pub(crate) fn parts(data: &Path) -> io::Result<Vec<Part>> {
    journal(data).parts()
}

/// Adds lines. They are on the disk when this returns.
///
/// # Errors
/// Some of them may not be.
pub(crate) fn append(data: &Path, entries: &[Entry]) -> io::Result<()> {
    let lines: String = entries.iter().map(Entry::line).collect();
    journal(data).append(&lines)
}

/// The lines that are of that tunnel, or of any where `tunnel` is none, and not before `since`.
///
/// # Errors
/// A file cannot be read. One that is not there is no error: nothing was done yet.
pub(crate) fn read(data: &Path, tunnel: Option<&TunnelName>, since: Option<Timestamp>) -> io::Result<Found> {
    journal(data).read(since, |line| tunnel.is_none_or(|tunnel| is_of(line, tunnel)))
}

/// Says from which addresses agents came or went since then, oldest first and as often as they did: each had shown a good token. Lines that are none are passed over.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn agents_from(data: &Path, since: Timestamp, each: impl Fn(IpAddr)) -> io::Result<()> {
    let came = |line: &Value| {
        let is_agent = matches!(line["what"].as_str(), Some("agent-connected" | "agent-disconnected"));
        if let Some(from) = line["from"].as_str().filter(|_| is_agent).and_then(|from| from.parse().ok()) {
            each(from);
        }
        // Nothing of it is to be held.
        false
    };
    journal(data).read(Some(since), came).map(drop)
}

fn is_of(line: &Value, tunnel: &TunnelName) -> bool {
    line["tunnels"].as_array().is_some_and(|all| all.iter().any(|name| name.as_str() == Some(tunnel.as_str())))
}

#[cfg(test)]
mod tests {
    use super::super::{What, Who};
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn entry(second: i64, tunnel: &str) -> Entry {
        let at = Timestamp::from_micros(second * 1_000_000);
        Entry::new(at, What::TunnelAdded, Who::Operator { uid: 7 }).tunnel(&tunnel.parse().unwrap())
    }

    #[test]
    fn where_agents_came_from_is_known_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let agent = || Who::Agent { with_token: crate::tokens::TokenId::parse("0123456789ab").unwrap() };
        let line = |second: i64, what, last| {
            let at = Timestamp::from_micros(second * 1_000_000);
            Entry::new(at, what, agent()).from([192, 0, 2, last].into())
        };
        let all = [
            line(1, What::AgentConnected, 1),
            line(5, What::AgentConnected, 2),
            line(6, What::AnswerChanged, 3),
            line(7, What::AgentDisconnected, 4),
        ];
        append(dir.path(), &all).unwrap();
        append(dir.path(), &[entry(8, "a")]).unwrap();
        let found = std::cell::RefCell::new(Vec::new());
        agents_from(dir.path(), Timestamp::from_micros(5_000_000), |from| found.borrow_mut().push(from)).unwrap();
        assert_eq!(found.into_inner(), [2, 4].map(|last| IpAddr::from([192, 0, 2, last])));
    }

    #[test]
    fn lines_are_added_and_read_by_tunnel_and_time() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), None, None).unwrap(), Found::default());
        append(dir.path(), &[entry(1, "a"), entry(2, "b")]).unwrap();
        append(dir.path(), &[entry(3, "a").note("it\nis so")]).unwrap();
        let found = read(dir.path(), Some(&"a".parse().unwrap()), Some(Timestamp::from_micros(2_000_000))).unwrap();
        assert_eq!(found.lines.len(), 1);
        let expected = serde_json::json!({
            "at": "1970-01-01T00:00:03.000000Z", "what": "tunnel-added", "by": "operator", "uid": 7, "tunnels": ["a"], "note": "it\nis so",
        });
        assert_eq!(found.lines[0], expected);
        for name in ["audit.jsonl", "audit.lock"] {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
