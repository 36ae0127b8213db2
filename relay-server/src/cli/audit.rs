//! `healthie-relay audit`

use clap::Args;
use serde_json::Value;
use tunnel_delivery::TunnelName;

use super::changed::{When, in_or_at};
use super::{Data, Failure, print, tell};
use crate::audit::{Found, read};
use crate::session::wall_clock;

#[derive(Args)]
pub(super) struct AuditCommand {
    /// What was done to this tunnel only
    #[arg(long, value_name = "NAME")]
    tunnel: Option<TunnelName>,
    /// What was done since then only: 12h or 30d ago, or 2026-12-24T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = in_or_at)]
    since: Option<When>,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

impl AuditCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.data.there()?;
        let since = self.since.map(|when| match when {
            When::In(span) => wall_clock().earlier(span),
            When::At(at) => at,
        });
        let Found { lines, unreadable } = read(&self.data.data, self.tunnel.as_ref(), since)
            .map_err(|e| Failure { code: 3, message: format!("the audit log cannot be read: {e}") })?;
        for line in &lines {
            print(&if self.json { format!("{line}\n") } else { format!("{}\n", shown(line)) });
        }
        if unreadable > 0 {
            tell(&format!("lines that cannot be read: {unreadable}"));
        }
        Ok(())
    }
}

/// A line for people: when, who, what, to what.
fn shown(line: &Value) -> String {
    let word = |name: &str| line[name].as_str().map(visible);
    let who = match line["by"].as_str() {
        Some("operator") => format!("operator (uid {})", line["uid"]),
        Some("agent") => format!("agent with {}", word("with_token").unwrap_or_default()),
        other => visible(other.unwrap_or("?")),
    };
    let mut fields = vec![word("at").unwrap_or_default(), who, word("what").unwrap_or_default()];
    let tunnels: Vec<String> =
        line["tunnels"].as_array().into_iter().flatten().filter_map(Value::as_str).map(visible).collect();
    if !tunnels.is_empty() {
        fields.push(format!("tunnel {}", tunnels.join(", ")));
    }
    for (name, before) in [("device", "device "), ("token", "token "), ("from", "from "), ("note", "")] {
        fields.extend(word(name).filter(|w| !w.is_empty()).map(|word| format!("{before}{word}")));
    }
    fields.join("\t")
}

/// Without anything that would move a terminal's cursor: reasons for going were chosen by agents.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what() {
        let line = serde_json::json!({
            "at": "T", "what": "agent-disconnected", "by": "agent", "with_token": "0123456789ab", "from": "192.0.2.1", "tunnels": ["team"],
            "device": "desk", "note": "gone\u{1b}[2J",
        });
        let expected =
            "T\tagent with 0123456789ab\tagent-disconnected\ttunnel team\tdevice desk\tfrom 192.0.2.1\tgone\u{fffd}[2J";
        assert_eq!(shown(&line), expected);
        assert!(shown(&serde_json::json!({ "by": "operator", "uid": 7 })).contains("operator (uid 7)"));
    }
}
