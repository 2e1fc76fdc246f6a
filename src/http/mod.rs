//! HTTP in and out of this instance: the peer plane and the admin plane, which never meet (R9).
//!
//! Each plane is a router of its own, served on a listener of its own. Only this module knows status codes.

pub mod admin; // what the owner of this machine may ask
pub mod axon; // what Axon instances may ask, on the peer plane
pub mod hidden; // secrets that come in
pub mod listener; // drives connections of a listener
mod openapi; // what the descriptions of both planes have in common
pub mod peer; // what peers may ask
mod places; // how many requests of one caller are answered at once
pub mod problem; // what went wrong, as a document
mod traced; // each request has an id and a span
pub mod traffic; // what goes through, counted
pub mod web; // pages for people, on the admin plane

pub use admin::{AdminPlane, Following, admin_router, openapi_admin};
pub use axon::{AxonPlane, axon_router};
pub use listener::{ServeLimits, serve, serve_counted};
pub use peer::{PeerLimits, PeerPlane, openapi_peer, peer_router};
pub use traced::{REQUEST_ID, traced};
pub use traffic::{Plane, Traffic};
