//! Numbers for closed sets, as they are on the disk: a number keeps its meaning for good.

use tunnel_delivery::{AnswerClass, Cause, Environment, ErrorKind, HttpVersion, Lost, SignatureStatus};

macro_rules! codes {
    ($name:ident: $type:ty { $($variant:path = $code:literal),+ $(,)? }) => {
        pub(crate) mod $name {
            #[allow(unused_imports)]
            use super::*;

            pub(crate) fn code(value: $type) -> u32 {
                match value { $($variant => $code),+ }
            }

            pub(crate) fn value(code: u32) -> Option<$type> {
                match code { $($code => Some($variant),)+ _ => None }
            }
        }
    };
}

codes!(environment: Environment { Environment::Unknown = 0, Environment::Staging = 1, Environment::Production = 2 });
codes!(signature: SignatureStatus {
    SignatureStatus::Valid = 1, SignatureStatus::Invalid = 2, SignatureStatus::Unsigned = 3, SignatureStatus::NoSecret = 4,
});
codes!(class: AnswerClass {
    AnswerClass::None = 0, AnswerClass::Queued = 1, AnswerClass::Success = 2, AnswerClass::Redirect = 3,
    AnswerClass::Refused = 4, AnswerClass::Failed = 5, AnswerClass::Error = 6,
});
codes!(version: HttpVersion { HttpVersion::Http10 = 10, HttpVersion::Http11 = 11, HttpVersion::Http2 = 20, HttpVersion::Sealed = 255 });
codes!(lost: Lost { Lost::HeaderOrder = 1, Lost::ChunkBoundaries = 2, Lost::Trailers = 3 });
codes!(cause: Cause { Cause::Forward = 0, Cause::Replay = 1 });
codes!(kind: ErrorKind {
    ErrorKind::Connect = 1, ErrorKind::Resolve = 2, ErrorKind::Tls = 3, ErrorKind::Timeout = 4, ErrorKind::Closed = 5,
    ErrorKind::Garbage = 6, ErrorKind::Interrupted = 7, ErrorKind::Other = 8,
    ErrorKind::Exit = 9,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_value() {
        for status in SignatureStatus::ALL {
            assert_eq!(signature::value(signature::code(status)), Some(status));
        }
        for answer in AnswerClass::ALL {
            assert_eq!(class::value(class::code(answer)), Some(answer));
        }
        assert_eq!(class::value(99), None);
    }
}
