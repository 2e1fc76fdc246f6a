//! Between instances: what a peer may see here, envelopes for it, how it comes in; and calling others.

pub mod call; // signed calls to a peer, checked answers
pub mod pair; // letting an instance in, and joining one
pub mod rekey; // envelopes, just in time
pub mod serve; // what a peer may see
