//! Reads an archive entry by entry and believes nothing: only plain files with names of ours, each as long as it may be, all of them as the
//! manifest at the end says.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use tunnel_spool::{Copied, MAX_COPY_PART, count_part};

use super::{
    ABOUT, About, BROKEN, BackupError, DATA, Held, Listed, MANIFEST, MAX_FILE, MAX_FILES, MAX_MANIFEST, Manifest,
    SPOOL, VERSION, hex,
};

/// How deep below the data folder a file may be.
pub(crate) const MAX_DEPTH: usize = 3;
/// The most parts of a spool: 4 TiB of them.
const MAX_PARTS: u64 = 1 << 20;
/// zstd may ask for a window of 2 to this power of bytes, and no more.
const MAX_WINDOW_LOG: u32 = 27;
/// How zstd begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Takes what is in a backup, in its order. Nothing of it is known to be whole before the reading has ended well.
pub(super) trait Taker {
    /// A file of the data folder.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError>;
    /// The next part of the spool.
    fn part(&mut self, part: &[u8]) -> Result<(), BackupError>;
}

/// Whether it is a whole backup, and of what.
///
/// # Errors
/// It is not, or cannot be read.
pub(crate) fn verify(from: impl Read) -> Result<Held, BackupError> {
    struct Nobody;
    impl Taker for Nobody {
        fn file(&mut self, _: &str, _: &[u8]) -> Result<(), BackupError> {
            Ok(())
        }
        fn part(&mut self, _: &[u8]) -> Result<(), BackupError> {
            Ok(())
        }
    }
    read(from, &mut Nobody)
}

/// Reads a backup to its end.
pub(super) fn read(mut from: impl Read, taker: &mut dyn Taker) -> Result<Held, BackupError> {
    let stream = |source| BackupError::Stream { doing: "read", source };
    let mut first = [0; 4];
    from.read_exact(&mut first).map_err(|_| not_whole("it is empty"))?;
    if first != ZSTD {
        return Err(not_whole("it is not compressed by zstd"));
    }
    let mut unpacked = zstd::stream::read::Decoder::new(first.chain(from)).map_err(stream)?;
    unpacked.window_log_max(MAX_WINDOW_LOG).map_err(stream)?;
    let mut archive = tar::Archive::new(unpacked);
    let mut reading = Reading::default();
    // Raw: links, long names and sparse files are kinds of entries then, and refused as such.
    for entry in archive.entries().map_err(|e| torn(&e))?.raw(true) {
        reading.entry(entry.map_err(|e| torn(&e))?, taker)?;
    }
    reading.end()
}

fn not_whole(why: impl Into<String>) -> BackupError {
    BackupError::NotWhole(why.into())
}

/// What a stream that ends too early, or is no archive, comes to.
fn torn(e: &io::Error) -> BackupError {
    not_whole(format!("it cannot be read to its end: {e}"))
}

#[derive(Default)]
struct Reading {
    about: Option<About>,
    seen: Vec<Listed>,
    files: u64,
    parts: u64,
    copied: Copied,
    manifest: Option<Manifest>,
}

