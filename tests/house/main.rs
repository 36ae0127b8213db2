//! The guards of the house: who may depend on whom, what every file and manifest has, and what is named in one place only. They read
//! the sources and manifests as files and run nothing.

mod files;
mod manifests;
mod sources;
mod stories;
mod table;
