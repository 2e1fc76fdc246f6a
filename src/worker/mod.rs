//! What runs by itself inside a server. Each part reads the index at each step, so that a restart takes the same path.

pub mod scrub; // reads what is stored again, and brings back what was lost
pub mod follow; // visits peers: their feed, keys, lists, chunks
