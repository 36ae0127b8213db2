//! Something to be edited, in the editor that the user has chosen: `VISUAL`, else `EDITOR`, else vi.

use std::fs;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;

use super::Failure;
use crate::settings::Environment;

/// The longest text that is read back, in bytes.
const MOST: u64 = 4 * 1024 * 1024;

/// A file that goes when this is dropped: what is edited may be about patients.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed now is removed with the system's temporary files.
        let _ = fs::remove_file(&self.0);
    }
}

/// Lets the user edit `text`; `name` is the end of the file's name, by which editors know the language.
///
/// # Errors
/// There is no editor, it failed, or what came back is not text.
pub(crate) fn edit(text: &str, name: &str, environment: &Environment) -> Result<String, Failure> {
    String::from_utf8(edit_bytes(text.as_bytes(), name, environment)?)
        .map_err(|_| Failure::usage("what was edited is not UTF-8; nothing was sent"))
}

/// The command of the user's editor. Without a terminal only one that was named: it may need none, as vi does.
fn chosen(environment: &Environment, terminal: bool) -> Result<&str, Failure> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| environment.get(name));
    match named.into_iter().find(|command| !command.trim().is_empty()) {
        Some(command) => Ok(command),
        None if terminal => Ok("vi"),
        None => Err(Failure::usage("there is no terminal to edit on, and neither VISUAL nor EDITOR names an editor")
            .hint("set EDITOR to a command that changes the file it is given")),
    }
}

/// As [`edit`], with bytes that need not be text.
///
/// # Errors
/// There is no editor, or it failed.
pub(crate) fn edit_bytes(text: &[u8], name: &str, environment: &Environment) -> Result<Vec<u8>, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let editor = chosen(environment, terminal)?;
    let number = getrandom::u64().map_err(|e| Failure::unreachable(format!("there is no randomness: {e}")))?;
    let path = std::env::temp_dir().join(format!("healthie-tunnel-{number:016x}-{name}"));
    let failed =
        |what: &str, e: std::io::Error| Failure::unreachable(format!("the file to edit cannot be {what}: {e}"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(|e| failed("made", e))?;
    let draft = Draft(path);
    file.write_all(text).map_err(|e| failed("written", e))?;
    drop(file);
    // By the shell, as git does: EDITOR is a command, which may have arguments ("code --wait").
    let ended = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&draft.0).status();
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => {
            return Err(Failure::usage(format!("the editor {editor:?} ended with {status}; nothing was sent")));
        }
        Err(e) => {
            return Err(Failure::usage(format!("the editor {editor:?} cannot be started: {e}")).hint("set EDITOR"));
        }
    }
    let mut edited = Vec::new();
    // Opened anew: many editors put another file in the place of the first.
    let file = fs::File::open(&draft.0).map_err(|e| failed("read", e))?;
    file.take(MOST + 1).read_to_end(&mut edited).map_err(|e| failed("read", e))?;
    if edited.len() as u64 > MOST {
        return Err(Failure::usage("what was edited has become longer than 4 MiB; nothing was sent"));
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vi_is_not_started_where_nobody_could_use_it() {
        let environment = |all: &[(&str, &str)]| -> Environment {
            all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert_eq!(chosen(&environment(&[]), true).unwrap(), "vi");
        assert!(chosen(&environment(&[]), false).unwrap_err().message.contains("no terminal"));
        assert!(chosen(&environment(&[("EDITOR", " ")]), false).is_err());
        let both = environment(&[("EDITOR", "ed"), ("VISUAL", "code --wait")]);
        assert_eq!((chosen(&both, true).unwrap(), chosen(&both, false).unwrap()), ("code --wait", "code --wait"));
    }
}
