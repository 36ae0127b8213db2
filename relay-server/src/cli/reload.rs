//! `healthie-relay reload`

use clap::Args;

use super::{Data, Failure, tell};
use crate::checkup::is_running;

#[derive(Args)]
pub(super) struct Reload {
    #[command(flatten)]
    data: Data,
}

impl Reload {
    /// Sends the running relay a SIGHUP, as the system's service manager does.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.data.there()?;
        let folder = &self.data.data;
        let gone = || Failure { code: 3, message: format!("no relay runs on {}", folder.display()) };
        if !is_running(folder) {
            return Err(gone());
        }
        let text = std::fs::read(folder.join("addresses.json")).map_err(|_| gone())?;
        let addresses: serde_json::Value = serde_json::from_slice(&text).map_err(|_| gone())?;
        let pid =
            addresses["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.ok_or_else(gone)?, rustix::process::Signal::HUP)
            .map_err(|e| Failure { code: 3, message: format!("the relay cannot be told: {e}") })?;
        tell("told; its log says what changed and what waits for a restart");
        Ok(())
    }
}
