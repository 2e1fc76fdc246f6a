//! What is backed up: directories and files, read without following a link and without a path that could be swapped.
//!
//! Everything below a root is opened relative to an open directory, with `O_NOFOLLOW`: no path is ever built from names that
//! somebody may change meanwhile, and trees deeper than `PATH_MAX` work. All of it blocks: it is for threads of its own.

pub mod archive; // old tar archives
pub mod command; // hooks, and commands whose output is backed up
pub mod dir; // directories, opened when needed, closed when too many are open
pub mod document; // files that are made rather than found
pub mod excludes; // what is left out
mod listing; // one directory read, looked at and sorted
pub mod mode; // who may read a file
pub mod parts; // which parts of an application's folder are there
pub mod read; // one file, its content and extended attributes
pub mod stat; // what an inode says about itself
pub mod volumes; // what a container engine says
pub mod walk; // everything below a root, in order

pub use dir::DirHandle;
pub use document::Document;
pub use excludes::{ExcludeError, Excludes};
pub use read::{OpenFile, ReadError, Stretch};
pub use stat::{FoundKind, Stat};
pub use walk::{Found, LeftOut, Root, SkipReason, Skipped, Walk, WalkError, WalkEvent, WalkOptions, walk};
