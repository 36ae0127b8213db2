//! This agent's name within its tunnel, made once and kept: the relay remembers by it how far the agent got.

use std::fs;
use std::io;
use std::path::Path;

use tunnel_delivery::DeviceName;

/// The name in the data folder's `device` file; made and written if there is none.
///
/// # Errors
/// The file cannot be read or written, or does not hold a name.
pub fn device_name(data: &Path) -> io::Result<DeviceName> {
    let path = data.join("device");
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let number = getrandom::u32()?;
            let name = format!("agent-{:06x}", number & 0x00ff_ffff);
            fs::create_dir_all(data)?;
            let new = data.join("device.new");
            // On the disk before it has its place: an empty file after a power cut would be no name, and another name another device to the relay.
            tunnel_vault::write_private(&new, name.as_bytes())?.sync_all()?;
            fs::rename(new, path)?;
            fs::File::open(data)?.sync_all()?;
            name.parse().map_err(io::Error::other)
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once() {
        let data = tempfile::tempdir().unwrap();
        let first = device_name(data.path()).unwrap();
        assert!(first.as_str().starts_with("agent-"), "{first}");
        assert_eq!(device_name(data.path()).unwrap(), first);
        fs::write(data.path().join("device"), "Not A Name").unwrap();
        assert!(device_name(data.path()).is_err());
    }
}
