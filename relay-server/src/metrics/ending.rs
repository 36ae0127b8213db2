//! Why connections and sessions end, by name.

use super::closed::closed_list;

pub(crate) mod session {
    //! Why agents' sessions end.
    use super::closed_list;

    closed_list! {
        /// Why a session ended.
        SessionEnd {
            /// The agent said goodbye.
            Goodbye => "goodbye",
            /// The connection ended or broke.
            Connection => "connection",
            /// Nothing was heard for too long.
            Silence => "silence",
            /// The agent broke the protocol.
            Protocol => "protocol",
            /// Told to go: revoked, removed, forgotten, or another agent took the device's name.
            Dismissed => "dismissed",
            /// The relay stops.
            Stopping => "stopping",
            /// The spool cannot be read.
            Spool => "spool",
            /// It was refused before it began.
            Refused => "refused",
        }
    }
}

pub(crate) mod handshake {
    //! How TLS handshakes end.
    use super::closed_list;

    closed_list! {
        /// How a TLS handshake ended.
        Handshake {
            /// TLS is set up.
            Done => "done",
            /// It was an ACME server's, which wants no more than that.
            Acme => "acme",
            /// The visitor's offer or certificates were not acceptable to one of the two.
            Failed => "failed",
            /// It took too long.
            Timeout => "timeout",
        }
    }
}
