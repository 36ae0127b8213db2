//! Finding out who has the store, and following it wherever it is.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tunnel_archive::{Archive, ArchiveError};
use tunnel_delivery::Summary;
use tunnel_signature::Secret;
use tunnel_vault::KeySource;

use super::follow::{Follow, Met, Told};
use super::meant::Meant;
use super::remote::Asked;
use super::{
    AgentFile, Control, ControlError, Filter, Kind, Operations, Remote, has_store, key_as_it_is, nothing_there,
    open_archive,
};
use crate::arrivals::Place;
use crate::audit::{Audit, By};
use crate::data_folder;
use crate::dial::{Dialer, Trust};
use crate::forward::{Client, HostHeader, Interrupt};
use crate::gaps::Gaps;
use crate::hand::Hand;
use crate::listen::clock;
use crate::notice::{Announcer, Notice};
use crate::policy::Policy;
use crate::signing::Signing;

/// How often a follower looks whether an agent has come.
const LOOK: Duration = Duration::from_millis(250);

/// What a command needs to do by itself what no agent is there for.
#[derive(Clone, Debug)]
pub struct Local {
    /// The data folder.
    pub data: PathBuf,
    /// Where the key is to be had that the store is encrypted with, if it is.
    pub store_key: Option<KeySource>,
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
    /// The running agent that has the store, or the store itself, which must be there.
    ///
    /// # Errors
    /// Neither can be had.
    pub async fn connect(&self) -> Result<Control, ControlError> {
        self.connect_if_any().await?.ok_or_else(|| nothing_there(&self.data))
    }

    /// As [`Local::connect`]; nothing where there is neither an agent nor a store.
    ///
    /// # Errors
    /// There is one and it cannot be had.
    pub async fn connect_if_any(&self) -> Result<Option<Control>, ControlError> {
        match self.agent().await {
            Some(agent) => Ok(Some(Control::Remote(agent))),
            None if !has_store(&self.data) => Ok(None),
            None => self.open().await.map(Some),
        }
    }

    /// As [`Local::connect`], for commands that need no stored deliveries: an empty store is made where there is none.
    ///
    /// # Errors
    /// Likewise.
    pub async fn connect_or_make(&self) -> Result<Control, ControlError> {
        match self.agent().await {
            Some(agent) => Ok(Control::Remote(agent)),
            None => self.open().await,
        }
    }

    /// The agent that runs on the data folder.
    pub async fn agent(&self) -> Option<Remote> {
        Remote::find(&self.data).await
    }

    /// Whether this process may work in the data folder itself: an agent that runs there makes no files for whoever asks it.
    pub(super) fn may_work(&self) -> Result<(), ControlError> {
        data_folder::check(&self.data).map_err(|e| ControlError::new(Kind::Usage, e.to_string()).hint(e.hint()))
    }

    async fn open(&self) -> Result<Control, ControlError> {
        self.may_work()?;
        let key = key_as_it_is(&self.data, self.store_key.as_ref()).await?;
        match open_archive(&self.data, key).await {
            Ok(archive) => Ok(Control::Local(Box::new(self.operations(archive)))),
            // An agent that has just started.
            Err(e) => match self.agent().await {
                Some(agent) => Ok(Control::Remote(agent)),
                None => Err(e.into()),
            },
        }
    }

    fn operations(&self, archive: Archive) -> Operations {
        let dialer = Dialer::new(self.trust.clone());
        let interrupt = Interrupt::default();
        let client = |host| Client::new(dialer.clone(), host, interrupt.clone());
        Operations {
            hand: Hand {
                client: client(self.host_header),
                signing: Arc::new(Signing::new(self.secrets.clone())),
                keep: Arc::new(archive.clone()),
                announcer: Announcer::new(Arc::new(|_: Arc<Notice>| {})),
                limit: self.policy.limit,
                marks: self.policy.marks,
                interrupt: interrupt.clone(),
            },
            archive,
            policy: Arc::new(self.policy.clone()),
            welcomed: watch::channel(None).1,
            agent: None,
            turn: Arc::default(),
            sender: client(HostHeader::Sent),
            audit: Audit::new(&self.data, By::Command),
            gaps: Gaps::kept_in(&self.data, clock),
        }
    }

    /// Follows what the filter means: what is stored if it has a time, then what comes, from whichever agent comes.
    pub fn follow(self, filter: Filter) -> Follower {
        let agent = Agent { lines: None, at: None, look: None, looked: false };
        // A filter with a mistake is refused by whoever looks.
        let changing = Meant::read(&filter).is_ok_and(|meant| meant.changes());
        Follower { local: self, filter, changing, told: Met::new(), stored: VecDeque::new(), agent }
    }
}

/// A list that goes on. It survives the agent's end and its restart.
pub struct Follower {
    local: Local,
    filter: Filter,
    /// Whether a delivery may begin to fit by an attempt.
    changing: bool,
    told: Met,
    /// What this process read from the store itself and has not told yet.
    stored: VecDeque<Summary>,
    agent: Agent,
}

/// What a follower knows of the agent that it follows.
struct Agent {
    lines: Option<mpsc::Receiver<Told>>,
    /// The follower's place in the arrivals of the agent that it followed last.
    at: Option<Place>,
    /// The first look, under way: a task of its own, so that it is not begun again, later, where `next` is dropped meanwhile.
    look: Option<JoinHandle<Result<Looked, ControlError>>>,
    looked: bool,
}

/// What a follower's first look came upon.
enum Looked {
    /// An agent.
    Agent(Remote),
    /// The store itself, and what is meant in it; nothing where there is none.
    Stored(Vec<Summary>),
}

