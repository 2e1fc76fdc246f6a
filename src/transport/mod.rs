//! How instances reach each other: who dials, who listens. The only place that opens connections.
//!
//! An address says by which transport alone it is reached (R9): there is no fallback, no look-up of names, no proxy from the
//! environment, and no redirect is followed.

pub mod bucket; // objects in a bucket that an admin named
pub mod client; // HTTP over any of them, bounded
pub mod direct; // plain TCP, for a LAN or a test
pub mod door; // through the server that runs in the same home
pub mod health; // whether an application on this machine answers
pub mod link; // as slow as Tor, for tests and benchmarks
pub mod mail; // messages to an admin's mailbox
pub mod memory; // inside one process, for tests, with faults
pub mod onions; // states and faults of onion services
pub mod quality; // what the line to a peer is like
pub mod routes; // each address by the transport that its kind allows
pub mod socks; // through a tor that runs already
pub mod unix; // a socket in the file system, for the admin
#[cfg_attr(not(feature = "tor"), path = "no_tor.rs")]
pub mod tor; // Tor in this process
pub mod webhook; // addresses that an admin wants to be told

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::domain::peer::PeerAddress;
use onions::OnionFault;

/// A connection: bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of any transport.
pub type BoxedStream = Box<dyn Stream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address needs a transport that is switched off.
    #[error(
        "the address {address} is reached without Tor, which is switched off: set dangerously_direct = true in bulbil.toml (or use --direct) if the network in between is yours"
    )]
    DirectNotAllowed {
        /// Where to.
        address: PeerAddress,
    },
    /// An onion address, and no Tor.
    #[error(
        "the address is an onion service, and Tor is switched off here: leave out --direct, or set [tor] enabled = true in bulbil.toml"
    )]
    TorOff,
    /// An onion service that was not reached.
    #[error(transparent)]
    Onion(OnionFault),
    /// Nobody answers there.
    #[error("nobody answers at {address}: check that bulbil runs there and that the address is right")]
    Unreachable {
        /// Where to.
        address: PeerAddress,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// It takes too long.
    #[error("no connection to {address} within {} seconds: try again later", waited.as_secs())]
    TooSlow {
        /// Where to.
        address: PeerAddress,
        /// How long it was tried.
        waited: Duration,
    },
}

/// Opens connections.
pub trait Dial: Send + Sync + Debug {
    /// Opens a connection to a peer. When the future is dropped nothing is left open.
    fn dial<'a>(&'a self, address: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>>;
}

/// Takes connections in.
pub trait Listen: Send + Debug {
    /// Waits for the next connection; passing troubles (too many open files) are waited out inside. An error means that
    /// no more will come. May be dropped at any time: no connection is lost.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>>;

    /// Where peers reach it, for people and invites.
    fn address(&self) -> PeerAddress;
}

impl Listen for Box<dyn Listen> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        (**self).accept()
    }

    fn address(&self) -> PeerAddress {
        (**self).address()
    }
}
