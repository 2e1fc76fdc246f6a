//! HTTP in and out of this instance: the peer plane and the admin plane, which never meet (R9).
//!
//! Each plane is a router of its own, served on a listener of its own. Only this module knows status codes.

pub mod listener; // drives connections of a listener
pub mod peer; // what peers may ask
pub mod problem; // what went wrong, as a document

pub use listener::{ServeLimits, serve};
pub use peer::{PeerLimits, PeerPlane, openapi_peer, peer_router};
