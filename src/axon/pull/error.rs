//! Why pulling came to nothing.

use crate::axon::caller::CallError;
use crate::axon::library::LibraryError;
use crate::domain::axon::kept::DocumentError;
use crate::domain::axon::key::KeyError;
use crate::store::{ChunkStoreError, IndexError};

/// Why pulling came to nothing. What was pulled before stays.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The peer is not to be pulled from.
    #[error("{peer} is {state}, and nothing is pulled from it: 'bulbil peer add --kind axon URL' trusts it")]
    NotTrusted {
        /// Whom.
        peer: String,
        /// What it is.
        state: &'static str,
    },
    /// Nobody knows where it is.
    #[error("the address of {peer} is not known: 'bulbil peer add --kind axon URL' notes it")]
    NoAddress {
        /// Whose.
        peer: String,
    },
    /// The peer gave no answer that is of use.
    #[error("{peer}: {cause}")]
    Call {
        /// Whom.
        peer: String,
        /// What is wrong.
        #[source]
        cause: CallError,
    },
    /// Its configuration cannot be read.
    #[error("the configuration that {peer} sent cannot be read")]
    Config {
        /// Whose.
        peer: String,
        /// What is wrong.
        #[source]
        cause: DocumentError,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is known cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Chunks cannot be stored.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was stopped.
    #[error("stopped; what was pulled until then is kept, and the same command goes on from there")]
    Cancelled,
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}
