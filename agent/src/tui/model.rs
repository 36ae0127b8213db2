//! The inspector's state: plain data, of which `view` makes a screen and `update` the next state. No terminal, no clock, no store.

use std::collections::HashSet;
use std::sync::Arc;

use tui_input::Input;
use tunnel_delivery::{DeliveryId, Stored, Timestamp};

use super::doc::{Doc, Form};
use super::edit::Draft;
use super::keys::{Action, KeyMap};
use super::message::{Batch, Effect, FixtureTo};
use super::standing::Standing;
use super::text::{Row, Tone};
use super::theme::Theme;
use super::window::Window;
use crate::control::Explained;
use crate::query::{Query, QueryError, Saved};

/// Everything that the screen shows.
pub(crate) struct Model {
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    pub(crate) now: Timestamp,
    pub(crate) theme: Theme,
    pub(crate) keys: KeyMap,
    pub(crate) standing: Standing,
    pub(crate) list: Window,
    pub(crate) filter: Filter,
    /// The pane that has the keys.
    pub(crate) focus: Focus,
    /// Whether the details take the whole screen.
    pub(crate) zoomed: bool,
    pub(crate) tab: Tab,
    pub(crate) detail: Option<Detail>,
    /// The delivery that is being read, if one is.
    pub(crate) loading: Option<DeliveryId>,
    /// The delivery that others are compared with.
    pub(crate) marked: Option<Marked>,
    /// Filters that have a name: all of them, and those that were saved here.
    pub(crate) saved: Saved,
    pub(crate) own_filters: Saved,
    pub(crate) dialog: Option<Dialog>,
    /// What the user is told, until it is dismissed.
    pub(crate) told: Option<Told>,
    /// What goes on: a replay, a trigger.
    pub(crate) busy: Option<String>,
    pub(crate) batch: Option<Batch>,
    /// Whether the details are read as soon as the selection moves, or with the next tick.
    pub(crate) eager: bool,
    /// A delivery whose last attempt is to be shown once it is read again.
    pub(crate) show_last_attempt: Option<DeliveryId>,
    /// What is to be done with a delivery once it is read.
    pub(crate) pending: Option<(DeliveryId, Action)>,
    /// Whether the details changed and are to be read again.
    pub(crate) outdated: bool,
    /// Whether the store can be asked.
    pub(crate) ready: bool,
    /// Ticks so far.
    pub(crate) ticks: u32,
    /// Whether the agent was asked how it is and has not said.
    pub(crate) asked: bool,
    /// The program that gives text to this machine's clipboard, where there is one.
    pub(crate) clipboard: Option<Vec<String>>,
    /// Where files are saved unless the user says otherwise.
    pub(crate) folder: String,
    /// The path that a synthetic event was sent to last.
    pub(crate) path: Option<String>,
}

/// The pane that has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    List,
    Detail,
}

/// What the details show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Event,
    Headers,
    Body,
    Signature,
    Attempts,
    Resource,
    Diff,
}

impl Tab {
    pub(crate) const ALL: [Tab; 7] =
        [Tab::Event, Tab::Headers, Tab::Body, Tab::Signature, Tab::Attempts, Tab::Resource, Tab::Diff];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Tab::Event => "Event",
            Tab::Headers => "Headers",
            Tab::Body => "Body",
            Tab::Signature => "Signature",
            Tab::Attempts => "Attempts",
            Tab::Resource => "Resource",
            Tab::Diff => "Diff",
        }
    }

    /// The tab so many places on.
    pub(crate) fn step(self, by: isize) -> Tab {
        let at = Tab::ALL.iter().position(|t| *t == self).unwrap_or(0);
        Tab::ALL[(at.wrapping_add_signed(by + Tab::ALL.len() as isize)) % Tab::ALL.len()]
    }
}

/// The filter: what holds, and what is being written.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// The text that holds.
    pub(crate) text: String,
    /// It with saved filters written out, as the store is asked.
    pub(crate) written_out: String,
    /// It as read, for what comes.
    pub(crate) query: Query,
    /// What is being written.
    pub(crate) input: Option<Input>,
    /// What is wrong with that.
    pub(crate) error: Option<QueryError>,
    /// What held before it was opened.
    pub(crate) was: String,
    /// What was looked for before, oldest first, and the place in it.
    pub(crate) history: Vec<String>,
    pub(crate) at: usize,
    /// What held before a timeline was opened.
    pub(crate) before: Option<Before>,
}

/// Where the list was before a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// The filter.
    pub(crate) text: String,
    /// The delivery that was selected, unless the list followed what came.
    pub(crate) selected: Option<DeliveryId>,
}

