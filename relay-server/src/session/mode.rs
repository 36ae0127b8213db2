//! How the tunnel answers, as far as a session has to do with it: the agent is told when it changes, and may ask for a change.
//!
//! What an agent asks for is done to the tunnel that its token opens and to no other; the change itself is `shared`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tunnel_protocol::{Answers, SetAnswer, ToAgent};

use super::Session;
use crate::registry::{Access, AnswerMode};

/// Changes that a session asks for are at least so far apart: each is written to disk, and every tunnel's settings with it.
const BETWEEN: Duration = Duration::from_millis(250);

/// A change that is under way.
pub(super) struct Changing {
    /// The question's number.
    asked: u64,
    change: JoinHandle<Result<(), String>>,
}

impl Changing {
    /// What came of it. May be dropped and called again, until it has returned.
    pub(super) async fn done(&mut self) -> Result<Result<(), String>, JoinError> {
        (&mut self.change).await
    }
}

impl Session {
    /// The agent asks for another way of answering; it is told when it is so.
    pub(super) fn set_answer(&mut self, set: SetAnswer) {
        if self.caller.pass.access != Access::Full {
            let why = "the token is read-only and cannot change how the tunnel answers";
            return self.tell_mode(set.asked, Some(why.into()));
        }
        if self.changing.is_some() {
            return self.tell_mode(set.asked, Some("the last change is still under way".into()));
        }
        let answer = match set.mode {
            tunnel_protocol::AnswerMode::Ack => AnswerMode::Ack,
            tunnel_protocol::AnswerMode::Passthrough => AnswerMode::Passthrough,
        };
        let (shared, caller, device) = (Arc::clone(&self.shared), self.caller.clone(), self.device.clone());
        let begin = self.change_after.max(Instant::now());
        self.change_after = begin + BETWEEN;
        let change = tokio::spawn(async move {
            tokio::time::sleep_until(begin).await;
            shared.set_answer(&caller, &device, answer).await
        });
        self.changing = Some(Changing { asked: set.asked, change });
    }

    /// The change is done, or could not be.
    pub(super) fn was_changed(&mut self, changed: Result<Result<(), String>, JoinError>) {
        if let Some(Changing { asked, .. }) = self.changing.take() {
            let changed = changed.unwrap_or_else(|e| Err(format!("the relay failed at it: {e}")));
            self.tell_mode(asked, changed.err());
        }
    }

    /// The tunnel's settings changed; whether this agent knows is seen here.
    pub(super) fn settings_changed(&mut self) {
        if self.mode_now() != self.told {
            self.tell_mode(0, None);
        }
    }

    /// How the tunnel answers; where it is gone, as it did: the session is about to end.
    fn mode_now(&self) -> AnswerMode {
        self.shared.registry.snapshot().tunnels.get(&self.tunnel).map_or(self.told, |tunnel| tunnel.answer)
    }

    fn tell_mode(&mut self, asked: u64, refused: Option<String>) {
        self.told = self.mode_now();
        let frame = ToAgent::Answers(Answers { asked, mode: on_the_wire(self.told), refused });
        self.ledger.outbox.urgent(frame.encode());
    }
}

/// The mode as frames have it.
pub(super) fn on_the_wire(answer: AnswerMode) -> tunnel_protocol::AnswerMode {
    match answer {
        AnswerMode::Ack => tunnel_protocol::AnswerMode::Ack,
        AnswerMode::Passthrough => tunnel_protocol::AnswerMode::Passthrough,
    }
}
