//! What goes over the wire between peers: signed requests and answers, JSON bodies, frames of a chunk stream.
//!
//! Everything in here is bounded and strict: a reader refuses what the writer would not have written.

pub mod frame; // many chunks in one stream, with a trailer
pub mod messages; // JSON bodies of /peer/v1 and their limits
pub mod signature; // RFC 9421, one fixed profile
mod structured; // the few shapes of structured fields (RFC 9651) that the profile needs