/// The delivery whose details are shown.
pub(crate) struct Detail {
    pub(crate) id: DeliveryId,
    /// `None` while it is read.
    pub(crate) stored: Option<Arc<Stored>>,
    /// Why it could not be read.
    pub(crate) failed: Option<String>,
    pub(crate) explained: Option<Result<Box<Explained>, String>>,
    /// What `rows` or `doc` were made for: the tab, the form of a body and the width.
    pub(crate) built: Option<(Tab, Form, usize)>,
    /// The rows of the tab, but for the body.
    pub(crate) rows: Vec<Row>,
    /// The body's.
    pub(crate) doc: Option<Arc<Doc>>,
    pub(crate) form: Form,
    pub(crate) folded: HashSet<usize>,
    /// The first row that is shown.
    pub(crate) top: usize,
    /// The body's row that the cursor is in.
    pub(crate) cursor: usize,
    /// Which attempt is shown.
    pub(crate) attempt: usize,
}

/// What others are compared with.
pub(crate) struct Marked {
    pub(crate) stored: Arc<Stored>,
    /// Which of its attempts; `None` for the delivery itself.
    pub(crate) attempt: Option<usize>,
}

/// What is said to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    /// Good news go by themselves after so many ticks.
    pub(crate) ticks: Option<u32>,
}

/// What stands above everything and has the keys.
pub(crate) enum Dialog {
    Help {
        top: usize,
    },
    Prompt(Prompt),
    /// A question and what is done where the answer is yes.
    Confirm {
        question: String,
        yes: Vec<Effect>,
    },
    /// What to copy.
    Copy,
    /// An event to send.
    Trigger {
        input: Input,
        selected: usize,
    },
    /// A changed copy: sign it or not.
    Edited {
        draft: Draft,
        stored: Arc<Stored>,
    },
    /// The saved filters.
    Filters {
        selected: usize,
    },
    /// A fixture of what came from production: scrub it or not.
    Fixture {
        stored: Arc<Stored>,
        to: FixtureTo,
    },
}

/// A line that is asked for.
pub(crate) struct Prompt {
    pub(crate) what: Asking,
    /// What stands above the line.
    pub(crate) about: String,
    pub(crate) input: Input,
    pub(crate) problem: Option<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    Target(DeliveryId),
    Note(DeliveryId),
    File,
    /// A name for the filter that holds.
    FilterName,
    /// How all that match are sent again.
    ReplayAll,
}

impl Asking {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Asking::Target(_) => "Replay to: a port, host:port or URL",
            Asking::Note(_) => "Note (empty removes it)",
            Asking::File => "Save as (.fixture with where it came from, .http the request alone)",
            Asking::ReplayAll => "Send all that match again: options",
            Asking::FilterName => "Save the filter as (letters, digits, - and _; @NAME then stands for it)",
        }
    }
}

impl Model {
    /// A model before anything is known.
    pub(crate) fn new(size: (u16, u16), now: Timestamp, theme: Theme, keys: KeyMap) -> Model {
        let mut model = Model {
            size,
            now,
            theme,
            keys,
            standing: Standing::default(),
            list: Window::new(),
            filter: Filter::default(),
            focus: Focus::List,
            zoomed: false,
            tab: Tab::Event,
            detail: None,
            loading: None,
            marked: None,
            saved: Saved::default(),
            own_filters: Saved::default(),
            dialog: None,
            told: None,
            busy: None,
            batch: None,
            eager: true,
            show_last_attempt: None,
            pending: None,
            outdated: false,
            ready: false,
            ticks: 0,
            asked: false,
            clipboard: None,
            folder: "fixtures".to_owned(),
            path: None,
        };
        model.fit();
        model
    }

    /// The filter that holds at the beginning.
    pub(crate) fn begin_with(&mut self, filter: &str) {
        match self.saved.read(filter, self.now) {
            Ok((query, written_out)) => {
                (self.filter.text, self.filter.query) = (filter.to_owned(), query);
                self.filter.written_out = written_out;
            }
            Err(e) => self.complain(format!("the filter {filter:?} is not used: {e}")),
        }
    }

    /// Tells the user something that stays until it is dismissed.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.told = Some(Told { tone: Tone::Bad, text: text.into(), ticks: None });
    }

    /// Tells the user something that nobody asked about, without covering what stands there and was not dismissed.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        /// More lines than these nobody reads.
        const LINES: usize = 6;
        let text = text.into();
        match &mut self.told {
            Some(told) if told.ticks.is_none() => {
                if !told.text.contains(&text) && told.text.lines().count() < LINES {
                    told.text = format!("{}\n{text}", told.text);
                }
            }
            _ => self.complain(text),
        }
    }

    /// Tells the user something that goes by itself.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        // What went wrong is not covered by what went well.
        if self.told.as_ref().is_none_or(|t| t.ticks.is_some()) {
            self.told = Some(Told { tone: Tone::Good, text: text.into(), ticks: Some(40) });
        }
    }

    /// Brings what depends on the size of the panes up to date.
    pub(crate) fn fit(&mut self) {
        let areas = super::layout::areas(self);
        self.list.set_rows(usize::from(areas.list_rows.height));
    }
}