impl Reading {
    fn entry(&mut self, mut entry: tar::Entry<'_, impl Read>, taker: &mut dyn Taker) -> Result<(), BackupError> {
        if self.manifest.is_some() {
            return Err(not_whole("something comes after its end"));
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(not_whole("there is something in it that is no plain file"));
        }
        let name = std::str::from_utf8(&entry.path_bytes()).map(str::to_owned);
        let name = name.map_err(|_| not_whole("a name in it is not text"))?;
        let most = match name.as_str() {
            ABOUT | MANIFEST | BROKEN => MAX_MANIFEST,
            name if name.starts_with(DATA) => MAX_FILE,
            name if name.starts_with(SPOOL) => MAX_COPY_PART as u64,
            _ => return Err(not_whole(format!("{name:?} does not belong in it"))),
        };
        let size = entry.size();
        if size > most {
            return Err(not_whole(format!("{name:?} has {size} bytes and may have {most}")));
        }
        // Grown as it comes: the size is only what somebody says.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|e| torn(&e))?;
        if bytes.len() as u64 != size {
            return Err(not_whole(format!("{name:?} is cut off")));
        }
        if self.about.is_none() && name != ABOUT {
            return Err(not_whole("it does not begin as a backup of a relay"));
        }
        match name.as_str() {
            ABOUT if self.about.is_some() => return Err(not_whole("it begins twice")),
            ABOUT => self.about = Some(about(&bytes)?),
            BROKEN => return Err(BackupError::Broken(String::from_utf8_lossy(&bytes).chars().take(500).collect())),
            MANIFEST => {
                self.manifest =
                    Some(serde_json::from_slice(&bytes).map_err(|e| not_whole(format!("its manifest: {e}")))?);
                return Ok(());
            }
            _ => self.content(&name, &bytes, taker)?,
        }
        self.seen.push(Listed { name, bytes: size, sha256: hex(&Sha256::digest(&bytes)) });
        Ok(())
    }

    fn content(&mut self, name: &str, bytes: &[u8], taker: &mut dyn Taker) -> Result<(), BackupError> {
        if let Some(file) = name.strip_prefix(DATA) {
            self.files += 1;
            if self.files > MAX_FILES as u64 {
                return Err(not_whole(format!("there are more than {MAX_FILES} files in it")));
            }
            if !is_ours(file) || self.seen.iter().any(|seen| seen.name == name) {
                return Err(not_whole(format!("{name:?} does not belong in it")));
            }
            return taker.file(file, bytes);
        }
        self.parts += 1;
        if name != format!("{SPOOL}{:08}", self.parts) || self.parts > MAX_PARTS {
            return Err(not_whole(format!("{name:?} is not the spool's next part")));
        }
        self.copied.deliveries += count_part(bytes)?.deliveries;
        taker.part(bytes)
    }

    fn end(self) -> Result<Held, BackupError> {
        let (Some(about), Some(manifest)) = (self.about, self.manifest) else {
            return Err(not_whole("it ends too early"));
        };
        if manifest.entries != self.seen {
            let other = manifest.entries.iter().zip(&self.seen).find(|(told, seen)| told != seen);
            let what = other.map_or_else(|| "the number of things".to_owned(), |(told, _)| format!("{:?}", told.name));
            return Err(not_whole(format!("{what} is not as its manifest says")));
        }
        if manifest.deliveries != self.copied.deliveries {
            return Err(not_whole("the number of deliveries is not as its manifest says"));
        }
        let bytes = self.seen.iter().map(|entry| entry.bytes).sum();
        Ok(Held { made_at: about.made_at, files: self.files, deliveries: manifest.deliveries, bytes })
    }
}

fn about(bytes: &[u8]) -> Result<About, BackupError> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |e: serde_json::Error| not_whole(format!("how it begins: {e}"));
    let Version { version } = serde_json::from_slice(bytes).map_err(wrong)?;
    if version > VERSION {
        return Err(BackupError::TooNew { found: version });
    }
    serde_json::from_slice(bytes).map_err(wrong)
}

/// Whether it is a name below the data folder that leads nowhere else.
fn is_ours(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= MAX_DEPTH + 1
        && parts.iter().all(|part| {
            !part.is_empty()
                && *part != "."
                && *part != ".."
                && !part.contains(|c: char| c.is_control() || c == '\\')
                // What a relay makes itself, and a restore must not find.
                && !part.starts_with("spool.redb")
        })
        && parts[0] != super::UNFINISHED
        && name != "spool/stream-id"
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn names_that_lead_elsewhere_are_not_ours() {
        for name in ["registry.json", "acme/0123/certificate.pem", "a/b/c/d", "with blank"] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "a\nb",
            "a/b/c/d/e",
            "spool/spool.redb",
            "spool/stream-id",
            "restore.part/x",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
