//! What stands in for Tor in a program that was built without it: nothing can be started, hence nothing can be dialled.

use std::convert::Infallible;
use std::io;

use futures_util::future::BoxFuture;

use super::onions::{Bootstrap, DialOnion, OnionFault, OnionOptions, OnionService, TorError, TorOptions};
use super::{BoxedStream, Dial, DialError, Listen};
use crate::domain::onion::OnionAddress;
use crate::domain::peer::PeerAddress;

/// A Tor client that cannot be.
#[derive(Debug, Clone)]
pub struct Tor {
    never: Infallible,
}

/// A listener that cannot be.
#[derive(Debug)]
pub struct OnionListener {
    never: Infallible,
}

impl Tor {
    /// Says that there is no Tor in this program.
    ///
    /// # Errors
    /// [`TorError::NotBuiltIn`], always.
    pub async fn start(_: &TorOptions) -> Result<Self, TorError> {
        Err(TorError::NotBuiltIn)
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn host(&self, _: OnionOptions) -> Result<(OnionListener, OnionService), TorError> {
        match self.never {}
    }

    /// Never called.
    pub fn is_overdue(&self) -> bool {
        match self.never {}
    }

    /// Never called.
    pub fn bootstrap(&self) -> Bootstrap {
        match self.never {}
    }
}

impl Dial for Tor {
    fn dial<'a>(&'a self, _: &'a PeerAddress) -> BoxFuture<'a, Result<BoxedStream, DialError>> {
        match self.never {}
    }
}

impl DialOnion for Tor {
    fn dial_fresh<'a>(&'a self, _: &'a OnionAddress) -> BoxFuture<'a, Result<BoxedStream, OnionFault>> {
        match self.never {}
    }
}

impl Listen for OnionListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxedStream>> {
        match self.never {}
    }

    fn address(&self) -> PeerAddress {
        match self.never {}
    }
}
