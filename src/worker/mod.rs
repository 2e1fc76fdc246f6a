//! What runs by itself inside a server. Each part reads the index at each step, so that a restart takes the same path.

pub mod alarm; // tells an admin what is wrong
pub mod axon; // collections of Axon BBSes between index and snapshots
pub mod copies; // what goes to targets
pub mod scrub; // reads what is stored again, and brings back what was lost
pub mod doctor; // everything that is worth a look, with what to do next
pub mod health; // whether all is well
pub mod follow; // visits peers: their feed, keys, lists, chunks
mod hook; // a command that an admin wants to be run
pub mod jobs; // work that somebody asks the server for
pub mod live; // work that goes on here, to be looked at
pub mod promote; // a collection of another is taken over
pub mod prove; // shows peers that we keep their snapshots
mod push; // listens to peers between visits
pub mod runs; // work that is put on record: backups, verifications
pub mod schedule; // does it when it is due
pub mod targets; // places that copies go to: named and forgotten
pub mod standby; // keeps snapshots of others laid out
pub mod watch; // looks whether something is wrong
mod visit; // one visit: the feed, then what is missing
