//! The key map as data: what can be done, by which keys, and where. Help and the footer are printed from it, and `[keys]` in the settings
//! file replaces keys in it.

use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::text::wrap;

/// What the user can want. Named in settings as in [`ACTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextFailure,
    PreviousFailure,
    Open,
    Back,
    OtherPane,
    NextTab,
    PreviousTab,
    Tab(u8),
    Zoom,
    Filter,
    ClearFilter,
    Timeline,
    Filters,
    SaveFilter,
    Form,
    Fold,
    FoldAll,
    PreviousAttempt,
    NextAttempt,
    MarkForDiff,
    Replay,
    ReplayTo,
    EditAndReplay,
    ReplayAll,
    Pin,
    Note,
    Copy,
    Save,
    Trigger,
    Pause,
    AnswerMode,
    Stop,
    Help,
    Redraw,
    Suspend,
    Quit,
}

/// Where in help an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Move,
    Look,
    Do,
    Program,
}

impl Group {
    pub(crate) const ALL: [Group; 4] = [Group::Move, Group::Look, Group::Do, Group::Program];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Move => "Move",
            Group::Look => "Look",
            Group::Do => "Do",
            Group::Program => "Program",
        }
    }
}

/// One action as settings and help know it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) action: Action,
    /// In settings.
    pub(crate) name: &'static str,
    /// The keys unless set otherwise, separated by blanks.
    pub(crate) keys: &'static str,
    /// What it does, in a few words.
    pub(crate) about: &'static str,
    /// In the footer; empty where it is not there.
    pub(crate) short: &'static str,
    pub(crate) group: Group,
}

macro_rules! actions {
    ($($group:ident { $($action:expr, $name:literal, $keys:literal, $short:literal, $about:literal;)* })*) => {
        /// Every action there is.
        pub(crate) const ACTIONS: &[Known] = &[$($(Known {
            action: $action, name: $name, keys: $keys, short: $short, about: $about, group: Group::$group,
        }),*),*];
    };
}

actions! {
    Move {
    Action::Up, "up", "up k", "", "up";
    Action::Down, "down", "down j", "", "down";
    Action::PageUp, "page-up", "pageup ctrl-b ctrl-u", "", "a page up";
    Action::PageDown, "page-down", "pagedown ctrl-f ctrl-d", "", "a page down";
    Action::First, "first", "g home", "", "the newest delivery, and follow what comes; in a pane its beginning";
    Action::Last, "last", "G end", "", "the oldest delivery; in a pane its end";
    Action::NextFailure, "next-failure", "n", "", "the next delivery that failed, down the list";
    Action::PreviousFailure, "previous-failure", "N", "", "the one before, up the list";
    Action::Open, "open", "enter", "open", "into the details";
    Action::Back, "back", "esc", "", "back to the list; dismiss a message; clear the filter";
    Action::OtherPane, "other-pane", "tab", "", "the other pane";
    }
    Look {
    Action::Filter, "filter", "/", "filter", "filter as you type";
    Action::ClearFilter, "clear-filter", "ctrl-x", "", "show everything again";
    Action::Filters, "filters", "F", "", "choose a saved filter";
    Action::SaveFilter, "save-filter", "ctrl-s", "", "save the filter under a name, also while it is written";
    Action::Timeline, "timeline", "o", "", "only this resource, its life as a timeline; again: back";
    Action::NextTab, "next-tab", "right l ]", "tabs", "the next tab";
    Action::PreviousTab, "previous-tab", "left h [", "", "the tab before";
    Action::Tab(0), "tab-event", "1", "", "what the event means";
    Action::Tab(1), "tab-headers", "2", "", "headers as sent";
    Action::Tab(2), "tab-body", "3", "", "the body";
    Action::Tab(3), "tab-signature", "4", "", "the signature";
    Action::Tab(4), "tab-attempts", "5", "", "attempts and answers";
    Action::Tab(5), "tab-resource", "6", "", "the GraphQL query for the record";
    Action::Tab(6), "tab-diff", "7", "", "what differs from another delivery or attempt";
    Action::Form, "body-form", "v", "", "the body pretty, raw, in hexadecimal";
    Action::Fold, "fold", "space", "", "fold or unfold what the cursor is in";
    Action::FoldAll, "fold-all", "z", "", "fold or unfold everything";
    Action::PreviousAttempt, "previous-attempt", "<", "", "the attempt before";
    Action::NextAttempt, "next-attempt", ">", "", "the next attempt";
    Action::MarkForDiff, "mark", "d", "", "mark this delivery, or in the attempts this attempt; the diff tab compares others with it";
    Action::Zoom, "zoom", "w", "", "the details on the whole screen";
    }
    Do {
    Action::Replay, "replay", "r", "replay", "send it again";
    Action::ReplayTo, "replay-to", "R", "", "send it to another target";
    Action::EditAndReplay, "edit", "e", "edit", "change a copy in $EDITOR and send that";
    Action::ReplayAll, "replay-all", "A", "", "send all that match the filter again";
    Action::Trigger, "trigger", "t", "trigger", "send a synthetic event; a word that begins with / is the path that it is sent to";
    Action::Pin, "pin", "p", "", "pin or unpin";
    Action::Note, "note", "m", "", "write a note";
    Action::Copy, "copy", "y", "copy", "copy as curl, JSON, fixture, GraphQL query, body, answer, URL or id";
    Action::Save, "save", "s", "", "save as a fixture";
    Action::Pause, "pause", "P", "", "pause forwarding, or go on with it";
    Action::AnswerMode, "answer", "a", "", "switch between ack and passthrough";
    Action::Stop, "stop", "ctrl-g", "", "stop what is going on: a search, a replay of many";
    }
    Program {
    Action::Help, "help", "? f1", "help", "this help";
    Action::Redraw, "redraw", "ctrl-l", "", "draw the screen anew";
    Action::Suspend, "suspend", "ctrl-z", "", "suspend; an agent in this process stops with it";
    Action::Quit, "quit", "q ctrl-c", "quit", "quit";
    }
}

