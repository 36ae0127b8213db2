//! Paths as people write them, for every flag and key of the relay. Pure: whether there is anything is not looked at.
//!
//! `~` is a shell's word. A shell writes the folder in its place only where it stands alone (`--data ~/x`, not `--data=~/x`), and in a settings file or a unit there
//! is none: the relay would make a folder named `~` wherever it was started, and keep its deliveries there.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// For clap: a path, which need not be text.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.as_os_str().as_bytes().first() != Some(&b'~') {
            return Ok(path);
        }
        let name = path.display();
        Err(format!("`~` stands for no folder here: write the whole path, such as /home/me/relay (or ./{name}, if that is its name)"))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_tilde_is_refused_where_a_shell_would_have_written_a_folder() {
        let read = |text: &OsStr| path().parse_ref(&clap::Command::new("relay"), None, text);
        for fine in ["/srv/x", "x", "./~x", "/~", "a/~/b"] {
            assert_eq!(read(OsStr::new(fine)).unwrap(), PathBuf::from(fine));
        }
        let odd = OsString::from_vec(vec![b'/', 0xff]);
        assert_eq!(read(&odd).unwrap(), PathBuf::from(&odd));
        for refused in ["~", "~/x", "~me/x", ""] {
            assert!(read(OsStr::new(refused)).is_err(), "{refused}");
        }
    }
}
