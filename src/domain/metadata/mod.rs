//! The sealed tree of files: entries sorted by path, gathered into nodes, nodes into a tree.
//!
//! A node is a fragment in a metadata chunk, so that an unchanged directory costs a new snapshot nothing. Where a node ends is
//! decided by a hash of the path (a prolly tree), so that the nodes of two snapshots meet again behind a change.

pub mod codec; // varints and bounds
pub mod entry; // one file, directory, link …
pub mod node; // many entries, or references to nodes
pub mod path; // paths inside a snapshot
