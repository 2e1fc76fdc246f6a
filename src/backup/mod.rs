//! Making, reading and checking snapshots.

pub mod create; // walk → read → cut → look up → gather → seal → store → commit
pub mod open; // a snapshot, opened with the key we have
pub mod restore; // back into a folder
pub mod target; // writing into a folder so that nothing lands outside
pub mod verify; // is everything there, and is it what it was
pub mod view; // ls and diff
