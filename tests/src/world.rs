//! The usual cast: one relay with one tunnel, one agent, one recording handler.

use tunnel_testkit::{Agent, AnswerMode, Handler, HttpMessage, Relay, Stage, send};

/// The tunnel of most stories.
pub const TUNNEL: &str = "team";
/// The host name of [`TUNNEL`].
pub const HOST: &str = "team.relay.test";
/// The webhook's secret.
pub const SECRET: &str = "whsec_stories_5f0e1c";

/// The usual cast. Fields are ended in this order.
pub struct World {
    /// The agent, configured; started where the story says so.
    pub agent: Agent,
    /// The relay, running.
    pub relay: Relay,
    /// The handler that the agent forwards to.
    pub handler: Handler,
    /// A token of the tunnel.
    pub token: String,
    /// Where all of them play.
    pub stage: Stage,
}

impl World {
    /// A running relay with [`TUNNEL`], a handler that answers 200, and an agent that is not started.
    pub fn new(answer: AnswerMode) -> World {
        World::with_handler(answer, Handler::start())
    }

    /// The same with a handler of the story's own.
    pub fn with_handler(answer: AnswerMode, handler: Handler) -> World {
        let stage = Stage::new();
        let mut relay = stage.relay();
        let token = relay.add_tunnel(TUNNEL, answer);
        relay.start();
        let agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
        World { agent, relay, handler, token, stage }
    }

    /// The same with the agent connected.
    pub fn connected(answer: AnswerMode) -> World {
        let mut world = World::new(answer);
        world.agent.start();
        world
    }

    /// Sends an unsigned delivery by host and gives the answer.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn deliver(&self, target: &str, body: &[u8]) -> HttpMessage {
        send(self.relay.http(), &post(HOST, target, body))
    }

    /// Sends an unsigned delivery that must be answered 200, and gives its id.
    ///
    /// # Panics
    /// If it is answered otherwise.
    #[track_caller]
    pub fn accepted(&self, target: &str, body: &[u8]) -> String {
        let answer = self.deliver(target, body);
        assert_eq!(answer.status(), Some(200), "{}", answer.text());
        answer.header("healthie-tunnel-delivery").expect("the relay names the delivery")
    }
}

/// A plain POST request as bytes, unsigned.
pub fn post(host: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
