//! Who holds a data folder: the file in which a running agent says how it can be asked.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name within the data folder.
const NAME: &str = "agent.json";

/// What a running agent says about itself. Readable by its user only: the token opens the local interface.
#[derive(Clone, Serialize, Deserialize)]
pub struct AgentFile {
    /// Where the local interface listens.
    pub addr: SocketAddr,
    /// What it must be shown.
    pub token: String,
    /// The process.
    pub pid: u32,
}

impl std::fmt::Debug for AgentFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AgentFile({}, process {})", self.addr, self.pid)
    }
}

impl AgentFile {
    /// Where the file is in that data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join(NAME)
    }

    /// The file in that data folder. It may be left over from an agent that was killed.
    pub fn read(data: &Path) -> Option<AgentFile> {
        let file = fs::read(data.join(NAME)).ok()?;
        serde_json::from_slice(&file).ok().filter(|f: &AgentFile| f.addr.ip().is_loopback())
    }
}

/// The file while the agent runs; removed when this is dropped.
#[derive(Debug)]
pub struct Claim {
    data: PathBuf,
    file: AgentFile,
}

impl Claim {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(data: &Path, file: &AgentFile) -> io::Result<Claim> {
        let path = data.join(NAME);
        let new = data.join(format!("{NAME}.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = options.open(&new)?;
        out.write_all(serde_json::to_string(file)?.as_bytes())?;
        drop(out);
        fs::rename(&new, &path)?;
        Ok(Claim { data: data.to_owned(), file: file.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Another agent may have written its own meanwhile.
        if AgentFile::read(&self.data).is_some_and(|f| f.pid == self.file.pid && f.token == self.file.token) {
            // If it stays, the next command finds nobody at the address and opens the store itself.
            let _ = fs::remove_file(self.data.join(NAME));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_removes_only_its_own_file() {
        let data = tempfile::tempdir().unwrap();
        let file = |token: &str| AgentFile { addr: "127.0.0.1:7".parse().unwrap(), token: token.into(), pid: 1 };
        let first = Claim::write(data.path(), &file("a")).unwrap();
        let second = Claim::write(data.path(), &file("b")).unwrap();
        drop(first);
        assert_eq!(AgentFile::read(data.path()).unwrap().token, "b");
        drop(second);
        assert!(AgentFile::read(data.path()).is_none());
    }

    #[test]
    fn the_file_is_private_and_goes_with_the_agent() {
        let data = tempfile::tempdir().unwrap();
        let file = AgentFile { addr: "127.0.0.1:7".parse().unwrap(), token: "t".into(), pid: 1 };
        let claim = Claim::write(data.path(), &file).unwrap();
        assert_eq!(AgentFile::read(data.path()).unwrap().pid, 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(data.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(claim);
        assert!(AgentFile::read(data.path()).is_none());
        fs::write(data.path().join(NAME), r#"{"addr":"192.0.2.1:1","token":"t","pid":1}"#).unwrap();
        assert!(AgentFile::read(data.path()).is_none(), "only loopback is ever asked");
    }
}
