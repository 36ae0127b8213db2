//! Where the values of `serve`'s settings come from: flag, then environment, then the settings file, then the default.
//!
//! There is one definition of every setting, clap's. What neither flag nor environment gives is taken from the file and handed to the same
//! parser as if it had been written as flags, so that every flag is a key and each value is read and refused in one way only. Nothing here
//! knows any particular setting, nor what becomes of it.

pub(crate) mod addresses;
mod example;
mod file;
mod keys;
mod merge;
pub(crate) mod paths;
mod place;
mod show;
#[cfg(test)]
mod tests;
pub(crate) mod units;

pub(crate) use example::example;
pub(crate) use merge::{SettingsError, Settled, settle, whence};
pub(crate) use show::{Shown, shown};
