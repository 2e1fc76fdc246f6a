//! Backup folders of an Axon BBS: read, restored from, written.
//!
//! A folder is what somebody says. Names in it are single names, hashes are hashes, sizes are bounded, links are not followed,
//! and each applet stands by itself: what is wrong with one is said of it, and the others go on. Nothing counts as content
//! before its hash was compared.

pub mod amiss; // what is wrong with chunks where they lie
mod document; // its JSON files
pub mod inspect; // one against itself
pub mod left; // what cannot be used as it came
pub mod read; // what is in one
pub mod restore; // from one onto the shelf
pub mod stage; // made under another name until it is whole
pub(in crate::axon) mod take; // one item of one
pub mod write; // from the shelf into one

pub(in crate::axon) use take::{Refused, Taking};

pub use take::Keys;
