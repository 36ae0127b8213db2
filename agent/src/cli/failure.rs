//! How a command fails: a kind, which decides the exit code, a cause, and what to do about it.

use crate::control::{ControlError, Kind};
use crate::data_folder::UnfitFolder;
use crate::listen::ListenError;
use crate::settings::SettingsError;
use tunnel_archive::ArchiveError;

/// Why a command was not done.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Decides the exit code; `None` where the reader of stdout went away, which is nobody's fault.
    pub kind: Option<Kind>,
    /// What was wrong. Empty where the command has said so already.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// There is no such thing, or the answer is no.
    pub fn negative(message: impl Into<String>) -> Failure {
        Failure { kind: Some(Kind::Negative), message: message.into(), hint: None }
    }

    /// It was asked for wrongly.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { kind: Some(Kind::Usage), message: message.into(), hint: None }
    }

    /// Somebody who is needed cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure { kind: Some(Kind::Unreachable), message: message.into(), hint: None }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            None => 0,
            Some(Kind::Negative) => 1,
            Some(Kind::Usage) => 2,
            Some(Kind::Unreachable | Kind::Damaged) => 3,
        }
    }
}

impl From<ControlError> for Failure {
    fn from(e: ControlError) -> Failure {
        Failure { kind: Some(e.kind), message: e.message, hint: e.hint }
    }
}

impl From<SettingsError> for Failure {
    fn from(e: SettingsError) -> Failure {
        Failure { kind: Some(Kind::Usage), hint: e.hint(), message: e.to_string() }
    }
}

impl From<UnfitFolder> for Failure {
    fn from(e: UnfitFolder) -> Failure {
        Failure { kind: Some(Kind::Usage), hint: Some(e.hint()), message: e.to_string() }
    }
}

impl From<ListenError> for Failure {
    fn from(e: ListenError) -> Failure {
        if let ListenError::Archive(archive @ ArchiveError::Damaged { .. }) = e {
            return ControlError::from(archive).into();
        }
        if let ListenError::Archive(key @ ArchiveError::Key(_)) = e {
            return ControlError::from(key).into();
        }
        if let ListenError::Folder(unfit) = e {
            return unfit.into();
        }
        let (kind, hint) = match &e {
            ListenError::Held { .. } => (
                Kind::Usage,
                "stop that agent, or choose another folder with --data; every other command works beside it",
            ),
            ListenError::Archive(ArchiveError::Held { .. }) => (
                Kind::Usage,
                "an open `inspect` keeps it: close that, start `listen`, and `inspect` works beside it; or choose another folder with --data",
            ),
            // Somebody is there and says no: whoever starts this again in a loop gets the same answer.
            ListenError::Refused(_) => (
                Kind::Negative,
                "check --token and --tunnel, and whether they are of the relay that --relay names (`healthie-tunnel config` shows from where they are)",
            ),
            ListenError::Unfit(_) => (
                Kind::Negative,
                "token and tunnel are not what is wrong: bring this program and the relay to versions that go together (`healthie-tunnel --version`)",
            ),
            // The relay's own words: the token is good for several.
            ListenError::Unreached(why) if why.contains("--tunnel NAME") => (
                Kind::Unreachable,
                "say which with --tunnel, HEALTHIE_TUNNEL_TUNNEL or `tunnel = …` in your settings file",
            ),
            ListenError::Unreached(_) => (
                Kind::Unreachable,
                "check --relay and, for a certificate of your own, --ca (`healthie-tunnel config` shows them)",
            ),
            ListenError::Archive(_) | ListenError::Folder(_) | ListenError::Io { .. } | ListenError::Keys(_) => {
                (Kind::Unreachable, "")
            }
        };
        Failure { kind: Some(kind), message: e.to_string(), hint: (!hint.is_empty()).then(|| hint.to_owned()) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            Failure { kind: None, message: String::new(), hint: None }
        } else {
            Failure::unreachable(format!("the output cannot be written: {e}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_mean_something() {
        assert_eq!(Failure::negative("").exit_code(), 1);
        assert_eq!(Failure::usage("").exit_code(), 2);
        assert_eq!(Failure::unreachable("").exit_code(), 3);
        assert_eq!(Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).exit_code(), 0);
        assert_eq!(Failure::from(SettingsError::Missing { key: "relay" }).exit_code(), 2);
        assert_eq!(Failure::from(ListenError::Refused("no".into())).exit_code(), 1);
        assert_eq!(Failure::from(ListenError::Unreached("nobody".into())).exit_code(), 3);
        let hint = |e: ListenError| Failure::from(e).hint.unwrap();
        assert!(hint(ListenError::Refused("no".into())).contains("--token"));
        assert!(!hint(ListenError::Unfit("too old".into())).contains("--token"));
        let which = "r answered 400: The token opens a, b; say which of them with --tunnel NAME.";
        assert!(hint(ListenError::Unreached(which.into())).contains("--tunnel,"));
    }
}
