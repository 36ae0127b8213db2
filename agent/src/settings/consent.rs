//! What a project's file says only with the user's consent, and where the user said yes.
//!
//! A project's file comes with its folder, and the folder may have been cloned from anywhere. So what it may set by itself ([`InProject::Free`], and
//! handlers on this machine) can at worst misdirect the deliveries within the folder's own handler. What names whom to trust, where secrets and deliveries go,
//! what is read, or what is removed is held back until `config allow` was run on it; commands that need it say so. Consent is for
//! the file at its path with exactly these values: when it says something else, it is asked again. Certificates count by their content, other
//! files and the data folder by where they really are, so that none can be exchanged behind its name. What the user's own file says likewise needs no consent.
//!
//! What a hostile project could do, key by key:
//!
//! | key | at worst | so |
//! | --- | --- | --- |
//! | `relay` | gets the user's token; sends made-up deliveries to any handler | asked |
//! | `token`, `tunnel` | somebody else's deliveries come to the handler, or another tunnel's, whose senders this agent then answers | asked |
//! | `data` | patients' data in a folder that is committed; a store, keys and an "agent" prepared there that is given the secrets | asked |
//! | `secret` | forged deliveries are valid; with `@FILE`, any file of the user's is read | asked |
//! | `ca` | whoever stands in between passes for the relay, and gets the token | asked |
//! | `device` | takes another device's place, whose deliveries then count as taken | asked |
//! | `target`, `forward` | deliveries leave this machine; on this machine they are POSTed to a service that is none of theirs | asked beyond loopback |
//! | `otlp_endpoint` | is told of each delivery | asked |
//! | `keep`, `keep_count`, `keep_size` | stored deliveries are removed | asked |
//! | `exec`, `store_key_command` | runs commands | never |
//! | `store_key`, `store_key_file`, `store_key_keyring` | a store that opens with a key which others know; any file is read | never |
//! | `allow_plain_http` | the token and the deliveries are legible on the way | never |
//! | `[filters]` | `events remove @name` means others than the user thinks: a name of the user's own stays the user's | free |
//! | `[keys]` | a key does something else, which asks before it removes anything | free |
//! | the others | deliveries come to the handler later, signed again, unverified, or not at all | free |

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::keys::{InProject, Key};
use super::{Origin, PROJECT_FILE, SettingsError, Texts};
use crate::dial::Peer;
use crate::forward::{Route, TargetUrl};

/// The most that is read of a file that counts by its content, in bytes.
const CONTENT_MAX: u64 = 1 << 20;
/// A longer record of consent was not written here, in bytes.
const RECORD_MAX: u64 = 16 << 10;

/// One thing that a project's file says and may not say by itself.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which setting.
    pub key: &'static Key,
    /// As written.
    pub values: Texts,
}

impl Wish {
    /// What is at stake, as the second half of a sentence.
    pub fn stake(&self) -> &'static str {
        stake(self.key.name)
    }
}

/// All of that in one file.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The folder, without links in its path.
    folder: PathBuf,
    /// In the order of the keys.
    pub all: Vec<Wish>,
    /// Whether the user has said yes to exactly this.
    pub allowed: bool,
}

impl Wishes {
    /// Of the file in that folder.
    pub(super) fn new(folder: &Path, all: Vec<Wish>) -> Wishes {
        Wishes { folder: without_links(folder), all, allowed: false }
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.folder.join(PROJECT_FILE)
    }

    /// What consent is given to. Each part stands behind its length, so that no two lists make the same text.
    ///
    /// # Errors
    /// A file that counts by its content has none that could be told from another.
    fn digest(&self) -> io::Result<String> {
        let mut sum = Sha256::new();
        let mut part = |bytes: &[u8]| {
            sum.update((bytes.len() as u64).to_be_bytes());
            sum.update(bytes);
        };
        part(b"what a project's file may say, 1");
        part(self.file().as_os_str().as_encoded_bytes());
        for Wish { key, values } in &self.all {
            part(key.name.as_bytes());
            part(&(values.len() as u64).to_be_bytes());
            for value in values.iter() {
                part(value.as_bytes());
                if key.name == "ca" {
                    part(content(&self.folder.join(value))?.as_bytes());
                } else if let Some(path) = value.strip_prefix('@').or((key.name == "data").then_some(value)) {
                    part(real(&self.folder.join(path)).as_os_str().as_encoded_bytes());
                }
            }
        }
        Ok(hex(&sum.finalize()))
    }
}

/// Where the user's consents are: a file for each project's file, in the user's configuration.
#[derive(Clone, Debug)]
pub struct Consents(PathBuf);

impl Consents {
    /// Those beside the user's settings file.
    pub fn beside(config_file: &Path) -> Consents {
        Consents(config_file.with_file_name("allowed"))
    }