/// The columns of a line in a list of all names, which stands beside its error on a narrow terminal too.
const LINE: usize = 72;

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    code: KeyCode,
    control: bool,
    alt: bool,
}

/// Keys by their names, besides single characters and f1 to f12.
const NAMED: &[(&str, KeyCode)] = &[
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
];

impl Key {
    /// The key of an event. Shift is in the character.
    pub(crate) fn of(event: KeyEvent) -> Key {
        Key {
            code: event.code,
            control: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
        }
    }

    fn read(text: &str) -> Option<Key> {
        let mut rest = text;
        let (mut control, mut alt) = (false, false);
        loop {
            if let Some(after) = rest.strip_prefix("ctrl-").filter(|r| !r.is_empty()) {
                (rest, control) = (after, true);
            } else if let Some(after) = rest.strip_prefix("alt-").filter(|r| !r.is_empty()) {
                (rest, alt) = (after, true);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && !c.is_whitespace() => KeyCode::Char(c),
            _ => match rest.strip_prefix('f').and_then(|n| n.parse().ok()).filter(|n| (1..=12).contains(n)) {
                Some(n) => KeyCode::F(n),
                None => NAMED.iter().find(|(name, _)| *name == rest)?.1,
            },
        };
        Some(Key { code, control, alt })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            f.write_str("ctrl-")?;
        }
        if self.alt {
            f.write_str("alt-")?;
        }
        let arrow = match self.code {
            KeyCode::Up => Some("↑"),
            KeyCode::Down => Some("↓"),
            KeyCode::Left => Some("←"),
            KeyCode::Right => Some("→"),
            _ => None,
        };
        match (arrow, NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some(arrow), ..) => f.write_str(arrow),
            (_, Some((name, _)), _) => f.write_str(name),
            (.., KeyCode::Char(c)) => write!(f, "{c}"),
            (.., KeyCode::F(n)) => write!(f, "f{n}"),
            _ => f.write_str("?"),
        }
    }
}

/// Which key does what.
#[derive(Clone, Debug)]
pub(crate) struct KeyMap {
    keys: Vec<(Key, Action)>,
}

impl Default for KeyMap {
    fn default() -> KeyMap {
        let keys = |known: &Known| -> Vec<_> {
            // A test reads every row.
            known.keys.split(' ').filter_map(Key::read).map(|key| (key, known.action)).collect()
        };
        KeyMap { keys: ACTIONS.iter().flat_map(keys).collect() }
    }
}

