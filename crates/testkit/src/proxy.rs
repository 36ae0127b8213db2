//! A TCP proxy that misbehaves as told: it cuts, freezes, turns away, and makes its own [`Weather`]. It knows nothing of what goes through.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::link::{self, Ends};
use crate::{DEADLINE, Log, Weather};

/// A proxy on loopback; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the proxy's threads share.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    accepted: Log<Instant>,
}

struct State {
    to: SocketAddr,
    connections: Vec<Joined>,
    weather: Weather,
    /// Counts the changes of the weather.
    weathers: u64,
    /// Connections with a smaller number pass nothing any more, in either direction.
    frozen_below: usize,
    turning_away: bool,
    ended: bool,
}

/// A connection that passes.
struct Joined {
    number: usize,
    ends: Ends,
    /// When the weather cuts it.
    until: Option<Instant>,
}

impl Proxy {
    /// A proxy to that address that passes everything.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            to,
            connections: Vec::new(),
            weather: Weather::default(),
            weathers: 0,
            frozen_below: 0,
            turning_away: false,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), accepted: Log::default() });
        let (accepting, cutting) = (shared.clone(), shared.clone());
        std::thread::spawn(move || {
            for (number, near) in listener.incoming().flatten().enumerate() {
                if !accepting.join(number, near) {
                    return;
                }
            }
        });
        std::thread::spawn(move || cutting.cut_the_old());
        Proxy { address, shared }
    }

    /// A proxy to that address in that weather.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn in_weather(to: SocketAddr, weather: Weather) -> Proxy {
        let proxy = Proxy::start(to);
        proxy.weather(weather);
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as an HTTP URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When it accepted each connection, those that it turned away too.
    pub fn accepted(&self) -> &Log<Instant> {
        &self.shared.accepted
    }

    /// Connects to another address from now on.
    pub fn lead_to(&self, to: SocketAddr) {
        self.shared.state().to = to;
    }

    /// Changes the weather, for the connections there are and for new ones. What the weather before held up passes at once.
    pub fn weather(&self, weather: Weather) {
        let now = Instant::now();
        {
            let mut state = self.shared.state();
            for joined in &mut state.connections {
                joined.until = weather.life(joined.number).map(|life| now + life);
            }
            state.weather = weather;
            state.weathers += 1;
        }
        self.shared.changed.notify_all();
    }

    /// Cuts all connections there are; new ones pass.
    pub fn cut(&self) {
        let connections = std::mem::take(&mut self.shared.state().connections);
        connections.iter().for_each(|joined| joined.ends.close());
    }

    /// Turns new connections away, or takes them again.
    pub fn turn_away(&self, away: bool) {
        self.shared.state().turning_away = away;
    }

    /// Reads and passes nothing any more on the connections there are, without closing them: what a laptop that slept, or a
    /// forgotten NAT entry, looks like. New ones pass.
    pub fn freeze(&self) {
        let next = self.shared.accepted.len();
        self.shared.state().frozen_below = next;
    }

    /// Passes what was frozen, as after a cable was put back in.
    pub fn thaw(&self) {
        self.shared.state().frozen_below = 0;
        self.shared.changed.notify_all();
    }

    /// Passes at most so many bytes a second in each direction of each connection, or as many as come.
    pub fn limit(&self, bytes_per_second: Option<usize>) {
        let weather = Weather { bytes_per_second, ..self.shared.weather() };
        self.weather(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.cut();
        self.shared.changed.notify_all();
        // Wakes the thread that accepts; if that fails it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The weather now.
    pub(crate) fn weather(&self) -> Weather {
        self.state().weather.clone()
    }

    /// When something is due in the weather now, and which weather that is.
    pub(crate) fn reckon(&self, due: impl FnOnce(&Weather) -> Instant) -> (Instant, u64) {
        let state = self.state();
        (due(&state.weather), state.weathers)
    }

    /// Waits until that moment, or until the weather has changed since.
    pub(crate) fn wait_due(&self, due: Instant, weather: u64) {
        let state = self.state();
        let left = due.saturating_duration_since(Instant::now());
        let same = |s: &mut State| !s.ended && s.weathers == weather;
        let _waited = self.changed.wait_timeout_while(state, left, same);
    }

    /// Waits for as long as that connection is frozen.
    pub(crate) fn wait_thaw(&self, number: usize) {
        let state = self.state();
        let _waited = self.changed.wait_while(state, |s| !s.ended && number < s.frozen_below);
    }

    /// Keeps no handle on a connection that has ended.
    pub(crate) fn forget(&self, number: usize) {
        self.state().connections.retain(|joined| joined.number != number);
    }

    /// Joins an accepted connection with one of its own; whether the proxy goes on.
    fn join(self: &Arc<Self>, number: usize, near: TcpStream) -> bool {
        let (to, away, life) = {
            let state = self.state();
            if state.ended {
                return false;
            }
            (state.to, state.turning_away, state.weather.life(number))
        };
        self.accepted.push(Instant::now());
        if away {
            return true;
        }
        let Ok(far) = TcpStream::connect_timeout(&to, DEADLINE) else { return true };
        for socket in [&near, &far] {
            // Slower without it, not wrong.
            let _ = socket.set_nodelay(true);
        }
        let ends = Ends { near, far };
        let Ok(kept) = ends.again() else { return true };
        let until = life.map(|life| Instant::now() + life);
        self.state().connections.push(Joined { number, ends: kept, until });
        self.changed.notify_all();
        if link::pass(self, number, &ends).is_err() {
            ends.close();
        }
        true
    }

    /// Cuts each connection when the weather wants it, until the proxy ends.
    fn cut_the_old(&self) {
        let mut state = self.state();
        while !state.ended {
            let now = Instant::now();
            for joined in state.connections.extract_if(.., |joined| joined.until.is_some_and(|until| until <= now)) {
                joined.ends.close();
            }
            let next = state.connections.iter().filter_map(|joined| joined.until).min();
            let left = next.map_or(Duration::MAX, |next| next.saturating_duration_since(now));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, Handler};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn passes_cuts_and_turns_away() {
        let handler = Handler::start();
        let proxy = Proxy::start(handler.address());
        let mut connection = Connection::open(proxy.address());
        connection.send(REQUEST);
        assert_eq!(connection.answer().status(), Some(200));
        proxy.cut();
        assert!(connection.rest().is_empty());
        proxy.turn_away(true);
        assert!(Connection::open(proxy.address()).rest().is_empty());
        proxy.turn_away(false);
        let mut connection = Connection::open(proxy.address());
        connection.send(REQUEST);
        assert_eq!(connection.answer().status(), Some(200));
    }

    #[test]
    fn what_is_frozen_passes_nothing_and_new_connections_do() {
        let handler = Handler::start();
        let proxy = Proxy::start(handler.address());
        let mut frozen = Connection::open(proxy.address());
        frozen.send(REQUEST);
        frozen.answer();
        proxy.freeze();
        frozen.send(REQUEST);
        let mut fresh = Connection::open(proxy.address());
        fresh.send(REQUEST);
        fresh.answer();
        assert_eq!(handler.received().len(), 2);
    }

    /// The time that a request and its answer take.
    fn exchange(connection: &mut Connection) -> Duration {
        let begin = Instant::now();
        connection.send(REQUEST);
        connection.answer();
        begin.elapsed()
    }

    #[test]
    fn a_delay_is_paid_in_both_directions() {
        let handler = Handler::start();
        let delay = Duration::from_millis(40);
        let proxy = Proxy::in_weather(handler.address(), Weather::from_seed(1).delayed(delay, delay));
        let mut connection = Connection::open(proxy.address());
        assert!(exchange(&mut connection) >= 2 * delay);
        // Fine again: the answer is there before even one way would have taken that long.
        proxy.weather(Weather::default());
        crate::eventually("a quick exchange", || (exchange(&mut connection) < delay).then_some(()));
    }

    #[test]
    fn a_change_of_weather_lets_through_what_was_held_up() {
        let handler = Handler::start();
        let proxy = Proxy::in_weather(handler.address(), Weather::from_seed(2).losing(1, 10 * DEADLINE));
        let mut connection = Connection::open(proxy.address());
        connection.send(REQUEST);
        proxy.shared.accepted.wait("the connection", |seen| seen.first().copied());
        proxy.weather(Weather::default());
        assert_eq!(connection.answer().status(), Some(200));
    }

    #[test]
    fn a_throttled_link_takes_its_time_and_loses_nothing() {
        let handler = Handler::start();
        let proxy = Proxy::in_weather(handler.address(), Weather::from_seed(3).throttled(400_000));
        let body = crate::Dice::new(3).bytes(100_000);
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        let begin = Instant::now();
        let mut connection = Connection::open(proxy.address());
        connection.send(&[head.as_bytes(), &body].concat());
        connection.answer();
        assert!(begin.elapsed() >= Duration::from_millis(200), "100 kB at 400 kB/s in {:?}", begin.elapsed());
        assert_eq!(handler.wait_for(1)[0].message.body, body);
    }

    #[test]
    fn connections_are_cut_by_the_plan() {
        let handler = Handler::start();
        let lives = Duration::from_millis(20)..Duration::from_millis(60);
        let proxy = Proxy::in_weather(handler.address(), Weather::from_seed(4).living(lives.clone()));
        for _ in 0..3 {
            let begin = Instant::now();
            assert!(Connection::open(proxy.address()).rest().is_empty());
            assert!(begin.elapsed() >= lives.start);
        }
        crate::eventually("nothing to be kept of connections that ended", || {
            proxy.shared.state().connections.is_empty().then_some(())
        });
    }

    #[test]
    fn what_is_thawed_goes_on_where_it_was() {
        let handler = Handler::start();
        let proxy = Proxy::start(handler.address());
        let mut connection = Connection::open(proxy.address());
        exchange(&mut connection);
        proxy.freeze();
        connection.send(REQUEST);
        let mut fresh = Connection::open(proxy.address());
        exchange(&mut fresh);
        assert_eq!(handler.received().len(), 2);
        proxy.thaw();
        assert_eq!(connection.answer().status(), Some(200));
    }
}
