//! How many TLS handshakes a second there may be: each costs the processor some tenths of a millisecond, and whoever asks for one pays next to nothing.
//!
//! Of one address so many, and beyond that its connection ends before anything is computed. Of all strangers together so many, and beyond that each waits its
//! turn: after a restart all agents come at once and are to get in, one behind the other. Whose turn would come too late is not kept waiting. Healthie's
//! addresses and whoever else is favoured are not counted, and nobody is before he has sent his part of a handshake: who only connects costs nothing, and must not
//! take the turns of those who mean it (`accept` sees to both). Where an agent with a good token came from needs no turn: however many strangers there are, agents
//! come back in. Where they came from before this process began, `relay` reads from the audit log.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Limit;
use crate::rates::{Rate, Rates};

/// The most neighbourhoods of agents that are remembered, some 40 bytes each; beyond that the memory begins anew.
const AGENTS: usize = 1 << 14;

/// Counts handshakes of strangers.
pub(crate) struct Handshakes {
    addresses: Rates,
    /// Where agents with good tokens came from.
    agents: Mutex<HashSet<IpAddr>>,
    turns: Option<Turns>,
}

/// Turns at an even distance from each other.
struct Turns {
    apart: Duration,
    /// So far behind its time a turn may be taken: what was not used may be used at once, a second's worth of it.
    slack: Duration,
    next: Mutex<Instant>,
}

impl Turns {
    /// None where any number is allowed.
    fn new(a_second: u32) -> Option<Turns> {
        let apart = Duration::from_secs(1).checked_div(a_second)?;
        let (slack, now) = (Duration::from_secs(1), Instant::now());
        Some(Turns { apart, slack, next: Mutex::new(now.checked_sub(slack).unwrap_or(now)) })
    }

    /// When it is the next one's turn; nothing, and no turn is used up, where that is longer than `patience` from now.
    fn take(&self, patience: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now.checked_sub(self.slack).unwrap_or(now));
        if turn > now + patience {
            return None;
        }
        *next = turn + self.apart;
        Some(turn)
    }
}

impl Handshakes {
    /// So many of each address, and so many a second of all together; 0 for any.
    pub(crate) fn new(of_address: Rate, a_second: u32) -> Handshakes {
        Handshakes { addresses: Rates::new(of_address), agents: Mutex::default(), turns: Turns::new(a_second) }
    }

    fn agents(&self) -> std::sync::MutexGuard<'_, HashSet<IpAddr>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent with a good token came from there.
    pub(crate) fn agent_came_from(&self, neighbourhood: IpAddr) {
        let mut agents = self.agents();
        if agents.len() >= AGENTS && !agents.contains(&neighbourhood) {
            agents.clear();
        }
        agents.insert(neighbourhood);
    }

    /// Whether an agent with a good token came from there.
    #[cfg(test)]
    pub(crate) fn knows(&self, neighbourhood: IpAddr) -> bool {
        self.agents().contains(&neighbourhood)
    }

    /// Returns when it is this stranger's turn.
    ///
    /// # Errors
    /// The limit that keeps him out.
    pub(crate) async fn turn(&self, neighbourhood: IpAddr, patience: Duration) -> Result<(), Limit> {
        if self.addresses.address(neighbourhood).is_err() {
            return Err(Limit::HandshakesOfAddress);
        }
        let Some(turns) = self.turns.as_ref().filter(|_| !self.agents().contains(&neighbourhood)) else {
            return Ok(());
        };
        let turn = turns.take(patience).ok_or(Limit::Handshakes)?;
        tokio::time::sleep_until(turn).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Rate = Rate { per_second: 0, burst: 1 };
    const PATIENCE: Duration = Duration::from_secs(3);

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_wait_their_turn_and_who_would_wait_too_long_does_not() {
        let handshakes = std::sync::Arc::new(Handshakes::new(ANY, 10));
        let began = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for n in 0..60 {
            let handshakes = std::sync::Arc::clone(&handshakes);
            waiting.spawn(async move { (handshakes.turn(address(n), PATIENCE).await, began.elapsed()) });
        }
        let all = waiting.join_all().await;
        // A second's worth at once, one at its time, and three seconds' worth one behind the other.
        let at_once = all.iter().filter(|(got, at)| got.is_ok() && at.as_millis() < 100).count();
        let got = all.iter().filter(|(got, _)| got.is_ok()).count();
        assert_eq!((at_once, got), (11, 41));
        assert!(all.iter().filter(|(got, _)| got.is_err()).all(|(got, _)| *got == Err(Limit::Handshakes)));
        assert!(all.iter().all(|(_, at)| *at <= PATIENCE + Duration::from_millis(10)), "{all:?}");
        tokio::time::advance(Duration::from_secs(10)).await;
        let later = Instant::now();
        handshakes.turn(address(1), PATIENCE).await.unwrap();
        assert_eq!(later.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn agents_come_back_in_however_many_strangers_there_are() {
        let handshakes = Handshakes::new(Rate { per_second: 1, burst: 5 }, 1);
        handshakes.agent_came_from(address(1));
        let mut strangers = 0;
        while handshakes.turn(address(2 + strangers), Duration::ZERO).await.is_ok() {
            strangers += 1;
        }
        assert_eq!(handshakes.turn(address(200), Duration::ZERO).await, Err(Limit::Handshakes));
        for _ in 0..5 {
            assert_eq!(handshakes.turn(address(1), Duration::ZERO).await, Ok(()));
        }
        assert_eq!(handshakes.turn(address(1), Duration::ZERO).await, Err(Limit::HandshakesOfAddress));
    }

    #[test]
    fn the_memory_of_agents_is_bounded() {
        let handshakes = Handshakes::new(ANY, 1);
        for n in 0..=AGENTS {
            handshakes.agent_came_from(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes()));
            handshakes.agent_came_from(address(1));
        }
        assert!(handshakes.agents().len() <= AGENTS && handshakes.agents().contains(&address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own() {
        let handshakes = Handshakes::new(Rate { per_second: 1, burst: 2 }, 0);
        for expected in [Ok(()), Ok(()), Err(Limit::HandshakesOfAddress)] {
            assert_eq!(handshakes.turn(address(1), PATIENCE).await, expected);
        }
        assert_eq!(handshakes.turn(address(2), PATIENCE).await, Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(handshakes.turn(address(1), PATIENCE).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_any_number() {
        let handshakes = Handshakes::new(ANY, 0);
        let began = Instant::now();
        for _ in 0..10_000 {
            handshakes.turn(address(1), Duration::ZERO).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
