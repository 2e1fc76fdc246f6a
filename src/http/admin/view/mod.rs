//! What resources look like to the outside, and how they are gathered: REST handlers and pages show the very same things.

pub mod alert; // what is wrong
pub mod audit; // who did what
pub mod channel; // how an admin is told
pub mod collection; // how a collection is: what it holds, how old, who has copies
pub mod configuration; // what is in force
pub mod exposure; // what a peer has got from here
pub mod file; // what is in a snapshot
pub mod inspection; // who can open a snapshot
pub mod keys; // what must not be lost
pub mod look; // one place in a snapshot, for pages
pub mod peer; // other instances
pub mod promotion; // a collection that was taken over
pub mod run; // backups, restores and other work
pub mod schedule; // what is done when
pub mod secret; // an application's secrets, apart from its data
pub mod sheet; // what to keep on paper
pub mod snapshot; // a snapshot and what is known of it
pub mod standby; // collections of others that are kept laid out
pub mod target; // places that copies go to
pub mod token; // what lets programs in
