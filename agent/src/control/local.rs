//! Finding out who has the store, and following it wherever it is.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tunnel_archive::Archive;
use tunnel_delivery::{DeliveryId, Summary};
use tunnel_signature::Secret;

use super::{AgentFile, Control, ControlError, Filter, Operations, Remote, open_archive};
use crate::dial::{Dialer, Trust};
use crate::forward::{Client, HostHeader, Interrupt};
use crate::hand::Hand;
use crate::notice::{Announcer, Notice};
use crate::policy::Policy;
use crate::signing::Signing;

/// How often a follower looks whether an agent has come.
const LOOK: Duration = Duration::from_millis(250);
/// How many ids a follower remembers.
const REMEMBERED: usize = 100_000;

/// What a command needs to do by itself what no agent is there for.
#[derive(Clone, Debug)]
pub struct Local {
    /// The data folder.
    pub data: PathBuf,
    /// The signing secrets.
    pub secrets: Vec<Secret>,
    /// Where deliveries go.
    pub policy: Policy,
    /// What Host lines say.
    pub host_header: HostHeader,
    /// Whom to trust.
    pub trust: Trust,
}

impl Local {
    /// The running agent that has the store, or the store itself.
    ///
    /// # Errors
    /// Neither can be had.
    pub async fn connect(&self) -> Result<Control, ControlError> {
        if let Some((agent, _)) = Remote::find(&self.data).await {
            return Ok(Control::Remote(agent));
        }
        match open_archive(&self.data).await {
            Ok(archive) => Ok(Control::Local(Box::new(self.operations(archive)))),
            // An agent that has just started.
            Err(e) => match Remote::find(&self.data).await {
                Some((agent, _)) => Ok(Control::Remote(agent)),
                None => Err(e.into()),
            },
        }
    }

    fn operations(&self, archive: Archive) -> Operations {
        let dialer = Dialer::new(self.trust.clone());
        let client = |host| Client::new(dialer.clone(), host, Interrupt::default());
        Operations {
            hand: Hand {
                client: client(self.host_header),
                signing: Arc::new(Signing::new(self.secrets.clone())),
                archive,
                announcer: Announcer::new(Arc::new(|_: Arc<Notice>| {})),
                limit: self.policy.limit,
            },
            policy: Arc::new(self.policy.clone()),
            welcomed: watch::channel(None).1,
            relay: None,
            sender: client(HostHeader::Sent),
        }
    }

    /// Follows what the filter means: what is stored if it has a time, then what comes, from whichever agent comes.
    pub fn follow(self, filter: Filter) -> Follower {
        Follower { local: self, filter, told: HashSet::new(), lines: None, looked: false }
    }
}

/// A list that goes on. It survives the agent's end and its restart.
pub struct Follower {
    local: Local,
    filter: Filter,
    told: HashSet<DeliveryId>,
    lines: Option<mpsc::Receiver<Result<Summary, ControlError>>>,
    looked: bool,
}

impl Follower {
    /// The next delivery that is meant; each comes once. Waits for an agent where there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Summary, ControlError> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.lines = self.connect().await?;
                continue;
            };
            match lines.recv().await {
                Some(Ok(line)) => {
                    if self.told.len() >= REMEMBERED {
                        self.told.clear();
                    }
                    if self.told.insert(line.id) {
                        return Ok(line);
                    }
                }
                // The agent went away, or the store was read to its end.
                Some(Err(_)) | None => self.lines = None,
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<mpsc::Receiver<Result<Summary, ControlError>>>, ControlError> {
        if !self.looked {
            // Once, by whoever has the store; it is not kept open, so that an agent can start meanwhile.
            self.looked = true;
            let control = self.local.connect().await?;
            let lines = control.follow(&self.filter).await;
            control.close().await;
            return lines.map(Some);
        }
        if AgentFile::read(&self.local.data).is_some()
            && let Some((agent, _)) = Remote::find(&self.local.data).await
            && let Ok(lines) = agent.follow(&self.filter).await
        {
            return Ok(Some(lines));
        }
        tokio::time::sleep(LOOK).await;
        Ok(None)
    }
}
