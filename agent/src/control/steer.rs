//! What commands may change about a running agent: whether it forwards, and how its tunnel answers.

use std::sync::Arc;

use tunnel_protocol::AnswerMode;

use super::{Control, ControlError, Kind, Operations, Running};
use crate::audit::{Line, What};
use crate::backlog::Backlog;
use crate::listen::{Asking, NotSet};
use crate::notice::Notice;
use crate::pause::Pause;
use crate::standing::State;

/// The handles of a running agent.
#[derive(Clone)]
pub struct Steering {
    /// Whether it forwards.
    pub pause: Pause,
    /// The way to ask the relay.
    pub asking: Asking,
    /// What waits.
    pub(crate) backlog: Arc<Backlog>,
}

impl Operations {
    fn running(&self) -> Result<&Running, ControlError> {
        self.agent.as_ref().ok_or_else(no_agent)
    }

    /// Pauses forwarding, or goes on with it; whether it was otherwise before.
    pub(crate) async fn pause(&self, paused: bool) -> Result<bool, ControlError> {
        let pause = &self.running()?.steering.pause;
        if pause.is_on() != paused {
            self.audit.note(Line::new(What::ForwardingSteered).with("paused", paused)).await?;
        }
        let changed = pause.set(paused).map_err(|e| {
            ControlError::new(
                Kind::Unreachable,
                format!("that cannot be kept in the data folder, so it was not done: {e}"),
            )
        })?;
        if changed {
            self.hand.announcer.tell(Notice::Forwarding { paused });
        }
        Ok(changed)
    }

    /// Has the tunnel answer in that way from now on.
    pub(crate) async fn answer(&self, mode: AnswerMode) -> Result<(), ControlError> {
        let running = self.running()?;
        let standing = self.hand.announcer.standing().state();
        if standing != State::Connected {
            return Err(ControlError::new(
                Kind::Unreachable,
                "the agent has no connection to the relay, which alone can change it",
            )
            .hint("`healthie-tunnel status` says how the connection is"));
        }
        self.audit.note(Line::new(What::AnswerChanged).with("mode", format!("{mode:?}").to_lowercase())).await?;
        running.steering.asking.set_answer(mode).await.map_err(|e| match e {
            NotSet::Refused(why) => ControlError::new(Kind::Negative, why),
            NotSet::Unanswered(why) => ControlError::new(Kind::Unreachable, why),
        })
    }
}

fn no_agent() -> ControlError {
    ControlError::new(Kind::Unreachable, "no agent runs on this data folder")
        .hint("`healthie-tunnel listen` starts one; name its folder with --data if it has another")
}

impl Control {
    /// Pauses forwarding, or goes on with it; whether it was otherwise before. While it is paused the agent stores and verifies; deliveries wait, and
    /// are forwarded in order when it goes on. It outlives the agent's process.
    ///
    /// # Errors
    /// No agent runs, or it cannot be kept.
    pub async fn pause(&self, paused: bool) -> Result<bool, ControlError> {
        match self {
            Control::Local(ops) => ops.pause(paused).await,
            Control::Remote(agent) => agent.pause(paused).await,
        }
    }

    /// Has the tunnel answer its senders in that way from now on, for all its agents and for good.
    ///
    /// # Errors
    /// No agent runs, it has no connection, or the relay refuses.
    pub async fn answer(&self, mode: AnswerMode) -> Result<(), ControlError> {
        match self {
            Control::Local(ops) => ops.answer(mode).await,
            Control::Remote(agent) => agent.answer_mode(mode).await,
        }
    }
}
