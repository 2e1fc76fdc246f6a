//! To be written.

pub mod target; // writing into a folder, never outside it