    /// Where they are kept; it may not be there yet.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Whether the user said yes to exactly this.
    pub fn hold(&self, wishes: &Wishes) -> bool {
        let mut text = String::new();
        let read = std::fs::File::open(self.record(wishes)).and_then(|f| f.take(RECORD_MAX).read_to_string(&mut text));
        let table: toml::Table = match read.map(|_| text.parse()) {
            Ok(Ok(table)) => table,
            _ => return false,
        };
        let given = table.get("consent").and_then(toml::Value::as_str);
        wishes.digest().is_ok_and(|digest| given == Some(&digest))
    }

    /// Keeps that the user says yes to this, instead of what was said about this file before.
    ///
    /// # Errors
    /// It cannot be written, or a file that is named cannot be told from another.
    pub fn give(&self, wishes: &Wishes) -> io::Result<()> {
        let digest = wishes.digest()?;
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&self.0)?;
        let mut record = toml::Table::new();
        record.insert("file".to_owned(), wishes.file().display().to_string().into());
        record.insert("consent".to_owned(), digest.into());
        // A temporary file is its user's only.
        let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.0)?;
        new.write_all(record.to_string().as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(self.record(wishes)).map_err(|e| e.error)?;
        Ok(())
    }

    /// Takes back what was said about the file in this folder, whatever it says now and whether it is still there; whether anything was.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn take_back(&self, folder: &Path) -> io::Result<bool> {
        match std::fs::remove_file(self.record_of(&without_links(folder).join(PROJECT_FILE))) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn record(&self, wishes: &Wishes) -> PathBuf {
        self.record_of(&wishes.file())
    }

    fn record_of(&self, file: &Path) -> PathBuf {
        let name = hex(&Sha256::digest(file.as_os_str().as_encoded_bytes()));
        self.0.join(format!("{name}.toml"))
    }
}

/// The folder, by one name only.
fn without_links(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Whether a project's file may set these values only with consent.
///
/// # Errors
/// What it may never set, with how to set it instead.
pub(super) fn asks(key: &'static Key, values: &[String], origin: &Origin) -> Result<bool, SettingsError> {
    match key.in_project {
        InProject::Free => Ok(false),
        InProject::Asked => Ok(true),
        // What cannot be read is refused where it is used.
        InProject::Near => Ok(values.iter().filter_map(|v| handler(key, v)).any(|peer| !peer.is_loopback())),
        InProject::Never => {
            let Key { name, flag, variable, .. } = key;
            let why = match *name {
                "exec" | "store_key_command" => "name a command that is run",
                "allow_plain_http" => "give up TLS",
                _ => "name the key of the store",
            };
            Err(SettingsError::Key {
                origin: origin.clone(),
                why: format!(
                    "the key {name:?}, and a project's file cannot {why}: give it with {flag}, {variable} or the user's settings file"
                ),
            })
        }
    }
}

fn handler(key: &Key, value: &str) -> Option<Peer> {
    match key.name {
        "forward" => value.parse::<Route>().ok().map(|route| route.target.peer),
        _ => value.parse::<TargetUrl>().ok().map(|target| target.peer),
    }
}

/// What is at stake with a key that is asked for.
pub(super) fn stake(key: &str) -> &'static str {
    match key {
        "relay" => "your token goes there, and what it sends goes to your handler",
        "token" | "tunnel" => "it decides whose deliveries come here",
        "data" => "deliveries are stored there, and what is there already is believed",
        "secret" => "it decides which signatures are valid",
        "ca" => "whoever has such a certificate can pass for your relay and get your token",
        "device" => "what another device of that name waits for would come here instead",
        "target" | "forward" => "deliveries would leave this machine",
        "otlp_endpoint" => "it is told of each delivery",
        "keep" | "keep_count" | "keep_size" => "it decides when stored deliveries are removed",
        _ => "it is not for a folder to decide",
    }
}

/// What is in a file, in short. One that cannot be read is like no other that can.
///
/// # Errors
/// It is none whose content could be told from another: it is longer than what is read of it, or no file.
fn content(path: &Path) -> io::Result<String> {
    let unfit = |why: String| io::Error::new(ErrorKind::InvalidInput, format!("{} {why}", path.display()));
    let Ok(found) = path.metadata() else { return Ok("cannot be read".to_owned()) };
    if !found.is_file() {
        return Err(unfit("is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(CONTENT_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > CONTENT_MAX => Err(unfit(format!("is longer than {CONTENT_MAX} bytes"))),
        Ok(_) => Ok(hex(&Sha256::digest(bytes))),
        Err(_) => Ok("cannot be read".to_owned()),
    }
}

/// Where something really is, there already or not: a link in the folder may be made to lead elsewhere later.
fn real(path: &Path) -> PathBuf {
    for there in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
