//! What can happen to the inspector, and what it can want done: two closed lists. Everything between the two is `update`.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use tunnel_delivery::{DeliveryId, Stored, Timestamp};

use tunnel_protocol::AnswerMode;

use super::doc::{Doc, Form};
use super::edit::Draft;
use super::replaying::Replaying;
use super::window::Ask;
use crate::control::{ControlError, Edited, Explained, Marking, PageFound, Replayed, Status, Triggered};
use crate::forward::TargetUrl;
use crate::notice::Notice;
use crate::replay::Summary;

/// Something happened.
pub(crate) enum Message {
    /// A key.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: columns and rows.
    Resized(u16, u16),
    /// Time went on; comes some ten times a second.
    Tick(Timestamp),
    /// The running agent says something.
    Notice(Arc<Notice>),
    /// So many notices did not come, because there were too many.
    LeftOut(u64),
    /// Something went wrong that nobody asked about.
    Warned(String),
    /// The store can be asked now.
    Ready,
    /// A part of the list.
    Page(Ask, Result<PageFound, ControlError>),
    /// A delivery.
    Loaded(DeliveryId, Result<Box<Stored>, ControlError>),
    /// A large body was set out.
    SetOut(DeliveryId, Form, usize, Arc<Doc>),
    /// The signature was checked now.
    Explained(DeliveryId, Result<Box<Explained>, ControlError>),
    /// How the agent and the store are.
    Status(Result<Box<Status>, ControlError>),
    /// A delivery or a changed copy was sent again.
    Replayed(DeliveryId, Result<Box<Replayed>, ControlError>),
    /// A replay of many goes on.
    Batch(Batch),
    /// It is over.
    BatchOver(Result<Box<Summary>, ControlError>),
    /// A mark or a note was made.
    Marked(Marking, Result<(), ControlError>),
    /// The editor was closed; `None` where nothing was changed.
    EditorClosed(DeliveryId, Result<Option<Draft>, String>),
    /// Forwarding was paused, or goes on; or not.
    Paused(bool, Result<bool, ControlError>),
    /// The tunnel answers in that way, or not.
    Answers(AnswerMode, Result<(), ControlError>),
    /// A synthetic event was sent.
    Triggered(Result<Box<Triggered>, ControlError>),
    /// A file was written, or not; with what is to be known about it.
    Saved(Result<(PathBuf, String), String>),
    /// A delivery as a fixture's text, to be copied.
    FixtureText(Result<String, String>),
    /// The filters were saved, or not.
    FiltersSaved(Result<(), String>),
}

/// How far a replay of many is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Answered 2xx.
    pub(crate) ok: u64,
    /// All others.
    pub(crate) failed: u64,
    /// How many requests there are to be, where that is known.
    pub(crate) all: Option<u64>,
}

/// Where a delivery is sent again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Again {
    /// Instead of where it would be forwarded to.
    pub(crate) to: Option<TargetUrl>,
    /// Whether the user said that data of people may go there.
    pub(crate) allow_production: bool,
}

/// Whether a fixture has people's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scrub {
    /// As it was sent, from wherever it came.
    AsItIs,
    /// With pseudonyms, and signed with the fixtures' secret.
    Scrubbed,
}

/// Where a fixture goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FixtureTo {
    Clipboard,
    /// A file that is not there yet.
    File(PathBuf),
}

/// Something is to be done, outside of the model.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Read a part of the list. A later one makes earlier ones pointless.
    Page(Ask),
    /// Read a delivery.
    Load(DeliveryId),
    /// Set a large body out for that width.
    SetOut(DeliveryId, Bytes, Form, usize),
    /// Check a signature.
    Explain(DeliveryId),
    /// Ask how the agent and the store are.
    Status,
    /// Send a delivery again.
    Replay(DeliveryId, Again),
    /// Send all that match again.
    ReplayAll(String, Box<Replaying>),
    /// Stop that.
    StopReplay,
    /// Let the user change this text.
    Edit(DeliveryId, Draft),
    /// Send a changed copy.
    Send(DeliveryId, Box<Edited>),
    /// Pin, unpin, note.
    Mark(Marking),
    /// Pause forwarding, or go on with it.
    Pause(bool),
    /// Have the tunnel answer in that way.
    Answer(AnswerMode),
    /// Give text to the terminal's clipboard.
    Copy(String),
    /// Write a file that is not there yet.
    Save(PathBuf, Bytes),
    /// Make a fixture.
    Fixture(Arc<Stored>, Scrub, FixtureTo),
    /// Save a filter under a name in the file of filters, or remove the one of that name from it.
    SaveFilter(String, Option<String>),
    /// Send a synthetic event to a path.
    Trigger(String, String),
    /// Stop the process until it is told to go on.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
}
