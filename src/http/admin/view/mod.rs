//! What is shown of each resource, to programs and on pages alike: gathered from the store, nothing more.

pub mod run; // backups, restores and other work
