//! Which circuit a connection to a peer takes.
//!
//! A peer has a few places for circuits, each isolated from everything else by a token of its own. A new connection takes
//! the place with the fewest connections, the lowest first: one after the other they share one warm circuit, many at once
//! spread over several, which is what makes bulk transfer fast (each circuit goes through other relays).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use arti_client::{DataStream, IsolationToken};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::domain::onion::OnionAddress;

/// The circuits of all peers.
#[derive(Debug)]
pub(super) struct Circuits {
    /// Places for one peer.
    places: usize,
    peers: Mutex<HashMap<[u8; 32], Arc<Places>>>,
}

#[derive(Debug)]
struct Places {
    tokens: Mutex<Vec<IsolationToken>>,
    used: Mutex<Vec<usize>>,
}

/// A place in use, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    at: usize,
}

impl Circuits {
    /// At most so many circuits to one peer.
    pub(super) fn new(places: usize) -> Self {
        Self { places: places.max(1), peers: Mutex::default() }
    }

    /// The best place for one more connection to this peer.
    pub(super) fn take(&self, to: &OnionAddress) -> Place {
        let places = {
            let mut peers = self.peers.lock().expect("no holder of this lock can panic");
            let fresh = || {
                let tokens = (0..self.places).map(|_| IsolationToken::new()).collect();
                Arc::new(Places { tokens: Mutex::new(tokens), used: Mutex::new(vec![0; self.places]) })
            };
            Arc::clone(peers.entry(*to.key()).or_insert_with(fresh))
        };
        let at = {
            let mut used = places.used.lock().expect("no holder of this lock can panic");
            let at = (0..self.places).min_by_key(|at| used[*at]).expect("there are places");
            used[at] += 1;
            at
        };
        Place { places, at }
    }
}

impl Place {
    /// The isolation of the circuit in this place.
    pub(super) fn token(&self) -> IsolationToken {
        self.places.tokens.lock().expect("no holder of this lock can panic")[self.at]
    }

    /// The circuit in this place is no good: the next connection builds another.
    pub(super) fn give_up_circuit(&self) {
        self.places.tokens.lock().expect("no holder of this lock can panic")[self.at] = IsolationToken::new();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.used.lock().expect("no holder of this lock can panic")[self.at] -= 1;
    }
}

/// A stream that keeps its place.
pub(super) struct Placed {
    stream: DataStream,
    _place: Place,
}

impl Placed {
    pub(super) fn new(stream: DataStream, place: Place) -> Self {
        Self { stream, _place: place }
    }
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_share_a_circuit_and_many_at_once_spread() {
        let circuits = Circuits::new(4);
        let to = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion".parse().unwrap();
        let first = circuits.take(&to);
        let token = first.token();
        drop(first);
        let held: Vec<Place> = (0..4).map(|_| circuits.take(&to)).collect();
        assert_eq!(held[0].token(), token);
        let again = circuits.take(&to);
        assert_eq!(again.token(), token);
        assert!(held[1..].iter().all(|place| place.token() != token));
        again.give_up_circuit();
        assert_ne!(held[0].token(), token);
    }
}
