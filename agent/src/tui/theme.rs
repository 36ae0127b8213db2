//! What tones look like: the terminal's own sixteen colours, so that they fit dark and light backgrounds, and without colour by weight alone.

use ratatui::style::{Color, Modifier, Style};

use super::text::Tone;

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    /// Whether colour is used.
    pub(crate) colour: bool,
}

impl Theme {
    /// The look of a tone. Only colours that can be read on black and on white in the palettes that terminals ship.
    pub(crate) fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let weight = match tone {
            Tone::Dim => plain.add_modifier(Modifier::DIM),
            Tone::Strong | Tone::Bad | Tone::Added => plain.add_modifier(Modifier::BOLD),
            Tone::Removed if !self.colour => plain.add_modifier(Modifier::DIM | Modifier::CROSSED_OUT),
            Tone::Doubtful if !self.colour => plain.add_modifier(Modifier::UNDERLINED),
            _ => plain,
        };
        let colour = match tone {
            Tone::Good | Tone::Added => Some(Color::Green),
            Tone::Bad | Tone::Removed => Some(Color::Red),
            Tone::Doubtful => Some(Color::Yellow),
            Tone::Name => Some(Color::Cyan),
            Tone::Number => Some(Color::Magenta),
            Tone::Text | Tone::Plain | Tone::Dim | Tone::Strong => None,
        };
        match colour {
            Some(colour) if self.colour => weight.fg(colour),
            _ => weight,
        }
    }

    /// A bar across the screen.
    pub(crate) fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The line that is selected, in the pane that has the keys or in another one.
    pub(crate) fn selected(self, focused: bool) -> Style {
        if focused {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        }
    }
}
