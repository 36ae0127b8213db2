//! Which deliveries are handed on, where to, and how. Pure.

use std::time::Duration;

use tunnel_delivery::SignatureStatus;

use crate::exec::Exec;
use crate::forward::{Routes, TargetUrl};
use crate::retry::Retry;
use crate::signing::ForwardAs;

/// What the user said about forwarding.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where events go.
    pub routes: Routes,
    /// Only events of these patterns; all where there is none.
    pub events: Vec<String>,
    /// Only deliveries whose signature is valid.
    pub skip_invalid: bool,
    /// Nothing at all.
    pub no_forward: bool,
    /// Which signature copies carry; `None` for the default.
    pub forward_as: Option<ForwardAs>,
    /// How long a handler may take.
    pub limit: Duration,
    /// Whether handlers are told about the attempt in lines of our own.
    pub marks: bool,
    /// Whether and when what could not be handed over is tried again.
    pub retry: Option<Retry>,
    /// What deliveries are given to besides.
    pub exec: Option<Exec>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            routes: Routes::default(),
            events: Vec::new(),
            skip_invalid: false,
            no_forward: false,
            forward_as: None,
            limit: Duration::from_secs(30),
            marks: true,
            retry: None,
            exec: None,
        }
    }
}

impl Policy {
    /// Where a delivery goes; `None` if it is only kept. A body that is no event has no name.
    pub fn target(&self, event: Option<&str>, signature: SignatureStatus) -> Option<&TargetUrl> {
        if self.means(event, signature) { self.routes.target(event.unwrap_or("")) } else { None }
    }

    /// The command that a delivery is given to, if it is.
    pub fn command(&self, event: Option<&str>, signature: SignatureStatus) -> Option<&Exec> {
        self.exec.as_ref().filter(|_| self.means(event, signature))
    }

    fn means(&self, event: Option<&str>, signature: SignatureStatus) -> bool {
        let event = event.unwrap_or("");
        let wanted = self.events.is_empty() || self.events.iter().any(|p| tunnel_catalogue::matches(p, event));
        let sound = !self.skip_invalid || signature == SignatureStatus::Valid;
        !self.no_forward && wanted && sound
    }

    /// Where it goes by default, if anything does.
    pub fn default_target(&self) -> Option<&TargetUrl> {
        self.routes.default.as_ref().filter(|_| !self.no_forward)
    }

    /// Whether anything can be forwarded at all.
    pub fn forwards(&self) -> bool {
        !self.no_forward && (!self.routes.is_empty() || self.exec.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_goes_on() {
        let mut policy = Policy::default();
        let valid = SignatureStatus::Valid;
        assert!(policy.target(Some("a.b"), valid).is_none() && !policy.forwards());
        policy.routes.default = Some("3000".parse().unwrap());
        assert!(policy.target(Some("a.b"), SignatureStatus::Invalid).is_some());
        assert!(policy.target(None, valid).is_some());
        policy.events = vec!["a.*".into()];
        assert!(policy.target(Some("a.b"), valid).is_some());
        assert!(policy.target(Some("b.a"), valid).is_none() && policy.target(None, valid).is_none());
        let exec = Exec { command: "true".into(), limit: Duration::from_secs(1) };
        policy.exec = Some(exec.clone());
        assert_eq!(policy.command(Some("a.b"), valid), Some(&exec));
        assert!(policy.command(Some("b.a"), valid).is_none());
        policy.skip_invalid = true;
        assert!(policy.command(Some("a.b"), SignatureStatus::NoSecret).is_none());
        assert!(policy.target(Some("a.b"), SignatureStatus::NoSecret).is_none());
        assert_eq!(policy.default_target(), policy.routes.default.as_ref());
        policy.no_forward = true;
        assert_eq!(policy.default_target(), None);
        assert!(policy.target(Some("a.b"), valid).is_none() && !policy.forwards());
    }
}
