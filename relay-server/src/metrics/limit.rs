//! The limits that can be hit, by name. What they are set to is in the configuration; who holds them counts.

use super::closed::closed_list;

closed_list! {
    /// A limit.
    Limit {
        /// Bytes or lines of a request's head.
        HeadBytes => "head_size",
        /// How long a head may take to come, idle time before it included.
        HeadTime => "head_time",
        /// Bytes of a body.
        BodyBytes => "body_bytes",
        /// How long a body may take to come.
        BodyTime => "body_time",
        /// How long a reader may take to read what it is sent.
        ReadTime => "read_time",
        /// How long a connection may live, or requests it may make.
        ConnectionUse => "connection_use",
        /// Connections in all.
        Connections => "connections",
        /// Connections of one address.
        ConnectionsPerAddress => "connections_per_address",
        /// Requests at once on one connection.
        Streams => "streams",
        /// Requests at once in all, or bytes of bodies held for them.
        InFlight => "in_flight",
        /// How long a handshake of TLS, or a proxy's preface, may take.
        HandshakeTime => "handshake_time",
        /// Handshakes of TLS a second, of all strangers.
        Handshakes => "handshakes",
        /// Handshakes of TLS a second of one address.
        HandshakesOfAddress => "address_handshakes",
        /// How long an agent may take to say hello.
        HelloTime => "hello_time",
        /// Deliveries a second of one tunnel.
        TunnelRate => "tunnel_rate",
        /// Deliveries a second of one address.
        AddressRate => "address_rate",
        /// Agents of one tunnel at once.
        Agents => "agents",
        /// Devices of one tunnel.
        Devices => "devices",
        /// Bytes that a tunnel may hold in the spool.
        SpoolShare => "spool_share",
        /// Deliveries that may wait for the next commit.
        SpoolQueue => "spool_queue",
        /// Free bytes of the disk.
        Disk => "disk",
        /// Offers that may wait for an agent.
        AgentQueue => "agent_queue",
        /// Bytes of a handler's answer.
        AnswerBytes => "answer_bytes",
        /// How long a handler may take in passthrough.
        AnswerTime => "answer_time",
        /// Bytes of a WebSocket frame.
        FrameSize => "frame_size",
        /// How long an agent may be silent.
        Silence => "silence",
        /// Attempts with a wrong token.
        FailedAttempts => "failed_attempts",
        /// Addresses that a tunnel takes deliveries from.
        Source => "source",
        /// Methods that a tunnel answers.
        Method => "method",
        /// Hosts that the relay answers to.
        Host => "host",
    }
}
