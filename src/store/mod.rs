//! The repository. To be written around these.
pub mod chunks;
