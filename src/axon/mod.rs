//! An Axon BBS as peer and as folder.
//!
//! What is known of one is a set of *items* (sealed content in chunks named by SHA-256, each with its manifest and key) and
//! *records* (JSON documents: applets, scores, states, users, boards, actions). Both stand in the index while they are in use,
//! and in snapshots of the collection as documents beside the chunks themselves: a native mirror has all of it.

pub mod caller; // asking an Axon instance
pub mod check; // whether an item is what its name says
pub mod collection; // where what they tell belongs
pub mod extract; // plain files of everything
pub mod folder; // backup folders, as an Axon BBS writes and reads them
pub mod instance; // this instance as Axon instances know it
pub mod install; // beside a running Axon BBS
pub mod library; // what is known, in memory
pub mod pull; // what is new, and missing chunks
pub mod record; // items and records as documents of a snapshot, and back
pub mod serve; // what an Axon instance may see

#[cfg(test)]
mod testing; // sealed items, and backup folders, for tests
