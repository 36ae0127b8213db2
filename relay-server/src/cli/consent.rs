//! Whether somebody really wants what cannot be undone: asked on a terminal, and to be said beforehand (`--yes`) where there is none, as in scripts.

use std::io::{BufRead, IsTerminal as _, Write};

use clap::Args;

use super::Failure;

#[derive(Args, Clone, Copy)]
pub(super) struct Consent {
    /// Do it without asking; needed where there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
}

impl Consent {
    /// Returns if it may be done; `question` says what is going to be lost.
    ///
    /// # Errors
    /// There is nobody to be asked (wrong use), or the answer is no.
    pub(super) fn get(self, question: &str) -> Result<(), Failure> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        self.get_from(question, terminal, &mut std::io::stdin().lock(), &mut std::io::stderr().lock())
    }

    fn get_from(
        self,
        question: &str,
        terminal: bool,
        from: &mut impl BufRead,
        to: &mut impl Write,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !terminal {
            return Err(Failure::usage(format!(
                "{question}\nNobody can be asked here: --yes does it without asking. Nothing was done."
            )));
        }
        let mut line = String::new();
        // A terminal that is gone has not said yes.
        let asked = write!(to, "{question} [y/N] ").and_then(|()| to.flush()).and_then(|()| from.read_line(&mut line));
        if asked.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure { code: 1, message: "nothing was done".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(yes: bool, terminal: bool, typed: &str) -> (Result<(), u8>, String) {
        let mut shown = Vec::new();
        let got = Consent { yes }.get_from("Remove it?", terminal, &mut typed.as_bytes(), &mut shown);
        (got.map_err(|failure| failure.code), String::from_utf8(shown).unwrap())
    }

    #[test]
    fn only_a_yes_is_one() {
        for typed in ["y\n", "yes\n", "Y\n", " YES \n", "y"] {
            assert_eq!(asked(false, true, typed), (Ok(()), "Remove it? [y/N] ".into()), "{typed:?}");
        }
        for typed in ["", "\n", "n\n", "no\n", "yess\n", "ja\n", "y y\n"] {
            assert_eq!(asked(false, true, typed).0, Err(1), "{typed:?}");
        }
    }

    #[test]
    fn without_a_terminal_it_must_have_been_said() {
        assert_eq!(asked(false, false, "y\n"), (Err(2), String::new()), "what a pipe says is no answer");
        assert_eq!(asked(true, false, ""), (Ok(()), String::new()));
        let refused = Consent { yes: false }.get_from("Remove team?", false, &mut &b""[..], &mut Vec::new());
        let message = refused.err().unwrap().message;
        assert!(message.contains("Remove team?") && message.contains("--yes"), "{message}");
    }
}
