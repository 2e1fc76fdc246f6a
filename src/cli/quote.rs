//! What a fetch will bring, and over what: said before it begins.

use serde_json::{Value, json};

use crate::domain::peer::PeerAddress;
use crate::replicate::pull::{Puller, Quote};
use crate::store::index::Peer;

use super::args::LineArgs;
use super::output::{about, bytes, count};

/// A quote, and the line that it is for.
pub struct Offer {
    quote: Quote,
    peers: u64,
    /// To each peer; `None` if none of them is reached through Tor.
    circuits: Option<usize>,
    limit_rate: Option<u64>,
}

impl Offer {
    /// For a fetch from these peers.
    pub fn new(quote: Quote, puller: &Puller, peers: &[Peer], line: &LineArgs) -> Self {
        let addresses = peers.iter().filter_map(|peer| peer.address.as_ref());
        let onions = addresses.filter(|address| matches!(address, PeerAddress::Onion(_)));
        let circuits = onions.map(|address| puller.circuits_to(address)).max();
        Self { quote, peers: peers.len() as u64, circuits, limit_rate: line.limit_rate }
    }

    /// For a fetch by the server of this home, from one peer, over whatever line it has.
    pub fn by_server(quote: Quote) -> Self {
        Self { quote, peers: 1, circuits: None, limit_rate: None }
    }

    /// The least that it can take, in seconds, if that can be said before anything has come.
    fn at_least_seconds(&self) -> Option<u64> {
        self.limit_rate.map(|rate| self.quote.bytes / rate.max(1))
    }

    /// `3 snapshots, 1,204 chunks, 1.9 GB from 1 peer over up to 4 circuits; …`
    pub fn in_words(&self) -> String {
        let Quote { snapshots, chunks, bytes: size, lists } = self.quote;
        let mut text = format!("{}, {}, {}", count(snapshots, "snapshot"), count(chunks, "chunk"), bytes(size));
        if lists > 0 {
            text += &format!(" and what {} name that are fetched first,", count(lists, "chunk list"));
        }
        text += &format!(" from {}", count(self.peers, "peer"));
        if let Some(circuits) = self.circuits {
            let each = if self.peers > 1 { " each" } else { "" };
            text += &format!(" over up to {}{each}", count(circuits as u64, "circuit"));
        }
        text + &match (self.limit_rate, self.at_least_seconds()) {
            (Some(rate), Some(seconds)) => format!("; at the limit of {}/s it takes {}", bytes(rate), about(seconds)),
            _ => "; how long it takes shows after the first seconds".to_owned(),
        }
    }

    /// The same as JSON.
    pub fn document(&self) -> Value {
        json!({
            "snapshots": self.quote.snapshots, "chunks": self.quote.chunks, "bytes": self.quote.bytes,
            "missing_lists": self.quote.lists, "peers": self.peers, "circuits_per_peer": self.circuits,
            "limit_rate": self.limit_rate, "at_least_seconds": self.at_least_seconds(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_known_and_what_is_not() {
        let quote = Quote { snapshots: 3, chunks: 1204, bytes: 1_900_000_000, lists: 0 };
        let offer = Offer { quote, peers: 1, circuits: Some(4), limit_rate: None };
        assert_eq!(
            offer.in_words(),
            "3 snapshots, 1,204 chunks, 1.9 GB from 1 peer over up to 4 circuits; how long it takes shows after the first seconds"
        );
        assert_eq!(offer.document()["at_least_seconds"], Value::Null);
        let offer = Offer { quote, peers: 2, circuits: None, limit_rate: Some(500_000) };
        assert_eq!(
            offer.in_words(),
            "3 snapshots, 1,204 chunks, 1.9 GB from 2 peers; at the limit of 500.0 kB/s it takes about 63 minutes"
        );
        assert_eq!(offer.document()["at_least_seconds"], 3800);
    }
}
