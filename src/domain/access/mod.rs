//! What somebody may do on the admin plane, and what shows who they are: tokens for programs, a password and one-time codes for people.

mod admission; // everything that lets somebody in
mod delay; // guessing takes longer each time
mod lifetime; // how long a token is good
mod password; // what people type
mod scope; // what a token may be good for
mod token; // what programs show
pub mod totp; // codes that are good once

pub use admission::{Admission, AdmissionError, KeptToken, Login, MAX_TOKENS, day};
pub use delay::Delay;
pub use lifetime::{Lifetime, LifetimeError};
pub use password::{Cost, MIN_CHARS, PasswordError, PasswordHash};
pub use scope::{Scope, Scopes, ScopesError};
pub use token::{Token, TokenDigest};
