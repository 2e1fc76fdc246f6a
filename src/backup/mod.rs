//! Making, reading and checking snapshots.

pub mod cache; // opened chunks, shared by threads
pub mod check; // what must hold of the content, in a folder or in a snapshot
pub mod collections; // collections of folders, added and changed
pub mod compare; // what was restored, read again
pub mod content; // one file of a snapshot, piece by piece
pub mod create; // walk → read → cut → look up → gather → seal → store → commit
pub mod documents; // the documents of a snapshot, in memory
pub mod drill; // a restore that is tried
pub mod entity; // something of an application that is restored alone
pub mod escrow; // an application's secrets, apart from its data
pub mod inspect; // who can open a snapshot, and what of it is here
pub mod layout; // a snapshot as a folder that is replaced as a whole
pub mod open; // a snapshot, opened with the key we have
pub mod preview; // what a backup would take
pub mod prune; // which snapshots go, and what nobody names without them
pub mod recover; // an application's folders brought back
pub mod rescue; // with the recovery key alone
pub mod restore; // back into a folder
pub mod secrets; // an application's stored secrets, listed, opened and changed
pub mod select; // which snapshot: NAME, NAME@3, …
pub mod sheet; // what to keep on paper
pub mod target; // writing into a folder, never outside it
pub mod verify; // is everything there, and is it what it was
pub mod view; // ls and diff
