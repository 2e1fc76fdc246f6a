//! The one integration binary: every further one would link everything again. One module a topic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod axon;
mod axon_vectors;
mod backup_restore;
mod cli;
mod contradictions;
mod heal;
mod kill;
mod layers;
mod limits;
mod link;
mod portable;
mod proofs;
mod push;
mod quilltap;
mod reconcile;
mod replicate;
mod retention;
mod shared;
mod standby;
mod succession;
mod support;
mod targets;
mod tor;
mod upkeep;
mod vectors;
