//! Bulbil backs up an application's data, serves it to the instances you trust, and lets them clone it, mirror it
//! and take over.
//!
//! The modules below stand in the order in which they may use each other: a module uses what stands above it,
//! neighbours in one group do not see each other. `tests/it/layers.rs` checks it.

pub mod domain; // pure values: ids, crypto, formats, peers and rights; never awaits, never touches the world

pub mod clock; // what time it is
pub mod monitor; // progress: counters, tasks, non-fatal problems

pub mod transport; // Dial and Listen: direct, memory; buckets

pub mod source; // what is backed up: directories
pub mod store; // the repository: index, chunk files, manifests, keys, lock

pub mod backup; // create, restore, verify, rebuild, rescue
pub mod portable; // export into a folder, import from one
pub mod replicate; // serve (what a peer may see), pull, rekey, pair
pub mod axon; // an Axon BBS as peer and as folder

pub mod worker; // what runs by itself inside a server
pub mod http; // the peer plane and the admin plane, which never meet
pub mod config; // bulbil.toml and the environment, parsed once
pub mod server; // builds everything, runs until cancelled

pub mod cli; // one file a command