/// Looks once, by whoever has the store; it is not kept open, so that an agent can start meanwhile.
async fn look(local: Local, filter: Filter) -> Result<Looked, ControlError> {
    match local.connect_if_any().await? {
        Some(Control::Remote(agent)) => Ok(Looked::Agent(agent)),
        Some(Control::Local(ops)) => {
            let stored = ops.stored(&filter).await;
            Control::Local(ops).close().await;
            stored.map(Looked::Stored)
        }
        None => Ok(Looked::Stored(Vec::new())),
    }
}

/// What a follower comes upon.
#[derive(Debug)]
pub enum Followed {
    /// A delivery that is meant; each comes once.
    Delivery(Box<Summary>),
    /// So many came that the agent does not know any more, because this follower was too far behind. They are in the store.
    Missed(u64),
}

impl Follower {
    /// What is next. Waits for an agent where there is none. May be dropped and called again: nothing is lost by that.
    ///
    /// # Errors
    /// The store cannot be read, by this process or by the agent.
    pub async fn next(&mut self) -> Result<Followed, ControlError> {
        loop {
            if let Some(line) = self.stored.pop_front() {
                if self.told.first_time(line.id) {
                    return Ok(Followed::Delivery(Box::new(line)));
                }
                continue;
            }
            let Some(lines) = &mut self.agent.lines else {
                self.connect().await?;
                continue;
            };
            match lines.recv().await {
                Some(Told::Delivery(line)) => {
                    if self.told.first_time(line.id) {
                        return Ok(Followed::Delivery(line));
                    }
                }
                // What waits for an attempt before it fits lies behind the place, so such a follower stays where it began.
                Some(Told::At(place)) => match self.agent.at {
                    Some(at) if at.epoch == place.epoch && self.changing => {}
                    _ => self.agent.at = Some(place),
                },
                Some(Told::Missed(n)) => return Ok(Followed::Missed(n)),
                Some(Told::Failed(e)) => return Err(e),
                // The agent went away.
                None => {
                    self.agent.lines = None;
                    // Also where it is there again at once: one that keeps ending must not be asked without pause.
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ControlError> {
        let agent = if self.agent.looked {
            match AgentFile::read(&self.local.data) {
                Some(_) => self.local.agent().await,
                None => None,
            }
        } else {
            let begin = || tokio::spawn(look(self.local.clone(), self.filter.clone()));
            let looked = self.agent.look.get_or_insert_with(begin).await;
            self.agent.look = None;
            match looked.unwrap_or_else(|_| Err(ArchiveError::Closed.into()))? {
                Looked::Agent(agent) => Some(agent),
                Looked::Stored(stored) => {
                    self.stored.extend(stored);
                    // Everything counts that an agent stores from its start on: it was not there when this follower began.
                    self.agent.at = Some(Place::default());
                    self.agent.looked = true;
                    return Ok(());
                }
            }
        };
        if let Some(agent) = agent {
            let follow = Follow { filter: self.filter.clone(), from: self.agent.at };
            match agent.follow(&follow).await {
                Ok(lines) => {
                    self.agent.lines = Some(lines);
                    self.agent.looked = true;
                    return Ok(());
                }
                Err(Asked::Refused(e)) => return Err(e),
                Err(Asked::Lost(_)) => {}
            }
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_archive::{Intake, Options};
    use tunnel_delivery::{
        Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Timestamp, Verdict,
    };

    fn delivery(n: u16) -> Delivery {
        let at = Timestamp::from_micros(1_763_714_000_000_000 + i64::from(n));
        let mut unique = [0; 10];
        unique[..2].copy_from_slice(&n.to_be_bytes());
        Delivery {
            id: DeliveryId::build(at, unique),
            received_at: at,
            tunnel: "team".parse().unwrap(),
            source_ip: "127.0.0.1".parse().unwrap(),
            environment: Environment::Unknown,
            method: "POST".parse().unwrap(),
            target: "/hook".parse().unwrap(),
            prefix_len: 0,
            http_version: HttpVersion::Http11,
            headers: Headers::default(),
            body: "{}".into(),
            lost: Vec::new(),
        }
    }

    /// More than the notices hold comes while nobody reads, all of it received long ago.
    #[tokio::test]
    async fn a_follower_that_was_too_slow_is_told_everything_in_order() {
        const MANY: u16 = 3000;
        let data = tempfile::tempdir().unwrap();
        let local = Local {
            store_key: None,
            data: data.path().to_owned(),
            secrets: Vec::new(),
            policy: Policy::default(),
            host_header: HostHeader::Sent,
            trust: Trust::default(),
        };
        let archive = Archive::open(data.path(), Options::default()).unwrap();
        let verdict = Verdict::bare(SignatureStatus::NoSecret);
        let all: Vec<_> = (0..=MANY).map(|n| Arc::new(delivery(n))).collect();
        let inserts = all.iter().map(|delivery| {
            archive.insert(Intake {
                delivery: Arc::clone(delivery),
                body_sha256: [0; 32],
                event: None,
                signature: verdict.clone(),
                queued: false,
            })
        });
        futures_util::future::try_join_all(inserts).await.unwrap();
        let ops = Arc::new(local.operations(archive));
        let come = |d: &Delivery| {
            let line = crate::summary::of_new(d, None, &verdict, None, false);
            ops.hand.announcer.tell(Notice::Delivery(Arc::new(line)));
        };
        come(&all[0]);
        let mut lines = ops.follow(Follow::default());
        all[1..].iter().for_each(|d| come(d));
        for expected in &all[1..] {
            loop {
                match tokio::time::timeout(Duration::from_secs(20), lines.recv()).await.unwrap().unwrap() {
                    Told::At(_) => {}
                    Told::Delivery(line) => break assert_eq!(line.id, expected.id),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
