//! Portable backups: a folder of JSON documents and raw chunk files that is carried by hand, looked at with common tools, and goes on
//! where the network stopped. `docs/portable.md` says it exact enough for a second program.
//!
//! What is written is durable before it is named: chunks, then manifests, then the documents that list them (R8). Nothing in a folder is
//! ever changed but documents and sidecars, and nothing is removed, so that a second export adds what is new and a kill costs nothing.
//! What is sealed stays sealed: names that show are those of this instance's own collections.
//!
//! What is read is what somebody says: names are single names, links are not followed, lengths are bounded before room is made, and
//! nothing is stored whose hash was not compared (R13).

pub mod document; // the JSON files
pub mod export; // from here into a folder
mod fill; // chunks from a folder
mod folder; // a folder that is read
pub mod have; // what an instance holds, in one file
pub mod import; // from a folder to here
mod inventory; // which chunks are in a place
mod keys; // what opens here of what came
mod place; // a folder, or objects in a bucket
mod reading; // chunks of a restore that are elsewhere
pub mod target; // a place that is kept up to date
mod writer; // chunks into a place

pub use fill::{Filled, fill_from, fill_snapshots};
pub use place::{At, PlaceError};
pub use reading::Reading;