impl KeyMap {
    /// With other keys for some actions: pairs of an action's name and its keys, separated by blanks.
    ///
    /// # Errors
    /// A sentence that says which name or key is not known, or which key two actions of these have.
    pub(crate) fn with<'a>(changes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<KeyMap, String> {
        let mut map = KeyMap::default();
        let mut set: Vec<(Key, Action)> = Vec::new();
        for (name, keys) in changes {
            let Some(known) = ACTIONS.iter().find(|k| k.name == name) else {
                return Err(format!("{name:?} is no action of the inspector; {}", instead_of(name)));
            };
            map.keys.retain(|(_, action)| *action != known.action);
            for text in keys.split_whitespace() {
                let key = Key::read(text).ok_or_else(|| {
                    format!("{text:?}, for {name}, is no key; write one like r, R, ctrl-r, alt-r, f5, enter or space")
                })?;
                if set.iter().any(|(other, _)| *other == key) {
                    return Err(format!("the key {text} is given to two actions, {name} is one of them"));
                }
                set.push((key, known.action));
            }
        }
        // A key that was given away does what it was given to.
        map.keys.retain(|(key, _)| !set.iter().any(|(other, _)| other == key));
        map.keys.extend(set);
        if map.first(Action::Quit).is_none() {
            return Err("no key is left for quit".into());
        }
        Ok(map)
    }

    /// What a key does.
    pub(crate) fn action(&self, event: KeyEvent) -> Option<Action> {
        let key = Key::of(event);
        self.keys.iter().find(|(k, _)| *k == key).map(|(_, action)| *action)
    }

    /// The first key of an action.
    pub(crate) fn first(&self, action: Action) -> Option<Key> {
        self.keys.iter().find(|(_, a)| *a == action).map(|(key, _)| *key)
    }

    /// All keys of an action, for help.
    pub(crate) fn all(&self, action: Action) -> String {
        let keys: Vec<String> =
            self.keys.iter().filter(|(_, a)| *a == action).map(|(key, _)| key.to_string()).collect();
        keys.join(" ")
    }
}

/// What to write instead of a name that is no action's: those that have most pairs of letters in common with it, or else all that there are.
fn instead_of(name: &str) -> String {
    let pairs = |text: &str| -> Vec<[u8; 2]> { text.as_bytes().windows(2).map(|pair| [pair[0], pair[1]]).collect() };
    let wanted = pairs(name.get(..40).unwrap_or(name));
    let common = |known: &Known| pairs(known.name).iter().filter(|pair| wanted.contains(pair)).count();
    let most = ACTIONS.iter().map(common).max().unwrap_or(0);
    let near: Vec<&str> = ACTIONS.iter().filter(|known| common(known) == most).map(|known| known.name).collect();
    // A pair or two are in every name.
    if most * 3 >= wanted.len() && near.len() <= 4 {
        return format!("did you mean {}?", near.join(", "));
    }
    let all: Vec<&str> = ACTIONS.iter().map(|known| known.name).collect();
    let lines = wrap(&all.join(", "), LINE);
    format!("its actions are\n  {}", lines.iter().map(|line| line.text().trim_end()).collect::<Vec<_>>().join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_read_and_no_key_is_there_twice() {
        let mut all: Vec<Key> = Vec::new();
        for known in ACTIONS {
            for text in known.keys.split(' ') {
                let key = Key::read(text).unwrap_or_else(|| panic!("{text}"));
                assert!(!all.contains(&key), "{text} is there twice");
                all.push(key);
            }
            assert_eq!(ACTIONS.iter().filter(|k| k.name == known.name).count(), 1, "{}", known.name);
        }
    }

    #[test]
    fn a_name_that_is_like_none_is_told_all_of_them_on_short_lines() {
        let error = KeyMap::with([("xyzzy-qqq", "x")]).unwrap_err();
        let names = error.split_once('\n').unwrap().1;
        assert!(names.lines().all(|line| line.len() <= LINE + 2), "{error}");
        for known in ACTIONS {
            assert!(names.split([',', ' ', '\n']).any(|name| name == known.name), "{} is not in {error}", known.name);
        }
    }

    #[test]
    fn settings_change_keys_and_mistakes_are_named() {
        let press = |map: &KeyMap, c| map.action(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        let map = KeyMap::with([("replay", "x ctrl-r"), ("help", "r")]).unwrap();
        assert_eq!((press(&map, 'x'), press(&map, 'r')), (Some(Action::Replay), Some(Action::Help)));
        assert_eq!(press(&map, '?'), None);
        assert_eq!(map.all(Action::Replay), "x ctrl-r");
        for (changes, named) in [
            (vec![("repaly", "x")], "repaly"),
            (vec![("repaly", "x")], "did you mean replay-all?"),
            (vec![("next-fail", "x")], "did you mean next-failure?"),
            (vec![("replay", "ctrl-foo")], "ctrl-foo"),
            (vec![("replay", "x"), ("pin", "x")], "two actions"),
            (vec![("pin", "q ctrl-c")], "quit"),
        ] {
            let error = KeyMap::with(changes).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
