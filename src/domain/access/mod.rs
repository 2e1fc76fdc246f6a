//! What somebody may do on the admin plane.

mod scope; // what a token may be good for

pub use scope::{Scope, Scopes, ScopesError};
