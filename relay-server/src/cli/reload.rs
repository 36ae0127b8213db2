//! `healthie-relay reload`: what SIGHUP does, with an answer.

use clap::Args;

use super::{Data, Failure, tell};
use crate::control::{Question, Reloaded, Told, ask_running};

#[derive(Args)]
pub(super) struct Reload {
    #[command(flatten)]
    data: Data,
}

impl Reload {
    /// Asks the running relay, which answers with what came of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.data.there()?;
        let folder = &self.data.data;
        let failed = |code, message| Err(Failure { code, message });
        match ask_running(folder, &Question::LookAgain)? {
            None => failed(3, format!("no relay runs on {}", folder.display())),
            Some(Told::LookedAgain { reloaded: Reloaded { problems, waiting } }) => {
                if !waiting.is_empty() {
                    tell(&format!(
                        "these settings have changed and take a restart to come into force: {}",
                        waiting.join(", ")
                    ));
                }
                if !problems.is_empty() {
                    return failed(1, format!("{}; what was read before stays in force", problems.join("\n")));
                }
                tell("looked at, and nothing is wrong");
                Ok(())
            }
            Some(Told::No { why }) => failed(3, why),
            Some(_) => failed(3, "the running relay is of another version; restart it".into()),
        }
    }
}
